"""Figures of many runs show every recipe, in order, and draw without a display."""

import io

import numpy as np
import pytest

from ecg_siglip.reporting import charts

ROWS = {
    "bank": {"mean": 0.45, "low": 0.41, "high": 0.49},
    "diagonal": {"mean": 0.32, "low": 0.28, "high": 0.35},
    "shared": {"mean": 0.17, "low": 0.14, "high": 0.20},
}


def svg(figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()


def test_the_forest_puts_the_best_on_top_and_marks_the_baseline():
    figure = charts.forest_figure(ROWS, "macro F1", "diagonal")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["shared", "diagonal", "bank"]
    assert axes.lines[0].get_xdata()[0] == 0.32
    assert "<svg" in svg(figure)


@pytest.mark.parametrize("with_interval", [True, False])
def test_curves_have_a_panel_a_score_and_a_line_a_recipe(with_interval):
    ends = {"low": 0.1, "high": 0.9} if with_interval else {}
    points = [(128, {"mean": 0.4, **ends}), (32, {"mean": 0.3, **ends})]
    panels = {"macro F1": {"bank": points, "diagonal": points[:1]}, "AUROC": {"bank": points}}
    figure = charts.curve_figure(panels, "records a step")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["macro F1", "AUROC"]
    assert list(figure.axes[0].lines[0].get_xdata()) == [32, 128]
    assert len(figure.axes[0].collections) == 2 * with_interval
    assert "<svg" in svg(figure)


@pytest.fixture(scope="module")
def fold():
    rng = np.random.default_rng(0)
    y_prob = rng.beta(0.5, 2, (400, 5)) * [1, 0.9, 0.6, 0.3, 0.001]
    return rng.random(y_prob.shape) < y_prob, y_prob, ["SR", "AFIB", "LVH", "PVC", "WPW"]


@pytest.mark.parametrize("draw", [charts.finding_reliability_figure, charts.decision_figure])
def test_findings_with_five_positives_have_a_panel_most_frequent_first(fold, draw):
    y_true, y_prob, codes = fold
    figure = draw(y_true, y_prob, codes)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    enough = sorted((-int(n), c) for n, c in zip(y_true.sum(0), codes, strict=True) if n >= 5)
    assert titles == [f"{code}, n {-n}" for n, code in enough]
    assert "<svg" in svg(figure)


def test_net_benefit_is_what_its_definition_says(fold):
    y_true, y_prob, codes = fold
    lines = charts.decision_figure(y_true, y_prob, codes).axes[0].lines
    # Lines of a panel: acting on none, on all, on the model.
    model = dict(zip(*lines[2].get_data(), strict=True))
    everyone = dict(zip(*lines[1].get_data(), strict=True))
    threshold = min(model, key=lambda t: abs(t - 0.25))
    y_pred, labels = y_prob[:, 0] >= threshold, y_true[:, 0]
    odds = threshold / (1 - threshold)
    benefit = 100 * ((y_pred & labels).sum() - (y_pred & ~labels).sum() * odds) / 400
    assert model[threshold] == pytest.approx(benefit)
    assert everyone[threshold] == pytest.approx(100 * (truth.sum() - (~truth).sum() * odds) / 400)

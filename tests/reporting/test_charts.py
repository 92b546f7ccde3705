"""Figures of scores: their panels, their order, and the values that they show."""

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


def test_the_forest_has_the_best_recipe_on_top_and_a_line_at_the_baseline():
    figure = charts.forest_figure(ROWS, "macro F1", "diagonal")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["shared", "diagonal", "bank"]
    assert axes.lines[0].get_xdata()[0] == 0.32
    assert "<svg" in svg(figure)


@pytest.mark.parametrize("with_interval", [True, False])
def test_curves_have_one_panel_per_score_and_one_line_per_recipe(with_interval):
    ends = {"low": 0.1, "high": 0.9} if with_interval else {}
    points = [(128, {"mean": 0.4, **ends}), (32, {"mean": 0.3, **ends})]
    panels = {"macro F1": {"bank": points, "diagonal": points[:1]}, "AUROC": {"bank": points}}
    figure = charts.curve_figure(panels, "records per step")
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
def test_findings_with_five_positives_have_panels_the_most_frequent_first(fold, draw):
    y_true, y_prob, codes = fold
    figure = draw(y_true, y_prob, codes)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    enough = sorted((-int(n), c) for n, c in zip(y_true.sum(0), codes, strict=True) if n >= 5)
    assert titles == [f"{code}, n {-n}" for n, code in enough]
    assert "<svg" in svg(figure)


def test_net_benefit_follows_its_definition(fold):
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
    assert everyone[threshold] == pytest.approx(100 * (labels.sum() - (~labels).sum() * odds) / 400)


def test_f1_by_rule_is_drawn_where_it_is():
    scores = {f"f1/{kind}": 0.5 for kind in ("macro_f1", "macro_f1_min5", "micro_f1")}
    scores |= {"f1/samples_f1": 0.7, "f1/micro_f1/low": 0.4, "f1/micro_f1/high": 0.6}
    axes = charts.rules_figure(scores).axes[0]
    points = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert points == [0.5, 0.5, 0.5, 0.7]
    assert [0.4, 0.6] in [list(line.get_xdata()) for line in axes.lines]


def test_f1_of_each_finding_is_a_bar_most_frequent_first():
    rows = [{"n_positive": n, "f1/f1": f1} for n, f1 in ((3, 0.2), (0, 0.0), (40, 0.9))]
    axes = charts.f1_figure(rows, ["PVC", "WPW", "SR"], "f1").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["SR", "PVC"]
    assert [bar.get_width() for bar in axes.patches] == [0.9, 0.2]
    assert axes.patches[1].get_alpha() < axes.patches[0].get_alpha(), "few positives are pale"


def test_the_dot_of_a_precision_recall_curve_is_at_its_threshold(fold):
    y_true, y_prob, codes = fold
    axes = charts.pr_figure(y_true, y_prob, codes, np.full(5, 0.3)).axes[0]
    y_pred, labels = y_prob[:, 0] >= 0.3, y_true[:, 0]
    (dot,) = (line for line in axes.lines if line.get_marker() == "o")
    hits = (y_pred & labels).sum()
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (hits / labels.sum(), hits / y_pred.sum())


def test_bins_have_the_mean_the_frequency_and_an_interval_around_it():
    probability = np.array([0.1, 0.2, 0.3, 0.9])
    labels = np.array([0.0, 1.0, 0.0, 1.0])
    edges = np.array([0.0, 0.5, 0.7, 1.0])
    mean, observed, low, high, n = charts.binned(labels, probability, edges)
    assert n.tolist() == [3, 0, 1]
    np.testing.assert_allclose(mean, [0.2, 0.9])
    np.testing.assert_allclose(observed, [1 / 3, 1.0])
    assert ((low < observed) & (observed <= high + 1e-9) & (low >= 0)).all()


def test_the_reliability_diagram_counts_every_pair(fold):
    y_true, y_prob, _ = fold
    axes = charts.reliability_figure(y_true, y_prob).axes
    assert sum(bar.get_height() for bar in axes[1].patches) == y_true.size


def test_the_dots_of_the_threshold_figure_are_the_f1_of_each_rule(fold):
    y_true, y_prob, codes = fold
    thresholds = {"f1": np.full(5, 0.2), "fixed_0.5": np.full(5, 0.5)}
    axes = charts.threshold_figure(y_true, y_prob, codes, thresholds).axes[0]
    dots = {line.get_label(): line for line in axes.lines if line.get_marker() == "o"}
    for rule, values in thresholds.items():
        y_pred, labels = y_prob[:, 0] >= values[0], y_true[:, 0]
        f1 = 2 * (y_pred & labels).sum() / (y_pred.sum() + labels.sum())
        assert dots[rule].get_xdata()[0] == values[0]
        assert dots[rule].get_ydata()[0] == pytest.approx(f1)


def test_the_same_figure_gives_the_same_file(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        figure = charts.forest_figure(ROWS, "macro F1", "diagonal")
        charts.save_svg(figure, tmp_path / folder / "f1.svg")
    assert (tmp_path / "a/f1.svg").read_bytes() == (tmp_path / "b/f1.svg").read_bytes()


def lines(figure):
    """The points of all lines and bars of a figure."""
    return [
        *(np.asarray(line.get_data(), float) for axes in figure.axes for line in axes.lines),
        *(np.array([bar.get_height()]) for axes in figure.axes for bar in axes.patches),
    ]


@pytest.mark.parametrize(
    "draw",
    [
        charts.pr_figure,
        charts.reliability_figure,
        charts.finding_reliability_figure,
        charts.decision_figure,
        charts.threshold_figure,
    ],
)
def test_pairs_whose_label_is_unknown_are_not_drawn(fold, draw):
    y_true, y_prob, codes = (x[..., :1] if isinstance(x, np.ndarray) else x[:1] for x in fold)
    known = np.random.default_rng(2).random(len(y_true)) < 0.6
    partly = np.where(known[:, None], y_true, np.nan)
    more = {"reliability_figure": (), "threshold_figure": (codes, {"f1": [0.4]})}
    arguments = more.get(draw.__name__, (codes,))
    ours = lines(draw(partly, y_prob, *arguments))
    expected = lines(draw(y_true[known], y_prob[known], *arguments))
    assert len(ours) == len(expected) > 0
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(a, b)

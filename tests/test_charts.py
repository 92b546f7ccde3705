"""Figures of many runs show every recipe, in order, and draw without a display."""

import io

import pytest

from ecg_siglip import charts

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


def test_decision_curves_have_a_panel_a_finding():
    curves = {code: ([0.1, 0.05], [0.1, -0.2]) for code in ("AFIB", "LBBB", "IMI", "LVH", "PVC")}
    figure = charts.decision_figure(curves, [0.1, 0.5])
    shown = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert shown == list(curves)
    assert "<svg" in svg(figure)

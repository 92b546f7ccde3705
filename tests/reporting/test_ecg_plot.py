"""An ECG is drawn to scale, with its marks; a signal that cannot be drawn is refused."""

import numpy as np
import pytest
from helpers import step_signal as signal

from ecg_siglip.reporting.ecg_plot import EcgStrips, ecg_figure
from ecg_siglip.signals.leads import LEADS


def traces(figure, lead):
    return [line for line in figure.axes[0].lines if line.get_gid() == f"lead-{lead}"]


def unit_mm(figure):
    """Return the size of one unit of the axes on the printed page, mm: (along x, along y)."""
    ax = figure.axes[0]
    width, height = figure.get_size_inches() * 25.4
    x, y = ax.get_xlim(), ax.get_ylim()
    return width / (x[1] - x[0]), height / (y[1] - y[0])


@pytest.mark.parametrize("fs", [100, 500])
def test_a_second_is_25_mm_and_a_millivolt_10_mm_on_paper(fs):
    figure = ecg_figure(signal(10 * fs, fs), fs)
    along_x, along_y = unit_mm(figure)
    rhythm = max(traces(figure, "II"), key=lambda line: np.ptp(line.get_xdata()))
    x, y = rhythm.get_xdata(), rhythm.get_ydata()
    step = int(np.argmax(np.diff(y) > 5))
    assert (x[step] - x[0]) * along_x == pytest.approx(25 * 5, abs=25 / fs + 0.01)
    assert np.ptp(y) * along_y == pytest.approx(10.0)
    assert (x[-1] - x[0]) * along_x == pytest.approx(250, abs=25 / fs + 0.01)


def test_the_twelve_leads_are_in_four_columns_of_2_5_s_one_after_the_other():
    x = np.tile(np.linspace(0, 0.1, 1000), (12, 1))
    figure = ecg_figure(x, 100)
    starts = {}
    for column in (
        ("I", "II", "III"),
        ("aVR", "aVL", "aVF"),
        ("V1", "V2", "V3"),
        ("V4", "V5", "V6"),
    ):
        for lead in column:
            first = min(traces(figure, lead), key=lambda line: len(line.get_xdata()))
            starts.setdefault(round(float(first.get_xdata()[0]), 3), []).append(lead)
    assert [sorted(leads) for _, leads in sorted(starts.items())] == [
        ["I", "II", "III"],
        ["aVF", "aVL", "aVR"],
        ["V1", "V2", "V3"],
        ["V4", "V5", "V6"],
    ]
    assert np.diff(sorted(starts)) == pytest.approx([62.5] * 3, abs=0.01)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((11, 100)), r"\(12, n_samples\)"),
        (np.full((12, 100), np.inf), "infinity in lead I"),
    ],
)
def test_a_signal_that_cannot_be_drawn_is_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        ecg_figure(bad, 100)


def test_marks_are_behind_the_traces_of_their_leads():
    marks = np.zeros((12, 1000))
    marks[6, 100:200] = 1.0
    marks[6, 550:650] = 0.5  # V1 is drawn from 5 s to 7.5 s
    figure = ecg_figure(np.random.default_rng(0).normal(size=(12, 1000)), 100, marked=marks)
    bands = [c for c in figure.axes[0].collections if (c.get_gid() or "").startswith("marked-")]
    assert [band.get_gid() for band in bands] == ["marked-V1"]
    assert bands[0].get_colors()[:, 3].max() == 0.5
    for bad in (np.zeros((12, 10)), np.full((12, 1000), 2.0)):
        with pytest.raises(ValueError, match="marked: expected numbers from 0 to 1"):
            ecg_figure(np.ones((12, 1000)), 100, marked=bad)


def test_a_lead_without_signal_has_no_trace():
    signal = np.random.default_rng(0).normal(size=(12, 1000))
    signal[7] = 0
    figure = ecg_figure(signal, 100)
    assert not traces(figure, "V2") and traces(figure, "V1")
    assert "V2: no signal" in texts(figure)


def test_a_gap_in_the_recording_is_a_gap_on_paper():
    signal = np.random.default_rng(0).normal(size=(12, 1000))
    signal[:, 600:650] = np.nan  # in the columns of V1 to V3
    signal[11] = np.nan
    figure = ecg_figure(signal, 100)
    (v1,) = traces(figure, "V1")
    assert np.isnan(v1.get_ydata()).sum() == 50 and np.isfinite(v1.get_ydata()).sum() == 201
    assert not traces(figure, "V6") and "V6: not recorded" in texts(figure)


def test_of_a_long_signal_the_first_10_s_are_drawn_with_a_note():
    signal = np.random.default_rng(0).normal(size=(12, 3000))
    figure = ecg_figure(signal, 100, "Record 7", content="as recorded")
    rhythm = max(traces(figure, "II"), key=lambda line: len(line.get_xdata()))
    assert len(rhythm.get_xdata()) == 1000
    note = "1 large square = 0.2 s, 0.5 mV; 100 Hz, 0–10 s / 30 s, as recorded"
    assert {note, "Record 7", "For research, not for diagnosis"} <= set(texts(figure))


def test_what_is_written_is_in_the_language():
    figure = ecg_figure(signal(), 100, language="de")
    written = set(texts(figure))
    assert {"V1: kein Signal", "Nur für Forschungszwecke, nicht zur Diagnosestellung"} <= written


def test_rows_show_5_s_of_each_lead_and_the_rest_of_lead_ii_to_scale():
    figure = ecg_figure(signal(5000, 500), 500, layout="rows")
    assert figure.get_figwidth() * 25.4 == pytest.approx(150, abs=1)
    labels = [text for text in texts(figure) if text in LEADS or "II  5–10 s" in text]
    assert len(labels) == 2  # the other leads of this signal are flat
    first, rest = sorted(traces(figure, "II"), key=lambda line: -line.get_ydata().mean())
    assert (len(first.get_xdata()), len(rest.get_xdata())) == (2500, 2500)
    full = np.random.default_rng(0).normal(0, 0.3, (12, 5000))
    figure = ecg_figure(full, 500, layout="rows")
    assert all(len(traces(figure, lead)) == 1 + (lead == "II") for lead in LEADS)
    along_x, along_y = unit_mm(figure)
    assert (along_x, along_y) == (pytest.approx(1), pytest.approx(1))
    (v3,) = traces(figure, "V3")
    assert np.ptp(v3.get_xdata()) == pytest.approx(25 * 5, abs=0.1)
    assert v3.get_ydata() - v3.get_ydata().mean() == pytest.approx(
        10 * (full[8, :2500] - full[8, :2500].mean())
    )


def test_rows_come_closer_on_a_page_that_is_too_small_and_nothing_is_drawn_beyond_the_paper():
    tall = np.random.default_rng(0).normal(0, 2, (12, 1000))
    strips = EcgStrips(tall, 100)
    assert sum(strips.spacing) > 120
    strips = EcgStrips(tall, 100, max_height=120)
    assert sum(strips.spacing) <= 120
    assert sum(EcgStrips(tall, 100, max_height=1).spacing) == 85
    figure = ecg_figure(tall, 100)
    for lead in LEADS:
        (line, *_) = traces(figure, lead)
        assert line.get_clip_box().height < figure.bbox.height - 10, lead


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_a_page_that_is_too_small_overlaps_rows_and_does_not_cut_off_traces():
    tall = signal(1000, 100) * 0
    tall[9, 100:] = np.where(np.arange(900) % 80 < 4, 2.4, 0.0)  # V4, in the first row
    tall[7, 1::80] = -3.0  # V2
    strips = EcgStrips(tall, 100, max_height=100)
    assert sum(strips.spacing) <= 100 and strips.spacing[0] >= 24


@pytest.mark.parametrize("layout", ["standard", "rows"])
def test_names_stand_where_no_trace_runs(layout):
    beats = np.zeros((12, 1000))
    beats[:, 8::60] = 1.8
    beats[:, 10::60] = -0.4
    figure = ecg_figure(beats, 100, layout=layout)
    figure.canvas.draw()
    ax = figure.axes[0]
    names = [text for text in ax.texts if text.get_text() in LEADS]
    assert len(names) == (13 if layout == "standard" else 12)
    for name in names:
        assert name.get_bbox_patch() is None
        box = name.get_window_extent().transformed(ax.transData.inverted())
        for line in (line for lead in LEADS for line in traces(figure, lead)):
            assert not line.get_path().intersects_bbox(box, filled=False), name.get_text()

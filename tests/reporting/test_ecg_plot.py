"""An ECG is drawn to scale, with its marks; a signal that cannot be drawn is refused."""

import numpy as np
import pytest
from helpers import step_signal as signal

from ecg_siglip.reporting.ecg_plot import ecg_figure


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
    x = np.full((12, 1000), 0.1)
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
        (np.full((12, 100), np.nan), "lead I"),
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


def test_of_a_long_signal_the_first_10_s_are_drawn_with_a_note():
    figure = ecg_figure(np.random.default_rng(0).normal(size=(12, 3000)), 100, "Record 7", ["NORM"])
    rhythm = max(traces(figure, "II"), key=lambda line: len(line.get_xdata()))
    assert len(rhythm.get_xdata()) == 1000
    written = texts(figure)
    assert "25 mm/s    10 mm/mV    100 Hz    first 10 s of 30 s" in written
    assert {"Record 7", "NORM"} <= set(written)


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]

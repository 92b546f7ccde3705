"""Figure of median beats: scale, marks, missing leads."""

import itertools

import numpy as np
import pytest

from ecg_siglip.reporting.ecg_plot import MM_PER_INCH
from ecg_siglip.reporting.median_beat_plot import median_beat_figure
from ecg_siglip.signals.leads import LEADS
from ecg_siglip.signals.median_beats import MedianBeat

FS = 500.0


def beat(leads=LEADS, n=600, marks=None):
    signal = np.zeros((len(leads), n))
    signal[:, 225] = 1.0
    return MedianBeat(tuple(leads), signal, FS, marks or {}, 9)


def lines(figure, gid=None):
    return [line for line in figure.axes[0].get_lines() if line.get_gid() == gid]


@pytest.mark.parametrize("enlarged", [1.0, 2.0])
def test_a_beat_has_the_stated_scale(enlarged):
    figure = median_beat_figure(beat(), enlarged)
    x, y = lines(figure, "beat-V6")[0].get_data()
    assert np.ptp(x) == pytest.approx(599 / FS * 25 * enlarged)
    assert np.ptp(y) == pytest.approx(10 * enlarged)
    width, height = figure.get_size_inches() * MM_PER_INCH
    assert figure.axes[0].get_xlim() == pytest.approx((0, width))
    assert figure.axes[0].get_ylim() == pytest.approx((0, height))
    texts = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert f"{25 * enlarged:g} mm/s, {10 * enlarged:g} mm/mV" in texts
    assert "9 beats" in texts


def test_the_marks_are_at_their_times_in_each_lead():
    marks = {"p_onset": 0.25, "qrs_onset": 0.4, "qrs_end": 0.5, "t_end": 0.8}
    one = beat(marks=marks)
    one.signal[:, :50] = np.nan  # the beat before: the figure begins later
    figure = median_beat_figure(one)
    for lead in LEADS:
        x, _ = lines(figure, f"beat-{lead}")[0].get_data()
        at = {round(float(line.get_xdata()[0]), 6) for line in lines(figure, f"mark-{lead}")}
        assert at == {round(float(x[0] + (time - 0.1) * 25), 6) for time in marks.values()}


def test_a_lead_without_a_signal_is_named_and_not_drawn():
    one = beat(("I", "II"))
    one.signal[1] = np.nan
    figure = median_beat_figure(one)
    assert lines(figure, "beat-I") and not lines(figure, "beat-II")
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"I", "II: not measured", "V6: not measured"} <= texts


def test_traces_do_not_overlap_up_to_usual_amplitudes():
    one = beat()
    one.signal[:, 230] = -2.0
    figure = median_beat_figure(one)
    spans = [lines(figure, f"beat-{lead}")[0].get_ydata() for lead in ("I", "II", "III")]
    for above, below in itertools.pairwise(spans):
        assert np.min(above) > np.max(below)


def test_errors_state_what_was_expected():
    with pytest.raises(ValueError, match="enlarged: expected a number above 0, got 0"):
        median_beat_figure(beat(), 0)
    empty = beat()
    empty.signal[:] = np.nan
    with pytest.raises(ValueError, match="none that is finite"):
        median_beat_figure(empty)


def test_the_baselines_of_a_row_are_at_the_foot_of_the_pulse():
    one = beat(marks={"qrs_onset": 0.4})
    one.signal[6:8] += 1.5
    figure = median_beat_figure(one)
    for row in (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5")):
        feet = {float(lines(figure, f"beat-{lead}")[0].get_ydata()[0].round(6)) for lead in row}
        pulses = {round(float(line.get_ydata()[0]), 6) for line in lines(figure, "pulse")}
        assert len(feet) == 1 and feet <= pulses


def test_at_fast_rates_one_beat_is_shown():
    one = beat(marks={"qrs_onset": 0.42, "qrs_end": 0.48})
    one.signal[:, 50] = 1.0  # the QRS complex before, 0.35 s earlier
    figure = median_beat_figure(one)
    x, y = lines(figure, "beat-II")[0].get_data()
    assert (np.diff(y) > 5).sum() == 1
    assert np.ptp(x) == pytest.approx(25 * 0.35 * 1.3, abs=0.2)


def test_on_narrow_screens_there_are_two_columns_and_the_scale_of_the_grid():
    figure = median_beat_figure(beat(), layout="rows", on_screen=True)
    assert figure.get_figwidth() * MM_PER_INCH < 100
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "Median of 9 beats\n1 large square = 0.2 s, 0.5 mV" in texts

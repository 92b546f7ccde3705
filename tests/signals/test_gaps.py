"""Few invalid samples are interpolated, more are refused; padded ends get the baseline."""

import numpy as np
import pytest
from helpers import beats as ecg

from ecg_siglip.signals.gaps import (
    MAX_GAP_S,
    MAX_GAP_SHARE,
    bridge_ends,
    fill_gaps,
    interpolate_gaps,
    level_padding,
    longest_gap,
    recorded_span,
)

FS = 100


def with_gap(first: int, last: int, lead: int = 7) -> np.ndarray:
    signal = ecg()
    signal[lead, first:last] = np.nan
    return signal


def test_a_gap_becomes_a_line_and_everything_else_stays():
    signal = with_gap(120, 123)
    filled = fill_gaps(signal, FS)
    before, after = signal[7, 119], signal[7, 123]
    np.testing.assert_allclose(
        filled[7, 119:124], np.linspace(before, after, 5), rtol=1e-5, atol=1e-6
    )
    assert filled.dtype == signal.dtype
    is_gap = np.isnan(signal)
    np.testing.assert_array_equal(filled[~is_gap], signal[~is_gap])
    assert np.isnan(signal[7, 121]), "the input is not changed"


def test_gaps_at_the_ends_repeat_the_next_sample():
    signal = with_gap(0, 3)
    signal[2, -2:] = [np.inf, -np.inf]
    filled = fill_gaps(signal, FS)
    assert (filled[7, :3] == signal[7, 3]).all()
    assert (filled[2, -2:] == signal[2, -3]).all()


def test_a_signal_without_gaps_is_the_same_object():
    signal = ecg()
    assert fill_gaps(signal, FS) is signal
    assert interpolate_gaps(signal) is signal


@pytest.mark.parametrize("fs", [100, 250, 500, 1000])
def test_the_longest_gap_is_in_seconds(fs: int):
    n_allowed = round(MAX_GAP_S * fs)
    signal = ecg(10 * fs, fs)
    signal[3, 100 : 100 + n_allowed] = np.nan
    assert np.isfinite(fill_gaps(signal, fs)).all()
    signal[3, 100 + n_allowed] = np.nan
    with pytest.raises(ValueError, match=r"lead aVR \(.*expected gaps of at most 0.1 s"):
        fill_gaps(signal, fs, "r7")


def test_the_share_is_that_of_one_lead():
    signal = ecg()
    n_allowed = int(MAX_GAP_SHARE * 1000)
    for lead in range(12):
        signal[lead, lead : lead + 4 * n_allowed : 4] = np.nan
    assert np.isfinite(fill_gaps(signal, FS)).all()
    signal[7, 999] = np.nan
    with pytest.raises(ValueError, match="^record r7: expected finite samples, .* lead V2 "):
        fill_gaps(signal, FS, "r7")


def test_a_lead_without_any_sample_is_zero_and_refused():
    signal = with_gap(0, 1000)
    assert not interpolate_gaps(signal)[7].any()
    with pytest.raises(ValueError, match="lead V2"):
        fill_gaps(signal, FS)


def cut(signal: np.ndarray, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Bridge the ends of a part of a signal."""
    n = longest_gap(FS)
    before, after = signal[:, max(0, first - n) : first], signal[:, last : last + n]
    return bridge_ends(before, signal[:, first:last], after, FS)


@pytest.mark.parametrize("end", [400, 600])
@pytest.mark.parametrize("n_left", range(11))
def test_a_gap_across_an_end_of_a_part_is_filled_as_in_the_whole(end: int, n_left: int):
    signal = with_gap(end - n_left, end - n_left + 10)
    signal[2, 500:503] = np.nan
    part, is_long = cut(signal, 400, 600)
    assert not is_long.any() and part.dtype == signal.dtype
    np.testing.assert_allclose(part[7], fill_gaps(signal, FS)[7, 400:600], atol=1e-6)
    np.testing.assert_array_equal(part[2], signal[2, 400:600])


@pytest.mark.parametrize("n_left", range(1, 11))
def test_a_gap_is_too_long_with_what_is_outside(n_left: int):
    signal = with_gap(600 - n_left, 600 - n_left + 11)
    part, is_long = cut(signal, 400, 600)
    assert np.flatnonzero(is_long).tolist() == [7]
    np.testing.assert_array_equal(part, signal[:, 400:600])
    assert not cut(signal, 400, 600 - n_left)[1].any(), "the gap is outside"


def test_ends_of_the_recording_and_leads_with_many_gaps():
    signal = with_gap(0, 4)
    signal[2, -4:] = np.inf
    part, is_long = cut(signal, 0, 1000)
    np.testing.assert_array_equal(part, fill_gaps(signal, FS))
    assert not is_long.any()
    signal[7] = np.nan
    part, is_long = cut(signal, 0, 1000)
    assert np.isnan(part[7]).all() and not is_long.any()


@pytest.mark.parametrize("level", [0.0, 1.5])
def test_padded_ends_are_found_and_levelled(level: float):
    signal = ecg() + np.float32(5)
    signal[:, 900:] = level
    assert recorded_span(signal, FS) == slice(0, 900)
    leveled = level_padding(signal, FS)
    np.testing.assert_array_equal(leveled[:, :900], signal[:, :900])
    median = np.median(signal[:, :900], axis=1, keepdims=True)
    np.testing.assert_allclose(leveled[:, 901:], np.broadcast_to(median, (12, 99)), rtol=1e-6)


def test_constant_leads_and_short_ends_are_no_padding():
    signal = ecg()
    signal[3] = 0
    signal[:, :15] = 0
    assert recorded_span(signal, FS) == slice(0, 1000)
    assert level_padding(signal, FS) is signal
    step = np.repeat([[0.0] * 500 + [1.0] * 500], 12, axis=0)
    for nothing in (np.zeros((12, 1000)), step, np.zeros((12, 1))):
        assert recorded_span(nothing, FS) == slice(0, nothing.shape[1])


def test_the_recorded_span_is_that_between_the_ends_that_do_not_change():
    rng = np.random.default_rng(0)
    for n_before, n_after in rng.integers(0, 60, (200, 2)):
        signal = rng.normal(size=(3, 300)).round(1)
        signal[:, :n_before], signal[:, 300 - n_after :] = 0.5, -0.5
        changes = np.flatnonzero((np.diff(signal, axis=1) != 0).any(axis=0))
        first, last = changes[0] + 1, 300 - changes[-1] - 1
        expected = slice(first if first > 20 else 0, 300 - last if last > 20 else 300)
        assert recorded_span(signal, FS) == expected

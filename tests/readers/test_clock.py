"""The sampling rate of a column of time: exact, rounded, with jitter, with gaps."""

import numpy as np
import pytest

from ecg_siglip.readers.clock import (
    Clock,
    UnevenSteps,
    agreed_clock,
    read_clock,
    time_scale,
    unit_of_steps,
)


@pytest.mark.parametrize("fs", [50, 128, 130, 250, 300, 360, 500, 512, 1000, 2000, 20_000])
@pytest.mark.parametrize("digits", [3, 6, 9])
def test_the_rate_of_rounded_times_is_exact(fs: int, digits: int):
    if fs * 10**-digits > 1:
        pytest.skip("times of the same millisecond state no rate")
    times = np.round(np.arange(4 * fs) / fs, digits)
    assert read_clock("time", times) == Clock("time", fs)


def test_a_rate_need_not_be_whole():
    clock = read_clock("time", 1.7e9 + np.arange(15_360) / 511.422)
    assert clock is not None
    assert clock.fs == pytest.approx(511.422, rel=1e-6)
    assert clock.jitter_s == 0


@pytest.mark.parametrize("jitter_s", [0.002, 0.01, 0.02])
def test_jitter_is_no_gap(jitter_s: float):
    rng = np.random.default_rng(0)
    even = np.arange(4000) / 130
    times = np.maximum.accumulate(even + rng.uniform(0, jitter_s, 4000))
    clock = read_clock("phone", times)
    assert clock is not None
    assert clock.fs == 130
    assert clock.jitter_s <= jitter_s


@pytest.mark.parametrize("n_lost", [1, 2, 100])
@pytest.mark.parametrize("at", [3, 700, 1990])
@pytest.mark.parametrize("jitter_s", [0, 0.0005])
def test_a_gap_is_refused_and_named(n_lost: int, at: int, jitter_s: float):
    rng = np.random.default_rng(0)
    times = np.delete(np.arange(2000 + n_lost) / 250, np.s_[at : at + n_lost])
    times = times + rng.uniform(0, jitter_s, len(times))
    with pytest.raises(ValueError, match=rf"gap of .* s after \S+ s \(row {at}\)"):
        read_clock("time", times)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0, 0.002, np.nan, 0.006], "no time in row 3"),
        ([0, 0.002, 0.004, 0.002, 0.008], "goes back in row 4"),
    ],
)
def test_malformed_times_are_refused(times: list[float], message: str):
    with pytest.raises(ValueError, match=message):
        read_clock("time", np.array(times))


def test_uneven_steps_are_refused():
    with pytest.raises(UnevenSteps, match="from even steps"):
        read_clock("time", np.cumsum(np.tile(np.repeat([0.001, 0.003], 300), 4)))


def test_times_of_groups_of_samples_state_no_rate():
    assert read_clock("phone", np.repeat(np.arange(20) * 73 / 130, 73)) is None
    assert read_clock("time", np.repeat(np.arange(10.0), 500)) is None
    assert read_clock("time", np.array([5.0])) is None
    assert read_clock("time", np.zeros(100)) is None


@pytest.mark.parametrize("fs", [100, 130, 250, 360, 500, 1000, 2048])
@pytest.mark.parametrize("unit", ["d", "h", "min", "s", "ms", "us", "ns"])
def test_a_unit_that_is_not_stated_follows_from_the_steps(fs: int, unit: str):
    scale = time_scale(unit)
    assert scale is not None
    times = np.arange(100) / fs / scale
    assert unit_of_steps(times) == ("" if np.isclose(times[1], 1) else unit)


@pytest.mark.parametrize("step", [1.0, 0.02, 0.1, 0.0, 1e-15])
def test_other_steps_are_samples_or_a_time_in_any_unit(step: float):
    assert unit_of_steps(np.arange(100) * step) == ""


@pytest.mark.parametrize("step", [20.0, 25.0, 40.0])
def test_steps_of_tenths_of_a_millisecond(step: float):
    assert unit_of_steps(np.arange(100) * step) == "0.1 ms"


@pytest.mark.parametrize(
    ("unit", "scale"),
    [
        *[("ms", 1e-3), (" Min ", 60.0), ("hours", 3600.0), ("10ms", 0.01), ("0,1 ms", 1e-4)],
        *[("mV", None), ("", None), ("5", None), ("ticks", None), ("0 ms", None)],
    ],
)
def test_units_of_time(unit: str, scale: float | None):
    assert time_scale(unit) == pytest.approx(scale)


def test_clocks_have_to_agree():
    even, uneven = Clock("a", 130.0), Clock("b", 129.5, 0.02)
    assert agreed_clock([uneven, even]) == even
    assert agreed_clock([]) is None
    with pytest.raises(ValueError, match="column a goes at 130 Hz, but column c at 250 Hz"):
        agreed_clock([even, Clock("c", 250.0)])

"""What columns of a table mean: leads, time, numbers of rows."""

import numpy as np
import pytest

from ecg_siglip.readers.columns import Column, is_lead, read_columns, split_unit
from ecg_siglip.readers.statements import Statements

NOTHING = Statements()
SIGNAL = np.random.default_rng(0).normal(size=400)
TIME = np.arange(400) / 500


def names(columns: list[Column], header: Statements = NOTHING) -> list[str]:
    return [channel.name for channel in read_columns(columns, header).channels]


@pytest.mark.parametrize(
    ("column", "name", "unit"),
    [
        *[("II (mV)", "II", "mV"), ("II [uV]", "II", "uV"), ("MLII_mV", "MLII", "mV")],
        *[("V1", "V1", ""), ("II, mV", "II", "mV"), ("II/mV", "II", "mV"), ("II {µV}", "II", "µV")],
        *[("time_ms", "time", "ms"), ("timestamp [ns]", "timestamp", "ns"), ("ecg_1", "ecg_1", "")],
    ],
)
def test_units_in_names_of_columns(column: str, name: str, unit: str):
    assert split_unit(column) == (name, unit)


def test_names_of_leads():
    assert all(map(is_lead, ["I", "ECG II (mV)", "MLII_mV", "aVR [uV]", "Lead V6"]))
    assert not any(map(is_lead, ["ecg [uV]", "time", "", "C1"]))


@pytest.mark.parametrize(
    ("name", "unit", "scale"),
    [
        *[("time (s)", "", 1), ("Time_ms", "", 1e3), ("sensor timestamp [ns]", "", 1e9)],
        *[("t [µs]", "", 1e6), ("Elapsed time", "seconds", 1), ("Zeit (ms)", "", 1e3)],
        *[("seconds", "", 1), ("x [ms]", "", 1e3), ("时间(s)", "", 1)],
    ],
)
def test_columns_of_time_state_the_rate(name: str, unit: str, scale: float):
    stated = read_columns([Column(name, TIME * scale, unit), Column("I", SIGNAL)], NOTHING)
    assert [(channel.name, channel.fs) for channel in stated.channels] == [("I", 500)]
    assert not stated.warnings


@pytest.mark.parametrize("name", ["time", "Timestamp", "DateTime", ""])
def test_a_time_without_a_unit_is_read_with_a_warning(name: str):
    stated = read_columns([Column(name, 1000 * TIME), Column("I", SIGNAL)], NOTHING)
    assert [(channel.name, channel.fs) for channel in stated.channels] == [("I", 500)]
    assert "read as the time in ms" in stated.warnings[0]
    sure = Statements(fs=500.0)
    assert not read_columns([Column(name, 1000 * TIME), Column("I", SIGNAL)], sure).warnings


@pytest.mark.parametrize("name", ["", "sample", "time", "Unnamed: 0", "index"])
@pytest.mark.parametrize("first", [0, 1, 5000])
def test_numbers_of_rows_are_no_signal_and_no_time(name: str, first: int):
    stated = read_columns([Column(name, np.arange(400.0) + first), Column("I", SIGNAL)], NOTHING)
    assert [(channel.name, channel.fs) for channel in stated.channels] == [("I", None)]


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("name", ["i", "I"])
def test_numbers_of_rows_are_no_lead_i(name: str, first: int):
    rows = np.arange(400.0) + first
    assert names([Column(name, rows), Column("II", SIGNAL), Column("V1", SIGNAL)]) == ["II", "V1"]


def test_what_rises_but_is_no_time_stays_a_channel():
    ramp = np.cumsum(np.abs(SIGNAL))
    assert names([Column("X", ramp), Column("I", SIGNAL)]) == ["X", "I"]
    assert names([Column("RR [ms]", 800 + SIGNAL), Column("I", SIGNAL)]) == ["I"]
    assert names([Column("II", np.arange(0, 800.0, 2)), Column("I", SIGNAL)]) == ["II", "I"]


def test_empty_columns_without_a_name_are_left_out():
    assert names([Column("I", SIGNAL), Column("", np.full(400, np.nan))]) == ["I"]
    with pytest.raises(ValueError, match="column 2 has no name"):
        names([Column("I", SIGNAL), Column("", SIGNAL)])
    assert names([Column("", SIGNAL), Column("", SIGNAL)]) == ["", ""]


def test_an_uneven_clock_does_not_matter_where_another_is_even():
    uneven = np.cumsum(np.tile(np.repeat([0.001, 0.003], 100), 2))
    columns = [Column("phone time", uneven, "s"), Column("time [s]", TIME), Column("I", SIGNAL)]
    stated = read_columns(columns, NOTHING)
    assert stated.channels[0].fs == 500
    assert "not used" in stated.warnings[0]
    with pytest.raises(ValueError, match="expected samples in even steps"):
        read_columns([columns[0], columns[2]], NOTHING)


@pytest.mark.parametrize(
    ("columns", "header", "message"),
    [
        ([Column("t (s)", TIME), Column("I", SIGNAL)], Statements(fs=250.0), "but the file"),
        (
            [Column("time (s)", TIME), Column("time (ms)", 500 * TIME), Column("I", SIGNAL)],
            NOTHING,
            "column time \\(s\\) goes at 500 Hz, but column time \\(ms\\) at 1000 Hz",
        ),
        ([Column("I (uV)", SIGNAL)], Statements(unit="mV"), "contradicts the file's unit mV"),
        ([Column("I (uV)", SIGNAL, "mV")], NOTHING, "contradicts the unit mV below"),
        ([Column("II", SIGNAL)], Statements(lead="I"), "contradicts the file's lead I"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(columns: list[Column], header: Statements, message: str):
    with pytest.raises(ValueError, match=message):
        read_columns(columns, header)


def test_spellings_of_a_unit_are_no_contradiction():
    stated = read_columns([Column("I (uV)", SIGNAL, "µV")], Statements(unit="µV"))
    assert stated.channels[0].unit == "uV"


@pytest.mark.parametrize(("name", "unit"), [("I (mV)", ""), ("I", "uV")])
def test_a_gain_is_passed_on(name: str, unit: str):
    stated = read_columns([Column(name, SIGNAL)], Statements(500, unit, "", "a gain of 1000"))
    assert stated.scale == "a gain of 1000"
    np.testing.assert_array_equal(stated.channels[0].samples, SIGNAL)


@pytest.mark.parametrize(
    ("name", "times"),
    [
        *[("min", TIME / 60), ("Time (h)", TIME / 3600), ("t [10ms]", 100 * TIME)],
        *[("Time (0.1 ms)", 1e4 * TIME), ("time", TIME / 60), ("time", 1e4 * TIME)],
        *[("Date", 46_000 + TIME / 86_400), ("milliSec", 1e3 * TIME), ("sec", TIME)],
    ],
)
def test_units_of_time(name: str, times: np.ndarray):
    stated = read_columns([Column(name, times), Column("I", SIGNAL)], NOTHING)
    assert [(channel.name, channel.fs) for channel in stated.channels] == [("I", 500)]


def test_a_column_with_the_name_of_a_unit_is_a_time_only_if_it_rises():
    assert names([Column("min", SIGNAL - 1), Column("I", SIGNAL)]) == ["min", "I"]


def test_a_lead_of_the_header_names_the_only_column():
    assert names([Column("", SIGNAL)], Statements(lead="I")) == ["I"]
    assert names([Column("ecg", SIGNAL)], Statements(lead="I")) == ["I"]
    assert names([Column("", SIGNAL), Column("", SIGNAL)], Statements(lead="I")) == ["", ""]

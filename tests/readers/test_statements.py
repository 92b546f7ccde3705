"""Sampling rate, unit and lead in the lines before a table, in any language."""

import pytest

from ecg_siglip.readers.statements import Statements, parse_rate, read_statements, states_scale


@pytest.mark.parametrize(
    ("rows", "stated"),
    [
        ([["Sample Rate", "512 hertz"], [], ["Lead", "Lead I"], ["Unit", "µV"]], (512, "μV", "I")),
        (
            [["Rate", "511,422\u00a0Hertz"], [], ["Ableitung", "Ableitung I"], ["Einheit", "mV"]],
            (511.422, "mV", "I"),
        ),
        ([["采样率", "512 赫兹"], [], ["导联", "I导联"], ["单位", "µV"]], (512, "μV", "I")),
        ([["レート", "512ヘルツ"], [], ["誘導", "Ⅰ誘導"], ["単位", "µV"]], (512, "μV", "I")),
        ([["ч", "512 Гц"], [], ["Отведение", "Отведение V1"], ["y", "мкВ"]], (512, "мкВ", "V1")),
        # Words of no known language: by the values alone.
        ([["", "512 hertz"], [], ["Bar", "Bar V2"], ["Baz", "mV"]], (512, "mV", "V2")),
        ([["512 hertz"], [], ["Bar", "Qux I"], ["Baz", "mV"]], (512, "mV", "I")),
        # Where commas delimit cells, 511,422 is two of them.
        ([["Messrate", "511", "422 Hertz"]], (511.422, "", "")),
        ([["fs: 500"], ["units: uV"]], (500, "uV", "")),
        ([["Sampling rate: 1,000 Hz"]], (1000, "", "")),
        ([["fs = 1 kHz"]], (1000, "", "")),
        ([["Sampling interval: 2 ms"]], (500, "", "")),
        ([["Name", "I Putu"], ["Symptoms", "I feel ill"], ["Device", "Watch6,7"]], (None, "", "")),
        # Frequencies that are no sampling rate.
        ([["Filter: 0.05 - 150 Hz"], ["Notch 50 Hz"], ["Low pass: 250 Hz"]], (None, "", "")),
        ([["Hochpassfilter", "500 Hz"], ["Anything", "150 Hz"], ["Rate", "250 Hz"]], (250, "", "")),
        # Units of a single number.
        ([["Calibration", "1", "mV"], ["Range", "5", "V"], ["Step", "4.9", "uV"]], (None, "", "")),
        ([["Calibration", "1", "mV"], ["Unit", "uV"]], (None, "uV", "")),
        ([["Heart rate: 72 bpm"], ["Gain: 10 mm/mV"], ["Supply", "V"]], (None, "", "")),
    ],
)  # fmt: skip
def test_statements_are_recognized(rows: list[list[str]], stated: tuple):
    assert read_statements(rows) == Statements(*stated)


@pytest.mark.parametrize(
    ("line", "fs"),
    [
        ("Sample interval (ms): 1", 1000),
        ("Sample period: 0.001", 1000),
        ("Sampling interval [s] = 2e-3", 500),
        ("sample_interval_ms: 4", 250),
        ("Interval: 0.002 s", 500),
        ("Interval: 10 s", None),
        ("Sample period: 4", None),
    ],
)
def test_intervals_state_the_rate(line: str, fs: float | None):
    for other in ([], ["Frequency range: 0.05 - 250 Hz"], ["Upper limit: 250 Hz"]):
        stated = read_statements([[line], other]).fs
        assert stated == (None if fs is None else pytest.approx(fs))


@pytest.mark.parametrize(
    "row",
    [
        *[["Grenzfrequenz: 250 Hz"], ["Frequency response", "0.05-300 Hz"], ["HF: 250 Hz"]],
        *[["Upper limit 250 Hz"], ["ADC rate: 1000 Hz"], ["Response", "0.05", "300 Hz"]],
        *[["Sampling 0.5 Hz to 300 Hz"], ["", "0.05–300 Hz"], ["ECG: 1..300 Hz"]],
    ],
)
def test_other_frequencies_are_no_sampling_rate(row: list[str]):
    assert read_statements([row]).fs is None


@pytest.mark.parametrize(
    ("row", "fs"),
    [
        (["Sampling rate: 500 Hz (original 1000 Hz)"], 500),
        (["Sampling rate: 500 Hz", "original 1000 Hz"], 500),
        (["Abtastrate: 500 Hz [ursprünglich 1000 Hz]"], 500),
        (["Resampled from 1000 Hz to 500 Hz"], None),
        *[([f"{word} sampling rate: 1000 Hz"], None) for word in ("Original", "Internal", "Max.")],
        *[([f"{word} sampling rate: 1000 Hz"], None) for word in ("Hardware", "Raw", "ADC")],
        *[([f"{word} sampling rate: 1000 Hz"], None) for word in ("Native", "Device", "minimum")],
        *[(["Sampling rate before filtering", "1000 Hz"], None), (["orig_fs: 1000"], None)],
        *[(["Output data rate: 500 Hz"], 500), (["Downsampled to 500 Hz"], 500)],
        *[(["fs: 500", "units: mV"], 500), (["2 msec/sample"], 500)],
        *[(["fs: 500 Hz; units: mV"], 500), (["Doe, John; fs: 500, Filter: 0.05-250 Hz"], 500)],
        *[(["4 ms per sample"], 250), (["dt: 0.002"], 500), (["Time step", "2 ms"], 500)],
    ],
)
def test_rates_of_the_record(row: list[str], fs: float | None):
    assert read_statements([row]).fs == (None if fs is None else pytest.approx(fs))


@pytest.mark.parametrize(
    ("row", "fs"),
    [
        *[("Downsampled by factor 2", None), ("Decimation: 2", None), ("Subsampled: x4", None)],
        *[("decimation_factor: 4", None), ("Decimation ratio: 2:1", None)],
        *[("Decimation: 1", 500), ("Downsampled: no", 500), ("Resampled: 500 Hz", 500)],
        *[("Oversampling: 8", 500), ("Decimation: 1.0", 500)],
    ],
)
def test_a_rate_before_decimation_is_none_of_the_record(row: str, fs: float | None):
    assert read_statements([["Sampling rate: 500 Hz"], [row]]).fs == fs
    if fs is None:
        assert read_statements([[f"Sampling rate: 500 Hz ({row})"]]).fs is None


@pytest.mark.parametrize(
    "key",
    [
        *["Samplingshastighed", "Näytteenottotaajuus", "Vzorkovací frekvence", "Örnekleme hızı"],
        *["Częstotliwość próbkowania", "Mintavételi frekvencia", "Rata de eșantionare", "Rate"],
        *[
            "Freqüència de mostreig",
            "Tần số lấy mẫu",
            "Laju sampel",
            "आवृत्ति",
            "샘플",
            "Fréquence d’échantillonnage",
        ],
    ],
)
def test_sampling_rates_in_other_languages(key: str):
    assert read_statements([[key, "512 hertz"]]).fs == 512


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([["fs: 500"], ["Sampling rate: 250 Hz"]], "500 Hz and 250 Hz"),
        ([["Sampling: 500 Hz"], ["Data rate: 1000 Hz"]], "500 Hz and 1000 Hz"),
        ([["Unit", "µV"], ["Unit", "mV"]], "the units"),
        ([["fs: fast"]], "expected a sampling rate in Hz, got 'fast'"),
    ],
)
def test_contradictions_are_refused(rows: list[list[str]], words: str):
    with pytest.raises(ValueError, match=words):
        read_statements(rows)


@pytest.mark.parametrize(
    ("row", "scale"),
    [
        (["# gain: 1000"], "a gain of 1000"),
        (["Gain", "200 adu/mV"], "a gain of 200 adu/mV"),
        (["Resolution: 4.88 uV/bit"], "a resolution of 4.88 uV/bit"),
        (["LSB", "4,9", "uV"], "a lsb of 4,9"),
        *[(["Scale: 2.5"], "a scale of 2.5"), (["Offset: -3"], "an offset of -3")],
        *[(["Gain: 10 mm/mV"], ""), (["Resolution: 16 bit"], ""), (["Baseline: 0.05 Hz"], "")],
        *[(["Gain: 1.0"], ""), (["Offset: 0"], ""), (["Scale: auto"], ""), (["lsb: 1 uV"], "")],
    ],
)
def test_gains_and_offsets(row: list[str], scale: str):
    assert read_statements([row]).scale == scale


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("Sensitivity", "0.5 uV/bit"), ("ADC resolution", "0.5 uV/bit"), ("AVM", "0.5")],
        *[("LSB value", "0.5 uV"), ("uV/bit", 0.5), ("Amplitude resolution", "0.5 uV")],
        *[("Scale factor", "0,5"), ("Conversion factor", 0.5), ("Multiplier", "0.5")],
        *[("Skalierung", "0,5"), ("Auflösung", "0,5 uV/Bit"), ("Calibration", "0.5")],
        *[("Gain", "2 LSB/uV"), ("Gain (LSB/uV)", "2"), ("Resolution", "500 nV/LSB")],
        *[("ADU per mV", "2000"), ("units/mV", 2000), ("1 mV", "2000 units")],
        *[("", "amplitude in steps of 0.5 uV"), ("", "2.5 µV/bit"), ("0.5", "uV/LSB")],
        *[("lsb_uv", 0.5), ("uv_per_lsb", 0.5), ("countsPerMv", 200), ("units_per_lsb", 0.5)],
        *[("Empfindlichkeit", "2,5 µV/LSB"), ("Verstärkungsfaktor", "1000x"), ("Gain", "x2")],
        *[("Résolution", "2,5 µV"), ("Sensibilité", "5"), ("增益", "200"), ("Calibrated", "2")],
        *[("baseline", 512), ("add_offset", 3), ("ADC zero", 1024), ("adc_resolution", 0.5)],
        *[("microvolts per bit", "2.5"), ("", "1 bit = 4.88 uV"), ("conversion", 1e-6)],
        *[("", "2000 counts = 1 mV"), ("", "1 count equals 0.5 uV"), ("Scaling", "1/200")],
        *[("", "gain 200"), ("", "gain 200(1024)/mV"), ("Bit weight", "0.5 uV")],
    ],
)
def test_scales_are_recognized(key: str, value: object):
    assert states_scale(key, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("Gain", "10 mm/mV"), ("Sensitivity", "10 mm/mV"), ("", "25 mm/s, 10 mm/mV")],
        *[("Resolution", "16 bit"), ("ADC resolution", "16"), ("bit resolution", 24)],
        *[("Gain", 1), ("Gain", "1.0"), ("lsb", "1 uV"), ("Calibration", "1 mV"), ("offset", 0)],
        *[("Calibration date", "20240101"), ("Calibration date", "2024-01-01")],
        *[("Calibration pulse", "5 mV"), ("Full scale", "5 mV"), ("Display gain", "10")],
        *[("time_resolution", 0.002), ("Resolution", "2 ms"), ("Sampling rate conversion", 2)],
        *[("utc_offset", 2), ("Baseline", "0.05 Hz"), ("Sensitivity", "95 %"), ("gain", None)],
        *[("Input range", "+/-5 mV"), ("RV5", "1.2 mV"), ("Unit", "1 mV"), ("Unit", "uV")],
        *[("Bits per sample", 16), ("Conversion version", "3"), ("Scale", "auto"), ("fs", 500)],
        *[("Name", "a" * 5000), ("gain", True), ("Nominal SBP", 120), ("Number of units", 5)],
        *[("Gain", "0.5 cm/mV"), ("", "Resolution 16 bit"), ("Calibration", "10 mm = 1 mV")],
    ],
)
def test_other_numbers_are_no_scale(key: str, value: object):
    assert not states_scale(key, value)


def test_the_same_statement_twice_is_none_too_many():
    rows = [["fs: 500"], ["Sampling rate: 500.0 Hz"], ["Unit", "µV"], ["Units", "uV"]]
    assert read_statements(rows) == Statements(500, "μV", "")


@pytest.mark.parametrize(
    ("text", "fs"),
    [("500", 500), ("500 Hz", 500), ("511,422 Hertz", 511.422), ("1,000", 1000), ("2 kHz", 2000)],
)
def test_rates_are_parsed(text: str, fs: float):
    assert parse_rate(text) == pytest.approx(fs)

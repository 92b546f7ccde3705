"""Leads are chosen by name first; unit, rate and length are checked of the chosen ones alone."""

import numpy as np
import pytest

from ecg_siglip.readers.channels import Channel
from ecg_siglip.readers.selection import select_leads, settled_units
from ecg_siglip.signals.leads import LEADS, lead_name

T = np.arange(5000) / 500


def channel(
    name: str, unit: str = "mV", fs: float | None = 500.0, n: int = 5000, **more
) -> Channel:
    return Channel(name, np.sin(2 * np.pi * T[:n]), unit, fs, **more)


def twelve(unit: str = "mV") -> list[Channel]:
    return [channel(lead, unit) for lead in LEADS]


@pytest.mark.parametrize(
    "other",
    [
        channel("ABP", "mmHg"),
        channel("RESP,", "pm"),
        channel("Resp", "mV", 62.5, 625),
        channel("EEG C3", "uV", 250.0, 2500),
        channel("marker", "", None, 3),
        channel("V", "", 500.0),
    ],
)
def test_other_channels_do_not_matter(other: Channel):
    leads = select_leads([other, *twelve()])
    assert leads.names == LEADS
    assert leads.fs == 500
    assert leads.signal.shape == (12, 5000)
    assert leads.warnings == []


def test_further_voltages_at_the_same_rate_are_kept():
    vectors = [channel(name) for name in ("vx", "vy", "V7")]
    assert select_leads([*twelve(), *vectors]).names == (*LEADS, "vx", "vy", "V7")


@pytest.mark.parametrize(
    ("unit", "mv"),
    [
        ("nV", 1e-6), ("uV", 1e-3), ("\u00b5V", 1e-3), ("\u03bcV", 1e-3), ("\u00c2\u00b5V", 1e-3),
        ("\ufffdV", 1e-3), ("mV", 1.0), ("MILLIVOLTS", 1.0), ("MDC_DIM_MICRO_VOLT", 1e-3),
        ("microvolts", 1e-3), ("V", 1e3),
    ],
)  # fmt: skip
def test_units(unit: str, mv: float):
    expected = (T[:5000] * 0 + mv * np.sin(2 * np.pi * T)).astype(np.float32)
    np.testing.assert_allclose(select_leads([channel("I", unit)]).signal[0], expected, rtol=1e-6)


@pytest.mark.parametrize("unit", ["mmHg", "pm", "bpm", "%", "mW", "kV/s"])
def test_a_lead_in_another_unit_is_refused(unit: str):
    with pytest.raises(ValueError, match=f"expected units nV, uV, mV or V, got {unit} for lead II"):
        select_leads([channel("I"), channel("II", unit)])


def test_counts_need_the_gain():
    channels = [channel("I", ""), channel("II", "adu")]
    with pytest.raises(ValueError, match=r"no units for lead I: give read.units=.* or read.gain="):
        select_leads(channels)
    signal = select_leads(channels, gain=200).signal
    np.testing.assert_allclose(signal[1], np.sin(2 * np.pi * T) / 200, atol=1e-7)
    for gain in (0.0, -5.0, np.nan):
        with pytest.raises(ValueError, match="expected read.gain above 0"):
            select_leads(channels, gain=gain)
    with pytest.raises(ValueError, match="contradicts read.gain=200"):
        select_leads(twelve(), gain=200)
    with pytest.raises(ValueError, match="expected read.units or read.gain, got mV and 200"):
        select_leads(channels, units="mV", gain=200)


def test_a_scale_next_to_a_unit_is_settled_by_the_caller():
    channels = [channel("I", "uV"), channel("resp", "ml")]
    with pytest.raises(
        ValueError, match=r"states a gain of 2 and the unit uV: .*read.gain=\.\.\. in"
    ):
        settled_units(channels, "a gain of 2", None, None)
    assert [each.unit for each in settled_units(channels, "a gain of 2", None, 200)] == ["", "ml"]
    for scale, units, gain in (("a gain of 2", "uV", None), ("", None, None), ("", None, 200)):
        assert settled_units(channels, scale, units, gain) == channels
    counts = [channel("I", "adu")]
    assert settled_units(counts, "a gain of 2", None, None) == counts


@pytest.mark.parametrize(
    ("stated", "given", "word"),
    [
        ({"unit": "mV"}, {"units": "uV"}, "contradicts read.units=uV"),
        ({"fs": 500.0}, {"fs": 250.0}, "states 500 Hz, which contradicts read.fs=250"),
        ({"fs": None}, {}, "no sampling rate: give read.fs"),
        ({"fs": 20.0}, {}, "expected a sampling rate of 50 to 20000 Hz, got 20 Hz"),
        ({}, {"leads": ["V1"]}, r"contradicts read.leads=\[V1\]"),
    ],
)
def test_contradictions_and_gaps(stated: dict, given: dict, word: str):
    with pytest.raises(ValueError, match=word):
        select_leads([channel("I", **stated)], **given)


def test_leads_of_two_rates_are_refused():
    with pytest.raises(ValueError, match="one sampling rate, got I 500 Hz, V1 250 Hz"):
        select_leads([channel("I"), channel("V1", fs=250.0)])


def test_names_without_a_meaning_are_replaced():
    channels = [channel("ECG1"), channel("Resp", "V"), channel("ECG2")]
    assert select_leads(channels, leads=["II", "V1"]).names == ("II", "V1")
    assert select_leads(channels, leads=["-", "V1"]).names == ("V1",)
    with pytest.raises(ValueError, match=r"3 names in read.leads for 2 channels: ECG1, ECG2"):
        select_leads(channels, leads=["I", "II", "III"])
    with pytest.raises(ValueError, match="leaves out every channel"):
        select_leads(channels, leads=["-", "-"])


def test_names_of_the_file_may_be_repeated_and_completed():
    assert select_leads(twelve(), leads=list(LEADS)).names == LEADS
    mixed = [channel("II"), channel("Ch2")]
    assert select_leads(mixed, leads=["II", "V5"]).names == ("II", "V5")
    assert select_leads(mixed, leads=["MLII"]).names == ("II", "Ch2")
    with pytest.raises(ValueError, match="states leads II, Ch2, which contradicts"):
        select_leads(mixed, leads=["I", "V5"])


def test_channels_without_names_need_them():
    with pytest.raises(ValueError, match="does not name its 2 leads: give read.leads="):
        select_leads([channel(""), channel("")])
    assert select_leads([channel(""), channel("")], leads=["I", "II"]).names == ("I", "II")


def test_c1_to_c6_are_chest_leads_of_an_ecg_only():
    limb = [channel("I"), channel("II")]
    iec = [channel(f"C{i}") for i in range(1, 7)]
    assert select_leads(limb + iec).names[2:] == LEADS[6:]
    assert select_leads(iec).names == LEADS[6:]
    assert select_leads([*limb, channel("C2")]).names[2:] == ("V2",)
    eeg = [channel("C3", "uV"), channel("C4", "uV"), channel("O1", "uV")]
    assert "V3" not in select_leads([channel("II", "uV"), *eeg]).names
    assert "V3" not in select_leads(eeg[:2]).names


def many(letter: str, n: int) -> list[Channel]:
    return [channel(f"{letter}{i}", "uV") for i in range(1, n + 1)]


CAP = [channel(name, "uV") for name in ("Fp1", "AF7", "F1", "FC5", "CPz", "PO3", "O1", "TP9")]
MONTAGES = [
    [*many("A", 32), *many("B", 32), *many("C", 32), *many("D", 32)],
    [*CAP, *many("C", 6)],
    [*many("A", 8), *many("B", 8), *many("D", 8), *many("V", 8)],
    [*many("C", 12)],
    [channel("Fz"), *many("C", 6)],
]


@pytest.mark.parametrize("montage", MONTAGES)
def test_electrodes_are_no_leads(montage: list[Channel]):
    assert not set(map(lead_name, select_leads(montage).names)) & set(LEADS)
    for name in ("ECG", "EKG1", "EXG1", "EEG EKG1-REF"):
        channels = [*montage, channel("HEOG", "uV"), channel(name, "uV")]
        assert select_leads(channels).names == (name,)
        assert select_leads(channels, leads=["II"]).names == ("II",)
        others = ["-"] * (len(channels) - 1)
        assert select_leads(channels, leads=[*others, "II"]).names == ("II",)
    assert select_leads([*montage, channel("II")]).names == ("II",)


def test_channels_with_numbers_alone_are_named_by_the_caller():
    for letter in "ACDV":
        assert select_leads(many(letter, 12), leads=LEADS).names == LEADS


def test_leads_on_the_back_are_no_electrodes():
    back = [channel(name) for name in ("V7", "V8", "V9", "V3R")]
    assert select_leads([*twelve(), *back]).names[:12] == LEADS
    latin = [channel(name) for name in ("D1", "D2", "D3")]
    assert select_leads([*latin, *many("V", 9)]).names[3:9] == LEADS[6:]
    iec = [channel("I"), channel("II"), *many("C", 9)]
    assert select_leads(iec).names[2:8] == LEADS[6:]
    pressures = [channel("P1", "mmHg"), channel("T1", "degC")]
    assert select_leads([*iec[:8], *pressures]).names[2:] == LEADS[6:]


def test_nearly_equal_lengths_are_cut():
    leads = select_leads([channel("I"), channel("II", n=4990)])
    assert leads.signal.shape == (2, 4990)
    assert leads.warnings == ["leads of 4990 to 5000 samples, cut to the shortest"]


def test_strips_are_refused():
    for other in (channel("II", n=1250), channel("II", start_s=2.5)):
        with pytest.raises(ValueError, match="a print layout of short strips"):
            select_leads([channel("I"), other])


def test_a_file_without_an_ecg():
    with pytest.raises(ValueError, match="no channel that can be a lead of an ECG: ABP, SpO2"):
        select_leads([channel("ABP", "mmHg"), channel("SpO2", "%")])
    with pytest.raises(ValueError, match="expected channels with signals, got none"):
        select_leads([])
    with pytest.raises(ValueError, match="0 s of signal"):
        select_leads([channel("I", n=0)])

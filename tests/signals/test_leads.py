"""Leads are ordered by name, missing limb leads are computed, and warnings name the others."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import beats as ecg

from ecg_siglip.signals.leads import (
    LEAD_SETS,
    LEADS,
    LEADS_FROM_ELECTRODES,
    available_leads,
    lead_name,
    lead_warnings,
    mask_leads,
    nearest_lead_set,
    order_leads,
)

ROOT = Path(__file__).resolve().parents[2]
LIMB = LEADS[:6]


SPELLINGS = {
    "I": [
        *("I", "i", " I ", "DI", "D1", "D-I", "MLI", "Lead I", "Lead_I", "Lead: I", "I lead"),
        *("I-lead", "EKG I", "Einthoven I", "Ableitung I", "'I'", '"I"', "I,", "I."),
        *("MDC_ECG_LEAD_I", "MDC:1", "2:1", "131073", "5.6.3-9-1"),
        *(
            "\u2160",
            "\uff29",
            "\u7b2cI\u8a98\u5c0e",
            "\u7b2c1\u8a98\u5c0e",
            "I\u5bfc\u8054",
            "\uc81c1\uc720\ub3c4",
        ),
    ],
    "II": [
        *(
            "ii",
            "MLII",
            "ML II",
            "DII",
            "D II",
            "D2",
            "Lead II",
            "ECG II",
            "EKG II",
            "ECG_II",
            "II,",
        ),
        *("EKG Abl. II", "Derivaci\u00f3n II", "D\u00e9rivation DII", "\u2161", "131074"),
    ],
    "III": ["iii", "D3", "2:61", "131133"],
    "aVR": [
        *("aVR", "AVR", "avr", "A VR", "aV R", "a.V.R", "lead aVR", "ECG-aVR", "Goldberger aVR"),
        *("MDC_ECG_LEAD_AVR", "131134", "aVR \u5c0e\u806f", "\uff41\uff36\uff32"),
    ],
    "V1": [
        *("v1", "V 1", "V-1", "V01", "V1:", "V1 lead", "ECG V1", "EKG-V1", "EKG_V1", "ECG Lead V1"),
        *(
            "Wilson V1",
            "D\u00e9rivation V1",
            "V1\u8a98\u5c0e",
            "MDC_ECG_LEAD_V1",
            "5.6.3-9-3",
            "131075",
        ),
    ],
    "I ": ["ECG I-Ref", "ECG LA-RA", "LA-RA", "EKG la - ra"],
    "II ": ["ECG II-Ref", "ECG LL-RA"],
    "III ": ["LL-LA"],
    "V1 ": ["EKG V1-Ref", "ECG V1-REF"],
    "V5": ["ECG V5", "ECG - V5", "v5;", "`V5`"],
}
OTHERS = (
    *("-aVR", "ECG -aVR", "\u2212aVR", "-I", "aVR-", "inverted aVR", "aVR inv"),
    *("ECG1", "ECG", "Lead", "Lead 1", "1", "Ch I", "\u7b2c4\u8a98\u5c0e", "2:99", "131072"),
    *("V", "V0", "V7", "V10", "V3R", "VR", "VI", "MCL1", "aV", "C1", "D", "D4", "IV", "IIII", "X"),
    *("RA-LA", "LA-LL", "ECG RA-LA", "LA1-LA2", "V1-Ref", "I-Ref", "A1-Ref", "EEG C3-Ref"),
    *("I+II", "I-II", "V1-V2", "II V1", "EEG C3", "ICG", "IBI", "LI", "MDC_ECG_LEAD_X", ""),
)


@pytest.mark.parametrize(
    ("spell", "lead"), [(spell, lead) for lead, words in SPELLINGS.items() for spell in words]
)
def test_spellings_of_leads(spell: str, lead: str):
    assert lead_name(spell) == lead.strip()


@pytest.mark.parametrize("name", OTHERS)
def test_other_names_stay_as_they_are(name: str):
    assert lead_name(name) == name


def test_the_documented_spellings_are_recognized():
    page = (ROOT / "docs" / "how-to" / "file-formats.md").read_text(encoding="utf-8")
    section = page.split("## Names of leads")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `?([^|`]+)`? \| (.*) \|$", section, re.M)[1:]
    assert len(rows) >= 8
    n_names = 0
    for lead, cell in rows:
        for name in re.findall(r"`([^`]+)`", cell):
            n_names += 1
            if lead == "no lead":
                assert lead_name(name) not in LEADS, name
            else:
                assert lead_name(name) == lead, name
    assert n_names >= 50


@pytest.mark.parametrize("spell", [str, str.upper, str.lower, lambda name: f" {name} "])
def test_leads_are_ordered_by_name(spell: Any):
    signal, shuffled = ecg(), np.random.default_rng(1).permutation(12)
    names = [spell(LEADS[i]) for i in shuffled]
    np.testing.assert_array_equal(order_leads(signal[shuffled], names), signal)


def test_leads_beyond_the_twelve_are_left_out():
    signal = np.vstack([np.full((2, 1000), 99, np.float32), ecg()])
    np.testing.assert_array_equal(order_leads(signal, ["X", "V3R", *LEADS]), ecg())


def test_missing_and_doubled_leads_are_named():
    given = [i for i, lead in enumerate(LEADS) if lead not in ("aVF", "V6")]
    with pytest.raises(ValueError, match=r"record r7: .*missing aVF, V6"):
        order_leads(ecg()[given], [LEADS[i] for i in given], "r7")
    with pytest.raises(ValueError, match=r"record r7: .*missing V2; more than once V1"):
        order_leads(ecg(), [*LEADS[:7], "v1 ", *LEADS[8:]], "r7")
    with pytest.raises(ValueError, match=r"record r7: .*12 leads as named, got shape"):
        order_leads(ecg().T, LEADS, "r7")


@pytest.mark.parametrize("pair", [(a, b) for a in LIMB for b in LIMB if a < b])
def test_any_two_limb_leads_give_the_other_four(pair):
    electrodes = np.random.default_rng(0).normal(size=(9, 50))
    whole = (LEADS_FROM_ELECTRODES @ electrodes).astype(np.float32)
    given = [LEADS.index(lead) for lead in pair]
    ordered = order_leads(whole[given], pair, allow_missing=True)
    np.testing.assert_allclose(ordered[:6], whole[:6], atol=1e-6)
    assert not ordered[6:].any()
    np.testing.assert_array_equal(ordered[given], whole[given])
    assert available_leads(pair).tolist() == [True] * 6 + [False] * 6


def test_two_rows_of_the_same_lead_are_refused_even_if_others_may_be_missing():
    with pytest.raises(ValueError, match="more than once II"):
        order_leads(ecg()[:2], ["II", "MLII"], allow_missing=True)
    with pytest.raises(
        ValueError, match="none of the channels has the name of a lead: X, Y; name them"
    ):
        order_leads(ecg()[:2], ["X", "Y"], allow_missing=True)


@pytest.mark.parametrize(
    ("names", "lead_set"),
    [
        (LEADS, "12"),
        (("I", "II", *LEADS[6:]), "12"),
        (("I", "II", "V1", "V2", "V3"), "3"),
        (("aVL", "aVF"), "6"),
        (("II", "V1"), "II"),
        (("I",), "I"),
    ],
)
def test_the_nearest_lead_set_is_the_largest_available(names: tuple[str, ...], lead_set: str):
    assert nearest_lead_set(available_leads(names)) == lead_set


def test_chest_leads_alone_have_no_lead_set():
    with pytest.raises(ValueError, match="leads V1, V2: expected at least lead I or II"):
        nearest_lead_set(available_leads(["V1", "V2"]))
    with pytest.raises(ValueError, match="^record r: leads none: expected"):
        nearest_lead_set(available_leads([]), "r")


@pytest.mark.parametrize("name", LEAD_SETS)
def test_masked_leads_are_zero_and_the_others_unchanged(name: str):
    signals = np.random.default_rng(0).integers(1, 9, (2, 12, 5)).astype(np.int16)
    masked = mask_leads(signals, name)
    in_set = np.isin(LEADS, LEAD_SETS[name])
    assert masked.dtype == np.int16
    assert not masked[:, ~in_set].any()
    np.testing.assert_array_equal(masked[:, in_set], signals[:, in_set])


def test_channels_that_are_not_used_are_named_only_if_leads_are_missing():
    *_, others = lead_warnings(["I", "II", "C1", "ECG7", "PLETH"])
    assert others.startswith("not used") and "C1, ECG7, PLETH" in others
    assert lead_warnings([*LEADS, "PLETH"]) == []


def test_warnings_name_computed_and_missing_leads():
    assert lead_warnings(LEADS) == []
    assert lead_warnings([]) == []
    assert lead_warnings(["I", "II", "V2"]) == [
        "leads III, aVR, aVL, aVF computed from the other limb leads",
        "without leads V1, V3, V4, V5, V6: calibrated for 3 leads: I, II, V2; findings that need "
        "other leads are not assessed",
    ]


def test_an_unknown_set_of_leads_is_refused():
    with pytest.raises(ValueError, match="leads 5: expected one of 12, 3, 6, II, I"):
        mask_leads(np.zeros((1, 12, 4), np.int16), "5")

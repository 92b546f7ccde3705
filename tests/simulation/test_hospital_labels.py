"""Labels of the synthetic hospital: each follows from the heart and the beats of its record."""

import numpy as np
import pytest

from ecg_siglip.signals.leads import LEADS
from ecg_siglip.simulation import finding_rules
from ecg_siglip.simulation.dataset import DURATION_S
from ecg_siglip.simulation.hospital_labels import (
    DEPARTMENTS,
    OWN_CODES,
    RULES,
    draw_department,
    hospital_vocabulary,
    measure,
    own_findings,
)
from ecg_siglip.simulation.measurements import one_beat, qrs_of
from ecg_siglip.simulation.rhythms import draw_strip
from ecg_siglip.vocabulary import ptbxl


def findings(codes, seed=0, is_noisy=False, **changes):
    """Return the hospital's findings of a person with PTB-XL findings and changed parameters."""
    rng = np.random.default_rng(seed)
    heart = finding_rules.with_findings(finding_rules.person(rng, 50.0, False), codes, rng)
    for name, value in changes.items():
        setattr(heart, name, value)
    return set(own_findings(measure(codes, heart, draw_strip(heart, DURATION_S, rng), is_noisy)))


def test_there_are_98_findings_71_of_them_of_ptbxl():
    words = hospital_vocabulary()
    assert len(words.codes) == 98
    assert set(OWN_CODES) == set(ptbxl().codes)
    assert set(OWN_CODES.values()) | set(RULES) == set(words.codes)
    assert not set(OWN_CODES.values()) & set(RULES)
    assert words.languages == ("ja",)
    assert not any(name.isascii() for name in words.names(words.codes))


def test_what_ptbxl_states_about_a_finding_holds_for_the_own_code():
    known, words = ptbxl(), hospital_vocabulary()
    for code, own in OWN_CODES.items():
        assert words.entry(own).snomed == known.entry(code).snomed
        assert words.entry(own).leads == known.entry(code).leads
    own = [*OWN_CODES.values()]
    pairs = known.exclusive_pairs([*OWN_CODES])
    assert not (pairs & ~words.exclusive_pairs(own)).any()


@pytest.mark.parametrize(("code", "own"), OWN_CODES.items())
def test_a_finding_has_its_own_code(code, own):
    assert own in findings([code])


@pytest.mark.parametrize(
    ("codes", "changes", "present", "absent"),
    [
        (["SBRAD"], {"rate": 42.0}, "R03 R17", "R18"),
        (["SR"], {"rate": 62.0}, "R02", "R17 R18 R19"),
        (["STACH"], {"rate": 110.0, "hrv": 0.0}, "R18", "R19"),
        (["STACH"], {"rate": 140.0}, "R18 R19", "R17"),
        (["AFIB"], {"rate": 135.0}, "R06 R20 R18", "R21"),
        (["AFIB"], {"rate": 48.0}, "R06 R21", "R20"),
        (["AFLT"], {"atrial_rate": 300.0, "rate": 150.0}, "R07 R22", ""),
        (["AFLT"], {"atrial_rate": 300.0, "rate": 75.0}, "R07", "R22"),
        (["SR", "PVC"], {"n_premature": 1}, "R12", "R23"),
        (["SR", "PVC"], {"n_premature": 3}, "R12 R23", "R24 R25"),
        (["SR", "PAC"], {"n_premature": 3}, "R13 R24", "R23"),
        (["SR", "BIGU"], {"premature": "ventricular"}, "R15 R23 R25", "R24"),
        (["SR", "BIGU"], {"premature": "atrial"}, "R15 R24", "R23 R25"),
        (["SVARR"], {}, "R10", "R24"),
        (["SR", "2AVB"], {"av": "wenckebach"}, "C03 C13", "C14"),
        (["SR", "2AVB"], {"av": "2:1"}, "C03 C14", "C13"),
        (["SR", "1AVB"], {"pr": 0.28}, "C01 C15", ""),
        (["SR", "1AVB"], {"pr": 0.22}, "C01", "C15"),
        (["SR", "CRBBB", "LAFB"], {}, "C05 C10 C16 C18", ""),
        (["SR", "CRBBB"], {"qrs": 0.13}, "C16", "C17 C18"),
        (["SR", "CLBBB"], {"qrs": 0.16}, "C07 C16 C17", "C18"),
        (["SR", "LAFB"], {}, "A01", "A02 A03"),
        (["SR", "LPFB"], {}, "A03", "A01"),
        (["SR", "LNGQT"], {"qtc": 0.52}, "T22 T24", "T25"),
        (["SR", "LNGQT"], {"qtc": 0.49}, "T22", "T24"),
        (["SR", "DIG"], {"qtc": 0.35}, "T21 T25", "T24"),
        (["SR", "ISCAL"], {}, "T10 T28", ""),
        (["SR", "ISCIN"], {}, "T14 T27", "T26"),
        (["SR", "ISCAN"], {}, "T12 T26", "T27"),
        (["SR", "INJAL"], {}, "T17 T29", ""),
        (["SR", "NORM"], {}, "R01 R02", "T26 T27 T28 T29 C16 N01 M13 H09"),
    ],
)
def test_a_finer_finding_follows_from_the_parameters(codes, changes, present, absent):
    for seed in range(5):
        got = findings(codes, seed, **changes)
        assert set(present.split()) <= got
        assert not set(absent.split()) & got


def test_strain_is_hypertrophy_with_negative_t_waves():
    strain = [findings(["SR", "LVH"], seed) for seed in range(20)]
    assert {"H09" in each for each in strain} == {True, False}
    assert all("H01" in each for each in strain)
    assert all("T28" in each for each in strain if "H09" in each)
    assert "H09" not in findings(["SR", "ISCAL"])


def test_poor_r_progression_is_a_low_r_in_v3():
    low = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        heart = finding_rules.with_findings(finding_rules.person(rng, 50.0, False), ["AMI"], rng)
        measured = measure(["AMI"], heart, draw_strip(heart, DURATION_S, rng), False)
        highest = qrs_of(heart)[LEADS.index("V3")].max()
        assert ("M13" in own_findings(measured)) == (highest <= 0.3)
        low.append(highest <= 0.3)
    assert {*low} == {True, False}


def test_noise_is_a_finding():
    assert "N01" in findings(["SR", "NORM"], is_noisy=True)


def test_the_rate_and_the_t_wave_are_those_of_the_signal():
    """Measure the noise-free signal itself: intervals of its beats, T before the next beat."""
    rng = np.random.default_rng(3)
    codes = ["SR", "ISCAL"]
    heart = finding_rules.with_findings(finding_rules.person(rng, 50.0, False), codes, rng)
    measured = measure(codes, heart, draw_strip(heart, DURATION_S, rng), False)
    assert abs(measured.rate - heart.rate) < 6
    beat = one_beat(heart)
    after = beat[:, 400 + round(1000 * heart.qrs) + 80 :]  # ST and T
    for lead in ("V4", "V5", "V6"):
        row = after[LEADS.index(lead)]
        assert abs(row[np.abs(row).argmax()] - measured.t[LEADS.index(lead)]) < 0.12


def test_departments_do_not_assess_their_groups():
    rng, words = np.random.default_rng(0), hospital_vocabulary()
    drawn = [draw_department(["SR"], rng) for _ in range(2000)]
    for name, (share, groups) in DEPARTMENTS.items():
        unknown = [codes for department, codes in drawn if department == name]
        assert abs(len(unknown) / len(drawn) - share) < 0.05
        expected = {code for group in groups for code in words.task_codes(group)}
        assert all(expected <= {*codes} for codes in unknown)
        more = np.mean([expected < {*codes} for codes in unknown])
        assert 0 < more < 0.06


def test_normal_ecgs_are_often_from_check_ups():
    rng = np.random.default_rng(0)
    normal = [draw_department(["SR", "NORM"], rng)[0] for _ in range(1000)]
    assert 0.5 < np.mean([name == "健診センター" for name in normal]) < 0.7

"""What each finding changes in a heart: clinical definitions as changes of ``heart.Heart``.

One rule per finding, with its source, in ``rhythm_rules`` and ``waveform_rules``. Rules are
applied in the order of ``RULES``: rhythm, then conduction, scars, chambers, ST-T, and last the
voltages, which are measured on the result.

Sources, by short name:

- AHA-II, AHA-III, AHA-IV, AHA-V, AHA-VI: AHA/ACCF/HRS recommendations for the standardization and
  interpretation of the electrocardiogram, parts II to VI, 2007-2009
  (doi:10.1161/CIRCULATIONAHA.106.180201, 108.191095, 108.191096, 108.191097, 108.191098).
- UDMI4: Fourth Universal Definition of Myocardial Infarction, 2018
  (doi:10.1161/CIR.0000000000000617).
- Minnesota: Prineas, Crow, Zhang, The Minnesota Code Manual, 2nd ed., 2010.
- ESC-SVT: ESC guidelines on supraventricular tachycardia, 2019 (doi:10.1093/eurheartj/ehz467).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ecg_siglip.simulation import rhythm_rules, waveform_rules
from ecg_siglip.simulation.heart import Heart
from ecg_siglip.simulation.measurements import turn_axis
from ecg_siglip.simulation.waveform_rules import Rng, Rule


def no_change(heart: Heart, rng: Rng) -> None:
    """Leave the heart as it is."""


RULES: dict[str, Rule] = {
    "NORM": no_change,
    "SR": rhythm_rules.sinus_rhythm,
    "SBRAD": rhythm_rules.rate_between(40, 57),
    "STACH": rhythm_rules.rate_between(103, 145),
    "SARRH": rhythm_rules.sinus_arrhythmia,
    "SVARR": rhythm_rules.supraventricular_arrhythmia,
    "AFIB": rhythm_rules.atrial_fibrillation,
    "AFLT": rhythm_rules.atrial_flutter,
    "SVTAC": rhythm_rules.supraventricular_tachycardia,
    "PSVT": rhythm_rules.paroxysmal_tachycardia,
    "PAC": rhythm_rules.premature("atrial"),
    "PVC": rhythm_rules.premature("ventricular"),
    "PRC(S)": rhythm_rules.premature(""),
    "BIGU": rhythm_rules.premature("", every=2),
    "TRIGU": rhythm_rules.premature("", every=3),
    "LPR": rhythm_rules.first_degree_block,
    "1AVB": rhythm_rules.first_degree_block,
    "2AVB": rhythm_rules.second_degree_block,
    "3AVB": rhythm_rules.third_degree_block,
    "CLBBB": rhythm_rules.left_bundle_branch_block,
    "ILBBB": rhythm_rules.incomplete_left_bundle_branch_block,
    "PACE": rhythm_rules.pacemaker,
    "IVCD": rhythm_rules.intraventricular_delay,
    "LVH": waveform_rules.left_hypertrophy,
    "VCLVH": waveform_rules.left_voltage,
    "SEHYP": waveform_rules.septal_hypertrophy,
    "RVH": waveform_rules.right_hypertrophy,
    "LAFB": rhythm_rules.left_anterior_block,
    "LPFB": rhythm_rules.left_posterior_block,
    "CRBBB": rhythm_rules.right_bundle_branch_block,
    "IRBBB": rhythm_rules.incomplete_right_bundle_branch_block,
    "IMI": waveform_rules.infarction("inferior"),
    "ASMI": waveform_rules.infarction("anteroseptal"),
    "AMI": waveform_rules.infarction("anterior"),
    "ALMI": waveform_rules.infarction("anterolateral"),
    "LMI": waveform_rules.infarction("lateral"),
    "ILMI": waveform_rules.infarction("inferior", "lateral"),
    "PMI": waveform_rules.infarction("posterior"),
    "IPMI": waveform_rules.infarction("inferior", "posterior"),
    "IPLMI": waveform_rules.infarction("inferior", "posterior", "lateral"),
    "ANEUR": waveform_rules.aneurysm,
    "QWAVE": waveform_rules.q_waves,
    "ABQRS": waveform_rules.abnormal_qrs,
    "WPW": rhythm_rules.preexcitation,
    "LAO/LAE": waveform_rules.left_atrium,
    "RAO/RAE": waveform_rules.right_atrium,
    "NDT": waveform_rules.scaled_t(0.05, 0.30),
    "NT_": waveform_rules.scaled_t(-0.10, 0.30),
    "LOWT": waveform_rules.scaled_t(0.05, 0.25),
    "TAB_": waveform_rules.abnormal_t,
    "INVT": waveform_rules.scaled_t(-1.1, -0.6),
    "NST_": waveform_rules.st_shift(-0.09, -0.05),
    "STD_": waveform_rules.st_shift(-0.20, -0.10),
    "STE_": waveform_rules.st_shift(0.12, 0.25),
    "ISC_": waveform_rules.ischaemia("lateral"),
    "ISCAL": waveform_rules.ischaemia("anterolateral"),
    "ISCAS": waveform_rules.ischaemia("anteroseptal"),
    "ISCAN": waveform_rules.ischaemia("anterior"),
    "ISCLA": waveform_rules.ischaemia("lateral"),
    "ISCIN": waveform_rules.ischaemia("inferior"),
    "ISCIL": waveform_rules.ischaemia("inferolateral"),
    "INJAS": waveform_rules.injury("anteroseptal"),
    "INJAL": waveform_rules.injury("anterolateral"),
    "INJLA": waveform_rules.injury("lateral"),
    "INJIN": waveform_rules.injury("inferior"),
    "INJIL": waveform_rules.injury("inferolateral"),
    "DIG": waveform_rules.digitalis,
    "LNGQT": waveform_rules.long_qt,
    "EL": waveform_rules.electrolytes,
    "LVOLT": waveform_rules.low_voltage,
    "HVOLT": waveform_rules.high_voltage,
}


def person(rng: Rng, age: float, is_woman: bool) -> Heart:
    """Draw the healthy heart of a person: intervals, axis and voltages vary as they do in people.

    Notes
    -----
    Normal limits by age and sex: Rijnbeek et al. 2014 (doi:10.1016/j.jelectrocard.2014.07.022):
    longer QTc and lower voltages in women, an axis further to the left with age.
    """
    heart = Heart()
    heart.pr = float(np.clip(rng.normal(0.155, 0.017), 0.122, 0.195))
    heart.qrs = float(np.clip(rng.normal(0.088 if is_woman else 0.094, 0.006), 0.072, 0.106))
    heart.qtc = float(np.clip(rng.normal(0.415 if is_woman else 0.405, 0.014), 0.370, 0.442))
    heart.hrv = float(rng.uniform(0.01, 0.045)) * (1.3 - min(age, 90) / 100)
    heart.respiration = float(rng.uniform(11, 19))
    size = (0.88 if is_woman else 1.0) * rng.normal(1.0, 0.12)
    for name, force in heart.forces.items():
        variation = rng.normal(1.0, 0.12, 3)
        heart.forces[name] = replace(force, vector=size * variation * force.vector)
    turn_axis(heart, float(np.clip(rng.normal(62 - 0.55 * age, 18), -25, 85)))
    heart.t = heart.t * rng.normal(1.0, 0.18) * rng.normal(1.0, 0.10, 3)
    heart.p = tuple(replace(wave, vector=wave.vector * rng.normal(1, 0.12)) for wave in heart.p)
    heart.leads = heart.leads * rng.normal(1.0, 0.06, heart.leads.shape)
    return heart


def with_findings(heart: Heart, codes: Iterable[str], rng: Rng) -> Heart:
    """Change a heart by the rules of findings.

    Parameters
    ----------
    heart : Heart
        Changed in place and returned.
    codes : iterable of str
        Findings; their order does not matter.
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        For a finding without a rule.
    """
    codes = set(codes)
    if unknown := codes - set(RULES):
        raise ValueError(
            f"finding {', '.join(sorted(unknown))}: no rule; known: {', '.join(RULES)}"
        )
    for code, rule in RULES.items():
        if code in codes:
            rule(heart, rng)
    return heart

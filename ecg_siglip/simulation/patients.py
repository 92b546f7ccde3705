"""Patients and their findings, drawn at the prevalences of PTB-XL."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ecg_siglip.vocabulary.vocabulary_file import ptbxl

# Share of records with each finding in PTB-XL v1.0.3, counted in its 21,799 rows of metadata
# (Wagner et al. 2020, doi:10.1038/s41597-020-0495-6).
RHYTHM = {
    "SR": 0.768, "AFIB": 0.0695, "STACH": 0.0379, "SARRH": 0.0354, "SBRAD": 0.0292,
    "PACE": 0.0135, "SVARR": 0.0072, "AFLT": 0.0033, "SVTAC": 0.0012, "PSVT": 0.0011,
}  # fmt: skip
NORMAL = 0.436
# At most one of a group; the shares are of all records.
GROUPS: list[dict[str, float]] = [
    {"IRBBB": 0.0513, "IVCD": 0.0361, "CRBBB": 0.0248, "CLBBB": 0.0246, "WPW": 0.0036,
     "ILBBB": 0.0035},
    {"LAFB": 0.0745, "LPFB": 0.0081},
    {"1AVB": 0.0364, "LPR": 0.0156, "3AVB": 0.0010, "2AVB": 0.0010},
    {"IMI": 0.1228, "ASMI": 0.1081, "ILMI": 0.0219, "AMI": 0.0162, "ALMI": 0.0132,
     "LMI": 0.0092, "ANEUR": 0.0048, "IPLMI": 0.0023, "IPMI": 0.0015, "PMI": 0.0010},
    {"LVH": 0.0978, "VCLVH": 0.0401, "RVH": 0.0058, "SEHYP": 0.0013},
    {"LAO/LAE": 0.0195, "RAO/RAE": 0.0045},
    {"NDT": 0.0837, "ISC_": 0.0584, "STD_": 0.0463, "NST_": 0.0352, "ISCAL": 0.0302,
     "LOWT": 0.0201, "NT_": 0.0194, "INVT": 0.0135, "ISCIN": 0.0100, "INJAS": 0.0098,
     "DIG": 0.0083, "ISCIL": 0.0082, "ISCAS": 0.0078, "INJAL": 0.0067, "ISCLA": 0.0064,
     "EL": 0.0044, "ISCAN": 0.0020, "TAB_": 0.0016, "STE_": 0.0013, "INJIN": 0.0010,
     "INJLA": 0.0010, "INJIL": 0.0010},
    {"LNGQT": 0.0054},
    {"PVC": 0.0524, "PAC": 0.0183, "BIGU": 0.0038, "TRIGU": 0.0010, "PRC(S)": 0.0010},
    {"ABQRS": 0.1526, "QWAVE": 0.0251},
    {"LVOLT": 0.0083, "HVOLT": 0.0028},
]  # fmt: skip
NEEDS_P = {"1AVB", "LPR", "2AVB", "3AVB", "LAO/LAE", "RAO/RAE", "WPW", "PAC"}
WITHOUT_P = {"AFIB", "AFLT", "SVTAC", "PACE", "PSVT", "SVARR"}
# Factor on the share of the second finding in records with the first one.
TOGETHER = {
    ("LVH", "ISC_"): 3.0, ("LVH", "LAO/LAE"): 3.0, ("LVH", "STD_"): 2.0, ("CLBBB", "1AVB"): 2.5,
    ("IMI", "QWAVE"): 2.0, ("ASMI", "LAFB"): 1.7, ("CRBBB", "LAFB"): 2.5,
}  # fmt: skip
LIKELIHOODS, LIKELIHOOD_SHARES = (100.0, 50.0, 80.0, 15.0, 35.0), (0.76, 0.10, 0.07, 0.055, 0.015)


def draw_findings(rng: np.random.Generator, age: float) -> dict[str, float]:
    """Draw the SCP-ECG statements of a record with their likelihoods, as PTB-XL has them.

    Parameters
    ----------
    rng : numpy.random.Generator
    age : float, years
        Abnormal findings are more likely at a higher age.

    Returns
    -------
    dict of str to float
        0 (unknown) for form and rhythm statements, 15 to 100 for diagnostic ones.
    """
    rhythm = str(rng.choice(list(RHYTHM), p=np.array(list(RHYTHM.values())) / sum(RHYTHM.values())))
    is_sinus = rhythm in ("SR", "SBRAD", "STACH", "SARRH")
    # Only sinus rhythms can be normal, more often in the young. The mean over ages is NORMAL.
    share = NORMAL / 0.87 * float(np.clip(1.62 - age / 100, 0.6, 1.45))
    codes = [rhythm]
    if is_sinus and rng.random() < share:
        codes.append("NORM")
        if rng.random() < 0.02:
            codes.append(str(rng.choice(["PVC", "PAC"])))
    else:
        codes += abnormal_findings(rng, rhythm)
    return {code: likelihood(code, rng) for code in codes}


def abnormal_findings(rng: np.random.Generator, rhythm: str) -> list[str]:
    """Draw at least one finding besides the rhythm, and none that the rhythm excludes."""
    for _ in range(20):
        codes: list[str] = []
        for group in GROUPS:
            shares = {code: share / (1 - NORMAL) for code, share in group.items()}
            for code in shares:
                for other in codes:
                    shares[code] *= TOGETHER.get((other, code), 1.0)
                if rhythm in WITHOUT_P and code in NEEDS_P:
                    shares[code] = 0.0
                if rhythm == "PACE" and code not in ("ABQRS", "LVOLT"):
                    shares[code] = 0.0
            pick = rng.random() - np.cumsum(list(shares.values()))
            if (pick < 0).any():
                codes.append(list(shares)[int(np.argmax(pick < 0))])
        if codes or rhythm in WITHOUT_P:
            return codes
    return ["NDT"]


def likelihood(code: str, rng: np.random.Generator) -> float:
    """Draw the likelihood of a statement, 15 to 100; 0 (unknown) if it is not diagnostic."""
    if "diagnostic" not in ptbxl().entry(code).groups:
        return 0.0
    return float(rng.choice(LIKELIHOODS, p=LIKELIHOOD_SHARES))


def draw_patients(n_records: int, seed: int) -> pd.DataFrame:
    """Draw patients with one to three records each, one row per record.

    All records of a patient are in one fold; patients are assigned to the folds in turn, so the
    folds are of nearly the same size.
    """
    rng = np.random.default_rng([seed, 0])
    rows: list[dict[str, Any]] = []
    patient = 0
    while len(rows) < n_records:
        visits = int(rng.choice([1, 2, 3], p=[0.89, 0.09, 0.02]))
        age = float(np.clip(rng.normal(60, 17), 18, 95))
        columns = {
            "patient_id": 10000 + patient,
            "is_woman": bool(rng.random() < 0.48),
            "height": round(rng.normal(170, 9)) if rng.random() < 0.32 else None,
            "weight": round(float(np.clip(rng.normal(75, 14), 42, 130)))
            if rng.random() < 0.43
            else None,
            "strat_fold": patient % 10 + 1,
        }
        first = pd.Timestamp("1989-01-02") + pd.Timedelta(minutes=int(rng.integers(0, 3_900_000)))
        for visit in range(visits):
            date = first + pd.Timedelta(days=int(rng.integers(1, 500)) * visit)
            rows.append(columns | {"age": round(age + visit / 2), "recording_date": date})
        patient += 1
    return pd.DataFrame(rows[:n_records])

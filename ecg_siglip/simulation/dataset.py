"""A synthetic PTB-XL on disk: same layout, known findings; what there is when there is no data.

Patients, findings and reports are drawn here, at the prevalences of PTB-XL; `clinical` turns
findings into a heart, `beats` a heart into a signal. A record is a pure function of (seed,
ecg_id): same seed, same bytes, whatever the number of processes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ecg_siglip.core.files import replace_folder
from ecg_siglip.signals.leads import LEADS
from ecg_siglip.signals.preprocessing import resample, to_int16
from ecg_siglip.simulation import finding_rules
from ecg_siglip.simulation.heart import (
    ELECTRODES,
    at_electrodes,
    at_leads,
    axis_degrees,
    draw_noise,
    simulate_ecg,
    twelve_leads,
)
from ecg_siglip.vocabulary import findings

FS, DURATION_S = 500, 10.0
LEAD_NAMES = [lead.upper() for lead in LEADS]  # PTB-XL writes AVR, AVL, AVF
N_CHUNK = 50  # records that a process takes at a time

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
# A sick heart rarely has one thing: how much likelier the second is where the first is.
TOGETHER = {
    ("LVH", "ISC_"): 3.0, ("LVH", "LAO/LAE"): 3.0, ("LVH", "STD_"): 2.0, ("CLBBB", "1AVB"): 2.5,
    ("IMI", "QWAVE"): 2.0, ("ASMI", "LAFB"): 1.7, ("CRBBB", "LAFB"): 2.5,
}  # fmt: skip
LIKELIHOODS, LIKELIHOOD_SHARES = (100.0, 50.0, 80.0, 15.0, 35.0), (0.76, 0.10, 0.07, 0.055, 0.015)

# Wordings of our own in the terse manner of PTB-XL's reports; German | English.
WORDS = {
    "SR": "sinusrhythmus|sinus rhythm", "SBRAD": "sinusbradykardie|sinus bradycardia",
    "STACH": "sinustachykardie|sinus tachycardia", "SARRH": "sinusarrhythmie|sinus arrhythmia",
    "AFIB": "vorhofflimmern, absolute arrhythmie|atrial fibrillation",
    "AFLT": "vorhofflattern|atrial flutter", "PACE": "schrittmacher-ekg|paced rhythm",
    "SVARR": "supraventrikuläre arrhythmie|supraventricular arrhythmia",
    "SVTAC": "supraventrikuläre tachykardie|supraventricular tachycardia",
    "PSVT": "paroxysmale supraventrikuläre tachykardie|paroxysmal supraventricular tachycardia",
    "PVC": "ventrikuläre extrasystole(n)|ventricular ectopic beats",
    "PAC": "supraventrikuläre extrasystole(n)|atrial ectopic beats",
    "BIGU": "bigeminus|bigeminy", "TRIGU": "trigeminus|trigeminy",
    "1AVB": "av-block i. grades|first degree av block",
    "LPR": "pq-zeit verlängert|long pr interval",
    "2AVB": "av-block ii. grades|second degree av block",
    "3AVB": "av-block iii. grades|complete av block",
    "CLBBB": "kompletter linksschenkelblock|left bundle branch block",
    "CRBBB": "kompletter rechtsschenkelblock|right bundle branch block",
    "IRBBB": "inkompletter rechtsschenkelblock|incomplete right bundle branch block",
    "ILBBB": "inkompletter linksschenkelblock|incomplete left bundle branch block",
    "IVCD": "intraventrikuläre leitungsverzögerung|intraventricular conduction delay",
    "LAFB": "überdrehter linkstyp, linksanteriorer hemiblock|left axis, anterior hemiblock",
    "LPFB": "linksposteriorer hemiblock|left posterior hemiblock",
    "WPW": "präexzitation, wpw-syndrom|pre-excitation, wpw pattern",
    "IMI": "inferiorer infarkt, altes stadium|old inferior infarct",
    "ASMI": "anteroseptaler infarkt nicht auszuschliessen|possible anteroseptal infarct",
    "AMI": "vorderwandinfarkt|anterior infarct",
    "ALMI": "anterolateraler infarkt|anterolateral infarct",
    "LMI": "lateraler infarkt|lateral infarct",
    "ILMI": "inferolateraler infarkt|inferolateral infarct",
    "PMI": "hinterwandinfarkt, posterior|posterior infarct",
    "LVH": "linkshypertrophie|left ventricular hypertrophy",
    "VCLVH": "hohe linkspräkordiale voltage|voltage criteria for lvh",
    "RVH": "rechtshypertrophie|right ventricular hypertrophy",
    "LAO/LAE": "p-sinistroatriale, linksbelastung des vorhofs|left atrial enlargement",
    "RAO/RAE": "p-dextroatriale|right atrial enlargement",
    "NDT": "unspezifisch abnormale t-welle|non-diagnostic t abnormality",
    "NST_": "unspezifische st-veränderungen|non-specific st changes",
    "STD_": "st-senkung|st depression", "STE_": "st-hebung|st elevation",
    "INVT": "t negativ|inverted t waves", "LOWT": "t flach|low t waves",
    "ISC_": "st-t-veränderungen wie bei ischämie|st-t changes suggest ischaemia",
    "LNGQT": "qt-zeit verlängert|long qt interval",
    "LVOLT": "periphere niederspannung|low limb lead voltage",
    "HVOLT": "hochspannung|high voltage", "QWAVE": "q-zacken|q waves",
    "ABQRS": "qrs-komplex abnorm|abnormal qrs",
    "NORM": "normales ekg|normal ecg",
}  # fmt: skip
ENDINGS = ("", "", "", "unbestätigter bericht|unconfirmed report", "kontrolle|repeat advised")
DEVICES = {"CS100    3": 0.28, "CS-12": 0.24, "AT-6 C 5.5": 0.22, "CS-12   E": 0.14}
NOISE_COLUMNS = {
    "wander": "baseline_drift",
    "mains": "static_noise",
    "muscle": "static_noise",
    "motion": "burst_noise",
    "loose": "electrodes_problems",
}
# Share of records with a fault worth noting, and its size, mV; all records have a little of all.
FAULTS = {
    "wander": (0.073, 0.20),
    "mains": (0.075, 0.03),
    "muscle": (0.075, 0.035),
    "motion": (0.028, 0.15),
    "loose": (0.003, 0.5),
}
FAINT = {"wander": 0.025, "mains": 0.003, "muscle": 0.007}


def draw_findings(rng: np.random.Generator, age: float) -> dict[str, float]:
    """The SCP-ECG statements of a record with their likelihoods, as PTB-XL writes them.

    Parameters
    ----------
    rng : numpy.random.Generator
    age : float, years
        The older, the likelier something is found.

    Returns
    -------
    dict of str to float
        0 (not stated) for form and rhythm statements, 15 to 100 for diagnostic ones.
    """
    rhythm = str(rng.choice(list(RHYTHM), p=np.array(list(RHYTHM.values())) / sum(RHYTHM.values())))
    calm = rhythm in ("SR", "SBRAD", "STACH", "SARRH")
    # Only calm rhythms can be normal; the young more often. The mean over ages is NORMAL.
    share = NORMAL / 0.87 * float(np.clip(1.62 - age / 100, 0.6, 1.45))
    codes = [rhythm]
    if calm and rng.random() < share:
        codes.append("NORM")
        if rng.random() < 0.02:
            codes.append(str(rng.choice(["PVC", "PAC"])))
    else:
        codes += abnormal_findings(rng, rhythm)
    return {code: likelihood(code, rng) for code in codes}


def abnormal_findings(rng: np.random.Generator, rhythm: str) -> list[str]:
    """At least one finding besides the rhythm; none that the rhythm forbids."""
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
    if not findings.STATEMENTS[code].diagnostic:
        return 0.0
    return float(rng.choice(LIKELIHOODS, p=LIKELIHOOD_SHARES))


def report(codes: Sequence[str], rng: np.random.Generator) -> str:
    """A report of the findings, in German or, one time in five, in English."""
    english = int(rng.random() < 0.2)
    language = ("de", "en")[english]

    def words(code: str) -> str:
        known = WORDS.get(code)
        return known.split("|")[english] if known else findings.prompts([code], language)[0].lower()

    ending = str(rng.choice(ENDINGS))
    parts = [words(code) for code in codes] + ([ending.split("|")[english]] if ending else [])
    return (". " if english else " ").join(parts)


def draw_patients(n_records: int, seed: int) -> pd.DataFrame:
    """Patients with one to three records each, and the fold of each, one row a record.

    A patient's records all lie in one fold; the folds are dealt in turn, so they are of a size.
    """
    rng = np.random.default_rng([seed, 0])
    rows: list[dict[str, Any]] = []
    patient = 0
    while len(rows) < n_records:
        visits = int(rng.choice([1, 2, 3], p=[0.89, 0.09, 0.02]))
        age = float(np.clip(rng.normal(60, 17), 18, 95))
        who = {
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
            when = first + pd.Timedelta(days=int(rng.integers(1, 500)) * visit)
            rows.append(who | {"age": round(age + visit / 2), "recording_date": when})
        patient += 1
    return pd.DataFrame(rows[:n_records])


def make_record(
    seed: int, ecg_id: int, age: float, is_woman: bool
) -> tuple[np.ndarray, dict[str, Any]]:
    """One record: its signal and its row of metadata.

    Returns
    -------
    signal : ndarray of shape (12, 5000), float32, mV, 500 Hz
    row : dict
        ``scp_codes``, ``report``, the noise columns, ``heart_axis``, ``pacemaker``,
        ``extra_beats``.
    """
    rng = np.random.default_rng([seed, 1, ecg_id])
    codes = draw_findings(rng, age)
    heart = finding_rules.with_findings(finding_rules.person(rng, age, is_woman), codes, rng)
    axis = axis_degrees(finding_rules.qrs_of(heart))
    independent, _ = simulate_ecg(heart, FS, DURATION_S, rng)
    row: dict[str, Any] = {"scp_codes": str(codes), "report": report(list(codes), rng)}
    signal, faults = with_faults(independent, rng)
    row |= faults
    row["heart_axis"] = next(name for limit, name in AXES if axis < limit)
    row["pacemaker"] = "ja, pacemaker" if "PACE" in codes else None
    extra = {"PVC", "PAC", "BIGU", "TRIGU", "PRC(S)"} & set(codes)
    row["extra_beats"] = "ES" if extra else None
    return signal.astype(np.float32), row


def with_faults(
    independent: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, str]]:
    """The twelve leads with the noise of their electrodes, and the columns that note it.

    Parameters
    ----------
    independent : ndarray of shape (8, n_samples), mV, 500 Hz
        As ``heart.simulate_ecg`` gives it.
    rng : numpy.random.Generator

    Returns
    -------
    signal : ndarray of shape (12, n_samples), mV
    columns : dict
    """
    electrodes = at_electrodes(independent)
    columns: dict[str, str] = {}
    for kind, (share, size) in FAULTS.items():
        worth_noting = rng.random() < share
        level = np.full(9, FAINT.get(kind, 0.0))
        if worth_noting:
            chosen = rng.choice(9, size=int(rng.integers(1, 5)), replace=False)
            level[chosen] += size * rng.uniform(0.6, 1.6)
            named = [ELECTRODES[i] for i in sorted(chosen)]
            columns[NOISE_COLUMNS[kind]] = f" , {','.join(named)}"
        for i in np.flatnonzero(level):
            electrodes[i] += level[i] * draw_noise(kind, electrodes.shape[1], FS, rng)
    return twelve_leads(at_leads(electrodes)), columns


AXES = ((-90, "AXR"), (-30, "ALAD"), (0, "LAD"), (90, "MID"), (120, "RAD"), (181, "ARAD"))


def write_chunk(job: tuple[Path, int, bool, list[tuple[int, float, bool]]]) -> list[dict[str, Any]]:
    """Write the files of some records; returns their rows of metadata."""
    folder, seed, records500, people = job
    rows = []
    for ecg_id, age, is_woman in people:
        signal, row = make_record(seed, ecg_id, age, is_woman)
        wanted = {100: ("lr", resample(signal, FS, 100))}
        if records500:
            wanted[500] = ("hr", signal)
        for fs, (suffix, at_fs) in wanted.items():
            write_wfdb(folder / file_name(ecg_id, fs, suffix), to_int16(at_fs), fs)
        rows.append({"ecg_id": ecg_id} | row)
    return rows


def file_name(ecg_id: int, fs: int, suffix: str) -> str:
    return f"records{fs}/{ecg_id // 1000 * 1000:05d}/{ecg_id:05d}_{suffix}"


def write_wfdb(path: Path, microvolts: np.ndarray, fs: int) -> None:
    """One record as PTB-XL stores it, WFDB format 16, 1 uV a step.

    Notes
    -----
    Byte for byte what ``wfdb.wrsamp`` writes, which takes longer than the simulation itself; the
    checksum is the sum of the samples modulo 2**16 (WFDB header(5)).
    """
    lines = [f"{path.name} 12 {fs} {microvolts.shape[1]}"]
    for name, lead in zip(LEAD_NAMES, microvolts, strict=True):
        checksum = int(lead.sum(dtype=np.int64)) % 65536
        lines.append(f"{path.name}.dat 16 1000.0(0)/mV 16 0 {lead[0]} {checksum} 0 {name}")
    path.with_suffix(".dat").write_bytes(microvolts.T.astype("<i2").tobytes())
    path.with_suffix(".hea").write_text("\n".join(lines) + "\n")


def simulate_dataset(
    root: str | Path,
    n_records: int = 2000,
    seed: int = 0,
    records500: bool = False,
    n_workers: int | None = None,
    progress: bool = False,
) -> Path:
    """Write a synthetic PTB-XL, whole or not at all.

    Parameters
    ----------
    root : path
        Must not exist, or be an empty folder.
    n_records : int
    seed : int
        Same seed, same bytes.
    records500 : bool
        Write the same records at 500 Hz as well.
    n_workers : int, optional
        Processes; default one per core. It does not change what is written.
    progress : bool
        Show a bar on stderr if that is a terminal.

    Returns
    -------
    Path
        The folder written.

    Raises
    ------
    ValueError
        If the folder holds something already.
    """
    root = Path(root)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ValueError(f"{root} is not empty; expected a new folder, nothing was written")
    root.parent.mkdir(parents=True, exist_ok=True)
    people = draw_patients(n_records, seed)
    with replace_folder(root) as partial:
        rows = _write_records(partial, people, seed, records500, n_workers, progress)
        database(people, rows, seed).to_csv(partial / "ptbxl_database.csv")
        statements().to_csv(partial / "scp_statements.csv")
    return root


def _write_records(
    root: Path,
    people: pd.DataFrame,
    seed: int,
    records500: bool,
    n_workers: int | None,
    progress: bool,
) -> list[dict[str, Any]]:
    """Write the WFDB files of all records; return their rows of the metadata."""
    n_records = len(people)
    for ecg_id in range(0, n_records + 1, 1000):
        for fs, suffix in ((100, "lr"), (500, "hr"))[: 1 + records500]:
            file = root / file_name(max(ecg_id, 1), fs, suffix)
            file.parent.mkdir(parents=True, exist_ok=True)
    numbered = list(zip(range(1, n_records + 1), people["age"], people["is_woman"], strict=True))
    jobs = [
        (root, seed, records500, numbered[i : i + N_CHUNK]) for i in range(0, n_records, N_CHUNK)
    ]
    rows: list[dict[str, Any]] = []
    n_workers = min(n_workers or os.cpu_count() or 1, len(jobs))
    with contextlib.ExitStack() as stack:
        chunks: Iterable[list[dict[str, Any]]] = map(write_chunk, jobs)
        if n_workers > 1:
            # The first error ends the processes' work before the folder is removed.
            pool = ProcessPoolExecutor(n_workers, mp_context=get_context("spawn"))
            stack.callback(pool.shutdown, cancel_futures=True)
            chunks = pool.map(write_chunk, jobs)
        disable = None if progress else True
        bar = stack.enter_context(tqdm(total=n_records, unit="record", disable=disable))
        for chunk in chunks:
            rows += chunk
            bar.update(len(chunk))
    return rows


def database(people: pd.DataFrame, rows: list[dict[str, Any]], seed: int) -> pd.DataFrame:
    """``ptbxl_database.csv``: the 28 columns of PTB-XL, in its order and its formats."""
    rng = np.random.default_rng([seed, 2])
    n = len(people)
    made = pd.DataFrame(rows)
    devices, shares = list(DEVICES), np.array(list(DEVICES.values()))
    ecg_id = list(range(1, n + 1))
    infarct = made["scp_codes"].str.contains("MI'")
    by_hand = rng.random(n) < 0.74
    columns = {
        "ecg_id": ecg_id,
        "patient_id": people["patient_id"].astype(float),
        # 300 stands for more than 89, as in PTB-XL.
        "age": people["age"].where(people["age"] <= 89, 300).astype(float),
        "sex": people["is_woman"].astype(int),
        "height": people["height"],
        "weight": people["weight"],
        "nurse": rng.integers(0, 12, n).astype(float),
        "site": rng.integers(0, 51, n).astype(float),
        "device": rng.choice(devices, n, p=shares / shares.sum()),
        "recording_date": people["recording_date"].dt.strftime("%Y-%m-%d %H:%M:%S"),
        "report": made["report"],
        "scp_codes": made["scp_codes"],
        "heart_axis": made["heart_axis"].where(rng.random(n) < 0.6),
        "infarction_stadium1": ["unknown" if stated else None for stated in infarct],
        "infarction_stadium2": None,
        "validated_by": np.where(rng.random(n) < 0.57, rng.integers(0, 12, n), np.nan),
        "second_opinion": rng.random(n) < 0.025,
        "initial_autogenerated_report": rng.random(n) < 0.31,
        "validated_by_human": by_hand,
    }
    for name in ("baseline_drift", "static_noise", "burst_noise", "electrodes_problems"):
        columns[name] = made.get(name)
    columns |= {
        "extra_beats": made["extra_beats"],
        "pacemaker": made["pacemaker"],
        # The best labels lie in folds 9 and 10 of PTB-XL; here all are equally good.
        "strat_fold": people["strat_fold"],
        "filename_lr": [file_name(i, 100, "lr") for i in ecg_id],
        "filename_hr": [file_name(i, 500, "hr") for i in ecg_id],
    }
    return pd.DataFrame(columns).set_index("ecg_id")


def statements() -> pd.DataFrame:
    """``scp_statements.csv``, with the columns that the loaders of PTB-XL read."""
    rows = {
        s.code: {
            "description": s.name,
            "diagnostic": 1.0 if s.diagnostic else None,
            "form": 1.0 if s.form else None,
            "rhythm": 1.0 if s.rhythm else None,
            "diagnostic_class": s.superclass,
            "diagnostic_subclass": s.subclass,
            "Statement Category": None,
            "SCP-ECG Statement Description": s.name,
            "AHA code": None,
            "aECG REFID": None,
            "CDISC Code": None,
            "DICOM Code": None,
        }
        for s in findings.STATEMENTS.values()
    }
    return pd.DataFrame.from_dict(rows, orient="index")

"""A synthetic hospital on disk: files of several devices and a table of findings by its own codes.

The hearts and beats are those of ``dataset`` with the same seed, with other noise; the labels are
those of ``hospital_labels``.
"""

from __future__ import annotations

import copy
import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecg_siglip import __version__
from ecg_siglip.core.files import replace_folder
from ecg_siglip.simulation.dataset import (
    DURATION_S,
    N_CHUNK,
    check_new_folder,
    draw_heart,
    run_in_processes,
)
from ecg_siglip.simulation.device_files import WRITERS, check_writers, write_device_file
from ecg_siglip.simulation.electrode_noise import FS, with_faults
from ecg_siglip.simulation.hospital_labels import (
    DEPARTMENTS,
    VOCABULARY_FILE,
    draw_department,
    hospital_vocabulary,
    measure,
    own_findings,
)
from ecg_siglip.simulation.marker import is_made_by, write_marker
from ecg_siglip.simulation.patients import draw_patients
from ecg_siglip.simulation.rhythms import draw_strip, simulate_ecg

TABLE, VOCABULARY, CODES, ECGS = "ecgs.csv", "findings.yaml", "codes.csv", "ecgs"
# Devices of each department; one of them at random.
DEVICES = dict(
    zip(DEPARTMENTS, (("muse", "muse", "dicom"), ("muse", "csv"), ("muse", "dicom")), strict=True)
)
REPORTED = 0.6  # share of the records with a report
OPENINGS = ("", "", "所見：", "心電図所見：")
ENDINGS = (
    "",
    "",
    "経過観察をお勧めします。",
    "前回と著変ありません。",
)


def make_hospital_record(
    seed: int, number: int, age: float, is_woman: bool
) -> tuple[np.ndarray, dict[str, Any]]:
    """Make the signal and the row of the table of one record.

    Returns
    -------
    signal : ndarray of shape (12, 5000), float32, mV, 500 Hz
    row : dict
        ``findings`` and ``unknown``, codes separated by semicolons; ``report``, ``language``,
        ``department``, and ``kind``, the format of its file.
    """
    codes, heart, rng = draw_heart(seed, number, age, is_woman)
    strip = draw_strip(heart, DURATION_S, copy.deepcopy(rng))  # the beats of the signal
    independent, _ = simulate_ecg(heart, FS, DURATION_S, rng)
    signal, faults = with_faults(independent, rng)
    own = own_findings(measure(codes, heart, strip, bool(faults)))
    department, unknown = draw_department(codes, rng)
    stated = [code for code in own if code not in unknown]
    text = report(stated, rng) if rng.random() < REPORTED else ""
    row = {
        "department": department,
        "findings": ";".join(stated),
        "unknown": ";".join(unknown),
        "report": text,
        "language": "ja" if text else "",
        "kind": str(rng.choice(DEVICES[department])),
    }
    return signal.astype(np.float32), row


def report(codes: list[str], rng: np.random.Generator) -> str:
    """Draw a report of findings in Japanese.

    Parameters
    ----------
    codes : list of str
        Codes of the hospital.
    rng : numpy.random.Generator
    """
    names = hospital_vocabulary().names(codes) or ["特記すべき所見なし"]
    joint = str(rng.choice(["。", "、"]))
    return f"{rng.choice(OPENINGS)}{joint.join(names)}。{rng.choice(ENDINGS)}"


def write_hospital_chunk(
    job: tuple[Path, int, list[tuple[int, str, float, bool]]],
) -> list[dict[str, Any]]:
    """Write the files of some records; return their rows of the table."""
    folder, seed, people = job
    rows = []
    for number, patient, age, is_woman in people:
        signal, row = make_hospital_record(seed, number, age, is_woman)
        name = write_device_file(
            folder / ECGS, row.pop("kind"), signal, number, patient, age, is_woman
        )
        sex = "F" if is_woman else "M"
        rows.append({"path": f"{ECGS}/{name}", "patient_id": patient, "age": age, "sex": sex} | row)
    return rows


def simulate_hospital(
    root: str | Path,
    n_records: int = 2000,
    seed: int = 0,
    n_workers: int | None = None,
    progress: bool = False,
) -> Path:
    """Write a synthetic hospital, completely or not at all.

    Parameters
    ----------
    root : path
        Must not exist, or be an empty folder, or have what this call would write.
    n_records, seed, n_workers, progress
        See ``dataset.simulate_dataset``.

    Returns
    -------
    Path
        The folder written: `ecgs/` with MUSE XML, DICOM and CSV files, the table `ecgs.csv`,
        `codes.csv` with the name of each code, and the vocabulary `findings.yaml`.

    Raises
    ------
    ValueError
        If the folder is not empty, or the package that writes DICOM files is not installed.

    Notes
    -----
    What a department does not assess is unknown, so labels are not missing at random: most normal
    ECGs are from check-ups, and emergencies do not assess hypertrophy.
    """
    made_by = dict(layout="table", n_records=n_records, seed=seed, version=__version__)
    if is_made_by(Path(root), made_by):
        return Path(root)
    root = check_new_folder(root)
    check_writers()
    people = draw_patients(n_records, seed)
    patients = [f"P{number}" for number in people["patient_id"]]
    columns = (range(1, n_records + 1), patients, people["age"], people["is_woman"])
    numbered = list(zip(*columns, strict=True))
    with replace_folder(root) as partial:
        for kind in WRITERS:
            (partial / ECGS / kind).mkdir(parents=True)
        jobs = [(partial, seed, numbered[i : i + N_CHUNK]) for i in range(0, n_records, N_CHUNK)]
        rows = run_in_processes(write_hospital_chunk, jobs, n_records, n_workers, progress)
        pd.DataFrame(rows).to_csv(partial / TABLE, index=False)
        with open(partial / CODES, "w", newline="", encoding="utf-8") as file:
            vocabulary = hospital_vocabulary()
            csv.writer(file).writerows(
                [("code", "name"), *((entry.code, entry.name) for entry in vocabulary.entries)]
            )
        (partial / VOCABULARY).write_bytes(VOCABULARY_FILE.read_bytes())
        write_marker(partial, **made_by)
    return root

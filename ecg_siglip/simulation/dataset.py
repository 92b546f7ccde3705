"""A synthetic PTB-XL on disk, with the same layout and known findings.

``patients`` draws patients and findings at the prevalences of PTB-XL, ``finding_rules`` turns
findings into a heart, ``rhythms`` a heart into a signal. A record is a pure function of (seed,
ecg_id): the same seed gives the same bytes for any number of processes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ecg_siglip import __version__
from ecg_siglip.core.files import replace_folder
from ecg_siglip.signals.preprocessing import to_int16
from ecg_siglip.signals.resampling import resample
from ecg_siglip.simulation import finding_rules
from ecg_siglip.simulation.co_occurrence import draw_together
from ecg_siglip.simulation.electrode_noise import FS, with_faults
from ecg_siglip.simulation.heart import Heart
from ecg_siglip.simulation.marker import is_made_by, write_marker
from ecg_siglip.simulation.measurements import axis_degrees, qrs_of
from ecg_siglip.simulation.patients import draw_findings, draw_patients
from ecg_siglip.simulation.ptbxl_layout import database, file_name, statements, write_wfdb
from ecg_siglip.simulation.recording import displaced_leads, record
from ecg_siglip.simulation.report_wording import report
from ecg_siglip.simulation.rhythms import simulate_ecg
from ecg_siglip.simulation.variation import varied_person, with_varied_findings

DURATION_S = 10.0
FIRST_PATIENT = 1_000_000  # in realistic data sets: not a number of a patient of PTB-XL
N_CHUNK = 50  # records that a process takes at a time
# Upper limits of the electrical axis, degrees, with PTB-XL's abbreviations.
AXES = ((-90, "AXR"), (-30, "ALAD"), (0, "LAD"), (90, "MID"), (120, "RAD"), (181, "ARAD"))


def draw_heart(
    seed: int, ecg_id: int, age: float, is_woman: bool
) -> tuple[dict[str, float], Heart, np.random.Generator]:
    """Draw the findings and the heart of a record.

    Returns
    -------
    codes : dict of str to float
        See ``patients.draw_findings``.
    heart : Heart
    rng : numpy.random.Generator
        Draws the rest of the record.
    """
    rng = np.random.default_rng([seed, 1, ecg_id])
    codes = draw_findings(rng, age)
    person = finding_rules.person(rng, age, is_woman)
    return codes, finding_rules.with_findings(person, codes, rng), rng


def draw_realistic_heart(
    seed: int, ecg_id: int, age: float, is_woman: bool, balance: float
) -> tuple[dict[str, float], Heart, np.random.Generator]:
    """Draw the same as ``draw_heart``, for ``difficulty=realistic``."""
    rng = np.random.default_rng([seed, 3, ecg_id])
    codes = draw_together(rng, age, is_woman, balance)
    heart = with_varied_findings(varied_person(rng, age, is_woman), codes, rng)
    heart.leads = displaced_leads(heart.leads, rng)
    return codes, heart, rng


def make_record(
    seed: int,
    ecg_id: int,
    age: float,
    is_woman: bool,
    difficulty: str = "plain",
    balance: float = 0.0,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Make the signal and the row of metadata of one record.

    Parameters
    ----------
    seed, ecg_id : int
    age : float, years
    is_woman : bool
    difficulty : {"plain", "realistic"}
        plain: textbook findings with little noise; realistic: see ``variation``, ``recording`` and
        ``co_occurrence``.
    balance : float in [0, 1]
        realistic: see ``co_occurrence.draw_together``.

    Returns
    -------
    signal : ndarray of shape (12, 5000), float32, mV, 500 Hz
    row : dict
        ``scp_codes``, ``report``, the noise columns, ``heart_axis``, ``pacemaker``,
        ``extra_beats``.
    """
    is_realistic = difficulty == "realistic"
    if is_realistic:
        codes, heart, rng = draw_realistic_heart(seed, ecg_id, age, is_woman, balance)
    else:
        codes, heart, rng = draw_heart(seed, ecg_id, age, is_woman)
    axis = axis_degrees(qrs_of(heart))
    independent, _ = simulate_ecg(heart, FS, DURATION_S, rng)
    row: dict[str, Any] = {"scp_codes": str(codes), "report": report(list(codes), rng)}
    signal, faults = (record if is_realistic else with_faults)(independent, rng)
    row |= faults
    row["heart_axis"] = next(name for limit, name in AXES if axis < limit)
    row["pacemaker"] = "ja, pacemaker" if "PACE" in codes else None
    premature = {"PVC", "PAC", "BIGU", "TRIGU", "PRC(S)"} & set(codes)
    row["extra_beats"] = "ES" if premature else None
    return signal.astype(np.float32), row


def write_chunk(
    job: tuple[Path, int, bool, str, float, list[tuple[int, float, bool]]],
) -> list[dict[str, Any]]:
    """Write the files of some records; return their rows of metadata."""
    folder, seed, records500, difficulty, balance, people = job
    rows = []
    for ecg_id, age, is_woman in people:
        signal, row = make_record(seed, ecg_id, age, is_woman, difficulty, balance)
        signals = {100: ("lr", resample(signal, FS, 100))}
        if records500:
            signals[500] = ("hr", signal)
        for fs, (suffix, at_fs) in signals.items():
            write_wfdb(folder / file_name(ecg_id, fs, suffix), to_int16(at_fs), fs)
        rows.append({"ecg_id": ecg_id} | row)
    return rows


def simulate_dataset(
    root: str | Path,
    n_records: int = 2000,
    seed: int = 0,
    records500: bool = False,
    n_workers: int | None = None,
    progress: bool = False,
    difficulty: str = "plain",
    balance: float = 0.0,
) -> Path:
    """Write a synthetic PTB-XL, completely or not at all.

    Parameters
    ----------
    root : path
        Must not exist, or be an empty folder, or have what this call would write.
    n_records : int
    seed : int
        The same seed gives the same bytes.
    records500 : bool
        Write the same records at 500 Hz as well.
    n_workers : int, optional
        Processes; default one per core. The number does not change the files.
    progress : bool
        Show a progress bar on stderr if that is a terminal.
    difficulty : {"plain", "realistic"}
    balance : float in [0, 1]
        See ``make_record``.

    Returns
    -------
    Path
        The folder written.

    Raises
    ------
    ValueError
        If the folder is not empty.
    """
    made_by = dict(
        n_records=n_records, seed=seed, difficulty=difficulty, balance=balance,
        records500=records500, version=__version__,
    )  # fmt: skip
    if is_made_by(Path(root), made_by):
        return Path(root)
    root = check_new_folder(root)
    people = draw_patients(n_records, seed)
    if difficulty == "realistic":
        people["patient_id"] += FIRST_PATIENT
    with replace_folder(root) as partial:
        fixed = (partial, seed, records500, difficulty, balance)
        rows = _write_records(fixed, people, n_workers, progress)
        database(people, rows, seed).to_csv(partial / "ptbxl_database.csv")
        statements().to_csv(partial / "scp_statements.csv")
        write_marker(partial, **made_by)
    return root


def check_new_folder(root: str | Path) -> Path:
    """Return the path of a folder that does not exist or is empty.

    Raises
    ------
    ValueError
        If it is not empty, or a file.
    """
    root = Path(root)
    if os.path.ismount(root):
        raise ValueError(f"{root} cannot be replaced; expected a new folder in it")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ValueError(f"{root} is not empty; expected a new folder, nothing was written")
    return root


def _write_records(
    fixed: tuple[Path, int, bool, str, float],
    people: pd.DataFrame,
    n_workers: int | None,
    progress: bool,
) -> list[dict[str, Any]]:
    """Write the WFDB files of all records; return their rows of the metadata."""
    n_records = len(people)
    root = fixed[0]
    for ecg_id in range(0, n_records + 1, 1000):
        for fs, suffix in ((100, "lr"), (500, "hr"))[: 1 + fixed[2]]:
            file = root / file_name(max(ecg_id, 1), fs, suffix)
            file.parent.mkdir(parents=True, exist_ok=True)
    numbered = list(zip(range(1, n_records + 1), people["age"], people["is_woman"], strict=True))
    jobs = [(*fixed, numbered[i : i + N_CHUNK]) for i in range(0, n_records, N_CHUNK)]
    return run_in_processes(write_chunk, jobs, n_records, n_workers, progress)


def run_in_processes(
    write: Callable[[Any], list[dict[str, Any]]],
    jobs: Sequence[Any],
    n_records: int,
    n_workers: int | None,
    progress: bool,
) -> list[dict[str, Any]]:
    """Run a function for each job, in several processes; return all rows, in order."""
    rows: list[dict[str, Any]] = []
    n_workers = min(n_workers or os.cpu_count() or 1, len(jobs))
    with contextlib.ExitStack() as stack:
        chunks: Iterable[list[dict[str, Any]]] = map(write, jobs)
        if n_workers > 1:
            # After the first error no process writes any more when the folder is removed.
            pool = ProcessPoolExecutor(n_workers, mp_context=get_context("spawn"))
            stack.callback(pool.shutdown, cancel_futures=True)
            chunks = pool.map(write, jobs)
        disable = None if progress else True
        bar = stack.enter_context(tqdm(total=n_records, unit="record", disable=disable))
        for chunk in chunks:
            rows += chunk
            bar.update(len(chunk))
    return rows

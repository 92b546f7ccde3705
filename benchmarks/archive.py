"""Measure prediction of an archive: records per second from files to rows, and the memory.

    python benchmarks/archive.py RUN DATA [N] [REVISION]

RUN: the run whose model predicts. DATA: a simulated data set. N: records, 2,000 unless given. Each
number of records per second is without the start of the command: that of a short job is subtracted.
The same records are predicted by the code of an earlier revision, if git has it: version 0.3.0
before there were jobs (one process, JSON lines on stdout).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import measure

from ecg_siglip.archive.local_engine import N_PIECE, default_workers
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.resampling import resample
from ecg_siglip.simulation.device_files import muse_xml

# Of the short job: a piece for each process that reads, so that all of them are started.
N_SHORT = N_PIECE * default_workers()


def link_wfdb(headers: Sequence[Path], n: int, folder: Path) -> None:
    """Make a folder with n records: links to those of the headers, several to each."""
    for i in range(n):
        header = headers[i % len(headers)]
        place = folder / f"{i // len(headers):04d}"
        place.mkdir(parents=True, exist_ok=True)
        for suffix in (".hea", ".dat"):
            target = header.with_suffix(suffix).resolve()
            (place / header.name).with_suffix(suffix).symlink_to(target)


def write_muse(headers: Sequence[Path], n: int, folder: Path) -> None:
    """Make a folder with n records in MUSE XML at 500 Hz, each record of the headers one time.

    All others are links to these.
    """
    folder.mkdir(parents=True)
    for i in range(n):
        muse = folder / f"{i:06d}.xml"
        if i < len(headers):
            signal = resample(read_record(headers[i]).signal, 100, 500)
            muse.write_bytes(muse_xml(signal, i, str(i), 60.0, bool(i % 2)))
        else:
            muse.symlink_to(muse.with_name(f"{i % len(headers):06d}.xml"))


def make_archives(data: Path, n: int, folder: Path) -> dict[str, Path]:
    """Return folders with n records each, by format: links to WFDB, and MUSE XML at 500 Hz."""
    headers = sorted(data.glob("records100/*/*.hea"))
    link_wfdb(headers, n, folder / "WFDB, 100 Hz")
    write_muse(headers, n, folder / "MUSE XML, 500 Hz")
    return {path.name: path for path in sorted(folder.iterdir())}


def short_part(archive: Path, folder: Path) -> Path:
    """Return a folder with ``N_SHORT`` records of an archive.

    Raises
    ------
    SystemExit
        If the archive does not have more different ones.
    """
    part = folder / f"short of {archive.name}"
    part.mkdir()
    names = sorted({path.stem for path in archive.rglob("*.*")})
    if len(names) <= N_SHORT:
        raise SystemExit(f"{len(names)} records; expected more than {N_SHORT} with so many cores")
    names = names[:N_SHORT]
    for path in archive.rglob("*.*"):
        if path.stem in names and not (part / path.name).exists():
            (part / path.name).symlink_to(path.resolve())
    return part


def run(command: list[str], source: Path) -> tuple[float, float, float]:
    """Return time and processor time of a command with its processes, s, and its memory, MiB."""
    paths = [str(source), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    cpu_before, start = os.times(), time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, cwd=source
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds, cpu = time.perf_counter() - start, os.times()
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)}: ended with {os.waitstatus_to_exitcode(status)}")
    used = cpu.children_user + cpu.children_system
    used -= cpu_before.children_user + cpu_before.children_system
    return seconds, used, usage.ru_maxrss / 1024


def measured(archive: Path, n: int, model: Path, source: Path, is_job: bool) -> dict[str, float]:
    """Return records per second, processor time per record and memory of one way to predict."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        short = short_part(archive, folder)
        results = []
        for i, records in enumerate((short, archive)):
            command = [sys.executable, "-m", "ecg_siglip.predict", f"records=['{records}']"]
            command += [f"model={model}", "measurements=false"]
            command += [f"out={folder / f'{i}.parquet'}"] if is_job else []
            results.append(run(command, source))
    (short_s, short_cpu_s, _), (long_s, long_cpu_s, mib) = results
    n_more = n - N_SHORT
    return {
        "records_per_s": n_more / (long_s - short_s),
        "cpu_ms_per_record": 1000 * (long_cpu_s - short_cpu_s) / n_more,
        "mib": mib,
    }


def main() -> None:
    model, data = (Path(sys.argv[1]) / "model").resolve(), Path(sys.argv[2])
    n = int(sys.argv[3]) if len(sys.argv) > 3 else 2000
    revision = sys.argv[4] if len(sys.argv) > 4 else measure.BEFORE
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder, measure.earlier_code(revision) as before:
        for kind, archive in make_archives(data, n, Path(folder)).items():
            row: dict[str, object] = {"format": kind, "n_records": n}
            row["job"] = now = measured(archive, n, model, measure.ROOT, is_job=True)
            if before is not None:
                row["before"] = then = measured(archive, n, model, before, is_job=False)
                row["ratio"] = now["records_per_s"] / then["records_per_s"]
            print(row)
            rows.append(row)
    measure.save("archive", rows)


if __name__ == "__main__":
    main()

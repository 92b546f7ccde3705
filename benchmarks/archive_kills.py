"""Kill a job of predict at random times and compare its rows with those of an undisturbed one.

    python benchmarks/archive_kills.py RUN DATA [N] [FORMAT] [ENGINES] [SEED]

RUN: the run whose model predicts. DATA: a simulated data set. N: files, links to its records,
20,000 unless given. FORMAT: wfdb (default) or muse. ENGINES: local,ray unless given.

The job runs undisturbed; then the same job is killed (SIGKILL) ``N_KILLS`` times, each at a random
point of its progress, and repeated at once. The last repetition is not killed, but one of its
processes is: one that reads (local), or the worker that predicts (ray). Memory is the largest sum
of the resident memory of the processes of one repetition, in which pages that they share count
several times. ``n_left`` counts processes that are still there ``LEFT_S`` after the last
repetition: Ray's agents end about a minute after a process that is killed. The exit code is 1 if
rows differ or are missing.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import measure
from archive import link_wfdb, write_muse

ROOT = Path(__file__).resolve().parents[1]
N_KILLS = 5
BLOCK_SIZE, N_BLOCKS = 256, 40  # the default of predict; a short job has smaller blocks
DELAY_S = 1.0  # largest random time after the part that is waited for
WATCH_S, LEFT_S = 0.2, 90.0  # between two looks; for processes to end after the first one
# Of the process that is killed in the last repetition, by engine.
WORKER = {"local": "ecg_siglip.archive.reader_process", "ray": "ray::Worker"}
COLUMNS = (
    "engine", "format", "n_records", "undisturbed_s", "records_per_s", "undisturbed_mib",
    "n_kills", "disturbed_s", "disturbed_mib", "worker_killed", "n_left", "same_bytes",
)  # fmt: skip


class Process(NamedTuple):
    """A process of the system: its parent and session, and its memory in MiB.

    The time of its start distinguishes it from a later one with the same number.
    """

    parent: int
    session: int
    started: int
    mib: float


def processes() -> dict[int, Process]:
    """Return the processes of this system by their number."""
    found = {}
    page_mib = os.sysconf("SC_PAGE_SIZE") / 2**20
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError, IndexError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    numbers = [int(fields[i]) for i in (1, 3, 19, 21)]
                    found[int(folder.name)] = Process(*numbers[:3], numbers[3] * page_mib)
    return found


class Job:
    """A command with the processes that it starts, which are watched.

    Parameters
    ----------
    command : list of str
    log : Path
        For what the command prints to stderr.

    Attributes
    ----------
    peak_mib : float
    """

    def __init__(self, command: list[str], log: Path):
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=file, cwd=ROOT, start_new_session=True,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        self.log = log
        self.peak_mib = 0.0
        self._own: dict[int, int] = {}  # number and start of each process

    def look(self) -> dict[int, Process]:
        """Note the memory of the processes of this command; return them."""
        every = processes()
        pid, own = self.process.pid, set(self._alive(every))
        own |= {each for each, one in every.items() if pid in (each, one.session)}
        while new := {each for each, one in every.items() if one.parent in own} - own:
            own |= new
        self._own |= {each: every[each].started for each in own}
        self.peak_mib = max(self.peak_mib, sum(every[each].mib for each in own))
        return {each: every[each] for each in own}

    def watch_until(self, is_time: Callable[[], bool]) -> bool:
        """Return True when something has happened; False if the command ends before.

        Raises
        ------
        SystemExit
            If the command fails.
        """
        while self.process.poll() is None:
            self.look()
            if is_time():
                return True
            time.sleep(WATCH_S)
        if self.process.returncode:
            raise SystemExit(f"predict failed:\n{self.log.read_text()[-2000:]}")
        return False

    def kill(self) -> None:
        """Kill the first process alone."""
        self.process.kill()
        self.process.wait()

    def kill_one(self, name: str) -> bool:
        """Kill one of the other processes by a part of its command line, if there is one."""
        for pid in self.look():
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
                if pid != self.process.pid and name.encode() in command:
                    os.kill(pid, signal.SIGKILL)
                    return True
        return False

    def end(self) -> int:
        """Wait for the other processes; return how many had to be killed."""
        until = time.monotonic() + LEFT_S
        while (left := self._alive(processes())) and time.monotonic() < until:
            time.sleep(WATCH_S)
        for pid in left:
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
                print(f"still there after {LEFT_S:g} s: {command[:200]}", file=sys.stderr)
                os.kill(pid, signal.SIGKILL)
        return len(left)

    def _alive(self, every: dict[int, Process]) -> list[int]:
        return [
            pid for pid, start in self._own.items() if pid in every and every[pid].started == start
        ]


def n_parts(out: Path) -> int:
    """Return the number of blocks that a job has stored."""
    return len(list(out.with_name(f".{out.name}.parts").glob("part-*")))


def undisturbed(command: list[str], folder: Path) -> tuple[Path, float, float]:
    """Return the rows of a job, its time, s, and its memory, MiB."""
    out, start = folder / "whole.parquet", time.perf_counter()
    job = Job([*command, f"out={out}"], folder / "log")
    job.watch_until(lambda: False)
    seconds = time.perf_counter() - start
    job.end()
    return out, seconds, job.peak_mib


def disturbed(
    command: list[str], folder: Path, n_blocks: int, worker: str, rng: random.Random
) -> dict[str, object]:
    """Kill and repeat a job; return its rows as ``out`` and the columns about it."""
    out = folder / "killed.parquet"
    *points, last = sorted(rng.randrange(n_blocks) for _ in range(N_KILLS + 1))
    jobs: list[Job] = []
    n_kills, start = 0, time.perf_counter()
    for point in points:
        job = Job([*command, f"out={out}"], folder / "log")
        jobs.append(job)
        if job.watch_until(lambda point=point: n_parts(out) >= point):
            time.sleep(rng.uniform(0, DELAY_S))
            n_kills += job.process.poll() is None
            job.kill()
        print(f"killed with {n_parts(out)} of {n_blocks} parts", file=sys.stderr)
    job = Job([*command, f"out={out}"], folder / "log")
    jobs.append(job)
    is_killed = job.watch_until(lambda: n_parts(out) >= last and job.kill_one(worker))
    job.watch_until(lambda: False)
    seconds = time.perf_counter() - start
    return {
        "out": out, "n_kills": n_kills, "disturbed_s": round(seconds, 1),
        "disturbed_mib": round(max(job.peak_mib for job in jobs)), "worker_killed": is_killed,
        "n_left": sum(job.end() for job in jobs),
    }  # fmt: skip


def main() -> None:
    model, data = (Path(sys.argv[1]) / "model").resolve(), Path(sys.argv[2])
    given = dict(enumerate(sys.argv[3:]))
    n, kind = int(given.get(0, 20_000)), given.get(1, "wfdb")
    engines, rng = given.get(2, "local,ray").split(","), random.Random(int(given.get(3, 0)))
    size = max(1, min(BLOCK_SIZE, n // N_BLOCKS))
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        headers = sorted(data.glob("records100/*/*.hea"))
        records, reference = Path(name) / "records", Path(name) / "reference.parquet"
        print(f"links to {n:,} files", file=sys.stderr)
        {"wfdb": link_wfdb, "muse": write_muse}[kind](headers, n, records)
        for engine in engines:
            folder = Path(name) / engine
            folder.mkdir()
            command = [sys.executable, "-m", "ecg_siglip.predict", f"records=['{records}']"]
            command += [f"model={model}", f"engine={engine}", "measurements=false"]
            command += ["device=cpu", f"block_size={size}"]
            print(f"{engine}: undisturbed", file=sys.stderr)
            whole, seconds, mib = undisturbed(command, folder)
            if not reference.exists():  # of all engines
                reference.hardlink_to(whole)
            result = disturbed(command, folder, -(-n // size), WORKER[engine], rng)
            outs = (whole, Path(str(result.pop("out"))))
            row = {
                "engine": engine, "format": kind, "n_records": n,
                "undisturbed_s": round(seconds, 1), "records_per_s": round(n / seconds),
                "undisturbed_mib": round(mib), **result,
                "same_bytes": all(filecmp.cmp(reference, out, shallow=False) for out in outs),
            }  # fmt: skip
            rows.append(row)
    for cells in (
        COLUMNS,
        ["---"] * len(COLUMNS),
        *([row[key] for key in COLUMNS] for row in rows),
    ):
        print(f"| {' | '.join(map(str, cells))} |")
    measure.save("archive_kills", rows)
    sys.exit(not all(row["same_bytes"] for row in rows))


if __name__ == "__main__":
    main()

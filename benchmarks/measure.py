"""Shared helpers: time and memory of a function, the machine, and saving of results."""

from __future__ import annotations

import contextlib
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
OUT = Path(__file__).parent / "results"
BEFORE = "b0e5db2"  # version 0.3.0 before there were jobs, and before the server read in processes


@contextlib.contextmanager
def earlier_code(revision: str = BEFORE) -> Iterator[Path | None]:
    """Yield a folder with the package of an earlier revision; None if git does not have it."""
    command = ["git", "archive", revision, "ecg_siglip", "conf"]
    packed = subprocess.run(command, cwd=ROOT, capture_output=True)
    with tempfile.TemporaryDirectory() as folder:
        if packed.returncode == 0:
            subprocess.run(["tar", "x", "-C", folder], input=packed.stdout, check=True)
        yield Path(folder) if packed.returncode == 0 else None


def device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def machine() -> str:
    """Return the name of the GPU, or of the CPU with the number of threads."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    return f"{cpu}, {torch.get_num_threads()} threads"


def seconds(work: Callable[[], object], n: int = 5) -> float:
    """Return the time of the fastest of n runs, after one that does not count, s."""
    work()
    times = []
    for _ in range(n):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_bytes(work: Callable[[], object]) -> int:
    """Return the memory that a function needs in addition to what was in use before, bytes.

    On a CPU it is the high-water mark of the process, which never falls: one measurement per
    process.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # resets the mark
    before = _status("VmRSS")
    work()
    return max(0, _status("VmHWM") - before)


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])


def run_separately(program: str, *arguments: object) -> dict[str, float]:
    """Run a program of this folder in a separate process; return the JSON object it prints."""
    command = [sys.executable, str(Path(__file__).parent / program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"failed": done.returncode}  # for example, out of memory
    return json.loads(done.stdout.splitlines()[-1])


def commit() -> str:
    """Return the commit that is measured."""
    git = ["git", "-C", str(OUT.parents[1])]
    head = subprocess.run([*git, "rev-parse", "--short=7", "HEAD"], capture_output=True, text=True)
    # Result files that were just written do not count as a change of the code.
    code = [*git, "status", "--porcelain", "--", "ecg_siglip", "conf", "benchmarks/*.py"]
    changed = subprocess.run(code, capture_output=True, text=True).stdout.strip()
    return (head.stdout.strip() or "unknown") + ("-dirty" if changed else "")


def save(name: str, rows: list[dict[str, object]]) -> None:
    """Write the rows of a program to ``results/cpu/<name>.json``, or ``results/cuda/``."""
    folder = OUT / device().type
    folder.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine(), "commit": commit(), "rows": rows}
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")

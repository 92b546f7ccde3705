"""What the programs here share: one row of the table, memory and time of a piece of work."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

OUT = Path(__file__).parent / "results"


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def machine() -> str:
    """What this runs on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    return f"{cpu}, {torch.get_num_threads()} threads"


def seconds(work: Callable[[], object], n: int = 5) -> float:
    """The fastest of some runs, after one that does not count, s."""
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
    """Memory that a piece of work needs on top of what was there before it, bytes.

    On a CPU the high-water mark of the process, which never falls: one measurement a process.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # the mark starts anew
    before = _status("VmRSS")
    work()
    return max(0, _status("VmHWM") - before)


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])


def apart(program: str, *words: object) -> dict[str, float]:
    """A program of this folder in a process of its own; it prints one JSON object."""
    command = [sys.executable, str(Path(__file__).parent / program), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"failed": done.returncode}  # out of memory, say
    return json.loads(done.stdout.splitlines()[-1])


def commit() -> str:
    """The commit that this was measured at."""
    git = ["git", "-C", str(OUT.parents[1])]
    head = subprocess.run([*git, "rev-parse", "--short=7", "HEAD"], capture_output=True, text=True)
    # The figures themselves, written a moment ago, do not make the code another one.
    code = [*git, "status", "--porcelain", "--", "ecg_siglip", "conf", "benchmarks/*.py"]
    changed = subprocess.run(code, capture_output=True, text=True).stdout.strip()
    return (head.stdout.strip() or "unknown") + ("-dirty" if changed else "")


def keep(name: str, rows: list[dict[str, object]]) -> None:
    """Write the rows of a program to ``results/cpu/<name>.json``, or ``results/cuda/``."""
    folder = OUT / device().type
    folder.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine(), "commit": commit(), "rows": rows}
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")

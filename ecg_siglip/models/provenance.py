"""Provenance of a model: the run, data, folds and earlier models that it comes from."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ecg_siglip.core.command_line import PACKAGE_DIR


def ancestors(about: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """An ``about``, then those of the models it comes from: its encoder's start, its teachers."""
    yield about
    for before in (about.get("pretrained"), *about.get("teachers", ())):
        if before:
            yield from ancestors(before)


def same_records(ours: str, theirs: str) -> bool:
    """Whether two ``PtbXl.version`` are of one table, however many of its records lay there."""
    return ours.rpartition(" ")[2] == theirs.rpartition(" ")[2]


def describe_machine(device: torch.device, precision: str, n_processes: int) -> str:
    """Describe what a run was trained on: processes, GPU or CPU, threads, precision."""
    many = f"{n_processes} x " if n_processes > 1 else ""
    if device.type == "cuda":
        return f"{many}{torch.cuda.get_device_name()}, {precision}"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    n_threads = torch.get_num_threads()
    return f"{many}{cpu}, {n_threads} thread{'s' * (n_threads > 1)}, {precision}"


def describe_commit() -> str:
    """The commit of the checkout that this runs from; ``release`` for an installed package."""
    root = PACKAGE_DIR.parent
    if not (root / ".git").exists():
        return "release"
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=7"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def summary(about: dict[str, Any]) -> dict[str, Any]:
    """What a model that comes from another one says of it."""
    kept = [
        *("run", "data", "held_out", "train_folds", "tune_fold", "n_train_records", "commit"),
        *("pretrained", "teachers"),
    ]
    return {key: about[key] for key in kept if about.get(key)}


def merged_provenance(abouts: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """Where an ensemble comes from: what its members share, and what each brings."""

    starts = [about.get("pretrained") or {} for about in abouts]
    if any(start != starts[0] for start in starts):
        before = ", ".join(dict.fromkeys(str(start.get("run", "at random")) for start in starts))
        raise ValueError(
            f"runs: their ECG encoders started differently ({before}); expected one start for all"
        )

    def every(key: str) -> str:
        return ", ".join(dict.fromkeys(str(about.get(key, "not noted")) for about in abouts))

    teachers = [teacher for about in abouts for teacher in about.get("teachers", ())]
    return abouts[0] | {
        "members": names,
        "teachers": [each for i, each in enumerate(teachers) if each not in teachers[:i]],
        "ecg": every("ecg"),
        "text": every("text"),
        "objective": every("objective"),
        "seed": every("seed"),
        "best_epoch": every("best_epoch"),
        "machine": every("machine"),
        "commit": every("commit"),
        "train_seconds": round(sum(about["train_seconds"] for about in abouts), 1),
    }

"""Provenance of a model: the run, data, folds and earlier models that it comes from."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from ecg_siglip.core.command_line import PACKAGE_DIR

UNKNOWN = "not noted"
# What a model that comes from this one keeps of its provenance.
SUMMARY = (
    *("run", "data", "held_out", "train_folds", "tune_fold", "n_train_records", "commit"),
    *("pretrained", "teachers"),
)


@dataclass(frozen=True)
class Provenance:
    """Where a model comes from, as ``config.json`` stores it under ``about``.

    Attributes
    ----------
    run, version : str
        Name of the run, and version of the package that trained it.
    data : str
        Number of records and hash of the metadata, see ``PtbXl.version``.
    task : str
    held_out : list of str
        Findings that were held out from training.
    ecg, text : str
        Encoders; text ``none`` is a supervised head.
    language : str
        Of the prompts.
    objective : str
    train_folds : list of int
    tune_fold : int
    seed, best_epoch : int, or str for an ensemble
    n_train_records, n_tune_records : int
    pretrained : Provenance, optional
        The model that the ECG encoder started from.
    teachers : tuple of Provenance
        The models whose probabilities had a share in the labels.
    pairs : dict
        Shares of positive and of wrong pairs per term, see ``TrainingData.pair_shares``.
    train_seconds : float, s
    machine, commit : str
    tune_scores : dict of str to float or None
        Scores on the tuning fold.
    members : list of str
        Runs of an ensemble; empty for a single run.
    recorded : frozenset of str
        Fields that were stored; models of earlier versions lack some.
    """

    run: str
    version: str = UNKNOWN
    data: str = ""
    task: str = "all"
    held_out: list[str] = field(default_factory=list)
    ecg: str = UNKNOWN
    text: str = UNKNOWN
    language: str = "en"
    objective: str = UNKNOWN
    train_folds: list[int] = field(default_factory=list)
    tune_fold: int = 0
    seed: int | str = UNKNOWN
    n_train_records: int = 0
    n_tune_records: int = 0
    best_epoch: int | str = UNKNOWN
    pretrained: Provenance | None = None
    teachers: tuple[Provenance, ...] = ()
    pairs: dict[str, dict[str, float]] = field(default_factory=dict)
    train_seconds: float = 0.0
    machine: str = UNKNOWN
    commit: str = UNKNOWN
    tune_scores: Mapping[str, float | None] = field(default_factory=dict)
    members: list[str] = field(default_factory=list)
    recorded: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Provenance:
        """Read what ``to_json`` or ``summary`` wrote; unknown keys are ignored."""
        known = {f.name for f in fields(cls)} - {"recorded"}
        content = {key: value for key, value in values.items() if key in known}
        if "pretrained" in content:
            content["pretrained"] = cls.from_json(content["pretrained"] or {"run": ""})
            if not values["pretrained"]:
                content["pretrained"] = None
        if "teachers" in content:
            content["teachers"] = tuple(map(cls.from_json, content["teachers"]))
        return cls(**content, recorded=frozenset(content))

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON holds them; of a model that was read, those it had."""
        content: dict[str, Any] = {}
        for each in fields(self):
            if each.name == "recorded" or (each.name == "members" and not self.members):
                continue
            if not self.recorded or each.name in self.recorded:
                content[each.name] = getattr(self, each.name)
        if "pretrained" in content:
            content["pretrained"] = self.pretrained.summary() if self.pretrained else {}
        if "teachers" in content:
            content["teachers"] = [teacher.summary() for teacher in self.teachers]
        return content

    def summary(self) -> dict[str, Any]:
        """Return what a model that comes from this one stores of it, as JSON holds it."""
        content = self.to_json()
        return {key: content[key] for key in SUMMARY if content.get(key)}

    @property
    def title(self) -> str:
        """Run and version, as predictions name their model."""
        return f"{self.run} ({self.version})"

    @property
    def has_text(self) -> bool:
        """Whether the model has a text encoder, and not only a supervised head."""
        return self.text != "none"

    @property
    def folds_seen(self) -> set[int]:
        """Folds that the model itself was trained or tuned on."""
        return {*self.train_folds, self.tune_fold}

    def has_seen(self, fold: int) -> bool:
        """Return whether the model itself was trained or tuned on a fold."""
        return fold in self.folds_seen

    def lineage(self) -> Iterator[Provenance]:
        """Iterate over this model and all that it comes from: its start, its teachers."""
        yield self
        for before in (self.pretrained, *self.teachers):
            if before:
                yield from before.lineage()

    def same_records(self, version: str) -> bool:
        """Return whether the model's data and ``PtbXl.version`` are of one table of records."""
        # The number of records before the hash is that of the files found on disk.
        return self.data.rpartition(" ")[2] == version.rpartition(" ")[2]


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


def merged_provenance(members: Sequence[Provenance], names: list[str]) -> Provenance:
    """Merge the provenances of the members of an ensemble.

    Raises
    ------
    ValueError
        If their ECG encoders started from different models.
    """
    first, starts = members[0], [member.pretrained for member in members]
    if any(start != starts[0] for start in starts):
        before = ", ".join(dict.fromkeys(start.run if start else "at random" for start in starts))
        raise ValueError(
            f"runs: their ECG encoders started differently ({before}); expected one start for all"
        )

    def every(name: str) -> str:
        return ", ".join(dict.fromkeys(str(getattr(member, name)) for member in members))

    unique: list[Provenance] = []
    for teacher in (teacher for member in members for teacher in member.teachers):
        if teacher not in unique:
            unique.append(teacher)
    return replace(
        first,
        members=names,
        teachers=tuple(unique),
        ecg=every("ecg"),
        text=every("text"),
        objective=every("objective"),
        seed=every("seed"),
        best_epoch=every("best_epoch"),
        machine=every("machine"),
        commit=every("commit"),
        train_seconds=round(sum(member.train_seconds for member in members), 1),
        recorded=frozenset(),
    )

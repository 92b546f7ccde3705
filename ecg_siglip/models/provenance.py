"""Provenance of a model: its run, data, folds and the earlier models that it was derived from."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from ecg_siglip.core.command_schema import PACKAGE_DIR

UNKNOWN = "not noted"
SIMULATED = "Trained on simulated ECGs: not for real ones"
# The part of a provenance that a model derived from this one stores.
SUMMARY = (
    *("run", "data", "held_out", "simulated", "train_folds", "tune_fold", "n_train_records"),
    *("commit", "pretrained", "teachers", "licence"),
)


@dataclass(frozen=True)
class Provenance:
    """Origin of a model, as ``config.json`` stores it under ``about``.

    Attributes
    ----------
    run, version : str
        Name of the run, and version of the package that trained it.
    data : str
        Number of records and hashes of each data set, see ``LabelledRecords.version``.
    task : str
    held_out : list of str
        Findings that were hidden from training.
    simulated : bool, optional
        Whether `simulate` has made every training record; None for models of earlier versions that
        did not note it.
    n_simulated_records : int
        Number of training records that `simulate` has made.
    ecg, text : str
        Names of the encoders; text ``none`` is a supervised head.
    language : str
        Language of the prompts.
    objective : str
    train_folds : list of int
    tune_fold : int
    seed, best_epoch : int, or str for an ensemble
    n_train_records, n_tune_records : int
    pretrained : Provenance, optional
        The model that the ECG encoder was initialized from.
    teachers : tuple of Provenance
        The models whose probabilities were mixed into the labels.
    pairs : dict
        Shares of positive and of wrong pairs per term, see ``TrainingData.pair_shares``.
    train_seconds : float, s
    machine, commit : str
    tune_scores : dict of str to float or None
        Scores on the tuning fold.
    never_present : list of str
        Findings that no training record has: their probabilities come from words alone.
    members : list of str
        Runs of an ensemble; empty for a single run.
    licence : str
        Licence of the weights that others have published; empty for those of this package.
    recorded : frozenset of str
        Fields that ``config.json`` had; models of earlier versions lack some.
    """

    run: str
    version: str = UNKNOWN
    data: str = ""
    task: str = "all"
    held_out: list[str] = field(default_factory=list)
    simulated: bool | None = False
    n_simulated_records: int = 0
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
    never_present: list[str] = field(default_factory=list)
    members: list[str] = field(default_factory=list)
    licence: str = ""
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
        recorded = frozenset(content)
        content.setdefault("simulated", None)
        return cls(**content, recorded=recorded)

    def to_json(self) -> dict[str, Any]:
        """Return the fields for JSON; of a model that was read, those that were stored."""
        content: dict[str, Any] = {}
        for each in fields(self):
            is_rare = each.name in ("members", "licence")
            if each.name == "recorded" or (is_rare and not getattr(self, each.name)):
                continue
            if not self.recorded or each.name in self.recorded:
                content[each.name] = getattr(self, each.name)
        if "pretrained" in content:
            content["pretrained"] = self.pretrained.summary() if self.pretrained else {}
        if "teachers" in content:
            content["teachers"] = [teacher.summary() for teacher in self.teachers]
        return content

    def summary(self) -> dict[str, Any]:
        """Return the part that a model derived from this one stores, for JSON."""
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
    def origin(self) -> str:
        """What a user of the model must know about simulated training records; often nothing."""
        if self.simulated is None:
            return "It is not noted whether the model was trained on real or on simulated ECGs"
        if self.simulated:
            return SIMULATED
        if not self.n_simulated_records:
            return ""
        share = self.n_simulated_records / max(1, self.n_train_records)
        return (
            f"{self.n_simulated_records:,} of {self.n_train_records:,} training ECGs are simulated "
            f"({share:.0%})"
        )

    @property
    def folds_seen(self) -> set[int]:
        """Folds that the model itself was trained or tuned on, without earlier models."""
        return {*self.train_folds, self.tune_fold}

    def has_seen(self, fold: int) -> bool:
        """Return whether the model itself was trained or tuned on a fold."""
        return fold in self.folds_seen

    def lineage(self) -> Iterator[Provenance]:
        """Iterate over this model and the models that it was derived from, recursively."""
        yield self
        for before in (self.pretrained, *self.teachers):
            if before:
                yield from before.lineage()

    def same_records(self, version: str) -> bool:
        """Return whether the model's data and those of this version have a data set in common."""
        return bool(_hashes(self.data) & _hashes(version))


def _hashes(version: str) -> set[str]:
    """Return the hashes of all data sets of a version.

    The numbers before them do not count: they are those of the files found on disk.
    """
    return {*re.findall(r"sha256 (\w+)", version)} or {version}


def describe_machine(device: torch.device, precision: str, n_processes: int) -> str:
    """Describe the machine of a training run: processes, GPU or CPU, threads, precision."""
    prefix = f"{n_processes} x " if n_processes > 1 else ""
    if device.type == "cuda":
        return f"{prefix}{torch.cuda.get_device_name()}, {precision}"
    if device.type == "mps":
        return f"{prefix}GPU of {platform.machine()} Mac, {precision}"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    n_threads = torch.get_num_threads()
    return f"{prefix}{cpu}, {n_threads} thread{'s' * (n_threads > 1)}, {precision}"


def describe_commit() -> str:
    """Return the commit of the checkout that is running; ``release`` for an installed package."""
    root = PACKAGE_DIR.parent
    if not (root / ".git").exists():
        return "release"
    try:
        process = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=7"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return process.stdout.strip()


def merged_provenance(members: Sequence[Provenance], names: list[str]) -> Provenance:
    """Merge the provenances of the members of an ensemble.

    Raises
    ------
    ValueError
        If their ECG encoders were initialized from different models.
    """
    first, starts = members[0], [member.pretrained for member in members]
    if any(start != starts[0] for start in starts):
        before = ", ".join(dict.fromkeys(start.run if start else "at random" for start in starts))
        raise ValueError(
            f"runs: their ECG encoders were initialized differently ({before}); expected runs with "
            "the same ecg.weights"
        )

    def merged(name: str) -> str:
        """Return the distinct values of the members, separated by commas."""
        return ", ".join(dict.fromkeys(str(getattr(member, name)) for member in members))

    unique: list[Provenance] = []
    for teacher in (teacher for member in members for teacher in member.teachers):
        if teacher not in unique:
            unique.append(teacher)
    return replace(
        first,
        members=names,
        simulated=(
            None
            if any(member.simulated is None for member in members)
            else all(member.simulated for member in members)
        ),
        teachers=tuple(unique),
        ecg=merged("ecg"),
        text=merged("text"),
        objective=merged("objective"),
        seed=merged("seed"),
        best_epoch=merged("best_epoch"),
        machine=merged("machine"),
        commit=merged("commit"),
        train_seconds=round(sum(member.train_seconds for member in members), 1),
        recorded=frozenset(),
    )

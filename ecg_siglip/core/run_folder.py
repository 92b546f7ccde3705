"""Run folders: find runs, read and write their configuration, find their model and scores."""

from __future__ import annotations

import fnmatch
import json
import operator
import sys
from pathlib import Path
from typing import Any

from ecg_siglip.core.files import one_line
from ecg_siglip.core.settings import setting_names


def find_runs(root: Path, patterns: list[str], knob: str = "runs") -> list[str]:
    """Names of the runs meant, in the order they are named; ``*`` and ``?`` stand for any.

    Raises
    ------
    ValueError
        If nothing is named, or a name or pattern fits no run.
    """
    if not patterns:
        raise ValueError("no run named: expected runs=[bank_s0,bank_s1,...] or runs=['bank_s*']")
    known = sorted(path.parent.name for path in root.glob("*/config.yaml"))
    found: list[str] = []
    for pattern in patterns:
        names = fnmatch.filter(known, pattern)
        if not names:
            raise ValueError(
                f"{knob}: {pattern} fits no run in {root}; expected one of "
                f"{', '.join(known) or '(there is none)'}"
            )
        found += [name for name in names if name not in found]
    return found


def find_model(root: str | Path, name: str, model: str | None) -> str | Path:
    """The model that a verb shall answer with: the one named, or else the run's.

    Raises
    ------
    ValueError
        If neither is named, or the run has left no model.
    """
    if model is not None:
        return model
    if not name:
        raise ValueError("no model named: expected run.name=... or model=...")
    folder = Path(root) / name / "model"
    if not folder.is_dir():
        raise ValueError(f"{folder}: no trained model there; expected the name of a finished run")
    return folder


def to_yaml(settings: Any) -> str:
    """A configuration as YAML, as ``runs/<name>/config.yaml`` holds it."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.structured(settings))


def from_yaml(schema: type, path: Path) -> Any:
    """Read back what ``to_yaml`` wrote, be it by an earlier version.

    Raises
    ------
    ValueError
        If the file holds a knob that this version does not know, or a value of another type.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        stored = OmegaConf.load(path)
        for name, value in getattr(schema, "BEFORE", {}).items():
            if OmegaConf.select(stored, name) is None:
                OmegaConf.update(stored, name, value)
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), stored))
    except OmegaConfBaseException as error:
        raise ValueError(
            f"{path}: not a configuration of this version: {one_line(error)}"
        ) from error


def evaluated_folds(run: Path, about: dict[str, Any]) -> dict[int, dict[str, float | None]]:
    """What ``evaluate`` found of this very model: scores by fold, for its card."""
    folds = {}
    for path in sorted(run.glob("evaluate/fold*/metrics.json")):
        theirs = path.with_name("about.json")
        if theirs.exists() and json.loads(theirs.read_text()) == json.loads(json.dumps(about)):
            folds[int(path.parent.name.removeprefix("fold"))] = json.loads(path.read_text())
        else:
            print(f"export: {path.parent} is of another model; not on the card", file=sys.stderr)
    return folds


def check_same_settings(run: Path, settings: Any) -> None:
    """Hold the configuration against the one that the run was begun with, if it was.

    Raises
    ------
    ValueError
        Saying which knobs differ.
    """
    if not (run / "config.yaml").exists():
        return
    begun = from_yaml(type(settings), run / "config.yaml")
    differing = []
    for name in setting_names(type(settings)):
        then, now = operator.attrgetter(name)(begun), operator.attrgetter(name)(settings)
        if then != now and name not in settings.FREE:
            differing.append(f"{name} (was {then}, now {now})")
    if differing:
        raise ValueError(
            f"{run} was begun with another configuration: {'; '.join(differing)}; "
            "take another run.name, or say the same again to resume"
        )

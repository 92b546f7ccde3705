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


def find_runs(root: Path, patterns: list[str], setting: str = "runs") -> list[str]:
    """Return the names of the runs that match, in the order of the patterns.

    Parameters
    ----------
    root : Path
        Folder of all runs.
    patterns : list of str
        Names of runs; ``*`` and ``?`` are wildcards.
    setting : str
        Name of the setting, for the error.

    Raises
    ------
    ValueError
        If there is no pattern, or one matches no run.
    """
    if not patterns:
        raise ValueError("no run named: expected runs=[bank_s0,bank_s1,...] or runs=['bank_s*']")
    known = sorted(path.parent.name for path in root.glob("*/config.yaml"))
    matching: list[str] = []
    for pattern in patterns:
        names = fnmatch.filter(known, pattern)
        if not names:
            raise ValueError(
                f"{setting}: {pattern} fits no run in {root}; expected one of "
                f"{', '.join(known) or '(there is none)'}"
            )
        matching += [name for name in names if name not in matching]
    return matching


def find_model(root: str | Path, name: str, model: str | None) -> str | Path:
    """Return the model that a command uses: ``model`` if it is given, else that of the run.

    Raises
    ------
    ValueError
        If neither is given, or the run has no model.
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
    """Return a configuration as YAML, the content of ``runs/<name>/config.yaml``."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.structured(settings))


def from_yaml(schema: type, path: Path) -> Any:
    """Read a configuration that ``to_yaml`` wrote, also one of an earlier version.

    Raises
    ------
    ValueError
        If the file has a setting that this version does not know, or a value of another type.
    """
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        stored = OmegaConf.load(path)
        for name, value in getattr(schema, "BEFORE", {}).items():
            if OmegaConf.select(stored, name) is None:
                OmegaConf.update(stored, name, value)
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), stored))
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise ValueError(
            f"{path}: not a configuration of this version: {one_line(error)}"
        ) from error


def evaluated_folds(run: Path, about: dict[str, Any]) -> dict[int, dict[str, float | None]]:
    """Return the scores that ``evaluate`` wrote for this very model, by fold, for its model card.

    Parameters
    ----------
    run : Path
    about : dict
        Provenance of the model. Scores of a model with another provenance are left out, with a
        note on stderr.
    """
    folds = {}
    for path in sorted(run.glob("evaluate/fold*/metrics.json")):
        evaluated = path.with_name("about.json")
        if not path.parent.name.removeprefix("fold").isdecimal():
            continue  # one data set of several
        is_same = evaluated.exists() and (
            json.loads(evaluated.read_text()) == json.loads(json.dumps(about))
        )
        if is_same:
            folds[int(path.parent.name.removeprefix("fold"))] = json.loads(path.read_text())
        else:
            print(f"export: {path.parent} is of another model; not on the card", file=sys.stderr)
    return folds


def check_same_settings(run: Path, settings: Any) -> None:
    """Check that a run that was started before is resumed with the same configuration.

    Raises
    ------
    ValueError
        Naming the settings that differ; those in ``settings.FREE`` may.
    """
    if not (run / "config.yaml").exists():
        return
    stored = from_yaml(type(settings), run / "config.yaml")
    differing = []
    for name in setting_names(type(settings)):
        then, now = operator.attrgetter(name)(stored), operator.attrgetter(name)(settings)
        if then != now and name not in settings.FREE:
            differing.append(f"{name} (was {then}, now {now})")
    if differing:
        raise ValueError(
            f"{run} was begun with another configuration: {'; '.join(differing)}; "
            "take another run.name, or the same settings to resume"
        )

"""Run folders: find runs, read and write their configuration, find their model and scores."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import operator
import os
import re
import sys
from pathlib import Path
from typing import Any

from ecg_siglip.core.files import one_line, shown
from ecg_siglip.core.settings import setting_names
from ecg_siglip.core.suggestions import did_you_mean, nearest

DEFAULT = "default"  # as a value of model=, init= and ecg.weights=: the model in PRETRAINED
PRETRAINED = Path(__file__).resolve().parents[1] / "pretrained"
NAMED: set[Path] = set()  # default models that stderr has named, once per process
MAX_RUNS = 8  # that an error lists
# Names that Windows reserves for devices, whatever follows a point.
DEVICE_NAME = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
MAX_NAME_BYTES = 150  # of a run; a file system allows 255, and files next to it are named after it


def check_run_name(name: str) -> None:
    """Check that a new run can have a name: it becomes that of a folder, on any system.

    Raises
    ------
    ValueError
        Naming what is not allowed in it.
    """
    problem = ""
    if not name:
        problem = "a name"
    elif Path(name).parent != Path() or "\\" in name:
        problem = "the name of a folder in run.root, without slashes"
    elif bad := sorted(set(re.findall(r"[^\w.+=@() -]", name))):
        problem = f"letters, digits and . _ - + = @ ( ), not {' '.join(map(repr, bad[:5]))}"
    elif name[0] in ".- " or name[-1] in ". ":
        problem = "a letter or digit at the start and the end"
    elif DEVICE_NAME.fullmatch(name):
        problem = "another name, Windows reserves it"
    elif name == DEFAULT:
        problem = "another name: it is that of the default model"
    elif len(os.fsencode(name)) > MAX_NAME_BYTES:
        problem = f"at most {MAX_NAME_BYTES} bytes, got {len(os.fsencode(name))}"
    if problem:
        raise ValueError(f"run.name={shown(name, 60)}: expected {problem}")


def similar_runs(root: str | Path, name: str) -> str:
    """Return a hint to the runs that have a model and a similar name, or to all of them; or ""."""
    known = sorted(path.parent.name for path in Path(root).glob("*/model") if path.is_dir())
    if near := nearest(Path(name).name, known):
        return f"; {did_you_mean(near)}"
    return f"; finished: {', '.join(known)}" if 0 < len(known) <= MAX_RUNS else ""


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
        # The shell completes and expands the names of folders.
        names = fnmatch.filter(known, pattern.removeprefix(f"{root}/").rstrip("/"))
        if not names:
            near = nearest(pattern, known)
            hint = did_you_mean(near, f"expected one of {', '.join(known) or '(there is none)'}")
            raise ValueError(f"{setting}: {pattern} fits no run in {root}; {hint}")
        matching += [name for name in names if name not in matching]
    return matching


def find_model(root: str | Path, name: str, model: str | None, command: str) -> str | Path:
    """Return the model that a command uses: ``model``, else that of the run, else the default one.

    Parameters
    ----------
    root : str or Path
        Folder of all runs.
    name : str
        Name of a run, or "".
    model : str, optional
        Folder of a model, a name on the hub, or ``default``: the one in the package.
    command : str
        Name of the command, for the line on stderr that names the default model.

    Raises
    ------
    ValueError
        If the run has no model, or none is given and the package has none.
    """
    if model is not None and model != DEFAULT:
        return model
    if model == DEFAULT or not name:
        what = "no model named" if model is None else "model=default"
        return default_model(command, what, "run.name=... or model=...")
    folder = Path(root) / name / "model"
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: no trained model there; expected the name of a finished run"
            + similar_runs(root, name)
        )
    return folder


def find_initial_model(root: str | Path, name: str, setting: str) -> str | Path:
    """Return the model that a training starts from, by the value of ``init`` or ``ecg.weights``.

    Parameters
    ----------
    root : str or Path
        Folder of all runs.
    name : str
        Name of a run, folder of a model, ``owner/name`` on the hub, or ``default``.
    setting : str
        The setting that names the model, for messages.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    expected = "a finished run, the folder of a model, or owner/name on the hub"
    if name == DEFAULT:
        return default_model(setting, f"{setting}=default", f"{setting}=<{expected}>")
    run = Path(root) / name
    if (run / "model").is_dir():
        return run / "model"
    if (Path(name) / "config.json").is_file() or (name.count("/") == 1 and not run.exists()):
        return name
    problem = "has not finished training" if run.exists() else "does not exist"
    hint = "; `make pretrain` makes it" if name == "pretrain" else similar_runs(root, name)
    raise ValueError(f"{setting}={name}: {run} {problem}; expected {expected}{hint}")


def default_model(command: str, what: str, expected: str) -> Path:
    """Return the folder of the model in the package, and name it on stderr, once per process.

    Parameters
    ----------
    command, what : str
        Who uses the model, and what was given, for the messages.
    expected : str
        What to give if the package has no model.

    Raises
    ------
    ValueError
        If the package has no model.
    """
    if not (PRETRAINED / "config.json").is_file():
        raise ValueError(f"{what}, and this installation has no default model: expected {expected}")
    if PRETRAINED not in NAMED and os.environ.get("RANK", "0") == "0":
        NAMED.add(PRETRAINED)
        words = describe_default(PRETRAINED)
        print(f"{command}: model: the default one ({words}, for research only)", file=sys.stderr)
    return PRETRAINED


def describe_default(folder: Path) -> str:
    """Return version and training data of a model in words, for example ``0.3.0, trained on ...``.

    Raises
    ------
    ValueError
        If its ``config.json`` is damaged.
    """
    import yaml

    try:
        about = json.loads((folder / "config.json").read_text(encoding="utf-8"))["about"]
        words = f"{about['version']}, trained on {about['n_train_records']:,} ECGs"
        if (folder / "config.yaml").is_file():
            data = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["data"]
            words += f" of {', '.join(each['name'] for each in data['sources'] or [data])}"
    except (KeyError, TypeError, ValueError, RecursionError, OSError, yaml.YAMLError) as error:
        raise ValueError(f"model {folder}: damaged: {one_line(error)}") from error
    return words


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


def _without_places(value: Any) -> Any:
    """Return a list of data sets without the places of their files; other values as they are."""
    if not isinstance(value, list) or not all(hasattr(each, "root") for each in value):
        return value
    return [dataclasses.replace(each, root=None, table=None) for each in value]


def check_same_settings(run: Path, settings: Any) -> list[str]:
    """Check that a run that was started before is resumed with the same configuration.

    Returns
    -------
    list of str
        Places of the data that differ, as ``data.root (was a, now b)``.

    Raises
    ------
    ValueError
        Naming the settings that differ; those in ``settings.FREE`` and ``settings.PLACES`` may.
    """
    if not (run / "config.yaml").exists():
        return []
    stored = from_yaml(type(settings), run / "config.yaml")
    differing, moved = list[str](), list[str]()
    for name in setting_names(type(settings)):
        then, now = operator.attrgetter(name)(stored), operator.attrgetter(name)(settings)
        if then == now or name in settings.FREE:
            continue
        is_place = name in settings.PLACES or _without_places(then) == _without_places(now)
        (moved if is_place else differing).append(f"{name} (was {then}, now {now})")
    if differing:
        raise ValueError(
            f"{run} was begun with another configuration: {'; '.join(differing)}; "
            "take another run.name, or the same settings to resume"
        )
    return moved

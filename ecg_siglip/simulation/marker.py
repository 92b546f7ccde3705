"""The marker of simulated ECGs: a file in the folder that `simulate` has written."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

MARKER = "simulation.json"
N_ABOVE = 4  # folders above a record: root/records100/00000/00001_lr


def write_marker(folder: Path, **made_by: Any) -> None:
    """Write the marker of simulated ECGs, with the settings that they were made by."""
    (folder / MARKER).write_text(json.dumps(made_by) + "\n", encoding="utf-8")


def is_marked(folder: Path) -> bool:
    """Return whether a folder has been written by `simulate`."""
    try:
        content = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"n_records", "seed"} <= content.keys()


def is_made_by(folder: Path, settings: dict[str, Any]) -> bool:
    """Return whether a folder has been written by `simulate` with these settings."""
    return is_marked(folder) and json.loads((folder / MARKER).read_text("utf-8")) == settings


def are_simulated(paths: Iterable[Path]) -> np.ndarray:
    """Return which records are in a folder that `simulate` has written, (n_records,) bool.

    Parameters
    ----------
    paths : iterable of Path
        Of the records; the marker is searched for in ``N_ABOVE`` folders above each.
    """
    marked: dict[Path, bool] = {}

    def in_marked(path: Path) -> bool:
        for folder in path.absolute().parents[:N_ABOVE]:
            if folder not in marked:
                marked[folder] = is_marked(folder)
            if marked[folder]:
                return True
        return False

    return np.array([in_marked(path) for path in paths], bool)

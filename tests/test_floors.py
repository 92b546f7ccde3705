"""The house: imports only go down, and the lowest rooms are light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "ecg_siglip"
FLOORS = [
    "config waveform wfdb_files devices tables findings encoders losses metrics plots charts beats "
    "download hub reports",
    "card records text_encoders operating quality report drilldown augmentation lead_sets "
    "neighbours concepts snomed retrieval",
    "cache clinical model paired windows challenge",
    "ptbxl checkpoint simulate ranks sheet explain",
    "batches predictor truth held_out",
    "ask",
    "hospitals answers",
    "transfer breakdown predict",
    "evaluate build",
    "teachers",
    "train compare ensemble classifier desk",
    "export serve",
    "app",
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}
# Narrower than the floors allow: who answers for one record needs no data set and no loss.
ONLY = {
    "checkpoint": {"card", "config", "findings", "hub", "model", "neighbours"},
    "predictor": {
        *("checkpoint", "explain", "findings", "lead_sets", "metrics", "model", "operating"),
        *("records", "waveform"),
    },
    "answers": {
        *("ask", "config", "lead_sets", "metrics", "neighbours", "predictor", "quality"),
        *("records", "sheet", "waveform", "windows"),
    },
    "predict": {"answers", "ask", "config", "predictor", "ranks", "records", "sheet"},
}
LIGHT = ["records", "wfdb_files", "devices", "tables", "quality"]
LIGHT += ["waveform", "augmentation", "lead_sets", "neighbours", "windows"]
LIGHT += ["findings", "metrics", "paired"]
LIGHT += ["plots", "report", "sheet", "operating", "charts", "beats", "clinical", "download"]
LIGHT += ["snomed", "challenge"]
LIGHT += ["drilldown", "hub", "card", "reports", "retrieval"]
ROOMS = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")


def imported(room: str) -> set[str]:
    """Every module that a room imports, at its top or within a function; ours as ``.room``."""
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{room}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{room}: write `from ecg_siglip import ...`, in full"
            if node.module == "ecg_siglip":
                found |= {f"ecg_siglip.{alias.name}" for alias in node.names}
            else:
                found.add(str(node.module))
    return {name.removeprefix("ecg_siglip") for name in found} - {".__version__"}


def ours(room: str) -> set[str]:
    return {name[1:].partition(".")[0] for name in imported(room) if name.startswith(".")}


def test_every_room_has_its_floor():
    unplaced = set(ROOMS) - set(FLOOR)
    assert not unplaced, f"say in tests/test_floors.py on which floor {unplaced} belongs"
    # The scan sees what it is meant to see.
    assert {"losses", "evaluate", "config"} <= ours("train")


@pytest.mark.parametrize("room", ROOMS)
def test_imports_only_go_down(room):
    upwards = {other for other in ours(room) if FLOOR[other] >= FLOOR[room]}
    assert not upwards, f"{room} (floor {FLOOR[room]}) must not import {upwards}"
    assert ours(room) <= ONLY.get(room, ours(room))


@pytest.mark.parametrize("room", [room for room in LIGHT if room in ROOMS])
def test_light_rooms_need_neither_torch_nor_hydra(room):
    heavy = {name.partition(".")[0] for name in imported(room)} & {"torch", "hydra", "omegaconf"}
    assert not heavy


def test_the_package_imports_nothing_before_it_is_asked():
    code = (
        "import sys, ecg_siglip; print(sorted({'torch', 'hydra', 'pandas'} & set(sys.modules)));"
        "ecg_siglip.records, ecg_siglip.waveform, ecg_siglip.findings, ecg_siglip.metrics;"
        "print(sorted({'torch', 'hydra'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]

"""Imports: downwards only, without cycles, and no heavy library where it is not needed."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "ecg_siglip"
# From the lowest layer to the highest: sub-packages, and modules outside any sub-package.
LAYERS = [
    "core",
    "signals",
    "vocabulary",
    "metrics readers simulation",
    "config",
    "datasets models",
    "inference",
    "training reporting",
    "archive evaluation",
    "serving",
    "check train evaluate predict compare ensemble export ptbxl simulate app",
    "adapt",
    "__main__",
]
LAYER = {unit: layer for layer, units in enumerate(LAYERS) for unit in units.split()}
LIGHT = ("vocabulary", "signals", "metrics", "readers", "simulation")
HEAVY = {"torch", "hydra", "omegaconf"}
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in PACKAGE.rglob("*.py")
    if path != PACKAGE / "__init__.py"
}


def unit(module: str) -> str:
    """Return the sub-package of a module, or the module itself if it is in none.

    A module that runs a package as a command is a command.
    """
    return "__main__" if module.endswith(".__main__") else module.partition(".")[0]


def imported(module: str) -> tuple[set[str], set[str]]:
    """Return what a module imports anywhere in it: our modules, and other top-level packages."""
    ours, others = set(), set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: write `from ecg_siglip... import`, in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            top, _, rest = name.partition(".")
            if top != "ecg_siglip":
                others.add(top)
                continue
            # `from ecg_siglip.a.b import c` may name a module or something within one.
            while rest and rest not in MODULES and f"{rest}.__init__" not in MODULES:
                rest = rest.rpartition(".")[0]
            if rest:
                ours.add(rest if rest in MODULES else f"{rest}.__init__")
    return ours, others


def test_every_module_has_its_layer():
    unknown = {unit(module) for module in MODULES} - set(LAYER)
    assert not unknown, f"add to LAYERS in tests/test_imports.py: {unknown}"
    assert not set(LAYER) - {unit(module) for module in MODULES}, "LAYERS lists what is not there"
    assert len(MODULES) > 60  # the scan sees the package
    assert "training.losses" in imported("training.trainer")[0]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_down(module):
    mine = unit(module)
    upwards = {
        other
        for other in imported(module)[0]
        if unit(other) != mine and LAYER[unit(other)] >= LAYER[mine]
    }
    assert not upwards, f"{module} (layer {LAYER[mine]}) must not import {upwards}"


def test_there_is_no_import_cycle():
    graph = {module: imported(module)[0] for module in MODULES}
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError, naming the cycle


def test_light_packages_load_neither_torch_nor_hydra():
    modules = [module for module in MODULES if unit(module) in LIGHT]
    assert not {name for module in modules for name in imported(module)[1]} & HEAVY
    names = [f"ecg_siglip.{module}".removesuffix(".__init__") for module in modules]
    code = (
        f"import importlib, sys; [importlib.import_module(name) for name in {names}];"
        f"print(sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_imports_nothing_before_it_is_used():
    code = (
        "import sys, ecg_siglip; print(sorted({'torch', 'hydra', 'pandas'} & set(sys.modules)));"
        "ecg_siglip.readers.read_record, ecg_siglip.signals;"
        "ecg_siglip.metrics, ecg_siglip.vocabulary;"
        "print(sorted({'torch', 'hydra'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]

"""The notebook runs as it stands, on small data; what is stored of it is small and in order."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_it_runs_on_what_make_demo_leaves(path, tmp_path, monkeypatch, simulated, evaluated):
    run = evaluated.parents[1]
    for folder in ("data", "runs", "notebooks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "data/demo").symlink_to(simulated)
    (tmp_path / "runs/demo").symlink_to(run)
    (tmp_path / "results").symlink_to(ROOT / "results")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(tmp_path / "notebooks")}}
    NotebookClient(notebook, timeout=180, kernel_name="python3", resources=place).execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_it_is_stored_executed_and_small(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.output_type == "error"]
    assert path.stat().st_size < 500_000
    assert not re.search(r"(/home|/root|/tmp|/mnt|/Users|/work)/", path.read_text())


def test_there_is_a_walkthrough():
    assert ROOT / "notebooks/01_walkthrough.ipynb" in NOTEBOOKS

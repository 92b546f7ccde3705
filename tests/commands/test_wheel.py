"""The wheel contains every module and all of conf/; `make wheel-test` also runs it."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> set[str]:
    """The names of the files in a freshly built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    code = f"from hatchling.build import build_wheel; print(build_wheel({str(folder)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(path).namelist())


def test_all_modules_and_all_of_conf_are_inside(wheel):
    expected = [
        p.relative_to(ROOT).as_posix()
        for p in (ROOT / "ecg_siglip").rglob("*.[cpj]*")
        if "__pycache__" not in p.parts
    ]
    expected += [
        f"ecg_siglip/{p.relative_to(ROOT).as_posix()}" for p in (ROOT / "conf").rglob("*.yaml")
    ]
    assert {
        "ecg_siglip/reporting/templates/fold_report.html.j2",
        "ecg_siglip/conf/train.yaml",
    } < set(expected)
    assert set(expected) <= wheel


def test_the_model_of_the_package_is_inside(wheel):
    folder = ROOT / "ecg_siglip" / "pretrained"
    if not folder.is_dir():
        pytest.skip("no model in the package")
    files = {p.relative_to(ROOT).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert files <= wheel


def test_nothing_else_is_inside(wheel):
    others = {name for name in wheel if ".dist-info/" not in name}
    assert all(name.startswith("ecg_siglip/") for name in others)
    model = {name for name in others if name.startswith("ecg_siglip/pretrained/")}
    suffixes = {Path(name).suffix for name in others - model}
    assert suffixes <= {".py", ".yaml", ".j2", ".css", ".csv", ".typed"}
    assert {Path(name).suffix for name in model} <= {".json", ".md", ".safetensors", ".yaml"}
    assert any(name.endswith("/licenses/LICENSE") for name in wheel)

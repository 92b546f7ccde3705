"""The commands of "Train on your own ECGs" and "Add a finding" run, in their order, on small data.

The pages are executed as they stand, with settings added that make everything smaller.
"""

import contextlib
import importlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
from helpers import TINY

from ecg_siglip.__main__ import module_name
from ecg_siglip.models.artifact import load_artifact
from ecg_siglip.vocabulary import load_vocabulary

pytest.importorskip("pydicom", reason="needs the extra [formats]")
pytest.importorskip("defusedxml", reason="needs the extra [formats]")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("own-data.md", "add-a-finding.md")
SMALL_MODEL = [f"{key}={value}".replace(" ", "") for key, value in TINY.items()]
SMALLER = {
    "simulate": ["n_records=150", "n_workers=1"],
    "train": [*SMALL_MODEL, "data.n_workers=1"],
    "adapt": ["optim.n_epochs=1", "optim.batch_size=32", "data.n_workers=1"],
    "evaluate": ["n_bootstrap=20"],
}
NEEDS = {"export": "onnxscript", "app": "gradio"}
N = 98


def steps(page: str) -> list[tuple[str, str]]:
    """Return the blocks of a page in order: ("python", code) or ("", command), one per line."""
    text = (ROOT / "docs" / "how-to" / page).read_text("utf-8")
    found = []
    for language, code in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S):
        if language == "python":
            found.append((language, code))
        lines = code.replace("\\\n", " ").splitlines() if not language else []
        found += [("", line) for line in lines if line.startswith("python -m ecg_siglip.")]
    return found


def run_command(line: str) -> None:
    """Run a command of a page in this process; `> file` takes what it prints."""
    words = shlex.split(line)
    target = words[words.index(">") + 1] if ">" in words else None
    words = words[: words.index(">")] if target else words
    command = words[2].removeprefix("ecg_siglip.")
    if command in NEEDS:
        pytest.importorskip(NEEDS[command], reason=f"needs the extra of {command}")
    printed, argv = io.StringIO(), sys.argv
    sys.argv = [command, *words[3:], *SMALLER.get(command, [])]
    try:
        with contextlib.redirect_stdout(printed):
            importlib.import_module(module_name(command)).main()
    finally:
        sys.argv = argv
    Path(target or f"{command}.printed").write_text(printed.getvalue(), encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which every command of both pages was run, but the web page."""
    folder = tmp_path_factory.mktemp("own data")
    with contextlib.chdir(folder):
        for page in PAGES:
            names: dict[str, object] = {}
            own_data = steps(page)
            # What follows is about data in the layout of PTB-XL; test_pages.py runs its Python.
            if page == "own-data.md":
                own_data = [s for s in own_data if not s[0] and "run.name=mine" not in s[1]]
            for language, code in own_data:
                if language:
                    exec(compile(code, page, "exec"), names)
                elif "ecg_siglip.app" not in code:
                    run_command(code)
    return folder


def japanese_names(folder: Path) -> list[str]:
    words = load_vocabulary(folder / "data/hospital/findings.yaml")
    return words.names(words.codes)


def test_the_page_goes_from_files_to_the_web_page():
    commands = [code.split()[2].removeprefix("ecg_siglip.") for _, code in steps(PAGES[0]) if not _]
    expected = ["simulate", "vocabulary", "check", "train", "evaluate"]
    expected += ["predict", "predict", "export", "app", "adapt"]
    assert commands[:10] == expected


def test_98_findings_have_japanese_names_in_the_report(place):
    report = (place / "runs/hospital/evaluate/fold10/report.html").read_text("utf-8")
    names = japanese_names(place)
    assert len(names) == N
    assert not [name for name in names if name not in report]
    table = pd.read_csv(place / "runs/hospital/evaluate/fold10/findings.csv")
    assert table["name"].tolist() == names


def test_predictions_have_98_findings_with_japanese_names(place):
    lines = (place / "predictions.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == len([*(place / "data/hospital/ecgs/dicom").iterdir()])
    words = load_vocabulary(place / "data/hospital/findings.yaml")
    for line in lines:
        prediction = json.loads(line)
        assert [*prediction["probabilities"]] == [*words.codes]
        for finding in prediction["findings"]:
            assert finding["name"] == words.entry(finding["code"]).name


def test_a_question_finds_its_finding_and_the_record_report_has_the_names(place):
    prediction = json.loads((place / "predict.printed").read_text("utf-8"))
    (question,) = prediction["questions"]
    assert "心房細動" in [match["name"] for match in question["matches"]]
    report = (place / "report.html").read_text("utf-8")
    assert all(finding["name"] in report for finding in prediction["findings"])


def test_the_model_brings_its_vocabulary(place):
    artifact = load_artifact(place / "runs/hospital/model")
    assert artifact.names == japanese_names(place)
    assert (place / "runs/hospital/model.onnx").is_file()
    card = (place / "runs/hospital/model/README.md").read_text("utf-8")
    assert not [name for name in artifact.names if name not in card]


def test_the_adapted_models_know_what_they_started_from(place):
    for name, n_findings in (("hospital_v2", N), ("hospital_x01", N + 1)):
        artifact = load_artifact(place / "runs" / name / "model")
        assert len(artifact.codes) == n_findings
        assert artifact.provenance.pretrained.run == "hospital"
    assert artifact.names[-1] == "下壁梗塞と下壁誘導の陰性T波"
    labels = pd.read_csv(place / "data/hospital/with_x01.csv")["X01"]
    assert 0 < (labels == 1).sum() <= 20


def test_the_web_page_predicts_with_japanese_names(place):
    pytest.importorskip("gradio", reason="needs the extra [app]")
    (line,) = [code for _, code in steps(PAGES[0]) if "ecg_siglip.app" in code]
    server = subprocess.Popen(
        [sys.executable, *shlex.split(line)[1:], "port=0", "device=cpu"],
        cwd=place,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert server.stdout
        address = server.stdout.readline().split()[0]
        assert b"hospital" in urllib.request.urlopen(address, timeout=60).read()
        ecg = (place / "data/hospital/ecgs/muse/000001.xml").read_bytes()
        head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="1.xml"\r\n\r\n'
        request = urllib.request.Request(
            f"{address.rstrip('/')}/predict?operating_point=screening",
            head + ecg + b"\r\n--x--\r\n",
            {"Content-Type": "multipart/form-data; boundary=x"},
        )
        response = json.loads(urllib.request.urlopen(request, timeout=60).read())
    finally:
        server.terminate()
        server.wait(30)
    (prediction,) = response["predictions"]
    words = load_vocabulary(place / "data/hospital/findings.yaml")
    assert [*prediction["probabilities"]] == [*words.codes]
    assert prediction["findings"]
    assert all(f["name"] == words.entry(f["code"]).name for f in prediction["findings"])

"""The generated reference pages are those of the code, and their tables those of real output."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import TINY, beats, configured
from writers import ecg, muse

from ecg_siglip import config
from ecg_siglip.metrics.decision_rules import THRESHOLD_RULES
from ecg_siglip.signals.leads import LEADS

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import generate_reference as reference  # noqa: E402

# Written only by commands that take long or need other data.
NOT_HERE = {
    *("model.onnx", "model.json", "model.golden.csv"),
    *("evaluate/challenge/", "evaluate/table-<name>/", "evaluate/fold<n>-<source>/"),
    *("evaluate/fold<n>/sources.csv", "evaluate/fold<n>/findings_by_source.csv"),
}
TYPES = {
    "string": str,
    "number": float | int,
    "integer": int,
    "boolean": bool,
    "object": dict,
    "null": type(None),
}


@pytest.fixture(scope="module")
def full_run(simulated, tmp_path_factory) -> Path:
    """A small run with fewer leads, three languages and a held-out finding, evaluated."""
    from ecg_siglip.evaluation.fold import evaluate_fold
    from ecg_siglip.train import train

    runs = tmp_path_factory.mktemp("full")
    base = {"run.name": "full", "run.root": str(runs)}
    special = {
        "data.root": str(simulated),
        "data.n_workers": 1,
        "augment.fewer_leads": 0.5,
        "text.language": "mixed",
        "data.held_out": ["AFIB"],
    }
    train(configured(config.TrainConfig, base | TINY | special))
    evaluate_fold(configured(config.EvaluateConfig, base | {"n_bootstrap": 5}))
    return runs / "full"


@pytest.mark.parametrize("name", reference.pages())
def test_the_stored_page_is_generated_from_the_code(name):
    stored = (reference.REFERENCE / name).read_text("utf-8")
    assert stored == reference.pages()[name], "run: python docs/generate_reference.py"


def test_no_page_of_a_former_package_is_left():
    stored = {path.stem for path in (reference.REFERENCE / "api").glob("*.md")}
    assert stored == {"index", *reference.packages()}


def test_every_setting_is_on_its_page():
    from ecg_siglip.core.settings import setting_names

    page = (reference.REFERENCE / "settings.md").read_text("utf-8")
    for command in reference.COMMANDS:
        section = page.partition(f"\n## {command}\n")[2].partition("\n## ")[0]
        named = re.findall(r"^\| `([\w.]+)` \|", section.partition("\n### ")[0], re.M)
        assert named == setting_names(getattr(config, f"{command.capitalize()}Config"))
    assert set(reference.COMMANDS) == {path.stem for path in reference.CONF_DIR.glob("*.yaml")}


def fields(value, path: str = "") -> list[tuple[str, object]]:
    """Return every value of a JSON object with its path, as ``JSON_FIELDS`` writes it."""
    if isinstance(value, list):
        found = [(f"{path}[]", item) for item in value]
        return found + [
            inner
            for item in value
            if isinstance(item, dict)
            for inner in fields(item, f"{path}[].")
        ]
    found = []
    for key, item in value.items():
        by_code = path.endswith(("probabilities.", "windows[].findings."))
        name = f"{path}<code>" if by_code else f"{path}{key}"
        if path == "measurements." and isinstance(item, dict):
            name = f"{path}<name>"
        elif path in ("recording.device.", "recording.filters."):
            name = f"{path}<field>"
        elif path == "novelty_parts.":
            name = f"{path}<part>"
        elif path == "measurements.<name>." and isinstance(item, dict):
            name = f"{path}<lead>"
        if isinstance(item, list):
            found += fields(item, name)
        elif isinstance(item, dict):
            found += fields(item, f"{name}.")
        else:
            found.append((name, item))
    return found


def test_the_json_of_predictions_has_the_fields_of_the_page(full_run, trained, simulated, tmp_path):
    from ecg_siglip.inference import Predictor, predict_records

    def predict(run: Path, paths: list[Path], **settings) -> list[dict]:
        settings = {"run.name": "", "operating_point": "screening", **settings}
        predictions = predict_records(
            Predictor.load(run / "model", "cpu"), paths, configured(config.PredictConfig, settings)
        )
        return [json.loads(each.to_json("m (0)")) for each in predictions]

    short = simulated / "records100/00000/00001_lr"
    long = beats(6000)
    long[:, 2000:3000] = np.nan  # two windows cannot be used
    np.savez(tmp_path / "long.npz", signal=long, fs=100, units="mV", leads=np.array(LEADS))
    np.savez(
        tmp_path / "two.npz", signal=beats()[:2], fs=100, units="mV", leads=np.array(["I", "II"])
    )
    (tmp_path / "muse.xml").write_bytes(muse(ecg()))
    questions = ["left bundle branch block?", "anterior infarction?", "pizza", "STEMI?"]
    questions += ["QTc prolonged?", "PR?", "QRS > 120 ms?", "ST in V4 in mV?", "R in V2?"]
    outputs = [
        *predict(trained, [short], n_similar=2, questions=questions),
        *predict(trained, [tmp_path / "long.npz"], questions=questions[:1]),
        *predict(
            full_run,
            [tmp_path / "two.npz"],
            questions=questions,
            **{"waveform.allow_missing_leads": True},
        ),
        *predict(full_run, [short], operating_point="balanced"),
        *predict(trained, [tmp_path / "muse.xml"], show_ids=True),
    ]
    declared = {field.path: field for field in reference.JSON_FIELDS}
    seen: dict[str, list[object]] = {}
    for output in outputs:
        for path, value in fields(output):
            seen.setdefault(path, []).append(value)
    for output in outputs:
        always = {
            path.split(".")[0].removesuffix("[]")
            for path in declared
            if declared[path].present == reference.ALWAYS
        }
        assert always <= set(output)
    not_measured = "measurements.<name>.<lead>.reason"
    missing = {"warnings[]", "questions[].notes[]", not_measured} - set(seen)
    assert set(seen) | missing == set(declared)
    for path, values in seen.items():
        names = declared[path].type.split(" or ")
        allowed = tuple(TYPES[name] for name in names)
        for value in values:
            assert isinstance(value, allowed), (path, value)
            assert isinstance(value, bool) == ("boolean" in names), (path, value)
        if not_measured not in seen and path == "measurements.<name>.<lead>.value":
            continue
        # model_simulated is null only with models of earlier versions.
        if "null" in names and path not in ("questions[].uncalibrated", "model_simulated"):
            assert None in values, path


def pattern(path: str) -> str:
    return re.escape(path).replace("<n>", r"\d+") + (".*" if path.endswith("/") else "")


def test_a_run_has_the_files_of_the_page(full_run, evaluated):
    runs = (full_run, evaluated.parents[1])
    found = {
        path.relative_to(run).as_posix()
        for run in runs
        for path in run.rglob("*")
        if path.is_file()
    }
    declared = [output.path for output in reference.RUN_FILES]
    unknown = [
        path
        for path in found
        # A table is there as .csv and as .json.
        if not any(
            re.fullmatch(pattern(each), name)
            for each in declared
            for name in (path, re.sub(r"\.json$", ".csv", path))
        )
    ]
    assert not unknown
    absent = [each for each in declared if not any(re.fullmatch(pattern(each), f) for f in found)]
    assert set(absent) == NOT_HERE


def expand(keys) -> set[str]:
    return {
        re.sub(r"^R/", f"{rule}/", key.name)
        for key in keys
        for rule in (THRESHOLD_RULES if key.name.startswith("R/") else ("",))
    }


def test_the_scores_have_the_keys_of_the_page(evaluated):
    metrics = json.loads((evaluated / "metrics.json").read_text())
    ends = ("/low", "/high")
    assert {key for key in metrics if not key.endswith(ends)} == expand(reference.METRICS)
    with_interval = {key.rpartition("/")[0] for key in metrics if key.endswith(ends)}
    assert with_interval == {k for k in expand(reference.METRICS) if not k.startswith("n_")}


def test_the_tables_have_the_columns_of_the_page(evaluated):
    columns = pd.read_csv(evaluated / "findings.csv").columns
    ends = ("/f1/low", "/f1/high")
    # All labels of this fold are known, see tests/evaluation/test_unknown_labels.py.
    expected = expand(reference.FINDING_COLUMNS) - {"n_known"}
    assert {c for c in columns if not c.endswith(ends)} == expected
    columns = pd.read_parquet(evaluated / "predictions.parquet").columns
    named = {re.sub(r"/.*", "/<code>", column) for column in columns}
    assert named == {key.name for key in reference.PREDICTION_COLUMNS}


def test_every_threshold_rule_is_explained():
    assert set(reference.RULES) == set(THRESHOLD_RULES)


def test_main_writes_what_is_missing(tmp_path, monkeypatch):
    stored = shutil.copytree(reference.REFERENCE, tmp_path / "reference")
    (stored / "settings.md").write_text("old")
    (stored / "api" / "core.md").unlink()
    monkeypatch.setattr(reference, "REFERENCE", stored)
    reference.main()
    for name, text in reference.pages().items():
        assert (stored / name).read_text("utf-8") == text


def test_cells_of_a_table_are_escaped():
    assert reference.escape("a | b, `<n>`, <n>, *") == "a \\| b, `<n>`, &lt;n>, \\*"

"""98 findings of a hospital with Japanese names alone: from training to prediction and report."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import TINY, configured

from ecg_siglip.config import EvaluateConfig, PredictConfig, TrainConfig
from ecg_siglip.datasets import ptbxl
from ecg_siglip.evaluation.fold import evaluate_fold
from ecg_siglip.inference.classifier import EcgClassifier
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.models.artifact import load_artifact
from ecg_siglip.models.onnx_export import metadata
from ecg_siglip.predict import predict
from ecg_siglip.train import train
from ecg_siglip.training.checks import check_train_settings
from ecg_siglip.training.run import prepare_run
from ecg_siglip.vocabulary import load_vocabulary, vocabulary_file
from ecg_siglip.vocabulary import ptbxl as ptbxl_vocabulary

N = 98
PTBXL_FILE = Path(vocabulary_file.__file__).with_name("ptbxl.yaml")
NUMBERS = "一二三四五六七八九"


def own_code(i: int) -> str:
    return f"所見{i:02}"


@pytest.fixture(scope="module")
def hospital(simulated, tmp_path_factory):
    """The simulated records with 98 codes of a hospital, and its vocabulary of names."""
    root = tmp_path_factory.mktemp("hospital") / "data"
    shutil.copytree(simulated, root, ignore=shutil.ignore_patterns("cache"))
    known = ptbxl_vocabulary()
    column = {code: i for i, code in enumerate(known.codes)}
    table = pd.read_csv(root / "ptbxl_database.csv")
    rows = ptbxl.read_metadata(root)
    codes = [[own_code(column[c]) for c in row] for row in rows["scp_codes"]]
    for i, row in enumerate(codes):
        row.append(own_code(71 + i % (N - 71)))
    table["scp_codes"] = [str(dict.fromkeys(row, 100.0)) for row in codes]
    table.to_csv(root / "ptbxl_database.csv", index=False)
    names = known.prompts(known.codes, "ja")
    names += [f"当院の所見その{NUMBERS[i // 9]}の{NUMBERS[i % 9]}" for i in range(N - 71)]
    entries = [
        f"  - code: {own_code(i)}\n    name: {json.dumps(name, ensure_ascii=False)}\n"
        for i, name in enumerate(names)
    ]
    (root / "own.yaml").write_text("language: ja\nfindings:\n" + "".join(entries), "utf-8")
    return root


@pytest.fixture(scope="module")
def run(hospital, tmp_path_factory):
    """The folder of a run with the hospital's vocabulary, whose file is gone."""
    runs, file = tmp_path_factory.mktemp("runs"), hospital / "own.yaml"
    base = {"run.name": "own", "run.root": str(runs), "data.root": str(hospital)}
    base |= {"vocabulary": str(file), "text.language": "ja", "augment.fewer_leads": 0.3}
    train(configured(TrainConfig, base | TINY | {"optim.n_epochs": 1, "data.n_workers": 1}))
    kept = load_vocabulary(file)
    file.unlink()
    assert load_artifact(runs / "own" / "model").vocabulary == kept
    return runs / "own"


def settings_of(schema, run, **changes):
    base = {"run.name": run.name, "run.root": str(run.parent), "device": "cpu"}
    return configured(schema, base | changes)


def test_a_model_brings_its_vocabulary(run):
    artifact = load_artifact(run / "model")
    assert len(artifact.codes) == N
    assert artifact.prompts == artifact.names
    assert artifact.names[-1] == "当院の所見その三の九"
    content = metadata(artifact)
    assert content["names"] == artifact.names
    card = (run / "model" / "README.md").read_text("utf-8")
    assert "98 findings (vocabulary `own.yaml`" in " ".join(card.split())
    assert "- `所見97`: 当院の所見その三の九" in card


def test_records_are_predicted_in_its_names(run, hospital, capsys, tmp_path):
    path = hospital / ptbxl.read_metadata(hospital)["filename_lr"].iloc[0]
    report = tmp_path / "report.html"
    changes = {"records": [str(path)], "report": str(report), "questions": ["心房細動はありますか"]}
    assert predict(settings_of(PredictConfig, run, **changes)) == 0
    (line,) = capsys.readouterr().out.splitlines()
    prediction = json.loads(line)
    assert len(prediction["probabilities"]) == N
    assert not prediction["not_assessable"]
    (question,) = prediction["questions"]
    matches = [match["name"] for match in question["matches"]]
    assert any("心房細動" in name for name in matches)
    text = report.read_text("utf-8")
    assert re.search("[\u4e00-\u9fff]", text)


def test_without_knowledge_of_leads_every_finding_is_assessed_and_that_is_stated(run, hospital):
    predictor = Predictor.load(run / "model", "cpu")
    few = np.arange(12) < 6
    findings = predictor.decide(np.full(N, 0.5), available=few)
    assert all(finding.assessable for finding in findings)
    assert not predictor.artifact.vocabulary.states_leads
    path = hospital / ptbxl.read_metadata(hospital)["filename_lr"].iloc[0]
    assert EcgClassifier.from_pretrained(predictor).predict_proba(str(path)).shape == (1, N)


def test_it_is_evaluated_with_a_report(run, capsys):
    evaluate_fold(settings_of(EvaluateConfig, run, n_bootstrap=20))
    folder = run / "evaluate" / "fold10"
    table = pd.read_csv(folder / "findings.csv")
    assert table["code"].tolist() == [own_code(i) for i in range(N)]
    report = (folder / "report.html").read_text("utf-8")
    assert "当院の所見その三の九" in report
    assert "own.yaml" in report
    note = "vocabulary=own.yaml does not state which leads a finding needs"
    assert capsys.readouterr().err.count(note) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text.language": "fr"}, "text.language=fr: expected one of en, de, ja"),
        ({"data.task": "rythm"}, "data.task=rythm: expected one of all, diagnostic, form, rhythm"),
        ({"vocabulary": "absent.yaml"}, "vocabulary=absent.yaml: there is no such file"),
        ({"vocabulary": "ptb-xl"}, "vocabulary=ptb-xl: expected ptbxl, or a file"),
    ],
)
def test_settings_that_the_vocabulary_does_not_have_are_refused(train_config, changes, message):
    with pytest.raises(ValueError, match=message):
        check_train_settings(train_config(**changes))


def test_codes_that_are_not_in_the_vocabulary_are_refused(train_config, hospital, tmp_path):
    changes = {"data.root": str(hospital), "optim.n_epochs": 1}
    with pytest.raises(
        ValueError, match=r"row 2, column scp_codes: ecg_id 1: unknown code '所見\d\d': .*ptbxl"
    ):
        train(train_config(**changes))


def test_ptbxl_by_its_file_gives_the_same_model(train_config, tmp_path):
    file = tmp_path / "copy.yaml"
    shutil.copy(PTBXL_FILE, file)
    changes = {"optim.n_epochs": 1, "text.language": "mixed"}
    train(train_config(**changes))
    train(train_config(**changes, **{"run.name": "by_file", "vocabulary": str(file)}))
    first, second = (tmp_path / "runs" / name / "model" for name in ("r", "by_file"))
    for part in ("model.safetensors", "text/tokenizer.json"):
        assert (first / part).read_bytes() == (second / part).read_bytes()


def test_a_run_is_not_resumed_with_other_prompts(train_config, tmp_path):
    file, run = tmp_path / "own.yaml", tmp_path / "runs" / "r"
    shutil.copy(PTBXL_FILE, file)
    settings = train_config(vocabulary=str(file))
    trainer, _ = prepare_run(settings, run)
    trainer.save(run)
    prepare_run(settings, run)
    content = file.read_text("utf-8")
    file.write_text(content.replace("atrial flutter, sawtooth", "flutter, sawtooth"), "utf-8")
    with pytest.raises(ValueError, match=r"begun with other prompts; expected vocabulary=.* as it"):
        prepare_run(settings, run)

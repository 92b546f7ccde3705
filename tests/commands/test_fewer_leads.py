"""Records with fewer leads: missing limb leads are computed, the rest is not assessed."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb
from helpers import TINY, configured

from ecg_siglip.config import EvaluateConfig, PredictConfig, TrainConfig
from ecg_siglip.datasets import ptbxl
from ecg_siglip.evaluation.fold import evaluate_fold
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.models.provenance import SIMULATED
from ecg_siglip.predict import predict
from ecg_siglip.readers.record import read_record
from ecg_siglip.reporting.ecg_plot import ecg_figure
from ecg_siglip.signals.leads import (
    LEAD_SETS,
    LEADS,
    available_leads,
    lead_name,
    mask_leads,
)
from ecg_siglip.train import train
from ecg_siglip.vocabulary import ptbxl as ptbxl_vocabulary

LIMB = LEADS[:6]


@pytest.fixture(scope="module")
def few(simulated, tmp_path_factory) -> Path:
    """Train a small model with fewer leads and return the folder of its run."""
    runs = tmp_path_factory.mktemp("few")
    base = {"run.name": "few", "run.root": str(runs), "data.root": str(simulated)}
    train(configured(TrainConfig, base | TINY | {"augment.fewer_leads": 0.5, "data.n_workers": 1}))
    return runs / "few"


@pytest.fixture
def predict_json(few, capsys):
    """Run `predict` and return its exit code, its JSON lines and its error lines."""

    def run_predict(*paths, run=few, **settings):
        base = {"run.name": run.name, "run.root": str(run.parent), "device": "cpu"}
        config = configured(PredictConfig, base | settings | {"records": [str(p) for p in paths]})
        capsys.readouterr()
        code = predict(config)
        out, err = capsys.readouterr()
        origin, *errors = err.splitlines()
        assert origin.endswith(SIMULATED)
        return code, [json.loads(line) for line in out.splitlines()], errors

    return run_predict


@pytest.fixture
def path(simulated):
    return simulated / ptbxl.read_metadata(simulated)["filename_lr"].iloc[0]


def with_leads(path, folder, leads):
    """Write a record with some of its leads only, as another device would."""
    record = wfdb.rdrecord(str(path), physical=False)
    names = [lead_name(name) for name in record.sig_name]
    columns = [names.index(lead) for lead in leads]
    name = "-".join(leads)
    wfdb.wrsamp(
        name, record.fs, [record.units[i] for i in columns], list(leads),
        d_signal=record.d_signal[:, columns], fmt=[record.fmt[i] for i in columns],
        adc_gain=[record.adc_gain[i] for i in columns], baseline=[0] * len(columns),
        write_dir=str(folder),
    )  # fmt: skip
    return folder / name


def test_eight_leads_get_the_prediction_of_twelve(predict_json, path, tmp_path):
    _, (whole,), _ = predict_json(path)
    eight = with_leads(path, tmp_path, ["V1", "V2", "V3", "V4", "V5", "V6", "II", "I"])
    code, (prediction,), errors = predict_json(eight)
    assert (code, errors) == (0, [])
    assert prediction["not_assessable"] == []
    # A lead in whole uV differs by up to half a uV from the one computed from two others.
    for finding, probability in whole["probabilities"].items():
        assert prediction["probabilities"][finding] == pytest.approx(probability, abs=2e-3)
    assert "leads III, aVR, aVL, aVF computed from the other limb leads" in prediction["warnings"]


def test_missing_leads_are_refused_if_the_setting_is_false(predict_json, path, tmp_path):
    eight = with_leads(path, tmp_path, ["V1", "V2", "V3", "V4", "V5", "V6", "II", "I"])
    code, predictions, errors = predict_json(eight, **{"waveform.allow_missing_leads": False})
    assert (code, predictions) == (3, [])
    assert "missing III, aVR, aVL, aVF" in errors[0]
    assert "waveform.allow_missing_leads=true" in errors[0]


@pytest.mark.parametrize("leads", [("I", "II"), ("I", "II", "V2"), ("II",), ("I",)])
def test_findings_that_are_not_assessable_are_neither_present_nor_absent(
    predict_json, path, tmp_path, few, leads
):
    few_leads = with_leads(path, tmp_path, leads)
    code, (prediction,), errors = predict_json(few_leads, operating_point="screening")
    assert (code, errors) == (0, [])
    codes = list(prediction["probabilities"])
    not_assessed = set(prediction["not_assessable"])
    expected = ptbxl_vocabulary().not_assessable(codes, available_leads(leads))
    assert not_assessed == {code for code, yes in zip(codes, expected, strict=True) if yes}
    assert ("ASMI" in not_assessed) == ("V2" not in leads and "V1" not in leads)
    assert not_assessed == {code for code, p in prediction["probabilities"].items() if p is None}
    predicted = {finding["code"] for finding in prediction["findings"]} | set(
        prediction["not_excluded"]
    )
    assert not predicted & not_assessed
    assert any("without lead" in sentence for sentence in prediction["warnings"])
    assert not any("does not move" in sentence for sentence in prediction["warnings"])


@pytest.mark.parametrize("leads", [("V1",), ("V1", "V2", "V3", "V4", "V5", "V6"), ("aVR",)])
def test_leads_that_models_are_not_trained_on_alone_are_refused(
    predict_json, path, tmp_path, leads
):
    code, predictions, errors = predict_json(with_leads(path, tmp_path, leads))
    assert (code, predictions) == (3, [])
    assert "expected at least lead I or II" in errors[0]


def test_a_flat_lead_counts_as_missing(predict_json, path, tmp_path, few, trained):
    record = wfdb.rdrecord(str(path), physical=False)
    names = [lead_name(name) for name in record.sig_name]
    signal = record.d_signal.copy()
    signal[:, [names.index(lead) for lead in LEADS[6:]]] = 7
    wfdb.wrsamp(
        "flat", record.fs, record.units, record.sig_name, d_signal=signal, fmt=record.fmt,
        adc_gain=record.adc_gain, baseline=[0] * 12, write_dir=str(tmp_path),
    )  # fmt: skip
    allowed = {"waveform.allow_flat": True}
    _, (flat,), _ = predict_json(tmp_path / "flat", **allowed)
    limb = with_leads(path, tmp_path, LIMB)
    _, (absent,), _ = predict_json(limb)
    assert flat["probabilities"] == absent["probabilities"]
    assert flat["not_assessable"] == absent["not_assessable"]
    # A model of twelve leads predicts the findings that are assessable.
    _, (twelve,), _ = predict_json(tmp_path / "flat", run=trained, **allowed)
    assert twelve["not_assessable"] == absent["not_assessable"]


def test_the_calibration_is_that_of_the_lead_set(few, path, tmp_path):
    predictor = Predictor.load(few / "model", "cpu")
    record = read_record(with_leads(path, tmp_path, LIMB))
    signal = predictor.prepare(record, allow_missing_leads=True)[None]
    np.testing.assert_array_equal(
        signal, mask_leads(predictor.prepare(read_record(path))[None], "6")
    )
    raw, _ = predictor.forward(signal)
    slope, intercept = predictor.artifact.fewer_leads["6"].calibration.T
    expected = 1 / (1 + np.exp(-(slope * np.log(raw / (1 - raw)) + intercept)))
    np.testing.assert_allclose(predictor.probabilities(signal, lead_set="6"), expected, atol=1e-6)
    assert not np.allclose(expected, predictor.probabilities(signal))


def test_a_model_of_twelve_leads_refuses_fewer(predict_json, path, tmp_path, trained):
    limb = with_leads(path, tmp_path, LIMB)
    code, predictions, errors = predict_json(limb, run=trained)
    assert (code, predictions) == (3, [])
    assert "missing V1, V2, V3, V4, V5, V6" in errors[0]
    settings = {"waveform.allow_missing_leads": True, "run": trained}
    code, predictions, errors = predict_json(limb, **settings)
    assert (code, predictions) == (3, [])
    assert "for all 12 leads only" in errors[0]
    assert "augment.fewer_leads" in errors[0]


def test_a_model_of_twelve_leads_computes_missing_ones_if_allowed(
    predict_json, path, tmp_path, trained
):
    eight = with_leads(path, tmp_path, ["I", "II", *LEADS[6:]])
    code, _, errors = predict_json(eight, run=trained)
    assert code == 3 and "waveform.allow_missing_leads=true" in errors[0]
    settings = {"waveform.allow_missing_leads": True, "run": trained}
    code, (prediction,), _ = predict_json(eight, **settings)
    assert code == 0 and prediction["not_assessable"] == []


def test_a_report_of_fewer_leads(few, simulated):
    base = {"run.name": few.name, "run.root": str(few.parent), "n_bootstrap": 0}
    evaluate_fold(configured(EvaluateConfig, base))
    folder = few / "evaluate" / "fold10"
    config = json.loads((few / "model" / "config.json").read_text())
    table = pd.read_csv(folder / "leads.csv")
    assert table["leads"].astype(str).tolist() == list(LEAD_SETS)
    scores = json.loads((folder / "metrics.json").read_text())
    assert table["macro_auroc_min5"][0] == pytest.approx(scores["macro_auroc_min5"])
    assert math.isnan(table["unseen_macro_auroc_min5"][0])
    assert table["n_findings"].iloc[0] == len(config["codes"]) == table["n_findings"].max()
    assert (table["n_findings"].iloc[2:] < len(config["codes"])).all()
    assert "6 limb leads, or 2: I, II" in (folder / "report.html").read_text()


def test_the_report_of_a_model_of_twelve_leads_does_not_mention_fewer(evaluated):
    assert not (evaluated / "leads.csv").exists()
    assert "With fewer leads" not in (evaluated / "report.html").read_text()


def test_a_missing_lead_is_not_drawn_as_a_flat_line(predict_json, path, tmp_path):
    report = tmp_path / "report.html"
    limb = with_leads(path, tmp_path, LIMB)
    predict_json(limb, report=str(report))
    figure = ecg_figure(np.where(np.arange(12)[:, None] < 6, np.sin(np.arange(1000) / 9), 0), 100)
    lead_ids = {line.get_gid() for line in figure.axes[0].lines}
    assert "lead-aVF" in lead_ids
    assert "lead-V1" not in lead_ids
    assert "V1: no signal" in {text.get_text() for text in figure.axes[0].texts}
    assert "without leads V1" in report.read_text()

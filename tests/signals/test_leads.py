"""Fewer leads: what follows is computed, what cannot be seen is not answered, all else is."""

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
from ecg_siglip.predict import predict
from ecg_siglip.readers.record import read_record
from ecg_siglip.reporting.ecg_plot import ecg_figure
from ecg_siglip.signals.leads import (
    _REQUIRED_LEADS,
    LEAD_SETS,
    LEADS,
    LEADS_FROM_ELECTRODES,
    available_leads,
    lead_name,
    mask_leads,
    not_assessable,
    order_leads,
)
from ecg_siglip.train import train
from ecg_siglip.vocabulary import findings

LIMB = LEADS[:6]


@pytest.fixture(scope="module")
def few(simulated, tmp_path_factory) -> Path:
    """The folder of a small finished run that has seen fewer leads."""
    runs = tmp_path_factory.mktemp("few")
    base = {"run.name": "few", "run.root": str(runs), "data.root": str(simulated)}
    train(configured(TrainConfig, base | TINY | {"augment.fewer_leads": 0.5, "data.n_workers": 1}))
    return runs / "few"


@pytest.fixture
def ask(few, capsys):
    def run(*paths, run=few, **knobs):
        base = {"run.name": run.name, "run.root": str(run.parent), "device": "cpu"}
        settings = configured(PredictConfig, base | knobs | {"records": [str(p) for p in paths]})
        capsys.readouterr()
        code = predict(settings)
        out, err = capsys.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err.splitlines()

    return run


@pytest.fixture
def path(simulated):
    return simulated / ptbxl.read_metadata(simulated)["filename_lr"].iloc[0]


def with_leads(path, folder, leads):
    """The record as a device with these leads would have written it."""
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


@pytest.mark.parametrize("pair", [(a, b) for a in LIMB for b in LIMB if a < b])
def test_any_two_limb_leads_give_the_other_four(pair):
    electrodes = np.random.default_rng(0).normal(size=(9, 50))
    whole = (LEADS_FROM_ELECTRODES @ electrodes).astype(np.float32)
    given = [LEADS.index(lead) for lead in pair]
    ordered = order_leads(whole[given], pair, allow_missing=True)
    np.testing.assert_allclose(ordered[:6], whole[:6], atol=1e-6)
    assert not ordered[6:].any()
    np.testing.assert_array_equal(ordered[given], whole[given])
    assert available_leads(pair).tolist() == [True] * 6 + [False] * 6


def test_eight_leads_are_answered_as_twelve(ask, path, tmp_path):
    _, (whole,), _ = ask(path)
    eight = with_leads(path, tmp_path, ["V1", "V2", "V3", "V4", "V5", "V6", "II", "I"])
    code, answers, errors = ask(eight)
    assert (code, answers) == (1, [])
    assert "missing III, aVR, aVL, aVF" in errors[0]
    assert "waveform.allow_missing_leads=true" in errors[0]
    code, (answer,), errors = ask(eight, **{"waveform.allow_missing_leads": True})
    assert (code, errors) == (0, [])
    assert answer["not_assessable"] == []
    # A lead in whole uV is half a uV off what two others say.
    for finding, probability in whole["probabilities"].items():
        assert answer["probabilities"][finding] == pytest.approx(probability, abs=2e-3)
    assert "leads III, aVR, aVL, aVF computed from the other limb leads" in answer["warnings"]


@pytest.mark.parametrize("leads", [("I", "II"), ("I", "II", "V2"), ("II",), ("I",)])
def test_what_cannot_be_seen_is_neither_present_nor_absent(ask, path, tmp_path, few, leads):
    knobs = {"waveform.allow_missing_leads": True, "operating_point": "screening"}
    code, (answer,), errors = ask(with_leads(path, tmp_path, leads), **knobs)
    assert (code, errors) == (0, [])
    codes = list(answer["probabilities"])
    unseen = set(answer["not_assessable"])
    expected = not_assessable(codes, available_leads(leads))
    assert unseen == {code for code, yes in zip(codes, expected, strict=True) if yes}
    assert ("ASMI" in unseen) == ("V2" not in leads and "V1" not in leads)
    assert unseen == {code for code, p in answer["probabilities"].items() if p is None}
    called = {finding["code"] for finding in answer["findings"]} | set(answer["not_excluded"])
    assert not called & unseen
    assert any("without lead" in sentence for sentence in answer["warnings"])
    assert not any("does not move" in sentence for sentence in answer["warnings"])


@pytest.mark.parametrize("leads", [("V1",), ("V1", "V2", "V3", "V4", "V5", "V6"), ("aVR",)])
def test_leads_that_no_model_has_learned_of_alone_are_refused(ask, path, tmp_path, leads):
    knobs = {"waveform.allow_missing_leads": True}
    code, answers, errors = ask(with_leads(path, tmp_path, leads), **knobs)
    assert (code, answers) == (1, [])
    assert "expected at least lead I or II" in errors[0]


def test_a_lead_without_signal_is_one_that_is_not_there(ask, path, tmp_path, few, trained):
    record = wfdb.rdrecord(str(path), physical=False)
    names = [lead_name(name) for name in record.sig_name]
    signal = record.d_signal.copy()
    signal[:, [names.index(lead) for lead in LEADS[6:]]] = 7
    wfdb.wrsamp(
        "flat", record.fs, record.units, record.sig_name, d_signal=signal, fmt=record.fmt,
        adc_gain=record.adc_gain, baseline=[0] * 12, write_dir=str(tmp_path),
    )  # fmt: skip
    allowed = {"waveform.allow_flat": True}
    _, (flat,), _ = ask(tmp_path / "flat", **allowed)
    limb = with_leads(path, tmp_path, LIMB)
    _, (absent,), _ = ask(limb, **{"waveform.allow_missing_leads": True})
    assert flat["probabilities"] == absent["probabilities"]
    assert flat["not_assessable"] == absent["not_assessable"]
    # A model of twelve leads answers as far as these go.
    _, (twelve,), _ = ask(tmp_path / "flat", run=trained, **allowed)
    assert twelve["not_assessable"] == absent["not_assessable"]


def test_the_calibration_is_that_of_the_leads(few, path, tmp_path):
    predictor = Predictor.load(few / "model", "cpu")
    record = read_record(with_leads(path, tmp_path, LIMB))
    signal = predictor.prepare(record, allow_missing_leads=True)[None]
    np.testing.assert_array_equal(
        signal, mask_leads(predictor.prepare(read_record(path))[None], "6")
    )
    raw, _ = predictor.forward(signal)
    slope, intercept = predictor.artifact.fewer_leads["6"].calibration.T
    wanted = 1 / (1 + np.exp(-(slope * np.log(raw / (1 - raw)) + intercept)))
    np.testing.assert_allclose(predictor.probabilities(signal, lead_set="6"), wanted, atol=1e-6)
    assert not np.allclose(wanted, predictor.probabilities(signal))


def test_a_model_of_twelve_leads_refuses_fewer(ask, path, tmp_path, trained):
    limb = with_leads(path, tmp_path, LIMB)
    knobs = {"waveform.allow_missing_leads": True, "run": trained}
    code, answers, errors = ask(limb, **knobs)
    assert (code, answers) == (1, [])
    assert "for all 12 leads only" in errors[0]
    assert "augment.fewer_leads" in errors[0]


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


def test_a_report_of_a_model_of_twelve_leads_says_nothing_of_fewer(evaluated):
    assert not (evaluated / "leads.csv").exists()
    assert "With fewer leads" not in (evaluated / "report.html").read_text()


def test_what_is_not_there_is_not_drawn_as_a_heart_that_stands_still(ask, path, tmp_path):
    report = tmp_path / "sheet.html"
    limb = with_leads(path, tmp_path, LIMB)
    ask(limb, **{"waveform.allow_missing_leads": True, "report": str(report)})
    figure = ecg_figure(np.where(np.arange(12)[:, None] < 6, np.ones((12, 1000)), 0), 100)
    drawn = {line.get_gid() for line in figure.axes[0].lines}
    assert "lead-aVF" in drawn
    assert "lead-V1" not in drawn
    assert "V1: no signal" in {text.get_text() for text in figure.axes[0].texts}
    assert "without leads V1" in report.read_text()


def test_every_finding_that_needs_leads_is_a_finding():
    known = {code for task in findings.TASKS for code in findings.task_codes(task)}
    assert set(_REQUIRED_LEADS) <= known
    assert not not_assessable(sorted(known), [True] * 12).any()


def test_an_unknown_set_of_leads_is_refused():
    with pytest.raises(ValueError, match="leads 5: expected one of 12, 3, 6, II, I"):
        mask_leads(np.zeros((1, 12, 4), np.int16), "5")

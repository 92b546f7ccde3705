"""One record's answer is the fold's answer; bad records are named and the others still answered."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import wfdb
from helpers import configured, rewritten

from ecg_siglip.config import PredictConfig
from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.metrics import multilabel
from ecg_siglip.predict import predict
from ecg_siglip.readers.record import expand_paths, read_record
from ecg_siglip.signals.preprocessing import resample


@pytest.fixture
def ask(trained, capsys):
    """Run the verb; returns exit code, the answers, the lines on stderr."""

    def run(*paths, **knobs):
        base = {"run.name": trained.name, "run.root": str(trained.parent), "device": "cpu"}
        settings = configured(PredictConfig, base | knobs | {"records": [str(p) for p in paths]})
        capsys.readouterr()
        code = predict(settings)
        out, err = capsys.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err.splitlines()

    return run


@pytest.fixture
def path(simulated):
    table = ptbxl.read_metadata(simulated)
    return simulated / table["filename_lr"].iloc[0]


def test_a_single_answer_is_the_one_that_evaluate_wrote(ask, evaluated, simulated):
    table = pd.read_parquet(evaluated / "predictions.parquet").set_index("ecg_id")
    metadata = ptbxl.read_metadata(simulated)
    paths = [simulated / metadata["filename_lr"][ecg_id] for ecg_id in table.index]
    code, answers, errors = ask(*paths)
    assert (code, errors) == (0, [])
    for ecg_id, answer in zip(table.index, answers, strict=True):
        for finding, probability in answer["probabilities"].items():
            assert table.loc[ecg_id, f"probability/{finding}"] == pytest.approx(
                probability, abs=1e-5
            )


def test_findings_are_those_above_their_threshold_likeliest_first(ask, trained, path):
    _, (answer,), _ = ask(path, threshold_rule="f1")
    config = json.loads((trained / "model" / "config.json").read_text())
    expected = {
        code
        for code, threshold in zip(config["codes"], config["thresholds"]["f1"], strict=True)
        if answer["probabilities"][code] >= round(threshold, 6)
    }
    assert {finding["code"] for finding in answer["findings"]} == expected
    probabilities = [finding["probability"] for finding in answer["findings"]]
    assert probabilities == sorted(probabilities, reverse=True)
    keys = {"record", "findings", "not_excluded", "not_assessable", "probabilities", "model"}
    keys |= {"warnings", "novelty"}
    assert set(answer) == keys


def test_screening_calls_more_than_confirming_and_doubt_lies_between(ask, trained, path):
    stored = json.loads((trained / "model" / "config.json").read_text())
    codes, limits = stored["codes"], stored["operating"]
    called = {}
    for point, wanted in (("screening", "sensitivity_0.95"), ("confirm", "precision_0.8")):
        _, (answer,), _ = ask(path, operating_point=point, sensitivity=0.95)
        called[point] = {finding["code"] for finding in answer["findings"]}
        p = answer["probabilities"]
        reach = zip(codes, limits[wanted], strict=True)
        assert called[point] == {c for c, t in reach if p[c] >= round(t, 6)}
    assert called["confirm"] < called["screening"]
    _, (answer,), _ = ask(path, sensitivity=0.95, threshold_rule="f1")
    present = {finding["code"] for finding in answer["findings"]}
    assert set(answer["not_excluded"]) == called["screening"] - present
    for finding in answer["findings"]:
        assert (finding["certainty"] == "sure") == (finding["code"] in called["confirm"])


def test_a_level_that_the_model_does_not_have_is_refused(ask, path):
    with pytest.raises(ValueError, match=r"sensitivity_0\.85: this model has thresholds for"):
        ask(path, sensitivity=0.85)


def test_the_report_has_a_sheet_for_each_record_that_could_be_read(ask, path, tmp_path):
    pytest.importorskip("captum", reason="needs the extra [explain]")
    out = tmp_path / "out.html"
    bad = tmp_path / "nothing"
    code, answers, errors = ask(
        path, bad, report=str(out), n_attributions=1, operating_point="screening"
    )
    assert (code, len(answers)) == (1, 1)
    assert errors[-1] == f"predict: wrote {out}"
    page = out.read_text("utf-8")
    assert page.count("<h1>") == 1
    assert str(path) in page
    assert page.count("<details") == 1


def test_a_report_that_cannot_be_is_refused_before_the_work(ask, path, tmp_path):
    for knobs, said in (
        ({"report": "out.txt"}, r"report=out\.txt: expected a name that ends"),
        ({"n_attributions": 3}, r"n_attributions: attributions are drawn in a report"),
    ):
        with pytest.raises(ValueError, match=said):
            ask(path, **knobs)
    with pytest.raises(ValueError, match=r"report=out\.pdf: 201 records; expected 200 at most"):
        ask(*[path] * 201, report="out.pdf")


def test_no_finding_at_all_is_an_answer(trained, path):
    predictor = Predictor.load(trained / "model", "cpu")
    nothing = np.zeros(len(predictor.artifact.codes))
    assert not any(f.present for f in predictor.decide(nothing, "fixed_0.5"))


def test_a_folder_stands_for_its_records_and_the_batch_size_changes_nothing(ask, path):
    _, together, _ = ask(path.parent)
    _, alone, _ = ask(path.parent, batch_size=1)
    assert len(together) == len(expand_paths([str(path.parent)])) > 10
    for a, b in zip(together, alone, strict=True):
        assert a["record"] == b["record"]
        assert a["probabilities"] == pytest.approx(b["probabilities"], abs=1e-5)


def test_a_folder_stands_for_records_of_any_format(ask, path, tmp_path):
    """Once each; tables that state no rate or units by what is given for all."""
    record = read_record(path)
    np.savez(tmp_path / "a.npz", signal=record.signal, fs=record.fs, leads=record.leads, units="mV")
    table = pd.DataFrame(record.signal.T, columns=list(record.leads))
    table.to_csv(tmp_path / "b.csv", index=False)
    rewritten(path, tmp_path, "c")
    (tmp_path / "notes.txt").write_text("no record\n")
    code, answers, errors = ask(tmp_path)
    assert code == 1
    assert len(answers) == 2
    assert errors == ["predict: record b: the file states no sampling rate: give read.fs=... in Hz"]
    code, answers, errors = ask(tmp_path, **{"read.fs": 100.0, "read.units": "mV"})
    assert (code, errors) == (0, [])
    names = [answer["record"].removeprefix(f"{tmp_path}/") for answer in answers]
    assert names == ["a.npz", "b.csv", "c.hea"]
    for answer in answers:
        assert answer["probabilities"] == pytest.approx(answers[0]["probabilities"], abs=1e-4)


def bad_records():
    def flat(p):
        p[:, 3] = 0.2
        return p

    def holed(p):
        p[10:20, 7] = np.nan
        return p

    return {
        "flat": (lambda x: {"p_signal": flat(x)}, "aVR"),
        "NaN": (lambda x: {"p_signal": holed(x)}, "V2"),
        "a missing lead": (lambda x: {"p_signal": x[:, :11]}, "V6"),
        "another lead": (lambda x: {"sig_name": ["X1", *LEADS[1:]]}, "missing I"),
        "units": (lambda x: {"units": ["mmHg"] * 12}, "mmHg"),
        "gain": (lambda x: {"p_signal": x * 1e3, "fmt": ["32"] * 12}, "gain"),
        "3 s": (lambda x: {"p_signal": x[:300]}, "waveform.allow_short=true"),
    }


LEADS = ["I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6"]


@pytest.mark.parametrize("what", bad_records())
def test_a_bad_record_is_named_on_one_line_and_the_others_answered(ask, path, tmp_path, what):
    change, named = bad_records()[what]
    signal = wfdb.rdrecord(str(path)).p_signal
    bad = rewritten(path, tmp_path, **change(signal))
    code, answers, errors = ask(path, bad, path)
    assert code == 1
    assert [answer["record"] for answer in answers] == [str(path)] * 2
    assert len(errors) == 1
    assert errors[0].startswith("predict: record bad: ")
    assert named in errors[0]


def damage(path, what):
    header, data = path.with_suffix(".hea"), path.with_suffix(".dat")
    if what == "missing .dat":
        data.unlink()
    elif what == "truncated .dat":
        data.write_bytes(data.read_bytes()[:1000])
    elif what == "0 s":
        lines = header.read_text().splitlines()
        header.write_text("\n".join([lines[0].replace(" 1000", " 0"), *lines[1:]]))
        data.write_bytes(b"")
    elif what == "wrong lead count":
        header.write_text(header.read_text().replace(" 12 100", " 11 100"))


@pytest.mark.parametrize("what", ["missing .dat", "truncated .dat", "0 s", "wrong lead count"])
def test_a_damaged_file_is_named_on_one_line(ask, path, tmp_path, what):
    for suffix in (".hea", ".dat"):
        shutil.copy(path.with_suffix(suffix), tmp_path)
    damaged = tmp_path / path.name
    damage(damaged, what)
    code, answers, errors = ask(damaged)
    assert (code, answers) == (1, [])
    assert len(errors) == 1
    assert path.name in errors[0]


def test_a_short_record_is_padded_only_when_asked_and_says_so(ask, path, tmp_path):
    signal = wfdb.rdrecord(str(path)).p_signal
    short = rewritten(path, tmp_path, p_signal=signal[:300])
    code, answers, errors = ask(short, **{"waveform.allow_short": True})
    assert (code, errors) == (0, [])
    assert answers[0]["warnings"] == ["3 s of signal, padded to 10 s"]


def test_a_slightly_longer_record_is_cropped_and_says_so(ask, path, tmp_path):
    signal = wfdb.rdrecord(str(path)).p_signal
    long = rewritten(path, tmp_path, p_signal=np.concatenate([signal, signal[:100]]))
    _, answers, _ = ask(long)
    assert answers[0]["warnings"] == ["only the middle 10 s of 11 s were used"]


def test_other_sampling_rate_lead_order_and_units_give_nearly_the_same_answer(ask, path, tmp_path):
    record = read_record(path)
    finer = resample(record.signal, 100, 500).T[:, ::-1] * 1000
    other = rewritten(
        path,
        tmp_path,
        p_signal=finer.astype(float),
        fs=500,
        sig_name=[name.lower() for name in record.leads[::-1]],
        units=["uV"] * 12,
    )
    _, (here, there), _ = ask(path, other)
    assert here["probabilities"] == pytest.approx(there["probabilities"], abs=0.02)


def test_no_record_and_an_empty_folder_are_clear_errors(ask, path, tmp_path):
    with pytest.raises(ValueError, match="no record named"):
        ask()
    code, answers, errors = ask(tmp_path, path)
    assert code == 1
    assert len(answers) == len(errors) == 1
    assert tmp_path.name in errors[0]


@pytest.mark.slow
def test_the_command_line_prints_json_and_exits_1_on_a_bad_record(trained, path):
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "ecg_siglip.predict",
            f"run.name={trained.name}",
            f"run.root={trained.parent}",
            f"records=[{path},nowhere]",
        ],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert json.loads(result.stdout)["record"] == str(path)
    assert result.stderr.startswith("predict: record nowhere: ")
    assert len(result.stderr.splitlines()) == 1


def test_calibrated_probabilities_keep_the_order_of_the_raw_ones(trained, simulated):
    predictor = Predictor.load(trained / "model", "cpu")
    y_prob = np.linspace(0.01, 0.99, 20)[:, None].repeat(len(predictor.artifact.codes), 1)
    assert (np.diff(multilabel.calibrate(y_prob, predictor.artifact.calibration), axis=0) > 0).all()


def test_questions_are_answered_beside_the_findings(ask, path):
    _, (answer,), _ = ask(path, questions=["Vorhofflimmern?", "pizza"])
    known, far = answer["questions"]
    assert known["matches"][0]["code"] == "AFIB"
    assert known["matches"][0]["probability"] == answer["probabilities"]["AFIB"]
    assert known["matches"][0]["present"] == ("AFIB" in [f["code"] for f in answer["findings"]])
    assert (far["question"], far["matches"]) == ("pizza", [])
    _, (without,), _ = ask(path)
    assert {key: value for key, value in answer.items() if key != "questions"} == without
    with pytest.raises(ValueError, match="the question is empty"):
        ask(path, questions=["AF?", " "])

"""One record has the same prediction as in the fold; bad records are named, others predicted."""

import io
import itertools
import json
import os
import re
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
from ecg_siglip.metrics.likelihood import likelihood_word
from ecg_siglip.models.provenance import SIMULATED
from ecg_siglip.predict import predict, print_lines
from ecg_siglip.readers.folders import expand_paths
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.measurements import measure_ecg
from ecg_siglip.signals.resampling import resample


@pytest.fixture
def run_predict(trained, capsys):
    """Run the command; return its exit code, the predictions, the lines on stderr.

    The line with the numbers is in ``run.summary`` instead.
    """

    def run(*paths, **changes):
        base = {"run.name": trained.name, "run.root": str(trained.parent), "device": "cpu"}
        settings = configured(PredictConfig, base | changes | {"records": [str(p) for p in paths]})
        capsys.readouterr()
        code = predict(settings)
        out, err = capsys.readouterr()
        lines = err.splitlines()
        # The model of the tests was trained on simulated ECGs, and the first line states it.
        assert lines.pop(0).endswith(SIMULATED)
        is_summary = [re.match(r"predict: \d+ predicted", line) is not None for line in lines]
        assert sum(is_summary) <= 1
        run.summary = "".join(itertools.compress(lines, is_summary))
        errors = [line for line, each in zip(lines, is_summary, strict=True) if not each]
        return code, [json.loads(line) for line in out.splitlines()], errors

    return run


@pytest.fixture
def path(simulated):
    """A simulated record."""
    table = ptbxl.read_metadata(simulated)
    return simulated / table["filename_lr"].iloc[0]


def test_a_prediction_equals_the_one_that_evaluate_wrote(run_predict, evaluated, simulated):
    table = pd.read_parquet(evaluated / "predictions.parquet").set_index("ecg_id")
    metadata = ptbxl.read_metadata(simulated)
    paths = [simulated / metadata["filename_lr"][ecg_id] for ecg_id in table.index]
    code, predictions, errors = run_predict(*paths)
    assert (code, errors) == (0, [])
    assert run_predict.summary == f"predict: {len(paths)} predicted"
    for ecg_id, prediction in zip(table.index, predictions, strict=True):
        for finding, probability in prediction["probabilities"].items():
            assert table.loc[ecg_id, f"probability/{finding}"] == pytest.approx(
                probability, abs=1e-5
            )


def codes_and_alternatives(prediction):
    """Return the codes of the findings, and of those that they are reported in place of."""
    codes = {finding["code"] for finding in prediction["findings"]}
    others = [each for f in prediction["findings"] for each in f.get("alternatives", [])]
    return codes, {each["code"] for each in others}


def test_findings_are_those_above_their_threshold_in_descending_order(run_predict, trained, path):
    _, (prediction,), _ = run_predict(path, threshold_rule="f1")
    config = json.loads((trained / "model" / "config.json").read_text())
    expected = {
        code
        for code, threshold in zip(config["codes"], config["thresholds"]["f1"], strict=True)
        if prediction["probabilities"][code] >= round(threshold, 6)
    }
    codes, others = codes_and_alternatives(prediction)
    assert codes | others <= expected and not codes & others
    assert all(prediction["probabilities"][code] < 0.05 for code in expected - codes - others)
    probabilities = [finding["probability"] for finding in prediction["findings"]]
    assert probabilities == sorted(probabilities, reverse=True)
    keys = {"record", "findings", "not_excluded", "not_assessable", "probabilities", "model"}
    keys |= {"model_simulated", "warnings", "novelty", "novelty_parts", "measurements"}
    keys |= {"recording"}  # by the table of PTB-XL
    assert set(prediction) == keys


def test_screening_reaches_more_than_confirming_and_words_are_the_same(run_predict, trained, path):
    stored = json.loads((trained / "model" / "config.json").read_text())
    codes, limits = stored["codes"], stored["operating"]
    never, reached = set(stored["about"]["never_present"]), {}
    for point, rule in (("screening", "sensitivity_0.95"), ("confirm", "precision_0.8")):
        _, (prediction,), _ = run_predict(path, operating_point=point, sensitivity=0.95)
        present, others = codes_and_alternatives(prediction)
        reached[point] = present | others
        if point == "confirm":
            assert all(finding["probability"] >= 0.3 for finding in prediction["findings"])
        p = prediction["probabilities"]
        thresholds = zip(codes, limits[rule], strict=True)
        above = {c for c, t in thresholds if p[c] >= round(t, 6)}
        # Sensitivity has no meaning for findings that no training record has.
        above -= never if point == "screening" else set()
        assert reached[point] <= above and all(p[code] < 0.05 for code in above - reached[point])
        for finding in prediction["findings"]:
            assert finding["likelihood"] == likelihood_word(finding["probability"])
    assert reached["confirm"] < reached["screening"]


def test_not_excluded_is_short_and_in_full_what_screening_would_reach(run_predict, trained, path):
    stored = json.loads((trained / "model" / "config.json").read_text())
    never = set(stored["about"]["never_present"])
    _, (short,), _ = run_predict(path)
    _, (full,), _ = run_predict(path, not_excluded="full", sensitivity=0.95)
    assert full["findings"] == short["findings"]
    codes, others = codes_and_alternatives(full)
    limits = zip(stored["codes"], stored["operating"]["sensitivity_0.95"], strict=True)
    screening = {c for c, t in limits if full["probabilities"][c] >= round(t, 6)} - never
    assert set(full["not_excluded"]) == (screening | {*short["not_excluded"]}) - codes - others
    assert all(full["probabilities"][code] >= 0.05 for code in others)
    assert len(short["not_excluded"]) < len(full["not_excluded"])
    assert all(full["probabilities"][code] >= 0.01 for code in short["not_excluded"])


def test_a_sensitivity_without_thresholds_is_rejected(run_predict, path):
    with pytest.raises(ValueError, match=r"sensitivity_0\.85: this model has thresholds for"):
        run_predict(path, sensitivity=0.85, operating_point="screening")


def test_the_report_has_a_page_for_each_record_that_could_be_read(run_predict, path, tmp_path):
    pytest.importorskip("captum", reason="needs the extra [explain]")
    out = tmp_path / "out.html"
    bad = tmp_path / "nothing"
    code, predictions, errors = run_predict(
        path, bad, report=str(out), n_attributions=1, operating_point="screening"
    )
    assert (code, len(predictions)) == (3, 1)
    assert errors[-1] == f"predict: wrote {out}"
    page = out.read_text("utf-8")
    assert page.count("<h1>") == 1
    assert str(path) in page
    assert page.count("<details") == 1


def test_an_impossible_report_is_rejected_before_the_work(run_predict, path, tmp_path):
    for changes, error in (
        ({"report": "out.txt"}, r"report=out\.txt: expected a name that ends"),
        ({"n_attributions": 3}, r"n_attributions: attributions are drawn in a report"),
    ):
        with pytest.raises(ValueError, match=error):
            run_predict(path, **changes)
    with pytest.raises(ValueError, match=r"report=out\.pdf: 201 records; expected 200 at most"):
        run_predict(*(path.with_name(str(i)) for i in range(201)), report="out.pdf")


def test_a_record_can_be_without_findings(trained, path):
    predictor = Predictor.load(trained / "model", "cpu")
    nothing = np.zeros(len(predictor.artifact.codes))
    assert not any(f.present for f in predictor.decide(nothing, "fixed_0.5"))


def test_a_folder_is_expanded_to_its_records_and_the_batch_size_changes_nothing(run_predict, path):
    _, together, _ = run_predict(path.parent)
    _, alone, _ = run_predict(path.parent, batch_size=1)
    assert len(together) == len(expand_paths([str(path.parent)]).paths) > 10
    for a, b in zip(together, alone, strict=True):
        assert a["record"] == b["record"]
        assert a["probabilities"] == pytest.approx(b["probabilities"], abs=1e-5)


def test_a_folder_is_expanded_to_records_of_any_format(run_predict, path, tmp_path):
    """Each is read once; tables that do not state a rate or units get the given ones."""
    record = read_record(path)
    np.savez(tmp_path / "a.npz", signal=record.signal, fs=record.fs, leads=record.leads, units="mV")
    table = pd.DataFrame(record.signal.T, columns=list(record.leads))
    table.to_csv(tmp_path / "b.csv", index=False)
    rewritten(path, tmp_path, "c")
    (tmp_path / "notes.txt").write_text("no record\n")
    code, predictions, errors = run_predict(tmp_path)
    assert code == 3
    assert len(predictions) == 2
    assert errors == [
        "predict: 3 records found; skipped: 1 text file (notes.txt)",
        "predict: record b: the file states no sampling rate: give read.fs=... in Hz",
    ]
    assert run_predict.summary == "predict: 2 predicted, 1 unreadable, 1 skipped: 1 text file"
    code, predictions, errors = run_predict(tmp_path, **{"read.fs": 100.0, "read.units": "mV"})
    assert (code, errors) == (0, errors[:1])
    assert run_predict.summary == "predict: 3 predicted, 1 skipped: 1 text file"
    names = [prediction["record"].removeprefix(f"{tmp_path}/") for prediction in predictions]
    assert names == ["a.npz", "b.csv", "c.hea"]
    for prediction in predictions:
        assert prediction["probabilities"] == pytest.approx(
            predictions[0]["probabilities"], abs=1e-4
        )


def test_what_may_be_an_ecg_and_is_not_read_is_named_and_the_exit_code_is_3(
    run_predict, path, tmp_path
):
    rewritten(path, tmp_path, "a")
    (tmp_path / "README.md").write_text("All about it\n")
    code, predictions, errors = run_predict(tmp_path)
    assert (code, len(predictions), errors) == (0, 1, [])
    assert run_predict.summary == "predict: 1 predicted, 1 skipped: 1 other file"
    (tmp_path / "b.gdf").write_bytes(b"GDF 2.20")
    (tmp_path / "c.pdf").write_bytes(b"%PDF-1.7")
    code, predictions, errors = run_predict(tmp_path)
    assert (code, len(predictions)) == (3, 1)
    assert errors == [
        "predict: 1 record found; not read: 1 GDF recording (b.gdf): export it as EDF or CSV; "
        "skipped: 1 PDF document (c.pdf); 1 other file"
    ]
    assert run_predict.summary == (
        "predict: 1 predicted, 1 not read: 1 GDF recording, 2 skipped: 1 PDF document, 1 other file"
    )
    run_predict(path)
    assert run_predict.summary == ""


def test_numbers_in_a_folder_are_counted_and_records_if_their_leads_are_given(
    run_predict, path, tmp_path
):
    record = read_record(path)
    rewritten(path, tmp_path, "a")
    np.savetxt(tmp_path / "b.csv", record.signal.T, "%.4f", ",")
    np.save(tmp_path / "c.npy", np.zeros((100, 71)))
    code, predictions, errors = run_predict(tmp_path)
    assert (code, len(predictions)) == (3, 1)
    assert "1 table of numbers without names of leads (b.csv)" in errors[0]
    assert "1 array without names of leads (c.npy)" in errors[0]
    assert run_predict.summary.startswith("predict: 1 predicted, 2 not read: 1 ")
    given = {"read.fs": 100.0, "read.units": "mV", "read.leads": list(record.leads)}
    code, predictions, errors = run_predict(tmp_path, **given)
    assert (code, len(predictions)) == (3, 2)
    assert run_predict.summary == "predict: 2 predicted, 1 unreadable"
    code, _, (error,) = run_predict(tmp_path / "b.csv")
    assert code == 3 and "the file does not name its 12 leads" in error


def test_a_record_has_the_name_of_its_path_whatever_that_is(run_predict, path, tmp_path):
    """One line of JSON for each, from which the bytes of the path can be made again."""
    record = read_record(path)
    table = pd.DataFrame(record.signal.T, columns=list(record.leads)).to_csv(index=False)
    names = [
        b"\xe4\xff.csv", "Müller, J. 🫀.csv".encode(), b"a\nb\x1b[31m.csv", b"-x \"'[=].csv",
        "x\u2028y\u202e.csv".encode(), b"\xc2\x85.csv",
    ]  # fmt: skip
    for name in names:
        with open(os.fsencode(tmp_path) + b"/" + name, "w") as file:
            file.write(table)
    given = {"read.fs": 100.0, "read.units": "mV", "report": str(tmp_path / "out.html")}
    code, predictions, _ = run_predict(tmp_path, **given)
    assert (code, len(predictions)) == (0, len(names))
    found = {os.path.basename(os.fsencode(prediction["record"])) for prediction in predictions}
    assert found == set(names)
    assert r"\udce4\udcff.csv" in (tmp_path / "out.html").read_text("utf-8")
    _, _, errors = run_predict(*[os.fsdecode(os.fsencode(tmp_path) + b"/" + n) for n in names])
    assert len(errors) == len(names)
    assert all(error.isprintable() for error in errors)


def test_predictions_are_in_ascii_where_stdout_has_no_other_characters(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    print_lines(['{"record": "a"}', '{"record": "ü🫀"}'])
    lines = stream.buffer.getvalue().decode("ascii").splitlines()
    assert [json.loads(line)["record"] for line in lines] == ["a", "ü🫀"]


def test_a_record_longer_than_allowed_is_refused(run_predict, path, tmp_path):
    signal = np.tile(wfdb.rdrecord(str(path)).p_signal, (40, 1))
    long = rewritten(path, tmp_path, p_signal=signal)
    code, _, errors = run_predict(long, **{"windows.max_hours": 0.1})
    assert code == 3
    assert errors == [
        "predict: record bad: 0.111111 h of signal, expected at most 0.1 h; windows.max_hours of "
        "predict allows more"
    ]
    assert run_predict(long, **{"windows.max_hours": 0.2})[0] == 0


def bad_records():
    """Return changes of a record by kind, each with a part of its error."""

    def flat(p):
        p[:, 3] = 0.2
        return p

    def with_gap(p):
        p[10:20, 7] = np.nan
        return p

    return {
        "flat": (lambda x: {"p_signal": flat(x)}, "aVR"),
        "NaN": (lambda x: {"p_signal": with_gap(x)}, "V2"),
        "a missing lead": (lambda x: {"p_signal": x[:, :11]}, "V6"),
        "another lead": (lambda x: {"sig_name": ["X1", *LEADS[1:]]}, "missing I"),
        "units": (lambda x: {"units": ["mmHg"] * 12}, "mmHg"),
        "gain": (lambda x: {"p_signal": x * 1e3, "fmt": ["32"] * 12}, "gain"),
        "3 s": (lambda x: {"p_signal": x[:300]}, "waveform.allow_short=true"),
    }


LEADS = ["I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6"]


@pytest.mark.parametrize("kind", bad_records())
def test_a_bad_record_is_named_on_one_line_and_the_others_are_predicted(
    run_predict, path, tmp_path, kind
):
    change, part_of_error = bad_records()[kind]
    signal = wfdb.rdrecord(str(path)).p_signal
    bad = rewritten(path, tmp_path, **change(signal))
    good = rewritten(path, tmp_path, "good")
    code, predictions, errors = run_predict(path, bad, good)
    assert code == 3
    assert [prediction["record"] for prediction in predictions] == [str(path), str(good)]
    assert len(errors) == 1
    assert errors[0].startswith("predict: record bad: ")
    assert part_of_error in errors[0]


def damage(path, kind):
    """Damage the files of a record."""
    header, data = path.with_suffix(".hea"), path.with_suffix(".dat")
    if kind == "missing .dat":
        data.unlink()
    elif kind == "truncated .dat":
        data.write_bytes(data.read_bytes()[:1000])
    elif kind == "0 s":
        lines = header.read_text().splitlines()
        header.write_text("\n".join([lines[0].replace(" 1000", " 0"), *lines[1:]]))
        data.write_bytes(b"")
    elif kind == "wrong lead count":
        header.write_text(header.read_text().replace(" 12 100", " 11 100"))


@pytest.mark.parametrize("kind", ["missing .dat", "truncated .dat", "0 s", "wrong lead count"])
def test_a_damaged_file_is_named_on_one_line(run_predict, path, tmp_path, kind):
    for suffix in (".hea", ".dat"):
        shutil.copy(path.with_suffix(suffix), tmp_path)
    damaged = tmp_path / path.name
    damage(damaged, kind)
    code, predictions, errors = run_predict(damaged)
    assert (code, predictions) == (3, [])
    assert len(errors) == 1
    assert path.name in errors[0]


def test_a_short_record_is_padded_on_request_with_a_warning(run_predict, path, tmp_path):
    signal = wfdb.rdrecord(str(path)).p_signal
    short = rewritten(path, tmp_path, p_signal=signal[:300])
    code, predictions, errors = run_predict(short, **{"waveform.allow_short": True})
    assert (code, errors) == (0, [])
    assert predictions[0]["warnings"] == ["3 s of signal, padded to 10 s"]


def test_a_slightly_longer_record_is_cropped_with_a_warning(run_predict, path, tmp_path):
    signal = wfdb.rdrecord(str(path)).p_signal
    long = rewritten(path, tmp_path, p_signal=np.concatenate([signal, signal[:100]]))
    _, predictions, _ = run_predict(long)
    assert predictions[0]["warnings"] == ["only the middle 10 s of 11 s were used"]


def test_sampling_rate_lead_order_and_units_hardly_change_the_prediction(
    run_predict, path, tmp_path
):
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
    _, (original, changed), _ = run_predict(path, other)
    assert original["probabilities"] == pytest.approx(changed["probabilities"], abs=0.02)


def test_no_record_and_an_empty_folder_are_errors(run_predict, path, tmp_path):
    with pytest.raises(ValueError, match="no record named"):
        run_predict()
    code, predictions, errors = run_predict(tmp_path, path)
    assert code == 3
    assert len(predictions) == len(errors) == 1
    assert tmp_path.name in errors[0]


@pytest.mark.slow
def test_the_command_line_prints_json_and_exits_3_on_a_bad_record(trained, path):
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
    assert result.returncode == 3
    assert json.loads(result.stdout)["record"] == str(path)
    origin, error, summary = result.stderr.splitlines()
    assert origin.endswith(SIMULATED)
    assert error.startswith("predict: record nowhere: ")
    assert summary == "predict: 1 predicted, 1 unreadable"


def test_calibrated_probabilities_keep_the_order_of_the_raw_ones(trained, simulated):
    predictor = Predictor.load(trained / "model", "cpu")
    y_prob = np.linspace(0.01, 0.99, 20)[:, None].repeat(len(predictor.artifact.codes), 1)
    assert (np.diff(multilabel.calibrate(y_prob, predictor.artifact.calibration), axis=0) > 0).all()


def test_questions_are_matched_to_findings(run_predict, path):
    _, (prediction,), _ = run_predict(path, questions=["Vorhofflimmern?", "pizza"])
    known, unknown = prediction["questions"]
    assert known["matches"][0]["code"] == "AFIB"
    assert known["matches"][0]["probability"] == prediction["probabilities"]["AFIB"]
    assert known["matches"][0]["present"] == ("AFIB" in [f["code"] for f in prediction["findings"]])
    assert (unknown["question"], unknown["matches"]) == ("pizza", [])
    _, (without,), _ = run_predict(path)
    assert {key: value for key, value in prediction.items() if key != "questions"} == without
    with pytest.raises(ValueError, match="the question is empty"):
        run_predict(path, questions=["AF?", " "])


def test_measurements_are_in_the_json_unless_they_are_off(run_predict, path):
    _, (measured,), _ = run_predict(path)
    record = read_record(path)
    own = measure_ecg(record.signal, record.fs, record.leads).to_dict()
    assert measured["measurements"] == own
    assert 30 < own["rate"]["value"] < 220 and own["rate"]["unit"] == "1/min"
    _, (without,), _ = run_predict(path, measurements=False)
    assert "measurements" not in without
    assert without["probabilities"] == measured["probabilities"]

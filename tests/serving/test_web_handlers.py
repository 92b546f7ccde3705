"""Handlers of the page, without the page: predictions, attributions, questions, downloads."""

import base64
import csv
import io
import shutil
import tempfile
import threading
from pathlib import Path

import pytest

from ecg_siglip import config
from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.metrics.likelihood import percent
from ecg_siglip.serving.file_settings import request_settings
from ecg_siglip.serving.prediction_service import PredictionService, QueueFull
from ecg_siglip.serving.web_handlers import (
    NOT_EXPLAINED_FIRST,
    Decision,
    EcgView,
    Problem,
    Table,
    WebHandlers,
    run_in_turn,
)

FILE_SETTINGS = ("", "", "", "", False, False, False, False, "")  # all fields of the page are empty


@pytest.fixture(scope="module")
def handlers(trained):
    settings = config.AppConfig(max_files=6)
    service = PredictionService(Predictor.load(trained / "model", "cpu"), settings)
    yield WebHandlers(service)
    service.close()


@pytest.fixture
def store(simulated, tmp_path):
    """Store files as Gradio does, each in a folder of its own; returns their paths."""
    names = ptbxl.read_metadata(simulated)["filename_lr"]

    def make(*records, **tables):
        files = [
            (simulated / names.iloc[i]).with_suffix(end)
            for i in records
            for end in (".hea", ".dat")
        ]
        contents = {path.name: path.read_bytes() for path in files}
        contents |= {f"{name}.csv": content for name, content in tables.items()}
        paths = []
        for name, content in contents.items():
            path = Path(tempfile.mkdtemp(dir=tmp_path)) / name
            path.write_bytes(content)
            paths.append(str(path))
        return paths

    return make


@pytest.fixture(scope="module")
def view(handlers, simulated, tmp_path_factory):
    """The first record on the page, screened."""
    record = simulated / ptbxl.read_metadata(simulated)["filename_lr"].iloc[0]
    paths = []
    for end in (".hea", ".dat"):
        folder = tmp_path_factory.mktemp("upload")
        paths.append(shutil.copy(record.with_suffix(end), folder))
    view = handlers.predict_one(paths, "screening", False, *FILE_SETTINGS)
    assert isinstance(view, EcgView)
    return view


def test_one_ecg_is_predicted_and_its_upload_deleted(handlers, store):
    paths = store(0)
    view = handlers.predict_one(paths, "balanced", False, *FILE_SETTINGS)
    assert view.prediction.record in view.summary
    assert 'src="data:image/png' in view.ecg
    present = [f for f in view.prediction.findings if f.present]
    assert view.findings.count('class="bar present"') == len(present)
    assert not any(Path(path).exists() for path in paths)


def test_the_likeliest_specific_finding_is_explained_first(view):
    labels = [code for _, code in view.choices]
    assert labels[0] == "" and len(labels) == len(view.prediction.findings) + 1
    findings = {f.code: f for f in view.prediction.findings}
    order = [(not findings[code].present, -findings[code].probability) for code in labels[1:]]
    assert order == sorted(order)
    specific = [c for c in labels[1:] if findings[c].present and c not in NOT_EXPLAINED_FIRST]
    assert view.explained == (specific or [""])[0]


@pytest.mark.parametrize(
    ("records", "others", "file_settings", "message"),
    [
        ((0, 1), {}, FILE_SETTINGS, "2 records; this tab reads one"),
        ((), {"bad": b"hello"}, FILE_SETTINGS, "record bad"),
        ((0, 1, 2, 3), {}, FILE_SETTINGS, "8 files; expected 6 at most"),
        (
            (0,),
            {},
            ("fast", *FILE_SETTINGS[1:]),
            "(Hz)” = fast: expected a number",
        ),
        ((0,), {}, ("1", *FILE_SETTINGS[1:]), "“Sampling rate of the file (Hz)” = 1"),
        ((0,), {}, ("", "", "200", *FILE_SETTINGS[3:]), "contradicts “Counts per millivolt” = 200"),
        (
            (0,),
            {},
            ("", "", "many", *FILE_SETTINGS[3:]),
            "millivolt” = many: expected a number",
        ),
    ],
)
def test_an_error_is_shown_and_the_upload_stays(
    handlers, store, records, others, file_settings, message
):
    paths = store(*records, **others)
    problem = handlers.predict_one(paths, "balanced", False, *file_settings)
    assert isinstance(problem, Problem) and not problem.was_read
    assert message in problem.html and 'role="alert"' in problem.html
    assert all(Path(path).exists() for path in paths)


def test_every_field_of_the_page_is_a_setting(handlers):
    fields = ("250", "", "200", "I, II", True, True, True, True, "60")
    settings = request_settings(handlers.service, "confirm", True, *fields)
    assert (settings.read.fs, settings.read.gain, settings.read.leads) == (250, 200, ["I", "II"])
    assert all(vars(settings.waveform).values())
    assert (settings.windows.sustained_s, settings.operating_point) == (60, "confirm")
    assert settings.not_excluded == "full"


def test_deleted_uploads_are_reported(handlers, tmp_path):
    problem = handlers.predict_one([str(tmp_path / "a.csv")], "balanced", False, *FILE_SETTINGS)
    assert "deleted in the meantime" in problem.html


def test_an_ecg_that_cannot_be_drawn_was_read(handlers, store, monkeypatch):
    def fail(*_):
        raise QueueFull("no result within 1 s")

    monkeypatch.setattr(handlers.service, "draw_ecg", fail)
    problem = handlers.predict_one(store(0), "balanced", False, *FILE_SETTINGS)
    assert problem.was_read and "no result within 1 s" in problem.html


def test_another_operating_point_changes_the_findings(handlers, view):
    decision = handlers.decide(view.prediction, "confirm", False)
    assert isinstance(decision, Decision)
    screened = {f.code for f in view.prediction.findings if f.present}
    confirmed = {f.code for f in decision.prediction.findings if f.present}
    assert confirmed < screened
    assert "Operating point: Confirm" in decision.findings
    assert "Operating point: Screening" in view.findings


def test_operating_points_have_their_scores_on_the_tuning_fold(handlers):
    scores = handlers.service.predictor.artifact.provenance.tune_scores
    rules = {"screening": "sensitivity_0.9", "balanced": "expected_f1", "confirm": "precision_0.8"}
    choices = {point: text for text, point in handlers.point_choices()}
    assert choices.keys() == rules.keys()
    for point, rule in rules.items():
        values = [scores[f"{rule}/micro_{name}"] for name in ("sensitivity", "precision")]
        if None in values:  # nothing is reported: no precision
            assert "tuning fold" not in choices[point]
        else:
            assert all(percent(value) in choices[point] for value in values)


def test_a_page_in_another_language_has_its_texts_and_names(handlers, store):
    german = WebHandlers(handlers.service, "de")
    view = german.predict_one(store(0), "screening", True, *FILE_SETTINGS)
    assert "Befunde" in view.findings and "Herzfrequenz" in view.summary
    names = {finding.code: finding.name for finding in view.prediction.findings}
    assert names["SR"] == "Sinusrhythmus" and ("Sinusrhythmus (SR)", "SR") in view.choices
    problem = german.predict_one(store(bad=b"hello"), "balanced", False, *FILE_SETTINGS)
    assert "Es gibt kein Ergebnis." in problem.html and 'lang="en"' in problem.html


def test_a_picture_is_named_by_its_content(handlers, store):
    paths = store(scan=b"%PDF-1.7 a scan of a print")
    problem = handlers.predict_one(paths, "balanced", False, *FILE_SETTINGS)
    assert "scan.csv: this is a picture or a document" in problem.html
    assert "The waveform file is needed" in problem.html


def test_similar_ecgs_are_drawn_where_their_folder_is_known(handlers, view, simulated):
    assert "similar_root=FOLDER" in view.similar and not view.can_draw_similar
    service = PredictionService(
        handlers.service.predictor, config.AppConfig(similar_root=str(simulated))
    )
    drawn = WebHandlers(service).draw_similar(view.prediction)
    assert drawn.count("<img") == len(view.prediction.similar) > 0
    service.close()


def test_a_finding_is_explained_on_the_ecg(handlers, view):
    pytest.importorskip("captum", reason="needs the extra [explain]")
    explained = handlers.explain(view.prediction, "LVH")
    assert "Left ventricular hypertrophy" in explained
    plain = handlers.explain(view.prediction, "")
    assert plain == view.ecg != explained


def test_a_question_shows_its_findings_and_notes(handlers, view):
    html = handlers.interpret_question(view.prediction, "Linksschenkelblock?")
    assert "Kompletter Linksschenkelblock" in html and "nicht kalibriert" in html
    assert 'lang="de"' in html and "Entspricht" in html
    html = handlers.interpret_question(view.prediction, "is there atrial fibrillation?")
    assert 'lang="en"' in html and "Matched to this finding" in html
    html = handlers.interpret_question(view.prediction, "pizza <b>")
    assert "far from all" in html and "pizza &lt;b&gt;" in html
    german = WebHandlers(handlers.service, "de")
    assert 'lang="de"' in german.interpret_question(view.prediction, "AFIB?")
    assert handlers.interpret_question(view.prediction, "  ") == ""
    assert 'role="alert"' in handlers.interpret_question(view.prediction, "x" * 1000)


@pytest.mark.parametrize(
    ("suffix", "kind", "start"),
    [(".html", "text/html", b"<!doctype html>"), (".pdf", "application/pdf", b"%PDF")],
)
def test_the_record_report_is_a_download(handlers, view, suffix, kind, start):
    name, source = handlers.download_report(view.prediction, "", "balanced", suffix).split("|")
    assert name == f"{view.prediction.record}{suffix}"
    head, content = source.split(",")
    assert head == f"data:{kind};base64"
    assert base64.b64decode(content).lstrip().startswith(start)


def test_many_ecgs_become_a_table_and_a_csv(handlers, store):
    paths = store(0, 1, bad=b"hello")
    table = handlers.predict_many(paths, "balanced", False, *FILE_SETTINGS)
    assert isinstance(table, Table) and table.n_predictions == 2
    assert "2 read" in table.html and "1 not" in table.html
    content = base64.b64decode(table.csv.split(",")[1]).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(content)))
    assert [bool(row["error"]) for row in rows] == [False, False, True]
    assert not any(Path(path).exists() for path in paths)
    problem = handlers.predict_many(store(0, 1, 2, 3), "balanced", False, *FILE_SETTINGS)
    assert isinstance(problem, Problem) and "8 files" in problem.html


def test_a_task_that_takes_too_long_is_given_up(handlers, monkeypatch):
    monkeypatch.setattr(handlers.service.settings, "timeout_s", 0.05)
    gate = threading.Event()
    try:
        with pytest.raises(QueueFull, match=r"no result within 0\.05 s; 1 requests are waiting"):
            run_in_turn(handlers.service, lambda: gate.wait(20))
    finally:
        gate.set()

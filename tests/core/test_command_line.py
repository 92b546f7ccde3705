"""The command line: errors of the user are one line, bugs have a traceback, help is complete."""

import shlex
import sys

import pytest

from ecg_siglip import config
from ecg_siglip.core.command_line import CONF_DIR, PACKAGE_DIR, run_command


@pytest.fixture
def run(monkeypatch):
    """Run a command that returns its configuration."""

    def run(command: str, schema: type, *overrides: str):
        received = []
        monkeypatch.setattr(sys, "argv", [command, *overrides])
        run_command(command, schema, received.append)
        return received[0]

    return run


def test_the_folders_are_those_of_the_package():
    assert (PACKAGE_DIR / "core" / "command_line.py").is_file()
    assert (CONF_DIR / "train.yaml").is_file()


def test_help_is_printed_with_the_summary_of_the_function_and_runs_nothing(monkeypatch, capsys):
    def command(_):
        """Do one thing.

        In detail.
        """
        raise AssertionError

    monkeypatch.setattr(sys, "argv", ["export", "--help"])
    run_command("export", config.ExportConfig, command)
    page = capsys.readouterr().out
    assert "\nDo one thing.\n" in page
    assert "In detail" not in page


def test_a_missing_setting_is_named(run, capsys):
    with pytest.raises(SystemExit) as stop:
        run("simulate", config.SimulateConfig, "data.root=???")
    assert stop.value.code == 1
    assert capsys.readouterr().err == (
        "simulate: data.root is missing; expected data.root=... (Folder to write; must be new or "
        "empty), see --help\n"
    )


def test_an_interrupted_command_ends_with_130(monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["train", "run.name=r"])
    with pytest.raises(SystemExit) as stop:
        run_command("train", config.TrainConfig, interrupt)
    assert stop.value.code == 130
    assert capsys.readouterr().err == "train: interrupted\n"


@pytest.mark.parametrize(
    ("override", "questions"),
    [
        ("questions=LBBB?", ["LBBB?"]),
        ("questions=Is there AF, or flutter?", ["Is there AF, or flutter?"]),
        ('questions="Is there AF, or flutter?"', ["Is there AF, or flutter?"]),
        ("questions=Gibt es, für Sie, einen Block?", ["Gibt es, für Sie, einen Block?"]),
        ("questions=心房細動、または心房粗動ですか？", ["心房細動、または心房粗動ですか？"]),
        ("questions=the patient's LBBB (old)!", ["the patient's LBBB (old)!"]),
        ('questions=a "wide" QRS > 120 ms, or ${x}?', ['a "wide" QRS > 120 ms, or ${x}?']),
        ("questions=is it [LBBB]?", ["is it [LBBB]?"]),
        ("questions=QRS = 120 ms?", ["QRS = 120 ms?"]),
        ('questions=["AF, or flutter?","LBBB?"]', ["AF, or flutter?", "LBBB?"]),
        ("questions=[AF?, LBBB?]", ["AF?", "LBBB?"]),
        ("questions=[AF,LBBB]", ["AF", "LBBB"]),
    ],
)
def test_a_single_question_needs_no_brackets(run, override, questions):
    assert run("predict", config.PredictConfig, "run.name=r", override).questions == questions


@pytest.mark.parametrize(
    "inner", ["Is there AF, or flutter?", "AF, flutter?", "gibt es Flimmern, oder Flattern"]
)
def test_a_comma_in_a_question_without_quotes_is_not_guessed(run, capsys, inner):
    override = f"questions=[{inner}]"
    with pytest.raises(SystemExit):
        run("predict", config.PredictConfig, "run.name=r", override)
    error = capsys.readouterr().err
    assert f"predict: {override}: a comma divides a list" in error
    words = [word for word in shlex.split(error.replace(", '", " '")) if "questions=" in word]
    one, two = words[1:] if len(words) > 2 else words
    questions = [
        run("predict", config.PredictConfig, "run.name=r", corrected).questions
        for corrected in (one, two)
    ]
    assert questions == [[inner], [part.strip() for part in inner.split(",")]]


@pytest.mark.parametrize("error", [ValueError("record 7:\n  expected 12"), OSError("disk full")])
def test_an_error_of_the_user_is_one_line(monkeypatch, capsys, error):
    def fail(_):
        raise error

    monkeypatch.setattr(sys, "argv", ["train", "run.name=r"])
    with pytest.raises(SystemExit) as stop:
        run_command("train", config.TrainConfig, fail)
    assert stop.value.code == 1
    assert capsys.readouterr().err == f"train: {' '.join(str(error).split())}\n"


def test_a_bug_keeps_its_traceback(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", "run.name=r"])
    with pytest.raises(SystemExit) as stop:
        run_command("train", config.TrainConfig, lambda _: 1 // 0)
    assert stop.value.code == 1
    assert "Traceback" in (err := capsys.readouterr().err)
    assert "ZeroDivisionError" in err


def test_the_return_value_of_a_command_is_its_exit_code(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["predict", "run.name=r"])
    run_command("predict", config.PredictConfig, lambda _: 0)
    with pytest.raises(SystemExit) as stop:
        run_command("predict", config.PredictConfig, lambda _: 1)
    assert stop.value.code == 1


RENAMED = [
    ("predict", "ask=[LBBB?]", "ask: renamed to questions"),
    ("predict", "n_reasons=3", "n_reasons: renamed to n_attributions"),
    ("train", "tune=ecg_only", "tune=ecg_only: renamed to freeze=text"),
    ("train", "tune=text_only", "tune=text_only: renamed to freeze=ecg"),
    ("train", "tune=other", "tune: renamed to freeze"),
]


@pytest.mark.parametrize(("command", "override", "error"), RENAMED)
def test_a_renamed_setting_gets_an_error_with_the_new_name(run, capsys, command, override, error):
    schema = {"predict": config.PredictConfig, "train": config.TrainConfig}[command]
    with pytest.raises(SystemExit) as stop:
        run(command, schema, "run.name=r", override)
    assert stop.value.code == 1
    assert capsys.readouterr().err == f"{command}: {error}\n"

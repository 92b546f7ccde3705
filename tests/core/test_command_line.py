"""The command line: errors of the user are one line, bugs have a traceback, help is complete."""

import shlex
import sys

import pytest

from ecg_siglip import config
from ecg_siglip.core.command_line import (
    CONF_DIR,
    PACKAGE_DIR,
    _list_mistake,
    _override_mistake,
    help_page,
    run_command,
)


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


def test_help_of_train_lists_the_options_of_every_group_with_their_first_comment():
    page = help_page("train", config.TrainConfig, "Train.").splitlines()
    assert page[:3] == ["python -m ecg_siglip.train SETTING=VALUE ...", "", "Train."]
    for group in CONF_DIR.iterdir():
        if group.is_dir():
            assert any(line.startswith(f"  {group.name}=") for line in page)
            for path in group.glob("*.yaml"):
                assert any(line.split()[:1] == [path.stem] for line in page), path
    assert not any(line.strip().startswith("# @package") for line in page)


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
    assert capsys.readouterr().err == "simulate: data.root is missing; expected data.root=...\n"


def test_an_interrupted_command_ends_with_130(monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["train", "run.name=r"])
    with pytest.raises(SystemExit) as stop:
        run_command("train", config.TrainConfig, interrupt)
    assert stop.value.code == 130
    assert capsys.readouterr().err == "train: interrupted\n"


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("records=a/00001_lr", ["a/00001_lr"]),
        ("questions=[左脚ブロック,AF]", ["左脚ブロック", "AF"]),
        ("records=", []),
        ("records=null", []),
        ("records=[1].csv", ["[1].csv"]),
        ("records=[k=v.csv,[1].csv]", ["k=v.csv", "[1].csv"]),
        ("records=[it's.csv,b.csv]", ["it's.csv", "b.csv"]),
        ('records=[12" strip.csv]', ['12" strip.csv']),
        ("records=5' 12\".csv", ["5' 12\".csv"]),
        ("records=🫀.csv", ["🫀.csv"]),
    ],
)
def test_a_mistyped_list_is_shown_correctly_quoted(run, capsys, override, value):
    with pytest.raises(SystemExit) as stop:
        run("predict", config.PredictConfig, "run.name=r", override)
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert f"predict: {override}: expected a list" in error
    (corrected,) = shlex.split(error.partition("for the shell: ")[2])
    settings = run("predict", config.PredictConfig, "run.name=r", corrected)
    assert getattr(settings, override.split("=")[0]) == value


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


def test_one_name_with_a_comma_is_not_two_names(run, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Doe, John.csv").touch()
    override = "records=[Doe, John.csv]"
    with pytest.raises(SystemExit):
        run("predict", config.PredictConfig, "run.name=r", override)
    error = capsys.readouterr().err
    (corrected,) = shlex.split(error.partition("for the shell: ")[2])
    assert corrected == 'records=["Doe, John.csv"]'
    settings = run("predict", config.PredictConfig, "run.name=r", corrected)
    assert settings.records == ["Doe, John.csv"]


def test_a_sweep_over_lists_is_no_mistake():
    overrides = ["-m", "data.train_folds=choice([1],[2])", "data.train_folds=${a}", "run.name=x"]
    assert not _list_mistake(config.TrainConfig, overrides)


@pytest.mark.parametrize(
    ("command", "override", "error"),
    [
        ("predict", "recrods=[a]", "recrods: expected a setting of predict; did you mean records?"),
        ("train", "run.nam=r", "run.nam: expected a setting of train; did you mean run.name?"),
        ("train", "experimant=x", "experimant: expected a setting of train; did you mean "),
        ("predict", "ecg=resnet1d", "ecg: expected a setting of predict; see --help"),
        ("train", "zzz=1", "zzz: expected a setting of train; see --help"),
        ("train", "ecg=resnet", "ecg=resnet: expected one of resnet1d, transformer, xresnet1d101"),
        ("train", "freeze=both", "freeze=both: expected one of ecg, none, text"),
        ("predict", "a/00001_lr", "a/00001_lr: expected SETTING=VALUE, see --help"),
        ("train", "optim.lr=fast", "optim.lr=fast: expected a number"),
        ("train", "optim.n_epochs=1.5", "optim.n_epochs=1.5: expected a whole number"),
        ("train", "compile=maybe", "compile=maybe: expected true or false"),
        ("train", "seed=0,1", "seed=0,1: expected one value; several runs need -m"),
        ("train", "data.root=my data(1)", "data.root=my data(1): expected a value in quotes"),
    ],
)
def test_an_override_that_cannot_be_used_is_one_line(run, capsys, command, override, error):
    schema = {"predict": config.PredictConfig, "train": config.TrainConfig}[command]
    with pytest.raises(SystemExit) as stop:
        run(command, schema, "run.name=r", override)
    assert stop.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith(f"{command}: {error}")
    assert message.count("\n") == 1


def test_a_value_with_special_characters_is_shown_correctly_quoted(run, capsys):
    with pytest.raises(SystemExit):
        run("train", config.TrainConfig, "run.name=r", "data.root=my data(1)")
    (corrected,) = shlex.split(capsys.readouterr().err.partition("for the shell: ")[2])
    settings = run("train", config.TrainConfig, "run.name=r", corrected)
    assert settings.data.root == "my data(1)"


@pytest.mark.parametrize("quote", ["", "'"])
def test_a_query_is_shown_correctly_quoted(run, capsys, quote):
    query = """SELECT path, group_concat("code", ';') AS findings FROM ecg WHERE x = '$1'"""
    with pytest.raises(SystemExit):
        run("train", config.TrainConfig, "run.name=r", f"data.query={quote}{query}{quote}")
    (corrected,) = shlex.split(capsys.readouterr().err.partition("for the shell: ")[2])
    assert run("train", config.TrainConfig, "run.name=r", corrected).data.query == query


def test_overrides_that_hydra_understands_are_left_to_it(monkeypatch):
    overrides = [
        *("-m", "--cfg", "job", "seed=0,1,2", "seed=range(3)", "optim.lr=${seed}"),
        *("ecg=resnet1d,transformer", "experiment=null", "data=simulated", "hydra.run.dir=x"),
        *("data.root=null", "~data.held_out", "optim.lr=1", "optim.warmup=0.1", "run={name: x}"),
        *("n_threads=2", "compile=yes", "+experiment=best", "data@data=simulated"),
    ]
    monkeypatch.setattr(sys, "argv", ["train", *overrides])
    assert not _override_mistake("train", config.TrainConfig, overrides)


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

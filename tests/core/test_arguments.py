"""The words of a command line: files, settings and options of any spelling reach the command."""

import operator
import random
import sys

import pytest

from ecg_siglip import config
from ecg_siglip.core.arguments import hydra_arguments
from ecg_siglip.core.command_line import run_command

SCHEMAS = {
    "check": config.CheckConfig,
    "compare": config.CompareConfig,
    "ensemble": config.EnsembleConfig,
    "evaluate": config.EvaluateConfig,
    "predict": config.PredictConfig,
    "train": config.TrainConfig,
    "vocabulary": config.VocabularyConfig,
}
ODD_NAMES = (
    *("a.hea", "a b.hea", "Doe, John.csv", "Müller (1).csv", "心電図.csv", "🫀.csv", "k=v.csv"),
    *("[1].csv", "it's.csv", '12" strip.csv', "5' 12\".csv", "#1.csv", "$HOME.csv", "${x}.csv"),
    *("\\${x}.csv", "a\\", "100%.csv", "{a}.csv", "a:b@c.csv", "null", "true", "1e3", "a\nb.csv"),
    *("\udce4.csv", "  x ", "~x.csv", "!a&b|c;d.csv", "*.hea", "@list.txt", "-", "s3://b/k=1.hea"),
)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a command, in an empty folder, that returns its configuration."""
    monkeypatch.chdir(tmp_path)

    def run(command: str, *words: str):
        received = []
        monkeypatch.setattr(sys, "argv", [command, *words])
        run_command(command, SCHEMAS[command], received.append)
        return received[0]

    return run


@pytest.mark.parametrize("name", [name for name in ODD_NAMES if "=" not in name])
def test_a_word_is_a_file_whatever_its_name(run, name):
    assert run("predict", name, "run.name=r").records == [name]


@pytest.mark.parametrize("name", [*ODD_NAMES, "-x.csv", "run.name=x", "--help"])
def test_words_after_two_dashes_are_files(run, name):
    settings = run("predict", "run.name=r", "--", name, "b.hea")
    assert settings.records == [name, "b.hea"]
    assert settings.run.name == "r"


@pytest.mark.parametrize(
    "name", [name for name in ODD_NAMES if name not in ("null", "Doe, John.csv")]
)
def test_a_single_value_of_a_list_needs_no_brackets(run, name):
    assert run("predict", f"records={name}").records == [name]


def test_names_of_any_characters_reach_the_command(run):
    rng = random.Random(0)
    letters = [*"ab \\\"'${}[]=,#@:%~!?*()\n\t;|&<>^`", "ü", "左", "\udce4", "${", "\\${", "\\\\"]
    names = ["x" + "".join(rng.choices(letters, k=rng.randint(1, 9))) for _ in range(300)]
    assert run("predict", "--", *names).records == names


def test_files_follow_those_of_the_setting(run):
    assert run("predict", "records=a.hea", "b c.hea").records == ["a.hea", "b c.hea"]
    assert run("predict", "b.hea", "records=[]", "--", "c").records == ["b.hea", "c"]


def test_four_thousand_files(run):
    names = [f"folder/{i:05d}_lr.hea" for i in range(4000)]
    assert run("predict", *names).records == names


@pytest.mark.parametrize("name", ["x=1.csv", "recrods=1.csv", "+a=b"])
def test_a_name_with_an_equals_sign_is_a_file_if_it_exists(run, tmp_path, name):
    (tmp_path / name).touch()
    assert run("predict", name).records == [name]
    (tmp_path / name).unlink()
    with pytest.raises(SystemExit):
        run("predict", name)


def test_a_setting_precedes_a_file_of_the_same_name(run, tmp_path):
    (tmp_path / "run.name=x").touch()
    assert run("predict", "run.name=x").records == []
    settings = run("predict", "run.name=r", "./run.name=x", "*=x", "a/b=c")
    assert settings.records == ["./run.name=x", "*=x", "a/b=c"]
    assert settings.run.name == "r"


def test_a_comma_belongs_to_the_name_of_a_file_that_exists(run, tmp_path):
    (tmp_path / "Doe, John.csv").touch()
    (tmp_path / "a.csv").touch()
    for value in ("Doe, John.csv", "[Doe, John.csv]", "['Doe, John.csv']"):
        assert run("predict", f"records={value}").records == ["Doe, John.csv"]
    assert run("predict", "records=[Doe, John.csv,a.csv]").records == ["Doe, John.csv", "a.csv"]
    assert run("predict", "records=[x b.csv, a.csv]").records == ["x b.csv", "a.csv"]
    assert run("predict", "records=a.csv,b.csv").records == ["a.csv", "b.csv"]


def test_the_home_folder_of_the_user(run, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    home = str(tmp_path)
    assert run("train", "run.name=r", "data.root=~/x").data.root == f"{home}/x"
    assert run("predict", "~/a", "records=[~/b]").records == [f"{home}/b", f"{home}/a"]


@pytest.mark.parametrize(
    ("command", "words", "name", "value"),
    [
        ("check", ["e c,g.csv"], "data.table", "e c,g.csv"),
        ("vocabulary", ["ecgs.csv"], "table", "ecgs.csv"),
        ("compare", ["bank_s0", "clip_*"], "runs", ["bank_s0", "clip_*"]),
        ("ensemble", ["run.name=all", "a", "b"], "runs", ["a", "b"]),
        ("train", ["run.name=r", "data.root=my data(1)"], "data.root", "my data(1)"),
        ("train", ["run.name=007"], "run.name", "007"),
        ("train", ["run.name=1e3"], "run.name", "1e3"),
        ("train", ["run.name=2024_11_26"], "run.name", "2024_11_26"),
        ("train", ["run.name=yes"], "run.name", "yes"),
        ("train", ["run.name=r", "data.root=a=b"], "data.root", "a=b"),
        ("train", ["run.name=r", "data.root=null"], "data.root", None),
        ("train", ["run.name=r", "+optim.lr=0.1"], "optim.lr", 0.1),
        ("train", ["run.name=r", "++optim.lr=0.1"], "optim.lr", 0.1),
        ("train", ["run.name=r", "optim.lr=0.1", "optim.lr=0.1"], "optim.lr", 0.1),
        ("train", ["run.name=r", "+experiment=best"], "init", "pretrain"),
        ("train", ["run.name=r", "objective=siglip"], "objective.terms", "findings/diagonal"),
        ("train", ["run.name=r", "data.held_out=AFIB"], "data.held_out", ["AFIB"]),
        ("train", ["run.name=r", "data.held_out=AFIB, IMI"], "data.held_out", ["AFIB", "IMI"]),
        ("train", ["run.name=r", "data.train_folds=3"], "data.train_folds", [3]),
        ("train", ["run.name=r", "data.train_folds=[1,2]"], "data.train_folds", [1, 2]),
        ("train", ["run.name=r", "seed=3", "--cfg=job", "-r"][:2], "seed", 3),
        ("train", ["seed=3", "run.name=s${seed}"], "run.name", "s3"),
        ("train", ["seed=3", "run.name=lr=1 ${seed}"], "run.name", "lr=1 3"),
        ("predict", ["report=Müller, Anna.pdf"], "report", "Müller, Anna.pdf"),
        *(("train", ["run.name=r", f"compile={word}"], "compile", True) for word in
          ("true", "True", "yes", "on", "1")),
        *(("train", ["run.name=r", f"keep_embeddings={word}"], "keep_embeddings", False) for word in
          ("false", "FALSE", "no", "off", "0")),
    ],
)  # fmt: skip
def test_a_value_is_what_was_typed(run, command, words, name, value):
    assert operator.attrgetter(name)(run(command, *words)) == value


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_a_query_needs_no_quotes_within_those_of_the_shell(run, quote):
    query = """SELECT path, group_concat("code", ';') AS findings FROM ecg WHERE x = '$1'"""
    settings = run("train", "run.name=r", f"data.query={quote}{query}{quote}")
    assert settings.data.query == query


def test_overrides_that_hydra_understands_are_left_to_it():
    words = [
        *("-m", "--cfg", "job", "seed=0,1,2", "optim.lr=${seed}", "hydra.run.dir=x"),
        *("optim.clip_norm=range(3)", "ecg=resnet1d,transformer", "experiment=null"),
        *("data.train_folds=choice([1],[2])", "run={name: x}", "text=[minilm]"),
        *("objective=bank,siglip", "optim.n_epochs=1,2"),
    ]
    changed = {"objective=bank,siglip": "objective=bank,diagonal"}
    expected = [changed.get(word, word) for word in words]
    assert hydra_arguments("train", config.TrainConfig, words) == expected


def test_flags_may_be_between_settings(run, capsys):
    assert hydra_arguments(
        "train", config.TrainConfig, ["seed=1", "--cfg", "job", "compile=on"]
    ) == [
        *("--cfg", "job", "seed=1", "compile=on"),
    ]


def test_options_of_a_folder_of_the_user(run, tmp_path):
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "experiment" / "trial.yaml").write_text("# @package _global_\nseed: 7\n")
    for flags in (["--config-dir", "own"], ["--config-dir=own"], ["-cd", "own"]):
        assert run("train", *flags, "run.name=r", "experiment=trial").seed == 7


def test_a_command_without_files_takes_none(run, capsys):
    with pytest.raises(SystemExit):
        run("evaluate", "--", "a.hea")
    assert capsys.readouterr().err == (
        "evaluate: --: evaluate takes no files; expected SETTING=VALUE, see --help\n"
    )


def test_of_a_value_that_is_given_twice_the_last_counts(run):
    assert run("train", "run.name=r", "optim.lr=0.1", "optim.lr=0.2").optim.lr == 0.2


@pytest.mark.parametrize("prefix", ["", "+"])
def test_a_key_of_a_mapping_is_the_users(run, prefix):
    words = ["run.name=r", "ecg.name=my_package.MyEncoder", f"{prefix}ecg.options.n=4"]
    assert run("train", *words).ecg.options == {"n": 4}

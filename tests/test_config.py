"""Every knob has a unit, a range and a place on the list; what is mistyped never runs."""

import dataclasses
import math
import operator
import shlex
import sys
from pathlib import Path

import pytest

from ecg_siglip import config
from ecg_siglip.core.command_line import CONF_DIR, _list_mistake, run_command
from ecg_siglip.core.run_folder import from_yaml, to_yaml
from ecg_siglip.core.settings import check_settings, setting_names
from ecg_siglip.models.ecg_encoders import ecg_encoder
from ecg_siglip.training.targets import LOSSES, parse_terms

SCHEMAS = {
    "app": config.AppConfig,
    "compare": config.CompareConfig,
    "ensemble": config.EnsembleConfig,
    "evaluate": config.EvaluateConfig,
    "export": config.ExportConfig,
    "predict": config.PredictConfig,
    "ptbxl": config.PtbxlConfig,
    "simulate": config.SimulateConfig,
    "train": config.TrainConfig,
}
# Adding a knob is a decision: it has to be added here as well.
KNOBS = {
    "app": """
        device host hosts language max_files max_mb max_waiting model n_similar n_threads
        operating_point port precision run.name run.root sensitivity threshold_rule timeout_s
    """,
    "compare": """
        baseline data.allow_missing data.cache_dir data.n_workers data.root device fold
        n_resamples out root runs x
    """,
    "ensemble": """
        data.allow_missing data.cache_dir data.n_workers data.root device run.name run.root runs
    """,
    "evaluate": """
        batch_size data.allow_missing data.cache_dir data.kind data.min_positives
        data.n_workers data.ptbxl data.root device fold labelled_only n_bootstrap report
        run.name run.root
    """,
    "export": """
        model out private repo revision run.name run.root to
    """,
    "predict": """
        batch_size device language model n_attributions n_similar operating_point precision
        questions read.fs read.leads read.units records report run.name run.root sensitivity threshold_rule
        waveform.allow_flat waveform.allow_missing_leads waveform.allow_short windows.step_s
        windows.sustained_s
    """,
    "ptbxl": """
        data.allow_missing data.cache_dir data.fs data.n_workers data.root download
        n_downloads n_retries timeout_s url waveform.allow_flat waveform.allow_short
        waveform.duration_s waveform.fs waveform.high_hz waveform.low_hz
    """,
    "simulate": """
        data.root n_records n_workers records500 seed
    """,
    "train": """
        augment.fewer_leads augment.gain augment.lead_mask augment.mixup augment.shift_s
        augment.time_mask_s
        augment.wander_mv compile data.allow_missing data.cache_dir data.fs data.held_out
        data.n_workers data.reports data.root data.task data.train_folds data.train_share
        data.tune_fold device
        ecg.depths ecg.drop_path ecg.dropout ecg.kernel_size ecg.locked ecg.n_heads ecg.name
        ecg.stem_size ecg.stem_stride ecg.weights ecg.width embed_dim keep_embeddings n_threads
        objective.across
        objective.exclude objective.logit_bias objective.logit_scale objective.loss
        objective.n_chunk objective.teacher_share
        objective.teachers objective.terms optim.batch_size optim.clip_norm optim.ema
        optim.final_lr optim.lr optim.n_epochs optim.text_lr optim.warmup
        optim.weight_decay precision run.name run.root save_every_s seed text.depth
        text.language text.locked text.lora_alpha text.lora_rank text.max_tokens text.n_heads
        text.name text.pool
        text.vocab_size text.width waveform.allow_flat waveform.allow_short
        waveform.duration_s waveform.fs waveform.high_hz waveform.low_hz
    """,
}


def fields(verb: str) -> list[tuple[str, dataclasses.Field]]:
    """Every knob of a verb with its dataclass field."""

    def walk(settings, prefix):
        for field in dataclasses.fields(settings):
            value = getattr(settings, field.name)
            if dataclasses.is_dataclass(value):
                yield from walk(value, f"{prefix}{field.name}.")
            else:
                yield f"{prefix}{field.name}", field

    return list(walk(SCHEMAS[verb](), ""))


def with_knob(verb: str, name: str, value: object):
    settings = SCHEMAS[verb]()
    group, _, leaf = name.rpartition(".")
    owner = operator.attrgetter(group)(settings) if group else settings
    setattr(owner, leaf, [value] if isinstance(getattr(owner, leaf), list) else value)
    return settings


def compose(verb: str, *overrides: str, monkeypatch: pytest.MonkeyPatch):
    """What the verb is given for a command line, by the very door that every verb uses."""
    given = []
    monkeypatch.setattr(sys, "argv", [verb, *overrides])
    run_command(verb, SCHEMAS[verb], given.append)
    return given[0]


@pytest.fixture
def door(monkeypatch):
    return lambda verb, *overrides: compose(verb, *overrides, monkeypatch=monkeypatch)


@pytest.mark.parametrize("verb", SCHEMAS)
def test_the_list_of_knobs_is_frozen(verb):
    assert sorted(setting_names(SCHEMAS[verb])) == KNOBS[verb].split()


@pytest.mark.parametrize("verb", SCHEMAS)
def test_help_names_every_knob_with_its_meaning(verb, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [verb, "--help"])
    run_command(verb, SCHEMAS[verb], compose)  # not called
    page = capsys.readouterr().out
    for name, field in fields(verb):
        line = next(line for line in page.splitlines() if line.startswith(f"  {name}="))
        assert field.metadata["doc"] in line
    assert ("experiment=null" in page) == (verb == "train")


@pytest.mark.parametrize("verb", SCHEMAS)
def test_help_says_what_a_knob_is_if_nothing_is_said(verb, monkeypatch, capsys, door):
    monkeypatch.setattr(sys, "argv", [verb, "--help"])
    run_command(verb, SCHEMAS[verb], compose)
    page = capsys.readouterr().out.splitlines()
    missing = [line.split("=")[0].strip() for line in page if line.partition("=")[2][:4] == "??? "]
    composed = door(verb, *(f"{name}=x" for name in missing))
    for name, _ in fields(verb):
        value = "???" if name in missing else operator.attrgetter(name)(composed)
        shown = "null" if value is None else str(value).replace(" ", "")
        line = next(line for line in page if line.startswith(f"  {name}="))
        assert line.removeprefix(f"  {name}=").split(" ")[0] == shown


RANGED = [
    pytest.param(verb, name, bound, toward, id=f"{verb}-{name}-{toward:+.0f}")
    for verb in SCHEMAS
    for name, field in fields(verb)
    for bound, toward in ((field.metadata["low"], -1.0), (field.metadata["high"], 1.0))
    if bound is not None
]


@pytest.mark.parametrize(("verb", "name", "bound", "toward"), RANGED)
def test_a_range_holds_its_ends_and_nothing_beyond(verb, name, bound, toward):
    check_settings(with_knob(verb, name, bound))
    outside = (
        bound + int(toward) if isinstance(bound, int) else math.nextafter(bound, toward * math.inf)
    )
    with pytest.raises(ValueError, match=name) as error:
        check_settings(with_knob(verb, name, outside))
    assert str(bound) in str(error.value)


CHOICES = [
    pytest.param(verb, name, field.metadata["choices"], id=f"{verb}-{name}")
    for verb in SCHEMAS
    for name, field in fields(verb)
    if field.metadata["choices"]
]


@pytest.mark.parametrize(("verb", "name", "choices"), CHOICES)
def test_a_word_is_one_of_the_known(verb, name, choices):
    for word in choices:
        check_settings(with_knob(verb, name, word))
    with pytest.raises(ValueError, match=f"{name}=nonsense.*{choices[0]}"):
        check_settings(with_knob(verb, name, "nonsense"))


def test_every_knob_says_what_it_does():
    for verb in SCHEMAS:
        for name, field in fields(verb):
            assert field.metadata["doc"], name
        check_settings(SCHEMAS[verb]())  # and every default is in its range


def test_the_choices_are_what_the_code_knows():
    words = dict(fields("train"))
    assert words["objective.loss"].metadata["choices"] == LOSSES
    for name in words["ecg.name"].metadata["choices"]:
        ecg_encoder(**dataclasses.asdict(config.EcgConfig(name=name, depths=[1])))


# ---------------------------------------------------------------------------------- composition

OPTIONS = [
    pytest.param(f"{path.parent.name}={path.stem}", id=f"{path.parent.name}={path.stem}")
    for path in sorted(CONF_DIR.glob("*/*.yaml"))
    if path.stem != "challenge"  # for evaluate alone
]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_file_of_conf_composes(door, option):
    needed = ["text.name=a_model"] if option == "text=hf" else []
    settings = door("train", "run.name=r", option, *needed)
    assert parse_terms(settings.objective.terms)


def test_other_hospitals_are_for_evaluate_alone(door, capsys):
    settings = door("evaluate", "run.name=r", "data=challenge", "data.root=x")
    assert (settings.data.kind, settings.data.root) == ("challenge", "x")
    assert door("evaluate", "run.name=r").data == config.EvaluatedData()
    with pytest.raises(SystemExit):
        door("train", "run.name=r", "data=challenge")
    assert "'kind' not in 'DataConfig'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verb", "needed"),
    [
        ("compare", ["runs=[r]"]),
        ("ensemble", ["run.name=r"]),
        ("evaluate", ["run.name=r"]),
        ("predict", ["run.name=r"]),
        ("ptbxl", []),
        ("simulate", ["data.root=x"]),
        ("train", ["run.name=r"]),
    ],
)
def test_every_verb_composes_from_what_must_be_said(door, verb, needed):
    assert type(door(verb, *needed)) is SCHEMAS[verb]


@pytest.mark.parametrize(
    ("verb", "typo", "named"),
    [
        ("train", "optim.leraning_rate=1", "leraning_rate"),
        ("train", "optm.lr=1", "optm"),
        ("train", "optim.lr=fast", "optim.lr"),
        ("train", "optim.n_epochs=2.5", "optim.n_epochs"),
        ("train", "optim.n_epochs=0", "optim.n_epochs=0"),
        ("train", "optim.lr=nan", "optim.lr"),
        ("train", "ecg=resnet2d", "ecg/resnet2d"),
        ("train", "objective=banc", "objective/banc"),
        ("train", "experiment=no_such", "no_such"),
        ("train", "data.train_folds=[1,11]", "data.train_folds=11"),
        ("evaluate", "folds=10", "folds"),
        ("evaluate", "fold=11", "fold=11"),
        ("predict", "record=x", "record"),
        ("predict", "threshold_rule=youden", "youden"),
        ("ptbxl", "data.fs=high", "data.fs"),
        ("simulate", "n_record=5", "n_record"),
    ],
)
def test_a_typo_stops_before_the_verb_runs_and_is_named(door, capsys, verb, typo, named):
    run = [] if verb in ("ptbxl", "simulate") else ["run.name=r"]
    with pytest.raises(SystemExit) as stop:
        door(verb, "data.root=x", *run, typo) if verb != "predict" else door(verb, *run, typo)
    assert stop.value.code == 1
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("records=a/00001_lr", ["a/00001_lr"]),
        ("questions=LBBB?", ["LBBB?"]),
        ("questions=Gibt es, für Sie, einen Block?", ["Gibt es, für Sie, einen Block?"]),
        ("questions=[左脚ブロック,AF]", ["左脚ブロック", "AF"]),
        ("questions=the patient's LBBB (old)!", ["the patient's LBBB (old)!"]),
        ("questions=is it [LBBB]?", ["is it [LBBB]?"]),
        ("records=", []),
        ("records=null", []),
    ],
)
def test_what_is_no_list_is_told_how_to_be_said(door, capsys, said, meant):
    with pytest.raises(SystemExit) as stop:
        door("predict", "run.name=r", said)
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert f"predict: {said}: expected a list" in error
    (better,) = shlex.split(error.partition("for the shell: ")[2])
    composed = door("predict", "run.name=r", better)
    assert getattr(composed, said.split("=")[0]) == meant


def test_a_sweep_over_lists_is_not_taken_for_a_mistake():
    said = ["-m", "data.train_folds=choice([1],[2])", "data.train_folds=${a}", "run.name=x"]
    assert not _list_mistake(config.TrainConfig, said)


def test_a_run_without_a_name_is_refused(door, capsys):
    with pytest.raises(SystemExit) as stop:
        door("train")
    assert stop.value.code == 1
    assert "run.name" in capsys.readouterr().err


def test_an_experiment_wins_over_the_groups_and_the_command_line_over_both(door, tmp_path: Path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "trial.yaml").write_text(
        "# @package _global_\necg: {width: 64}\nseed: 7\nobjective: {terms: findings/shared}\n"
    )
    base = ["--config-dir", str(tmp_path), "run.name=r", "ecg=transformer"]
    assert door("train", *base).ecg.width == 192
    trial = door("train", *base, "experiment=trial")
    assert (trial.ecg.name, trial.ecg.width, trial.seed) == ("transformer", 64, 7)
    assert trial.objective.terms == "findings/shared"
    assert door("train", *base, "experiment=trial", "ecg.width=32").ecg.width == 32


# ----------------------------------------------------------------------------------------- yaml


def test_yaml_gives_back_the_configuration(door, tmp_path: Path):
    settings = door("train", "run.name=r", "ecg=transformer", "objective=shared_rare")
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(settings))
    assert from_yaml(config.TrainConfig, path) == settings
    path.write_text(to_yaml(settings) + "unknown_knob: 1\n")
    with pytest.raises(ValueError, match="unknown_knob"):
        from_yaml(config.TrainConfig, path)


def test_a_knob_that_was_not_there_yet_means_what_it_meant_then(door, tmp_path: Path):
    settings = door("train", "run.name=r")
    path = tmp_path / "config.yaml"
    lines = to_yaml(settings).splitlines()
    path.write_text("\n".join(line for line in lines if "mixup" not in line))
    assert settings.augment.mixup > 0
    assert from_yaml(config.TrainConfig, path).augment.mixup == 0


@pytest.mark.parametrize("error", [ValueError("record 7:\n  expected 12"), OSError("disk full")])
def test_an_error_of_the_user_is_one_line(monkeypatch, capsys, error):
    def verb(_):
        raise error

    monkeypatch.setattr(sys, "argv", ["train", "run.name=r"])
    with pytest.raises(SystemExit) as stop:
        run_command("train", config.TrainConfig, verb)
    assert stop.value.code == 1
    assert capsys.readouterr().err == f"train: {' '.join(str(error).split())}\n"


def test_our_own_mistake_keeps_its_traceback(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", "run.name=r"])
    with pytest.raises(SystemExit) as stop:
        run_command("train", config.TrainConfig, lambda _: 1 // 0)
    assert stop.value.code == 1
    assert "Traceback" in (err := capsys.readouterr().err)
    assert "ZeroDivisionError" in err


def test_what_the_verb_returns_is_the_exit_code(monkeypatch):
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
def test_a_renamed_setting_gets_an_error_with_the_new_name(
    monkeypatch, capsys, command, override, error
):
    with pytest.raises(SystemExit) as stop:
        compose(command, "run.name=r", override, monkeypatch=monkeypatch)
    assert stop.value.code == 1
    assert capsys.readouterr().err == f"{command}: {error}\n"

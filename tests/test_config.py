"""Every setting has a help text, a range and a place on the list; a mistyped one is rejected."""

import dataclasses
import math
import operator
import sys
from pathlib import Path

import pytest

from ecg_siglip import config
from ecg_siglip.core.command_line import CONF_DIR, run_command
from ecg_siglip.core.settings import check_settings, setting_names
from ecg_siglip.models.ecg_encoders import ECG_ENCODERS, ecg_encoder
from ecg_siglip.models.public_encoders import PUBLIC_ENCODERS
from ecg_siglip.training.targets import LOSSES, parse_terms

SCHEMAS = {
    "adapt": config.AdaptConfig,
    "app": config.AppConfig,
    "check": config.CheckConfig,
    "compare": config.CompareConfig,
    "ensemble": config.EnsembleConfig,
    "evaluate": config.EvaluateConfig,
    "export": config.ExportConfig,
    "predict": config.PredictConfig,
    "ptbxl": config.PtbxlConfig,
    "simulate": config.SimulateConfig,
    "train": config.TrainConfig,
    "vocabulary": config.VocabularyConfig,
}
# Adding a setting is a decision: it has to be added here as well.
SETTINGS = {
    "app": """
        device host hosts language log_format max_connections max_files max_mb max_sessions
        max_stored_mb max_waiting model n_similar n_threads operating_point port precision
        requests_per_minute run.name run.root sensitivity show_ids similar_root source
        threshold_rule timeout_s tls_cert tls_key token_file
    """,
    "check": """
        data.allow_missing data.allow_unreadable data.cache_dir data.codes data.fs data.held_out
        data.kind data.n_workers data.name data.patients data.query data.read.fs data.read.gain
        data.read.leads data.read.units data.reports data.root data.sources data.table data.task
        data.temperature data.train_folds data.train_share data.tune data.tune_fold
        data.tune_per_source files folds out vocabulary
        waveform.allow_flat waveform.allow_gaps waveform.allow_short waveform.duration_s
        waveform.fs waveform.high_hz waveform.low_hz
    """,
    "compare": """
        baseline data.allow_missing data.cache_dir data.n_workers data.root data.source
        device fold n_resamples out root runs wait_s x
    """,
    "ensemble": """
        average data.allow_missing data.cache_dir data.n_workers data.root device run.name
        run.root runs wait_s
    """,
    "evaluate": """
        batch_size data.allow_missing data.allow_unreadable data.cache_dir data.codes
        data.fs data.kind data.min_positives data.n_workers data.name data.patients
        data.ptbxl data.query data.read.fs data.read.gain data.read.leads data.read.units
        data.root data.source data.table device fold labelled_only model n_bootstrap report
        run.name run.root wait_s
    """,
    "export": """
        input model out precision private repo revision run.name run.root to
    """,
    "predict": """
        batch_size block_size device engine format language measurements model n_attributions
        n_similar n_workers not_excluded operating_point out out_table overwrite precision questions
        ray_address read.fs read.gain read.leads read.units records records_column records_query
        report report_language rows run.name run.root sensitivity show_ids source threshold_rule
        waveform.allow_flat waveform.allow_gaps waveform.allow_missing_leads waveform.allow_short
        windows.max_hours windows.step_s windows.sustained_s
    """,
    "ptbxl": """
        data.allow_missing data.cache_dir data.fs data.n_workers data.root download
        n_downloads n_retries timeout_s url verify wait_s waveform.allow_flat
        waveform.allow_gaps
        waveform.allow_short waveform.duration_s waveform.fs
        waveform.high_hz waveform.low_hz
    """,
    "simulate": """
        balance data.root difficulty layout n_records n_workers records500 seed
    """,
    "train": """
        augment.fewer_leads augment.gain augment.lead_mask augment.mixup augment.shift_s
        augment.time_mask_s augment.wander_mv compile data.allow_missing
        data.allow_unreadable data.cache_dir data.codes data.fs data.held_out data.kind
        data.n_workers data.name data.patients data.query data.read.fs data.read.gain
        data.read.leads data.read.units data.reports data.root data.sources data.table
        data.task data.temperature data.train_folds data.train_share data.tune
        data.tune_fold data.tune_per_source device ecg.depths ecg.drop_path ecg.dropout
        ecg.kernel_size ecg.locked ecg.n_heads ecg.name ecg.options ecg.stem_size ecg.stem_stride
        ecg.weights ecg.width embed_dim init keep_embeddings n_threads objective.across
        objective.exclude objective.logit_bias objective.logit_scale objective.loss
        objective.n_chunk objective.teacher_share objective.teachers objective.terms
        optim.batch_size optim.clip_norm optim.ecg_lr optim.ema optim.final_lr optim.lr
        optim.n_epochs optim.text_lr optim.warmup optim.weight_decay precision run.name run.root
        save_every_s seed text.depth text.language text.locked text.lora_alpha
        text.lora_rank text.max_tokens text.n_heads text.name text.pool text.vocab_size
        text.width tracked_files tracker vocabulary wait_s waveform.allow_flat waveform.allow_gaps
        waveform.allow_short waveform.duration_s waveform.fs waveform.high_hz waveform.low_hz
    """,
    "vocabulary": """
        columns language mapping names out query table
    """,
}
SETTINGS["adapt"] = SETTINGS["train"]
OWN_MODEL = ("evaluate", "model")


def fields(command: str) -> list[tuple[str, dataclasses.Field]]:
    """Return every setting of a command with its dataclass field."""

    def walk(settings, prefix):
        for field in dataclasses.fields(settings):
            value = getattr(settings, field.name)
            if dataclasses.is_dataclass(value):
                yield from walk(value, f"{prefix}{field.name}.")
            else:
                yield f"{prefix}{field.name}", field

    return list(walk(SCHEMAS[command](), ""))


def with_setting(command: str, name: str, value: object):
    """Return the defaults of a command with one setting changed."""
    settings = SCHEMAS[command]()
    group, _, leaf = name.rpartition(".")
    owner = operator.attrgetter(group)(settings) if group else settings
    setattr(owner, leaf, [value] if isinstance(getattr(owner, leaf), list) else value)
    return settings


def compose(command: str, *overrides: str, monkeypatch: pytest.MonkeyPatch):
    """Return the configuration that a command gets for a command line."""
    received = []
    monkeypatch.setattr(sys, "argv", [command, *overrides])
    run_command(command, SCHEMAS[command], received.append)
    return received[0]


@pytest.fixture
def composed(monkeypatch):
    """The function `compose` without its last argument."""
    return lambda command, *overrides: compose(command, *overrides, monkeypatch=monkeypatch)


@pytest.mark.parametrize("command", SCHEMAS)
def test_the_list_of_settings_is_frozen(command):
    assert sorted(setting_names(SCHEMAS[command])) == SETTINGS[command].split()


@pytest.mark.parametrize("command", SCHEMAS)
def test_help_names_every_setting_with_its_help_text(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [command, "--help"])
    run_command(command, SCHEMAS[command], compose)  # the function does not run
    page = capsys.readouterr().out
    for name, field in fields(command):
        line = next(line for line in page.splitlines() if line.startswith(f"  {name}="))
        assert field.metadata["doc"] in line
    assert ("experiment=null" in page) == (command in ("train", "adapt"))


@pytest.mark.parametrize("command", SCHEMAS)
def test_help_shows_the_default_of_every_setting(command, monkeypatch, capsys, composed):
    monkeypatch.setattr(sys, "argv", [command, "--help"])
    run_command(command, SCHEMAS[command], compose)
    page = capsys.readouterr().out.splitlines()
    missing = [line.split("=")[0].strip() for line in page if line.partition("=")[2][:4] == "??? "]
    settings = composed(command, *(f"{name}=x" for name in missing))
    for name, _ in fields(command):
        value = "???" if name in missing else operator.attrgetter(name)(settings)
        shown = "null" if value is None else str(value).replace(" ", "")
        line = next(line for line in page if line.startswith(f"  {name}="))
        assert line.removeprefix(f"  {name}=").split(" ")[0] == shown


RANGED = [
    pytest.param(command, name, bound, toward, id=f"{command}-{name}-{toward:+.0f}")
    for command in SCHEMAS
    for name, field in fields(command)
    for bound, toward in ((field.metadata["low"], -1.0), (field.metadata["high"], 1.0))
    if bound is not None
]


@pytest.mark.parametrize(("command", "name", "bound", "toward"), RANGED)
def test_a_range_includes_its_ends_and_nothing_beyond(command, name, bound, toward):
    check_settings(with_setting(command, name, bound))
    outside = (
        bound + int(toward) if isinstance(bound, int) else math.nextafter(bound, toward * math.inf)
    )
    with pytest.raises(ValueError, match=name) as error:
        check_settings(with_setting(command, name, outside))
    assert str(bound) in str(error.value)


CHOICES = [
    pytest.param(command, name, field.metadata["choices"], id=f"{command}-{name}")
    for command in SCHEMAS
    for name, field in fields(command)
    if field.metadata["choices"]
]


@pytest.mark.parametrize(("command", "name", "choices"), CHOICES)
def test_a_choice_is_one_of_the_allowed_values(command, name, choices):
    for choice in choices:
        check_settings(with_setting(command, name, choice))
    with pytest.raises(ValueError, match=f"{name}=nonsense.*{choices[0]}"):
        check_settings(with_setting(command, name, "nonsense"))


def test_every_setting_has_a_sentence_of_help_and_a_default_in_its_range():
    for command in SCHEMAS:
        for name, field in fields(command):
            assert field.metadata["doc"].endswith("."), name
        check_settings(SCHEMAS[command]())


def test_the_choices_are_what_the_code_knows():
    settings = dict(fields("train"))
    assert settings["objective.loss"].metadata["choices"] == LOSSES
    names = settings["ecg.name"].metadata["choices"]
    assert names == (*ECG_ENCODERS, *PUBLIC_ENCODERS)
    for name in ECG_ENCODERS:
        ecg_encoder(**dataclasses.asdict(config.EcgConfig(name=name, depths=[1])))


OPTIONS = [
    pytest.param(f"{path.parent.name}={path.stem}", id=f"{path.parent.name}={path.stem}")
    for path in sorted(CONF_DIR.glob("*/*.yaml"))
]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_file_of_conf_composes(composed, option):
    required = ["text.name=a_model"] if option == "text=hf" else []
    settings = composed("train", "run.name=r", option, *required)
    assert parse_terms(settings.objective.terms)


def test_other_data_are_evaluated_and_the_challenge_collections_trained_on(composed):
    settings = composed("evaluate", "run.name=r", "data=challenge", "data.root=x")
    assert (settings.data.kind, settings.data.root) == ("challenge", "x")
    settings = composed("evaluate", "run.name=r", "data=table", "data.table=x.csv")
    assert (settings.data.kind, settings.data.table, settings.data.root) == ("table", "x.csv", None)
    assert composed("evaluate", "run.name=r").data == config.EvaluatedData()
    settings = composed("train", "run.name=r", "data=challenge")
    assert (settings.data.kind, settings.data.root) == ("challenge", "data/challenge")


SOURCES = (
    "data.sources=[{name:a,kind:ptbxl,root:x},{name:b,kind:table,table:'y, z.csv',read:{fs:500}}]"
)


def test_sources_are_a_list_on_the_command_line_or_in_a_file(composed, tmp_path):
    sources = composed("train", "run.name=r", SOURCES).data.sources
    assert [(each.name, each.kind, each.root) for each in sources] == [
        ("a", "ptbxl", "x"),
        ("b", "table", None),
    ]
    assert (sources[1].table, sources[1].read.fs) == ("y, z.csv", 500.0)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "hospitals.yaml").write_text(
        "sources:\n"
        "  - {name: a, kind: ptbxl, root: x}\n"
        "  - {name: b, kind: table, table: 'y, z.csv', read: {fs: 500}}\n"
        "temperature: 2\n"
    )
    settings = composed(
        "train", "--config-dir", str(tmp_path), "run.name=r", "data=hospitals", "data.tune_fold=8"
    )
    assert settings.data.sources == sources
    assert (settings.data.temperature, settings.data.tune_fold) == (2.0, 8)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[{name:a,rot:x}]", "data.sources[0].rot: expected a setting of a data set; did you mean"),
        ("[{name:a},{name:b,read:{gian:1}}]", "data.sources[1].read.gian: expected a setting of"),
        ("[{name:a,read:5}]", "data.sources[0].read=5: expected {setting:value,...}"),
        ("[{name:a,read:{leads:II}}]", "data.sources[0].read.leads=II: expected a list: [a,b]"),
        ("[{name:a,table:[x]}]", "data.sources[0].table=['x']: expected text"),
        ("[{name:a,fs:fast}]", "data.sources[0].fs=fast: expected a whole number"),
        ("[{name:a,tune:perhaps}]", "data.sources[0].tune=perhaps: expected true or false"),
        ("[{name:a,fs:7}]", "data.sources[0].fs=7: expected at least 100"),
        ("[{name:a,kind:tabel}]", "data.sources[0].kind=tabel: expected one of ptbxl, table"),
        ("[{name:a},{name:b,read:{fs:1}}]", "data.sources[1].read.fs=1.0: expected at least 50.0"),
        ("[a,b]", "data.sources=[a,b]: expected 'data.sources=[{name:a,...},{name:b,...}]', or a"),
        ("{name:a}", "data.sources={name:a}: expected 'data.sources=[{name:a,...},{name:b,...}]'"),
        ("x.yaml", "data.sources=x.yaml: expected 'data.sources=[{name:a,...},{name:b,...}]'"),
        ("[{name:a,root:x=1}]", "values with other characters than letters, digits and ./:*?@- in"),
    ],
)
def test_a_wrong_source_is_one_line(composed, capsys, value, message):
    with pytest.raises(SystemExit) as stop:
        composed("train", "run.name=r", f"data.sources={value}")
    assert stop.value.code == 1
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and message in printed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sources: [{name: a, rot: x}]", "Key 'rot' not in 'SourceConfig'"),
        ("sources: [5]", "data.sources[0]"),
        ("sources: [a, {", "line 1"),
        ("sources: [{name: a, fs: 7}]", "data.sources[0].fs=7: expected at least 100"),
    ],
)
def test_a_wrong_source_in_a_file_is_one_line(composed, capsys, tmp_path, text, message):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "wrong.yaml").write_text(text)
    with pytest.raises(SystemExit) as stop:
        composed("train", "--config-dir", str(tmp_path), "run.name=r", "data=wrong")
    assert stop.value.code == 1
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and message in printed


@pytest.mark.parametrize(
    ("command", "required"),
    [
        ("check", ["data.table=x.csv"]),
        ("compare", ["runs=[r]"]),
        ("ensemble", ["run.name=r"]),
        ("evaluate", ["run.name=r"]),
        ("predict", ["run.name=r"]),
        ("ptbxl", []),
        ("simulate", ["data.root=x"]),
        ("train", ["run.name=r"]),
        ("vocabulary", ["table=ecgs.csv"]),
    ],
)
def test_every_command_composes_from_its_required_settings(composed, command, required):
    assert type(composed(command, *required)) is SCHEMAS[command]


@pytest.mark.parametrize(
    ("command", "typo", "part_of_error"),
    [
        ("train", "optim.leraning_rate=1", "leraning_rate"),
        ("train", "optm.lr=1", "optm"),
        ("train", "optim.lr=fast", "optim.lr"),
        ("train", "optim.n_epochs=2.5", "optim.n_epochs"),
        ("train", "optim.n_epochs=0", "optim.n_epochs=0"),
        ("train", "optim.lr=nan", "optim.lr"),
        ("train", "ecg=resnet2d", "ecg=resnet2d: expected one of ecgfounder"),
        ("train", "objective=banc", "objective=banc: expected one of bank"),
        ("train", "experiment=no_such", "no_such"),
        ("train", "data.train_folds=[1,11]", "data.train_folds=11"),
        ("check", "fold=x.csv", "did you mean folds or data.tune_fold?"),
        ("check", "files=some", "files=some: expected true or false"),
        ("evaluate", "folds=10", "folds"),
        ("evaluate", "fold=11", "fold=11"),
        ("predict", "record=x", "record"),
        ("predict", "threshold_rule=youden", "youden"),
        ("ptbxl", "data.fs=high", "data.fs"),
        ("simulate", "n_record=5", "n_record"),
    ],
)
def test_a_typo_is_named_before_the_command_runs(composed, capsys, command, typo, part_of_error):
    required = [] if command in ("check", "ptbxl", "simulate") else ["run.name=r"]
    required += [] if command == "predict" else ["data.root=x"]
    with pytest.raises(SystemExit) as stop:
        composed(command, *required, typo)
    assert stop.value.code == 1
    assert part_of_error in capsys.readouterr().err


def test_a_run_without_a_name_is_rejected(composed, capsys):
    with pytest.raises(SystemExit) as stop:
        composed("train")
    assert stop.value.code == 1
    assert "run.name" in capsys.readouterr().err


@pytest.mark.parametrize("experiment", ["demo", "pretrain"])
def test_data_of_a_user_take_precedence_over_those_of_an_experiment(composed, experiment):
    base = ("run.name=x", f"experiment={experiment}")
    assert composed("train", *base).data.root == f"data/{experiment}"
    assert composed("train", *base, "data.root=mine").data.root == "mine"
    table = composed("train", *base, "data=table", "data.table=ecgs.csv").data
    assert (table.kind, table.root, table.table) == ("table", None, "ecgs.csv")
    assert composed("train", *base, "data=ptbxl").data.root == "data/ptbxl"
    assert composed("adapt", *base, "data=table").data.root is None


def test_an_experiment_overrides_groups_and_the_command_line_overrides_both(
    composed, tmp_path: Path
):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "trial.yaml").write_text(
        "# @package _global_\necg: {width: 64}\nseed: 7\nobjective: {terms: findings/shared}\n"
    )
    base = ["--config-dir", str(tmp_path), "run.name=r", "ecg=transformer"]
    assert composed("train", *base).ecg.width == 192
    trial = composed("train", *base, "experiment=trial")
    assert (trial.ecg.name, trial.ecg.width, trial.seed) == ("transformer", 64, 7)
    assert trial.objective.terms == "findings/shared"
    assert composed("train", *base, "experiment=trial", "ecg.width=32").ecg.width == 32


def test_shared_settings_are_the_same_in_every_command():
    defaults = {command: dict(fields(command)) for command in SCHEMAS}
    for name in ("device", "model", "threshold_rule", "operating_point", "data.allow_missing"):
        # `model` of evaluate has a meaning of its own.
        pages = [page for command, page in defaults.items() if (command, name) != OWN_MODEL]
        metadata = [page[name].metadata for page in pages if name in page]
        assert len(metadata) >= 2
        assert all(each == metadata[0] for each in metadata)

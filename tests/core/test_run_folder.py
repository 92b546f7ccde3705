"""Run folders: runs are found by pattern, configurations are read back, resumed runs checked."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ecg_siglip import __version__, config
from ecg_siglip.core.run_folder import (
    check_run_name,
    check_same_settings,
    evaluated_folds,
    find_initial_model,
    find_model,
    find_runs,
    from_yaml,
    to_yaml,
)


def make_run(root: Path, name: str) -> Path:
    """Write the configuration of a run; return its folder."""
    settings = config.TrainConfig(run=config.RunConfig(name, str(root)))
    settings.data.root = "x"
    (root / name).mkdir(parents=True)
    (root / name / "config.yaml").write_text(to_yaml(settings))
    return root / name


def test_runs_are_found_by_name_and_pattern_once_each(tmp_path):
    for name in ("a_s0", "a_s1", "b_s0"):
        make_run(tmp_path, name)
    (tmp_path / "a_no_run").mkdir()
    assert find_runs(tmp_path, ["b_s0", "a_*"]) == ["b_s0", "a_s0", "a_s1"]
    assert find_runs(tmp_path, ["a_s1", "a_s?"]) == ["a_s1", "a_s0"]


def test_a_pattern_without_a_run_is_named_with_its_setting(tmp_path):
    make_run(tmp_path, "a_s0")
    with pytest.raises(ValueError, match=r"objective\.teachers: c_\* fits no run .* one of a_s0"):
        find_runs(tmp_path, ["a_*", "c_*"], "objective.teachers")
    with pytest.raises(ValueError, match="no run named"):
        find_runs(tmp_path, [])


def test_a_model_is_the_given_one_or_that_of_the_run(tmp_path):
    run = make_run(tmp_path, "r")
    assert find_model(tmp_path, "r", "owner/name", "predict") == "owner/name"
    with pytest.raises(ValueError, match="no trained model there"):
        find_model(tmp_path, "r", None, "predict")
    (run / "model").mkdir()
    assert find_model(tmp_path, "r", None, "predict") == run / "model"


def test_without_a_run_and_a_model_it_is_the_default_one_named_once(tmp_path, packaged, capsys):
    make_run(tmp_path, "r")
    assert find_model(tmp_path, "", None, "predict") == packaged
    assert find_model(tmp_path, "r", "default", "predict") == packaged
    assert find_initial_model(tmp_path, "default", "init") == packaged
    error = capsys.readouterr().err
    assert error == (
        f"predict: model: the default one ({__version__}, trained on 123 ECGs of data, for "
        "research only)\n"
    )


def test_without_a_default_model_the_error_names_what_to_give(tmp_path, unpackaged):
    one_of = r"no default model: expected run\.name=\.\.\. or model=\.\.\."
    for is_empty in (False, True):
        if is_empty:
            unpackaged.mkdir(parents=True)
        with pytest.raises(ValueError, match=rf"^no model named, .* has {one_of}$"):
            find_model(tmp_path, "", None, "predict")
        with pytest.raises(ValueError, match=rf"^model=default, .* has {one_of}$"):
            find_model(tmp_path, "", "default", "predict")
        expected = "init=<a finished run, the folder of a model, or owner/name on the hub>"
        with pytest.raises(ValueError, match=f"^init=default, .*: expected {expected}$"):
            find_initial_model(tmp_path, "default", "init")


def test_a_damaged_default_model_is_named(tmp_path, packaged):
    (packaged / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"default_model: damaged: 'about'"):
        find_model(tmp_path, "", None, "predict")


def test_an_initial_model_is_a_run_a_folder_or_on_the_hub(tmp_path):
    run = make_run(tmp_path, "r")
    with pytest.raises(ValueError, match=r"init=r: .* has not finished training; expected"):
        find_initial_model(tmp_path, "r", "init")
    (run / "model").mkdir()
    assert find_initial_model(tmp_path, "r", "init") == run / "model"
    assert find_initial_model(tmp_path, "owner/name", "init") == "owner/name"
    (run / "model" / "config.json").write_text("{}")
    assert find_initial_model(tmp_path, str(run / "model"), "init") == str(run / "model")
    with pytest.raises(ValueError, match=r"weights=pretrain: .*; `make pretrain` makes it"):
        find_initial_model(tmp_path, "pretrain", "ecg.weights")


def test_a_configuration_is_read_back_from_yaml(tmp_path: Path):
    settings = config.TrainConfig(run=config.RunConfig("r"))
    settings.data.root, settings.ecg.depths, settings.objective.exclude = "x", [6], ["SR", "NORM"]
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(settings))
    assert from_yaml(config.TrainConfig, path) == settings
    path.write_text(to_yaml(settings) + "unknown_setting: 1\n")
    with pytest.raises(ValueError, match="unknown_setting"):
        from_yaml(config.TrainConfig, path)
    path.write_text("seed: [")
    with pytest.raises(ValueError, match=r"config\.yaml: not a configuration of this version"):
        from_yaml(config.TrainConfig, path)


def test_a_setting_of_later_versions_gets_the_value_that_was_in_effect(tmp_path: Path):
    settings = config.TrainConfig(run=config.RunConfig("r"))
    settings.data.root = "x"
    path = tmp_path / "config.yaml"
    lines = to_yaml(settings).splitlines()
    path.write_text("\n".join(line for line in lines if "mixup" not in line))
    assert settings.augment.mixup > 0
    assert from_yaml(config.TrainConfig, path).augment.mixup == 0


def test_a_run_is_resumed_with_the_same_settings_only(tmp_path):
    run = make_run(tmp_path, "r")
    settings = from_yaml(config.TrainConfig, run / "config.yaml")
    settings.device, settings.n_threads = "cpu", 1  # free to differ
    settings.run.root = "moved"
    assert check_same_settings(run, settings) == []
    settings.data.root, settings.data.cache_dir = "elsewhere", "cache"
    assert check_same_settings(run, settings) == ["data.root (was x, now elsewhere)"]
    settings.optim.lr = 0.5
    with pytest.raises(ValueError, match=r"optim\.lr \(was 0\.002, now 0\.5\)"):
        check_same_settings(run, settings)
    check_same_settings(tmp_path / "new", settings)


def test_data_sets_of_a_resumed_run_may_be_elsewhere_but_not_others(tmp_path):
    sources = [config.SourceConfig(name=name, root=f"x/{name}") for name in "ab"]
    settings = config.TrainConfig(run=config.RunConfig("r", str(tmp_path)))
    settings.data.sources = sources
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "config.yaml").write_text(to_yaml(settings))
    moved = [replace(each, root=f"y/{each.name}") for each in sources]
    settings.data = replace(settings.data, sources=moved)
    assert check_same_settings(tmp_path / "r", settings)[0].startswith("data.sources (was ")
    settings.data = replace(settings.data, sources=[replace(moved[0], fs=500), moved[1]])
    with pytest.raises(ValueError, match=r"another configuration: data\.sources"):
        check_same_settings(tmp_path / "r", settings)


@pytest.mark.parametrize(
    "name", ["demo", "bank_s0", "lr=0.1", "a b", "ä心", "x" * 150, "v1.2", "_a"]
)
def test_a_run_can_have_a_name_that_any_file_system_takes(name):
    check_run_name(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "a name"),
        *((name, "without slashes") for name in ("a/b", "runs/demo", "../x", "/x", "a\\b")),
        *((name, "letters, digits and") for name in ("a*", "s${seed}", "a,b", "x\n", "a:b", "“a”")),
        *((name, "at the start and the end") for name in (".", "..", ".x", "-x", "x.", " x", "x ")),
        *((name, "Windows reserves it") for name in ("nul", "CON", "com1.txt")),
        ("default", "that of the default model"),
        ("x" * 151, "at most 150 bytes, got 151"),
        ("ä" * 80, "at most 150 bytes, got 160"),
    ],
)
def test_a_name_that_cannot_be_that_of_a_run_is_refused(name, expected):
    with pytest.raises(ValueError, match=r"run\.name=") as error:
        check_run_name(name)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_run_is_named_with_its_folder_and_a_mistyped_one_with_those_that_exist(tmp_path):
    for name in ("bank_s0", "clip_s0"):
        (make_run(tmp_path, name) / "model").mkdir()
    assert find_runs(tmp_path, [f"{tmp_path}/bank_s0/", f"{tmp_path}/c*"]) == ["bank_s0", "clip_s0"]
    with pytest.raises(ValueError, match=r"bnk_s0 fits no run .*; did you mean bank_s0\?"):
        find_runs(tmp_path, ["bnk_s0"])
    with pytest.raises(ValueError, match=r"finished run; did you mean bank_s0\?"):
        find_model(tmp_path, "Bank_s0", None, "predict")
    with pytest.raises(ValueError, match=r"finished run; finished: bank_s0, clip_s0"):
        find_model(tmp_path, "other", None, "predict")


def test_scores_are_those_of_this_very_model(tmp_path, capsys):
    for fold, run in ((9, "other"), (10, "r"), ("10-ours", "r")):
        folder = tmp_path / "evaluate" / f"fold{fold}"
        folder.mkdir(parents=True)
        (folder / "about.json").write_text(json.dumps({"run": run}))
        (folder / "metrics.json").write_text(json.dumps({"ece": 0.1}))
    assert evaluated_folds(tmp_path, {"run": "r"}) == {10: {"ece": 0.1}}
    assert "fold9 is of another model" in capsys.readouterr().err

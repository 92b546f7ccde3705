"""Run folders: runs are found by pattern, configurations are read back, resumed runs checked."""

import json
from pathlib import Path

import pytest

from ecg_siglip import __version__, config
from ecg_siglip.core.run_folder import (
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
    check_same_settings(run, settings)
    settings.optim.lr = 0.5
    with pytest.raises(ValueError, match=r"optim\.lr \(was 0\.002, now 0\.5\)"):
        check_same_settings(run, settings)
    check_same_settings(tmp_path / "new", settings)


def test_scores_are_those_of_this_very_model(tmp_path, capsys):
    for fold, run in ((9, "other"), (10, "r"), ("10-ours", "r")):
        folder = tmp_path / "evaluate" / f"fold{fold}"
        folder.mkdir(parents=True)
        (folder / "about.json").write_text(json.dumps({"run": run}))
        (folder / "metrics.json").write_text(json.dumps({"ece": 0.1}))
    assert evaluated_folds(tmp_path, {"run": "r"}) == {10: {"ece": 0.1}}
    assert "fold9 is of another model" in capsys.readouterr().err

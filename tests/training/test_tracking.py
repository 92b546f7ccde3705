"""A tracker gets every epoch once, over all sessions of a run, and its errors end nothing."""

import json
from pathlib import Path

import pytest

from ecg_siglip import config
from ecg_siglip.core.run_folder import from_yaml
from ecg_siglip.train import train
from ecg_siglip.training import tracking


class Recorder:
    """A tracker that keeps what it gets; `fails` names the methods that raise."""

    id, place = "7", "memory"
    fails: tuple[str, ...] = ()
    calls: list[tuple]

    def __init__(self, run: Path, id: str = ""):
        self._take("open", run.name, id)

    def _take(self, *call):
        type(self).calls.append(call)
        if call[0] in type(self).fails:
            raise ConnectionError(f"no {call[0]}")

    def start(self, settings, about):
        self._take("start", settings, about)

    def log(self, numbers, epoch=None):
        self._take("log", numbers, epoch)

    def add(self, path, folder=""):
        self._take("add", path.name, folder, path.read_text() if path.is_file() else None)

    def close(self, status=""):
        self._take("close", status)


@pytest.fixture
def recorder(monkeypatch):
    kind = type("Fresh", (Recorder,), {"calls": [], "fails": ()})
    monkeypatch.setattr(tracking, "open_tracker", lambda name, run, id: kind(run, id))
    monkeypatch.setattr(tracking, "check_tracker", lambda name: None)
    monkeypatch.setattr("ecg_siglip.training.checks.check_tracker", lambda name: None)
    return kind


def calls(recorder, name):
    return [call[1:] for call in recorder.calls if call[0] == name]


def epochs(recorder):
    return [epoch for _, epoch in calls(recorder, "log") if epoch is not None]


def test_a_tracker_gets_settings_curves_scores_and_files(train_config, recorder, capsys):
    settings = train_config(tracker="wandb")
    score = train(settings)
    run = Path(settings.run.root) / "r"
    names = [call[0] for call in recorder.calls]
    assert names == ["open", "start", "add", "log", "log", "log", "add", "close"]
    [(values, about)] = calls(recorder, "start")
    assert values["optim.batch_size"] == "32"
    assert set(values) == set(tracking.setting_names(config.TrainConfig))
    assert about["n_train_records"].isdecimal() and about["data"] and about["machine"]
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert epochs(recorder) == [1, 2]
    assert calls(recorder, "log")[1][0]["loss"] == lines[1]["loss"]
    assert "weights_sha256" not in calls(recorder, "log")[1][0]
    final = calls(recorder, "log")[2][0]
    assert final["tune/prevalence/macro_f1_min5"] == pytest.approx(score)
    assert [name for name, *_ in calls(recorder, "add")] == ["config.yaml", "README.md"]
    assert calls(recorder, "close") == [("finished",)]
    assert "tracker: wandb run 7 in memory" in capsys.readouterr().out


def test_a_resumed_run_continues_the_same_tracked_run(train_config, recorder, monkeypatch):
    settings = train_config(tracker="wandb", **{"optim.n_epochs": 3})
    print_epoch = "ecg_siglip.training.trainer.print_epoch"

    def interrupt(line, n_epochs):
        if line["epoch"] == 2:  # saved, but not tracked yet
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(print_epoch, interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(settings)
    assert calls(recorder, "close") == [("failed",)]
    assert epochs(recorder) == [1]
    train(settings)
    assert calls(recorder, "open") == [("r", ""), ("r", "7")]
    assert epochs(recorder) == [1, 2, 3]
    assert calls(recorder, "close")[-1] == ("finished",)


def two_epochs(settings, run, epoch=0):
    """Do what a training of two epochs does with its tracker, without training."""
    (run / "model").mkdir(parents=True, exist_ok=True)
    (run / "model" / "README.md").write_text("card")
    (run / "log.jsonl").write_text('{"epoch": 1, "loss": 0.5}\n{"epoch": 2, "loss": 0.25}\n')
    with tracking.tracked(settings, run, epoch, {}) as followed:
        for each in range(epoch + 1, 3):
            followed.end_epoch(each)
        yield
        followed.finish({"ece": 0.125})


def test_a_tracker_that_is_taken_later_gets_the_earlier_epochs(train_config, recorder, tmp_path):
    settings = train_config(tracker="none")
    list(two_epochs(settings, tmp_path))
    assert not recorder.calls
    settings.tracker = "mlflow"
    list(two_epochs(settings, tmp_path, epoch=2))
    assert calls(recorder, "log") == [
        ({"loss": 0.5}, 1),
        ({"loss": 0.25}, 2),
        ({"tune/ece": 0.125}, None),
    ]


@pytest.mark.parametrize("method", ["open", "start", "add", "log", "close"])
def test_a_failing_tracker_is_reported_once(train_config, recorder, tmp_path, capsys, method):
    recorder.fails = (method,)
    list(two_epochs(train_config(tracker="wandb"), tmp_path))
    note = f"note: tracker=wandb: no {method}; not sent, but stored in {tmp_path}\n"
    assert capsys.readouterr().err == note


def test_what_a_tracker_missed_is_sent_at_the_end(train_config, recorder, tmp_path):
    recorder.fails = ("log",)
    for _ in two_epochs(train_config(tracker="wandb"), tmp_path):
        recorder.fails = ()
    assert epochs(recorder) == [1, 1, 2]  # the first attempt failed, the others were left out
    assert calls(recorder, "log")[-1] == ({"tune/ece": 0.125}, None)
    assert calls(recorder, "close") == [("finished",)]


def test_a_failing_tracker_does_not_change_the_training(train_config, recorder):
    models = []
    for name, fails in (("well", ()), ("ill", ("open", "start", "log", "add", "close"))):
        recorder.fails = fails
        settings = train_config(tracker="wandb", **{"run.name": name})
        train(settings)
        models.append((Path(settings.run.root) / name / "model" / "model.safetensors").read_bytes())
    assert models[0] == models[1]


def test_passwords_are_not_sent(train_config, recorder, tmp_path):
    settings = train_config(tracker="wandb")
    settings.data.query = "postgresql://me:secret@host/db"
    followed = tracking.Tracking(settings, tmp_path)
    followed.start({})
    [(values, _)] = calls(recorder, "start")
    assert values["data.query"] == "postgresql://me:***@host/db"
    [(name, _, text)] = calls(recorder, "add")
    assert name == "config.yaml" and "secret" not in text and "postgresql://me:***@host" in text


def test_only_the_first_process_tracks(train_config, recorder, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with tracking.tracked(train_config(tracker="wandb"), tmp_path, 0, {}) as followed:
        followed.end_epoch(1)
        followed.finish({"ece": 0.1})
    assert not recorder.calls and not list(tmp_path.iterdir())


def test_an_evaluation_is_added_to_the_tracked_run(train_config, recorder, tmp_path):
    settings = train_config(tracker="mlflow")
    (tmp_path / "report.html").write_text("report")
    scores = {"ece": 0.1, "macro_auroc": float("nan")}
    tracking.add_evaluation(settings, tmp_path, "fold10", scores, tmp_path)
    assert not recorder.calls  # the run was not tracked
    (tmp_path / "tracker.json").write_text('{"mlflow": {"id": "7", "epochs": 2}}')
    tracking.add_evaluation(settings, tmp_path, "fold10", scores, tmp_path)
    assert calls(recorder, "open") == [(tmp_path.name, "7")]
    assert calls(recorder, "log") == [({"fold10/ece": 0.1}, None)]
    assert not calls(recorder, "add")  # a report shows ECGs
    assert calls(recorder, "close") == [("",)]
    settings.tracked_files = "report"
    tracking.add_evaluation(settings, tmp_path, "fold10", scores, tmp_path)
    assert calls(recorder, "add") == [("report.html", "fold10", "report")]


def test_a_missing_package_is_named_before_the_training(train_config, monkeypatch):
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"tracker=wandb needs the package wandb: pip install 'ec"):
        train(train_config(tracker="wandb"))


def test_the_tracker_of_a_run_may_change_and_is_no_part_of_its_recipe(train_config):
    settings = train_config(tracker="none")
    score = train(settings)
    run = Path(settings.run.root) / "r"
    assert not (run / "tensorboard").exists() and not (run / "tracker.json").exists()
    assert from_yaml(config.TrainConfig, run / "config.yaml").tracker == "none"
    settings.tracker = "tensorboard"
    assert train(settings) == score  # complete: the stored score

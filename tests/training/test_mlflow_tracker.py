"""MLflow with its database next to the runs: no server, no network."""

from pathlib import Path

import pytest

from ecg_siglip.train import train

pytest.importorskip("mlflow", reason="needs the extra [mlflow]")
pytest.importorskip("alembic", reason="needs the extra [mlflow]")


@pytest.fixture
def client(tmp_path, monkeypatch):
    """A client of the database that a run makes, opened on first use."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    return lambda: MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")


def interrupt(line, n_epochs):
    if line["epoch"] == 2:
        raise KeyboardInterrupt


def test_an_interrupted_run_is_one_run_of_the_store(train_config, client, monkeypatch):
    settings = train_config(tracker="mlflow", tracked_files="model", **{"optim.n_epochs": 3})
    with monkeypatch.context() as patch:
        patch.setattr("ecg_siglip.training.trainer.print_epoch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(settings)
    [interrupted] = client().search_runs(["1"])
    assert interrupted.info.status == "FAILED"
    settings.n_threads = 1  # may differ between sessions; MLflow keeps the first value
    score = train(settings)
    [run] = client().search_runs([client().get_experiment_by_name("ecg_siglip").experiment_id])
    assert (run.info.run_name, run.info.status) == ("r", "FINISHED")
    assert run.data.params["optim.batch_size"] == "32"
    assert run.data.tags["n_findings"] == "71"
    history = client().get_metric_history(run.info.run_id, "macro_auroc")
    assert [point.step for point in history] == [1, 2, 3]
    assert run.data.metrics["tune/prevalence/macro_f1_min5"] == pytest.approx(score)
    files = {file.path for file in client().list_artifacts(run.info.run_id)}
    assert files == {"config.yaml", "README.md", "model"}
    assert not list(Path().glob("mlruns"))


def test_an_unreachable_server_costs_a_note(train_config, client, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings = train_config(tracker="mlflow")
    train(settings)
    assert (Path(settings.run.root) / "r" / "model").is_dir()
    notes = [line for line in capsys.readouterr().err.splitlines() if "tracker=mlflow" in line]
    assert len(notes) == 1 and "127.0.0.1" in notes[0]

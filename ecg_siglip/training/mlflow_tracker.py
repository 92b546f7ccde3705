"""MLflow: a tracking server, or a database next to the runs."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from ecg_siglip.core.files import hold

EXPERIMENT = "ecg_siglip"
AT_ONCE = 100  # settings or numbers of one request, MLflow's limit
# Defaults of MLflow's own variables: no usage data, and an unreachable server is given up in
# seconds instead of minutes.
VARIABLES = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


class MlflowTracker:
    """Client of MLflow, see ``tracking.Tracker``.

    ``MLFLOW_TRACKING_URI`` names the server or the store, ``MLFLOW_EXPERIMENT_NAME`` the
    experiment. Without the first, the store is ``mlflow.db`` in the folder of all runs, and the
    files are in ``mlflow/`` there.
    """

    def __init__(self, run: Path, id: str = ""):
        for name, value in VARIABLES.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):  # messages about the tables that are made
            logging.getLogger(name).setLevel(logging.WARNING)
        root = run.resolve().parent
        uri, files = os.environ.get("MLFLOW_TRACKING_URI"), None
        with contextlib.ExitStack() as stack:
            if not uri:
                uri, files = f"sqlite:///{root / 'mlflow.db'}", (root / "mlflow").as_uri()
                # Runs that start at once may not make the tables twice.
                stack.enter_context(hold(root / "mlflow.db", wait_s=60))
            self.client, self.place = MlflowClient(uri), uri
            self.id: str = id or self._new_run(run.name, files)

    def _new_run(self, name: str, files: str | None) -> str:
        """Make a run in the experiment, which is made if necessary; return its id."""
        experiment_name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        experiment = self.client.get_experiment_by_name(experiment_name)
        number = (
            self.client.create_experiment(experiment_name, files)
            if experiment is None
            else experiment.experiment_id
        )
        return str(self.client.create_run(number, run_name=name).info.run_id)

    def start(self, settings: Mapping[str, str], about: Mapping[str, str]) -> None:
        """Set the parameters; a later session may not change them, so it adds what is missing."""
        from mlflow.entities import Param, RunTag

        self.client.update_run(self.id, "RUNNING")
        known = self.client.get_run(self.id).data.params
        params = [Param(name, value) for name, value in settings.items() if name not in known]
        for first in range(0, len(params), AT_ONCE):
            self.client.log_batch(self.id, params=params[first : first + AT_ONCE])
        self.client.log_batch(self.id, tags=[RunTag(*item) for item in about.items()])

    def log(self, numbers: Mapping[str, float], epoch: int | None = None) -> None:
        """Add metrics, at the step of the epoch."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, epoch or 0) for name, value in numbers.items()]
        for first in range(0, len(metrics), AT_ONCE):
            self.client.log_batch(self.id, metrics=metrics[first : first + AT_ONCE])

    def add(self, path: Path, folder: str = "") -> None:
        """Add an artifact."""
        if path.is_dir():
            self.client.log_artifacts(self.id, str(path), f"{folder}/{path.name}".lstrip("/"))
        else:
            self.client.log_artifact(self.id, str(path), folder or None)

    def close(self, status: str = "") -> None:
        """Set the status."""
        if status:
            self.client.set_terminated(self.id, status.upper())

"""Tracking of a run: its settings, curves, scores and files, sent to a tracker.

The folder of the run has everything already (``log.jsonl``, ``config.yaml``, ``model/``); a tracker
is another view of it. Its errors are therefore reported and never end a training.
"""

from __future__ import annotations

import contextlib
import json
import math
import operator
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from ecg_siglip import config
from ecg_siglip.core.files import one_line, write_file
from ecg_siglip.core.run_folder import to_yaml
from ecg_siglip.core.settings import setting_names

# Class of each tracker, in its own module, and the packages that it needs.
TRACKERS = {
    "tensorboard": "tensorboard_tracker.TensorBoardTracker",
    "mlflow": "mlflow_tracker.MlflowTracker",
    "wandb": "wandb_tracker.WandbTracker",
}
PACKAGES = {"mlflow": ("mlflow", "sqlalchemy", "alembic"), "wandb": ("wandb",)}
PASSWORD = re.compile(r"(\w+://[^/\s:@]*):[^@\s/]+@")  # of a database address
STATE_FILE = "tracker.json"

Numbers = Mapping[str, float]


class Tracker(Protocol):
    """Destination of what a run reports; any method may raise.

    It is made with the folder of the run and the ``id`` of an earlier session, "" for a new run.

    Attributes
    ----------
    id : str
        By which a later session continues the same run.
    place : str
        Server, database or folder where the run is.
    """

    id: str
    place: str

    def start(self, settings: Mapping[str, str], about: Mapping[str, str]) -> None:
        """Set name and settings of the run, and what it is about; mark it as running."""

    def log(self, numbers: Numbers, epoch: int | None = None) -> None:
        """Add numbers: points of curves at an epoch, or scores of the whole run."""

    def add(self, path: Path, folder: str = "") -> None:
        """Add a file or a folder, below ``folder``."""

    def close(self, status: str = "") -> None:
        """Send what is waiting; set the status: ``finished``, ``failed``, or "" to keep it."""


def check_tracker(name: str) -> None:
    """Check that the packages of a tracker are installed, before any data are read.

    Raises
    ------
    ValueError
        If one is missing.
    """
    for package in PACKAGES.get(name, ()):
        if find_spec(package) is None:
            raise ValueError(
                f"tracker={name} needs the package {package}: pip install 'ecg_siglip[{name}]'"
            )


def without_passwords(text: str) -> str:
    """Return a text without the passwords of database addresses."""
    return PASSWORD.sub(r"\1:***@", text)


def shown_settings(settings: config.TrainConfig) -> dict[str, str]:
    """Return every setting of a run as text, without passwords."""
    names = setting_names(type(settings))
    return {name: without_passwords(str(operator.attrgetter(name)(settings))) for name in names}


class Tracking:
    """Connection of a run to its tracker. No method raises because of the tracker.

    After a failure nothing is sent until the run ends; then what is missing is sent, otherwise at
    the start of the next session.

    Parameters
    ----------
    settings : config.TrainConfig
    run : Path
        Folder of the run.
    epoch : int
        Number of completed epochs.
    """

    def __init__(self, settings: config.TrainConfig, run: Path, epoch: int = 0):
        self.settings, self.run, self.epoch = settings, run, epoch
        self.tracker: Tracker | None = None
        self.is_down = self.has_warned = False
        self.n_sent = 0

    def start(self, about: Mapping[str, str]) -> None:
        """Begin the tracked run, or continue it, and send the epochs that it lacks."""

        def begin() -> None:
            tracker = self._open()
            if tracker.id:
                place = without_passwords(tracker.place)
                print(f"tracker: {self.settings.tracker} run {tracker.id} in {place}")
            tracker.start(shown_settings(self.settings), about)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "config.yaml"
                path.write_text(without_passwords(to_yaml(self.settings)), encoding="utf-8")
                tracker.add(path)
            self._send_epochs()

        self._attempt(begin)

    def _open(self) -> Tracker:
        """Return the tracker, opened on first use."""
        if self.tracker is None:
            state = self._state().get(self.settings.tracker, {})
            self.tracker = open_tracker(self.settings.tracker, self.run, state.get("id", ""))
            self.n_sent = min(state.get("epochs", 0), self.epoch)
            self._remember()
        return self.tracker

    def _state(self) -> dict[str, Any]:
        """Return id and number of sent epochs of each tracker that continues runs by an id."""
        try:
            return dict(json.loads((self.run / STATE_FILE).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def _remember(self) -> None:
        """Write what a later session needs to continue the same tracked run."""
        if self.tracker is not None and self.tracker.id:
            own = {self.settings.tracker: {"id": self.tracker.id, "epochs": self.n_sent}}
            write_file(self.run / STATE_FILE, json.dumps(self._state() | own).encode())

    def _send_epochs(self) -> None:
        """Send the epochs of ``log.jsonl`` that the tracker lacks."""
        tracker, path = self._open(), self.run / "log.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for line in map(json.loads, lines[: self.epoch]):
            epoch = line.pop("epoch")
            if epoch > self.n_sent:
                tracker.log(_numbers(line), epoch)
                self.n_sent = epoch
                self._remember()

    def end_epoch(self, epoch: int) -> None:
        """Send the epochs up to this one, whose line ``log.jsonl`` has."""
        self.epoch = epoch
        self._attempt(self._send_epochs)

    def finish(self, scores: Mapping[str, float | None]) -> None:
        """Send the final scores on the tuning fold and the files of the run."""

        def send() -> None:
            self._send_epochs()
            tracker = self._open()
            tracker.log(_numbers(scores, "tune/"))
            tracker.add(self.run / "model" / "README.md")
            if self.settings.tracked_files == "model":
                tracker.add(self.run / "model")

        self.is_down = False  # one more attempt
        self._attempt(send)

    def close(self, status: str) -> None:
        """End the session."""
        if self.tracker is not None:
            self.is_down = False
            self._attempt(lambda: self._open().close(status))

    def _attempt(self, action: Callable[[], None]) -> None:
        """Run an action of the tracker; report its first failure and leave the others out."""
        if self.is_down or self.settings.tracker == "none":
            return
        try:
            action()
        except Exception as error:
            self.is_down = True
            if not self.has_warned:
                name, message = self.settings.tracker, without_passwords(one_line(error))
                print(
                    f"note: tracker={name}: {message}; not sent, but stored in {self.run}",
                    file=sys.stderr,
                )
            self.has_warned = True


def open_tracker(name: str, run: Path, id: str) -> Tracker:
    """Return a tracker of a run: one of ``TRACKERS``."""
    module, _, kind = TRACKERS[name].partition(".")
    tracker: Tracker = getattr(import_module(f"ecg_siglip.training.{module}"), kind)(run, id)
    return tracker


def _numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return what is a number and known."""
    return {
        prefix + name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


@contextlib.contextmanager
def tracked(
    settings: config.TrainConfig, run: Path, epoch: int, about: Mapping[str, str]
) -> Iterator[Tracking]:
    """Track a run inside the ``with`` block; of several processes only the first does.

    Parameters
    ----------
    settings : config.TrainConfig
    run : Path
    epoch : int
        Number of completed epochs.
    about : mapping of str to str
        Version, data and machine.
    """
    if os.environ.get("RANK", "0") != "0":
        settings = replace(settings, tracker="none")
    tracking = Tracking(settings, run, epoch)
    tracking.start(about)
    try:
        yield tracking
    except BaseException:
        tracking.close("failed")
        raise
    tracking.close("finished")


def add_evaluation(
    settings: config.TrainConfig, run: Path, name: str, scores: Mapping[str, Any], folder: Path
) -> None:
    """Add the scores of an evaluation to the tracked run, if its tracker continues by an id.

    Parameters
    ----------
    settings : config.TrainConfig
        Of the run.
    run : Path
    name : str
        Of the evaluation: the prefix of its scores.
    scores : mapping
    folder : Path
        With ``report.html``, which is sent if ``tracked_files`` includes it.
    """
    tracking = Tracking(settings, run)
    if settings.tracker not in tracking._state():
        return

    def send() -> None:
        tracker = tracking._open()
        tracker.log(_numbers(scores, f"{name}/"))
        report = folder / "report.html"
        if settings.tracked_files != "config" and report.exists():
            tracker.add(report, name)

    tracking._attempt(send)
    tracking.close("")

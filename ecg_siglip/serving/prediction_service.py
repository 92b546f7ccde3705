"""Predictions for uploaded ECGs: one model, used for all clients in turn.

The model is never used twice at the same time, and the thread that accepts requests stays
responsive. Other processes read the records of the JSON API, see ``upload_predictor``.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from ecg_siglip import config
from ecg_siglip.core.settings import check_settings
from ecg_siglip.core.translation import ENGLISH, translator
from ecg_siglip.core.work_limit import WorkLimit
from ecg_siglip.inference.pipeline import apply_decision_rule, predict_records
from ecg_siglip.inference.prediction import Prediction, QuestionResult
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.inference.questions import question_about
from ecg_siglip.reporting.ecg_plot import ecg_figure
from ecg_siglip.reporting.fonts import with_all_letters
from ecg_siglip.reporting.html import inline_figure
from ecg_siglip.reporting.median_beat_plot import median_beat_figure
from ecg_siglip.reporting.record_report import RecordReport, make_record_report, report_figure
from ecg_siglip.reporting.report_files import write_record_reports
from ecg_siglip.serving.clients import current_client
from ecg_siglip.serving.similar_records import RecordFolder, read_beginning
from ecg_siglip.serving.upload_predictor import RequestWork, UploadPredictor
from ecg_siglip.serving.uploads import PREFIX, UploadResult, hide_path, record_name, records_among
from ecg_siglip.serving.work_queue import WorkQueue
from ecg_siglip.vocabulary.question_matching import check_question

T = TypeVar("T")
# Layouts of an ECG for wide and for narrow screens, and its inline images for both.
LAYOUTS = {"wide": "standard", "narrow": "rows"}
Pictures = dict[str, dict[str, str]]
MIN_STEP_S = 2.0  # from window to window
MAX_BATCH = 16  # windows at one time: other requests wait so long
# Tasks in progress, of all clients and of one; each may have a long record in memory.
N_IN_PROGRESS, N_OF_CLIENT = 4, 2


class QueueFull(Exception):
    """Too many requests are waiting, or a result was not ready in time."""


class PredictionService:
    """Predictions for uploaded ECGs, with one model.

    Parameters
    ----------
    predictor : Predictor
    settings : AppConfig

    Attributes
    ----------
    model : str
        Name and version of the model.
    """

    def __init__(self, predictor: Predictor, settings: config.AppConfig):
        self.predictor, self.settings = predictor, settings
        self.model = predictor.artifact.title
        self._queue = WorkQueue(self.too_late, N_IN_PROGRESS, N_OF_CLIENT)
        self._uploads = UploadPredictor(predictor, self._queue, self.too_late)
        self._lock, self._n_waiting = threading.Lock(), 0

    @property
    def n_waiting(self) -> int:
        """Number of tasks and requests that wait for their result, with those in progress."""
        return self._n_waiting

    def submit(self, task: Callable[[], T]) -> Future[T]:
        """Queue a task that uses the model.

        Raises
        ------
        QueueFull
            If ``settings.max_waiting`` others are waiting. The future raises it if the result is
            not ready ``settings.timeout_s`` after this call.

        Notes
        -----
        The task is cancelled, or stopped at its next ``checkpoint``, at that time or when the
        ``current_client`` leaves. Clients get their turn as in ``work_queue``.
        """
        self._enter()
        limit, client = WorkLimit(self.settings.timeout_s), current_client.get()
        future = self._queue.submit(task, limit, client.address if client else "")
        future.add_done_callback(lambda _: self._leave())
        if client is not None:
            client.on_leave(limit.stop)
            client.on_leave(future.cancel)
        return future

    def too_late(self) -> QueueFull:
        """Return the error of a result that is not ready in time."""
        return QueueFull(
            f"no result within {self.settings.timeout_s:g} s; {self.n_waiting} requests are waiting"
        )

    def _enter(self) -> None:
        """Count a task or request that waits (errors as ``submit``)."""
        with self._lock:
            if self._n_waiting >= self.settings.max_waiting:
                raise QueueFull(
                    f"{self._n_waiting} other requests are waiting; please try again in a moment"
                )
            self._n_waiting += 1

    def _leave(self) -> None:
        """Count one less."""
        with self._lock:
            self._n_waiting -= 1

    def start(self) -> None:
        """Start the processes that read, so that the first requests do not wait for that."""
        self._uploads.start()

    def close(self) -> None:
        """Stop the tasks in progress and cancel the others."""
        self._uploads.close()
        self._queue.close()

    def settings_for(self, values: dict[str, object]) -> config.PredictConfig:
        """Return the settings of ``predict`` for a request.

        Parameters
        ----------
        values : dict of str to value
            By the names of ``predict``: ``read.fs`` and the like; None and empty values keep the
            default of the service.

        Raises
        ------
        ValueError
            If a value is out of its range, naming the setting; as
            ``question_matching.check_question``.
        """
        defaults = self.settings
        request_settings = config.PredictConfig(
            threshold_rule=defaults.threshold_rule,
            operating_point=defaults.operating_point,
            sensitivity=defaults.sensitivity,
            precision=defaults.precision,
            n_similar=defaults.n_similar,
            show_ids=defaults.show_ids,
            batch_size=MAX_BATCH,
        )
        for name, value in values.items():
            if value is None or value == "" or value == []:
                continue
            group, _, leaf = name.rpartition(".")
            setattr(getattr(request_settings, group) if group else request_settings, leaf, value)
        check_settings(request_settings)
        request_settings.questions = [
            check_question(question) for question in request_settings.questions
        ]
        step_s = request_settings.windows.step_s
        if step_s is not None and step_s < MIN_STEP_S:
            # One record of an hour in steps of a tenth of a second would block all other requests.
            raise ValueError(f"windows.step_s={step_s:g}: expected {MIN_STEP_S:g} s or more here")
        return request_settings

    async def predict_upload(
        self, folder: Path, paths: Sequence[Path], settings: config.PredictConfig
    ) -> UploadResult:
        """Predict records of a folder, without what is only drawn.

        Parameters
        ----------
        folder : Path
        paths : sequence of Path
            See ``uploads.records_among``.
        settings : PredictConfig
            See ``settings_for``.

        Raises
        ------
        ValueError
            If the model has no thresholds for the settings.
        QueueFull
            As ``submit``, or if the ``current_client`` leaves.
        """
        self._enter()
        client = current_client.get()
        limit = WorkLimit(self.settings.timeout_s)
        work = RequestWork(limit, client.address if client else "")
        if client is not None:
            client.on_leave(work.stop)
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                return await self._uploads.predict(folder, paths, settings, work)
        except TimeoutError as error:
            raise self.too_late() from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # the server ends
                raise
            raise self.too_late() from error  # cancelled because the client left
        finally:
            work.stop()
            self._leave()

    def predict_folder(self, folder: Path, settings: config.PredictConfig) -> UploadResult:
        """Predict every record of a folder; a task for ``submit``.

        Parameters
        ----------
        folder : Path
            Contains the uploaded files and nothing else.
        settings : PredictConfig
            See ``settings_for``.

        Raises
        ------
        ValueError
            If the model has no thresholds for the settings.
        """
        errors: list[tuple[str, str]] = []

        def add_error(path: Path, error: Exception) -> None:
            errors.append((record_name(path), hide_path(folder, error)))

        paths = records_among(folder)
        predictions: list[Prediction] = []
        # In batches, so that memory does not grow with the upload.
        for start in range(0, len(paths), settings.batch_size):
            batch = paths[start : start + settings.batch_size]
            predictions += predict_records(self.predictor, batch, settings, add_error)
        renamed = [
            replace(prediction, record=record_name(Path(prediction.record)))
            for prediction in predictions
        ]
        return UploadResult(renamed, errors)

    def decide(self, prediction: Prediction, settings: config.PredictConfig) -> Prediction:
        """Decide again with other thresholds (errors as ``Predictor.decide``)."""
        return apply_decision_rule(self.predictor, prediction, settings)

    def interpret_question(
        self, prediction: Prediction, question: str, language: str
    ) -> QuestionResult:
        """Match a question to findings (as ``questions.interpret_question``).

        The language is that of the page, for a question that is in no language or in several.
        """
        return question_about(self.predictor, prediction, question, language)

    def make_report(
        self, prediction: Prediction, codes: Sequence[str] = (), language: str = ENGLISH
    ) -> RecordReport:
        """Make the record report, with attributions of some findings (errors as
        ``Predictor.attribute``)."""
        return make_record_report(self.predictor, prediction, codes, language)

    def draw_ecg(self, prediction: Prediction, code: str | None, language: str) -> Pictures:
        """Draw the ECG, with the samples marked that support a finding."""
        report = self.make_report(prediction, [code] if code else [], language)
        alt = translator(language)("12-lead ECG of %(record)s") % {"record": report.record}
        with with_all_letters():
            return {
                name: inline_figure(report_figure(report, code, layout), "png", alt)
                for name, layout in LAYOUTS.items()
            }

    def draw_median_beat(self, prediction: Prediction, language: str) -> dict[str, str] | None:
        """Draw the beat that was measured as an inline image; None if nothing was."""
        measured, _ = prediction.measurements, translator(language)
        if measured is None or measured.beat is None:
            return None
        alt = _("Median beat of each lead with the marks of its intervals")
        with with_all_letters():
            figure = median_beat_figure(measured.beat, language=language, on_screen=True)
            return inline_figure(figure, "png", alt)

    @cached_property
    def training_records(self) -> RecordFolder | None:
        """The training records in ``similar_root``; None if it is not set."""
        root = self.settings.similar_root
        return None if root is None else RecordFolder(Path(root))

    def draw_similar(self, prediction: Prediction, language: str) -> dict[str, Pictures]:
        """Draw the similar training ECGs that are in ``similar_root``, by name."""
        folder, alt = self.training_records, translator(language)("12-lead ECG of %(record)s")
        figures: dict[str, Pictures] = {}
        for each in prediction.similar:
            path = folder.path(each.record) if folder else None
            if path is None:
                continue
            # A record may be deleted or damaged in the meantime.
            with contextlib.suppress(OSError, ValueError), with_all_letters():
                signal, fs = read_beginning(path)
                figures[each.record] = {
                    name: inline_figure(
                        ecg_figure(signal, fs, layout=layout, language=language),
                        "png",
                        alt % {"record": each.record},
                    )
                    for name, layout in LAYOUTS.items()
                }
        return figures

    def render_report(
        self,
        prediction: Prediction,
        codes: Sequence[str],
        suffix: str,
        rule: str,
        language: str = ENGLISH,
    ) -> bytes:
        """Return the record report as a file, ``.html`` or ``.pdf`` (errors as ``make_report``)."""
        with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
            path, report = (
                Path(folder) / f"report{suffix}",
                self.make_report(prediction, codes, language),
            )
            write_record_reports(path, [report], self.model, rule)
            return path.read_bytes()

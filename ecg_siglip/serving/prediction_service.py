"""Where uploaded ECGs are answered: files under safe names, one model, one thread for all.

Whoever asks, over the JSON interface or on the page, is served one after the other by one thread:
the model is never used twice at a time, and the one that listens stays free to listen.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ecg_siglip import config
from ecg_siglip.core.settings import check_settings
from ecg_siglip.inference.pipeline import apply_decision_rule, predict_records
from ecg_siglip.inference.prediction import Prediction
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.inference.questions import QuestionResult, answer_question
from ecg_siglip.reporting.ecg_plot import ecg_figure
from ecg_siglip.reporting.html import inline_figure
from ecg_siglip.reporting.record_report import (
    RecordReport,
    make_record_report,
    write_record_reports,
)
from ecg_siglip.serving.uploads import PREFIX, UploadResult, hide_path, record_name, records_among
from ecg_siglip.vocabulary.question_matching import check_question

T = TypeVar("T")
MIN_STEP_S = 2.0  # from window to window


class QueueFull(Exception):
    """More is waiting than the desk takes."""


class PredictionService:
    """Answers for uploaded ECGs.

    Parameters
    ----------
    predictor : Predictor
    settings : AppConfig

    Attributes
    ----------
    model : str
        Which model answers, with its version.
    """

    def __init__(self, predictor: Predictor, settings: config.AppConfig):
        self.predictor, self.settings = predictor, settings
        self.model = predictor.artifact.provenance.title
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="desk")
        self._lock, self._n_waiting = threading.Lock(), 0

    @property
    def n_waiting(self) -> int:
        """How many wait for their answer, the one that is worked on included."""
        return self._n_waiting

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have a piece of work done when its turn comes.

        Raises
        ------
        QueueFull
            If ``settings.max_waiting`` others are waiting.
        """
        with self._lock:
            if self._n_waiting >= self.settings.max_waiting:
                raise QueueFull(
                    f"{self._n_waiting} others are waiting; please ask again in a moment"
                )
            self._n_waiting += 1
        future = self._worker.submit(work)
        future.add_done_callback(self._done)
        return future

    def _done(self, _: Future[T]) -> None:
        with self._lock:
            self._n_waiting -= 1

    def close(self) -> None:
        """Finish what is being worked on and take nothing more."""
        self._worker.shutdown(cancel_futures=True)

    def knobs(self, given: dict[str, object]) -> config.PredictConfig:
        """The settings of ``predict`` that a request means, by their names there.

        Parameters
        ----------
        given : dict of str to value
            ``read.fs`` and the like; what is None or empty was not said.

        Raises
        ------
        ValueError
            If a value is out of its range, naming the knob; as ``question_matching.check_question``.
        """
        ours = self.settings
        asked = config.PredictConfig(
            threshold_rule=ours.threshold_rule,
            operating_point=ours.operating_point,
            sensitivity=ours.sensitivity,
            precision=ours.precision,
            n_similar=ours.n_similar,
        )
        for name, value in given.items():
            if value is None or value == "" or value == []:
                continue
            group, _, leaf = name.rpartition(".")
            setattr(getattr(asked, group) if group else asked, leaf, value)
        check_settings(asked)
        asked.questions = [check_question(question) for question in asked.questions]
        step_s = asked.windows.step_s
        if step_s is not None and step_s < MIN_STEP_S:
            # One record of an hour in steps of a tenth of a second would keep all others waiting.
            raise ValueError(f"windows.step_s={step_s:g}: expected {MIN_STEP_S:g} s or more here")
        return asked

    def read(self, folder: Path, asked: config.PredictConfig) -> UploadResult:
        """Answer for every record of a folder; to be submitted, not called.

        Parameters
        ----------
        folder : Path
            Holds what was uploaded and nothing else.
        asked : PredictConfig
            As ``knobs`` makes it.

        Raises
        ------
        ValueError
            If the model has no thresholds as they are asked for.
        """
        refused: list[tuple[str, str]] = []

        def keep(path: Path, error: Exception) -> None:
            refused.append((record_name(path), hide_path(folder, error)))

        paths = records_among(folder)
        found: list[Prediction] = []
        # In parts, so that the memory needed does not grow with the upload.
        for start in range(0, len(paths), asked.batch_size):
            part = paths[start : start + asked.batch_size]
            found += predict_records(self.predictor, part, asked, keep)
        named = [replace(answer, record=record_name(Path(answer.record))) for answer in found]
        return UploadResult(named, refused)

    def decide(self, answer: Prediction, asked: config.PredictConfig) -> Prediction:
        """The same answer by other thresholds (errors as ``Predictor.findings``)."""
        return apply_decision_rule(self.predictor, answer, asked)

    def ask(self, answer: Prediction, question: str) -> QuestionResult:
        """What a question means, and the model's answer; errors as ``questions.answer_question``."""
        return answer_question(self.predictor, answer.signal, question)

    def sheet(self, answer: Prediction, codes: Sequence[str] = ()) -> RecordReport:
        """An answer as a sheet, with reasons; errors as ``Predictor.attribute``."""
        return make_record_report(self.predictor, answer, codes)

    def drawn(self, answer: Prediction, code: str | None) -> dict[str, str]:
        """The ECG on its paper as an inline image, with what speaks for a finding marked."""
        drawn = self.sheet(answer, [code] if code else [])
        marked = drawn.marks[code] if code else None
        figure = ecg_figure(drawn.signal, drawn.fs, marked=marked)
        return inline_figure(figure, "png", f"12-lead ECG of {answer.record}")

    def written(self, answer: Prediction, codes: Sequence[str], suffix: str, rule: str) -> bytes:
        """The sheet of an answer as a file, ``.html`` or ``.pdf``; errors as ``sheet``."""
        with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
            path = Path(folder) / f"sheet{suffix}"
            write_record_reports(path, [self.sheet(answer, codes)], self.model, rule)
            return path.read_bytes()

"""From files to answers: read, checked, asked, and what a reader must know beside the findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ecg_siglip import config
from ecg_siglip.inference.prediction import Prediction, SimilarRecord
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.inference.preparation import (
    LongRecord,
    OnError,
    prepare_records,
    print_error,
    window_warnings,
)
from ecg_siglip.inference.questions import answer_question
from ecg_siglip.inference.sliding_window import Timeline, predict_windows, representative_window
from ecg_siglip.metrics import multilabel
from ecg_siglip.models.neighbors import NOVEL, Neighbors
from ecg_siglip.readers.preparation import PreparedRecord
from ecg_siglip.readers.record import Record
from ecg_siglip.signals.leads import available_leads, lead_warnings, nearest_lead_set


def threshold_rule(settings: config.PredictConfig) -> str:
    """The thresholds that decide, by operating point."""
    return {
        "screening": f"sensitivity_{settings.sensitivity:g}",
        "balanced": settings.threshold_rule,
        "confirm": f"precision_{settings.precision:g}",
    }[settings.operating_point]


def predict_records(
    predictor: Predictor,
    paths: list[Path],
    settings: config.PredictConfig,
    refused: OnError = print_error,
) -> list[Prediction]:
    """The answers for those records of a batch that could be read (errors as ``questions.answer_question``)."""
    found: list[Prediction | None] = []
    waiting: dict[int, PreparedRecord] = {}
    for each in prepare_records(predictor, paths, settings.waveform, settings.read, refused):
        if isinstance(each, PreparedRecord):
            waiting[len(found)] = each
            found.append(None)
            continue
        try:
            found.append(predict_long_record(predictor, each, settings))
        except (ValueError, OSError) as error:
            refused(Path(each.record), error)
    if waiting:
        signals = np.stack([each.signal for each in waiting.values()])
        raw, embedding_BD = predictor.forward(signals)
        for (i, each), y_prob, place in zip(waiting.items(), raw, embedding_BD, strict=True):
            tuning = predictor.tuning(each.available)
            calibrated = multilabel.calibrate(y_prob[None], tuning.calibration)[0]
            answer = predictor.decide(calibrated, *decision_settings(settings), each.available)
            said = Prediction(
                each.record, each.signal, answer, each.warnings, available=each.available
            )
            found[i] = add_neighbors(
                said, predictor, place, bool(each.available.all()), settings.n_similar
            )
    return [
        replace(
            said,
            questions=[
                answer_question(predictor, said.signal, words) for words in settings.questions
            ],
        )
        for said in found
        if said
    ]


def add_neighbors(
    answer: Prediction, predictor: Predictor, embedding_D: np.ndarray, is_whole: bool, k: int
) -> Prediction:
    """The answer with the training ECGs most like the record, and a warning if none is like it.

    With fewer leads (``is_whole`` false) every record is unlike those with twelve: nothing is
    said of it then.
    """
    known, codes = predictor.artifact.neighbors, predictor.artifact.codes
    if known is None or not is_whole:
        return answer
    rows, cosines = known.nearest(embedding_D[None], max(1, k))
    similar = [
        SimilarRecord(
            int(known.ecg_id[row]), round(float(cosine), 4), findings_of_neighbor(known, row, codes)
        )
        for row, cosine in zip(rows[0, :k], cosines[0, :k], strict=True)
    ]
    novelty = float(known.novelty_from_cosine(cosines[:, 0])[0])
    warnings = answer.warnings
    if novelty > NOVEL:
        unlike = (
            "unlike the ECGs that the model learned from: further from the nearest of them than "
            f"{100 * NOVEL:g} % of those it was tuned on"
        )
        warnings = [*warnings, unlike]
    return replace(answer, similar=similar, novelty=novelty, warnings=warnings)


def findings_of_neighbor(known: Neighbors, row: int, codes: Sequence[str]) -> list[str]:
    """The findings of a training record."""
    return [code for code, here in zip(codes, known.labels_NF[row], strict=True) if here]


def predict_long_record(
    predictor: Predictor, long: LongRecord, settings: config.PredictConfig
) -> Prediction:
    """The answer for a record longer than the model's window.

    Raises
    ------
    ValueError
        If no part of it can be used.
    """
    source = long.source
    window_s = float(predictor.artifact.waveform["duration_s"])
    leads = source.piece(0, 1).leads
    available = available_leads(leads)
    lead_set = nearest_lead_set(available)

    def prepare(record: Record) -> np.ndarray:
        return predictor.prepare(record, **vars(settings.waveform))

    seen = predict_windows(
        source,
        window_s,
        settings.windows.step_s or window_s,
        settings.batch_size,
        prepare,
        lambda signals: predictor.probabilities(signals, lead_set=lead_set),
        lambda record: window_warnings(record, window_s),
    )
    overall, best = seen.overall(settings.windows.sustained_s)
    answer = predictor.decide(overall, *decision_settings(settings), available)
    thresholds = np.array([finding.threshold for finding in answer])
    visible = np.array([finding.assessable for finding in answer])
    present = multilabel.apply_thresholds(seen.probabilities, thresholds) & visible
    shown = representative_window(
        seen.probabilities, thresholds, np.array([f.present for f in answer])
    )
    first = round(seen.starts_s[shown] * source.fs)
    signal = prepare(source.piece(first, first + round(window_s * source.fs)))
    course = Timeline(seen, predictor.artifact.codes, present, best, shown)
    warnings = [*lead_warnings(leads), *seen.warnings]
    said = Prediction(long.record, signal, answer, warnings, timeline=course, available=available)
    _, place = predictor.forward(signal[None])
    return add_neighbors(said, predictor, place[0], bool(available.all()), settings.n_similar)


def decision_settings(settings: config.PredictConfig) -> tuple[str, float, float]:
    """What ``Predictor.findings`` decides and draws its lines by."""
    return threshold_rule(settings), settings.sensitivity, settings.precision


def apply_decision_rule(
    predictor: Predictor, answer: Prediction, settings: config.PredictConfig
) -> Prediction:
    """The same answer by other thresholds (errors as ``Predictor.findings``).

    Of a longer record the window that is shown stays the one that it was.
    """
    y_prob = np.array([finding.probability for finding in answer.findings])
    found = predictor.decide(y_prob, *decision_settings(settings), answer.available)
    course = answer.timeline
    if course:
        thresholds = np.array([finding.threshold for finding in found])
        visible = np.array([finding.assessable for finding in found])
        present = multilabel.apply_thresholds(course.windows.probabilities, thresholds) & visible
        course = replace(course, present=present)
    return replace(answer, findings=found, timeline=course)

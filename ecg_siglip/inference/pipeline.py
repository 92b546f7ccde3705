"""From the paths of records to predictions: read, prepare, predict, add warnings and neighbors."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ecg_siglip import config
from ecg_siglip.core.files import one_line
from ecg_siglip.core.work_limit import checkpoint
from ecg_siglip.inference.decision import Decision
from ecg_siglip.inference.prediction import Finding, Prediction, SimilarRecord
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.inference.preparation import LongRecord, removes_offset, window_warnings
from ecg_siglip.inference.questions import question_about
from ecg_siglip.inference.sliding_window import bridge_gaps, predict_windows
from ecg_siglip.inference.timeline import Timeline, Windows, representative_window
from ecg_siglip.metrics import multilabel
from ecg_siglip.models.neighbors import Neighbors
from ecg_siglip.models.novelty import NOVEL, PARTS
from ecg_siglip.readers.preparation import PreparedRecord, recorded_signal
from ecg_siglip.readers.record import Record
from ecg_siglip.signals.leads import (
    available_leads,
    lead_warnings,
    nearest_lead_set,
    order_leads,
)
from ecg_siglip.signals.measurements import measure_ecg

OnError = Callable[[Path, Exception], None]


def print_error(path: Path, error: Exception) -> None:
    """Print the error of a record that could not be used to stderr, on one line."""
    print(f"predict: {one_line(error)}", file=sys.stderr)


def predict_records(
    predictor: Predictor,
    paths: list[Path],
    settings: config.PredictConfig,
    on_error: OnError = print_error,
) -> list[Prediction]:
    """Predict a batch of records.

    Parameters
    ----------
    predictor : Predictor
    paths : list of Path
    settings : PredictConfig
    on_error : function of Path and Exception
        Called for each record that cannot be read or used.

    Returns
    -------
    list of Prediction
        In the order of the paths, without the records that failed.

    Raises
    ------
    ValueError
        As ``Predictor.decision`` and ``questions.interpret_question``.
    """
    preparation, measured = predictor.preparation, settings.measurements
    max_hours = settings.windows.max_hours

    def records() -> Iterator[PreparedRecord | LongRecord]:
        for path in paths:
            checkpoint()
            try:
                yield preparation.read(path, settings.waveform, settings.read, max_hours, measured)
            except (ValueError, OSError) as error:
                on_error(path, error)

    predictions = predict_prepared(predictor, records(), settings, on_error)
    return [prediction for prediction in predictions if prediction]


def predict_prepared(
    predictor: Predictor,
    records: Iterable[PreparedRecord | LongRecord],
    settings: config.PredictConfig,
    on_error: OnError = print_error,
) -> list[Prediction | None]:
    """Predict records that ``Preparation.read`` returned; one long record is in memory at a time.

    Returns
    -------
    list of Prediction or None
        Of each record; None for a long record that cannot be used, after ``on_error`` was called.

    Raises
    ------
    ValueError
        As ``predict_records``.
    """
    predictions: list[Prediction | None] = []
    batch: dict[int, PreparedRecord] = {}
    for record in records:
        prediction = None
        if isinstance(record, PreparedRecord):
            batch[len(predictions)] = record
        else:
            try:
                prediction = predict_long_record(predictor, record, settings)
            except (ValueError, OSError) as error:
                on_error(Path(record.record), error)
        predictions.append(prediction)
    if batch:
        predicted = _predict_batch(predictor, list(batch.values()), settings)
        for i, prediction in zip(batch, predicted, strict=True):
            predictions[i] = prediction
    return [
        prediction
        and replace(
            prediction,
            # Without show_ids, no object that is printed, drawn or kept has them.
            identity=prediction.identity
            if settings.show_ids
            else prediction.identity.without_ids(),
            questions=[
                question_about(predictor, prediction, question) for question in settings.questions
            ],
        )
        for prediction in predictions
    ]


def _predict_batch(
    predictor: Predictor, records: Sequence[PreparedRecord], settings: config.PredictConfig
) -> list[Prediction]:
    """Predict prepared records with one pass of the model."""
    raw, embedding_BD = predictor.forward(np.stack([record.signal for record in records]))
    # Records with the same leads have the same calibration and decision.
    rows_of: dict[bytes, list[int]] = {}
    for row, record in enumerate(records):
        rows_of.setdefault(record.available.tobytes(), []).append(row)
    findings: dict[int, list[Finding]] = {}
    for rows in rows_of.values():
        available = records[rows[0]].available
        y_prob = multilabel.calibrate(raw[rows], predictor.tuning(available).calibration)
        decision = _decision(predictor, settings, available)
        findings |= zip(rows, decision.findings_of(y_prob), strict=True)
    predictions = [
        Prediction(
            record.record,
            record.signal,
            findings[row],
            record.warnings,
            available=record.available,
            measurements=record.measurements,
            recorded=record.recorded,
            identity=record.identity,
            device=record.device,
            model_simulated=predictor.artifact.provenance.simulated,
        )
        for row, record in enumerate(records)
    ]
    return add_neighbors(predictions, predictor, embedding_BD, settings.n_similar)


def predict_long_record(
    predictor: Predictor, long: LongRecord, settings: config.PredictConfig
) -> Prediction:
    """Predict a record longer than the model's window.

    Raises
    ------
    ValueError
        If its leads or all of its windows cannot be used.
    """
    source = long.source
    spec = predictor.artifact.waveform
    window_s = float(spec["duration_s"])
    first_sample = source.piece(0, 1)
    leads = first_sample.leads
    available = available_leads(leads)
    if not available.any():
        order_leads(first_sample.signal, leads, source.name)  # its error lists the channels
    lead_set = nearest_lead_set(available, source.name)
    allow_gaps = settings.waveform.allow_gaps or bool(spec.get("allow_gaps"))

    def prepare(record: Record) -> np.ndarray:
        return predictor.prepare(record, **vars(settings.waveform))

    windows = predict_windows(
        source,
        window_s,
        settings.windows.step_s or window_s,
        settings.batch_size,
        prepare,
        lambda signals: predictor.probabilities(signals, lead_set=lead_set),
        lambda record: window_warnings(
            record, window_s, removes_offset(predictor.artifact.waveform)
        ),
        settings.windows.sustained_s,
        allow_gaps,
    )
    sustained_s = settings.windows.sustained_s
    decision = _decision(predictor, settings, available)
    findings, best = _decide_long(decision, windows, sustained_s)
    shown = representative_window(
        windows.probabilities,
        np.array([finding.threshold for finding in findings]),
        np.array([finding.present for finding in findings]),
    )
    first = round(windows.starts_s[shown] * source.fs)
    window = source.piece(first, first + round(window_s * source.fs))
    signal = prepare(bridge_gaps(source, window, first) if allow_gaps else window)
    present = decision.present(windows.probabilities)
    codes = predictor.artifact.codes
    timeline = Timeline(windows, codes, present, best, shown, sustained_s)
    states_leads = predictor.artifact.vocabulary.states_leads
    about_leads = lead_warnings(leads, source.name, states_leads)
    warnings = [*first_sample.warnings, *about_leads, *windows.warnings]
    measured = measure_ecg(window.signal, window.fs, window.leads)
    prediction = Prediction(
        long.record,
        signal,
        findings,
        warnings,
        timeline=timeline,
        available=available,
        measurements=measured if settings.measurements else None,
        recorded=recorded_signal(window, window_s),
        identity=first_sample.identity,
        device=first_sample.device,
        model_simulated=predictor.artifact.provenance.simulated,
    )
    _, embedding_BD = predictor.forward(signal[None])
    return add_neighbors([prediction], predictor, embedding_BD, settings.n_similar)[0]


def _decide_long(
    decision: Decision, windows: Windows, sustained_s: float
) -> tuple[list[Finding], np.ndarray]:
    """Decide which findings of a long record are present; return also their likeliest windows.

    A finding that reaches its threshold only where a finding that is present excludes it is not
    present, but its alternative: of two rhythms in the same half minute, one is.
    """
    overall, _ = windows.overall(sustained_s)
    is_sustained, best = windows.sustained(decision.present, sustained_s)
    return decision.findings(overall, is_sustained), best


def add_neighbors(
    predictions: Sequence[Prediction], predictor: Predictor, embedding_BD: np.ndarray, k: int
) -> list[Prediction]:
    """Add the k most similar training ECGs to each prediction, and a warning if none is similar.

    With fewer than twelve leads every record differs from the training records: its prediction is
    returned as it is.
    """
    training, codes = predictor.artifact.neighbors, predictor.artifact.codes
    added = list(predictions)
    complete = [i for i, each in enumerate(added) if each.available is None or each.available.all()]
    if training is None or not complete:
        return added
    rows, cosines = training.nearest(embedding_BD[complete], max(1, k))
    fs = float(predictor.artifact.waveform["to_fs"])
    scored = training.novelty(cosines[:, 0], np.stack([added[i].signal for i in complete]), fs)
    for at, i in enumerate(complete):
        similar = [
            SimilarRecord(
                int(training.ecg_id[row]),
                round(float(cosine), 4),
                findings_of_neighbor(training, row, codes),
                training.name(int(row)),
            )
            for row, cosine in zip(rows[at, :k], cosines[at, :k], strict=True)
        ]
        novelty = float(scored.value[at])
        parts = {name: float(value[at]) for name, value in scored.parts.items()}
        warnings = added[i].warnings
        if novelty > NOVEL:
            warnings = [*warnings, novelty_warning(novelty, parts)]
        added[i] = replace(
            added[i], similar=similar, novelty=novelty, novelty_parts=parts, warnings=warnings
        )
    return added


def novelty_warning(novelty: float, parts: Mapping[str, float]) -> str:
    """Return the warning that a record is unlike the training ECGs, and in what most.

    Parameters
    ----------
    novelty : float in [0, 1]
    parts : mapping of str to float
        Novelty in each part, by ``novelty.PARTS``.
    """
    part = max(PARTS, key=lambda name: parts.get(name, 0.0))
    n_alike = max(1, 1000 - math.floor(1000 * novelty))
    return (
        f"unusual recording ({PARTS[part]}): at most {n_alike} in 1,000 comparison ECGs differ as "
        "much from those that the model learned from; the percentages may not hold"
    )


def findings_of_neighbor(training: Neighbors, row: int, codes: Sequence[str]) -> list[str]:
    """Return the codes of the findings of a training record."""
    return [
        code
        for code, has_finding in zip(codes, training.labels_NF[row], strict=True)
        if has_finding
    ]


def threshold_rule(settings: config.PredictConfig) -> str:
    """Return the threshold rule of the chosen operating point."""
    return {
        "screening": f"sensitivity_{settings.sensitivity:g}",
        "balanced": settings.threshold_rule,
        "confirm": f"precision_{settings.precision:g}",
    }[settings.operating_point]


def _decision(
    predictor: Predictor, settings: config.PredictConfig, available: np.ndarray | None
) -> Decision:
    """Return the decision rule of the settings (errors as ``Predictor.decision``)."""
    sensitivity = settings.sensitivity if settings.not_excluded == "full" else None
    return predictor.decision(threshold_rule(settings), available, sensitivity)


def apply_decision_rule(
    predictor: Predictor, prediction: Prediction, settings: config.PredictConfig
) -> Prediction:
    """Decide again on the same probabilities (errors as ``Predictor.decision``).

    The window that is shown of a long record does not change.
    """
    timeline, decision = prediction.timeline, _decision(predictor, settings, prediction.available)
    if timeline is None:
        y_prob = np.array([finding.probability for finding in prediction.findings])
        return replace(prediction, findings=decision.findings(y_prob))
    windows = timeline.windows
    findings, best = _decide_long(decision, windows, timeline.sustained_s)
    timeline = replace(timeline, present=decision.present(windows.probabilities), best=best)
    return replace(prediction, findings=findings, timeline=timeline)

"""From the paths of records to predictions: read, prepare, predict, add warnings and neighbors."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ecg_siglip import config
from ecg_siglip.core.files import one_line
from ecg_siglip.core.work_limit import checkpoint
from ecg_siglip.inference.decision import Decision
from ecg_siglip.inference.prediction import Finding, Prediction, SimilarRecord
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.inference.questions import question_about
from ecg_siglip.inference.sliding_window import bridge_gaps, predict_windows
from ecg_siglip.inference.timeline import Timeline, Windows, representative_window
from ecg_siglip.metrics import multilabel
from ecg_siglip.models.neighbors import Neighbors
from ecg_siglip.models.novelty import NOVEL, PARTS
from ecg_siglip.readers.limits import MAX_HOURS
from ecg_siglip.readers.preparation import PreparedRecord, recorded_signal
from ecg_siglip.readers.record import Record, Source, open_record
from ecg_siglip.signals.leads import (
    available_leads,
    lead_warnings,
    nearest_lead_set,
    order_leads,
)
from ecg_siglip.signals.measurements import measure_ecg
from ecg_siglip.signals.preprocessing import nonflat_leads
from ecg_siglip.signals.quality import quality_warnings

LONG = 1.2  # times the model's window; a shorter record is cropped to its middle
OnError = Callable[[Path, Exception], None]


@dataclass(frozen=True)
class LongRecord:
    """A record longer than the model's window, to be read piece by piece."""

    record: str
    source: Source


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
    predictions: list[Prediction | None] = []
    batch: dict[int, PreparedRecord] = {}
    for record in prepare_records(
        predictor,
        paths,
        settings.waveform,
        settings.read,
        on_error,
        settings.windows.max_hours,
        settings.measurements,
    ):
        if isinstance(record, PreparedRecord):
            batch[len(predictions)] = record
            predictions.append(None)
            continue
        try:
            predictions.append(predict_long_record(predictor, record, settings))
        except (ValueError, OSError) as error:
            on_error(Path(record.record), error)
    if batch:
        predicted = _predict_batch(predictor, list(batch.values()), settings)
        for i, prediction in zip(batch, predicted, strict=True):
            predictions[i] = prediction
    return [
        replace(
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
        if prediction
    ]


def prepare_records(
    predictor: Predictor,
    paths: list[Path],
    allowed: config.PredictWaveform,
    read: config.ReadConfig | None = None,
    on_error: OnError = print_error,
    max_hours: float = MAX_HOURS,
    measured: bool = False,
) -> Iterator[PreparedRecord | LongRecord]:
    """Read and prepare records in order; ``on_error`` gets the errors of those that fail.

    Records longer than ``max_hours`` fail. ``measured``: with measurements. Ends early as
    ``core.work_limit.checkpoint``.
    """
    stated = read or config.ReadConfig()
    window_s = predictor.artifact.waveform["duration_s"]
    for path in paths:
        checkpoint()
        try:
            source = open_record(
                path, stated.fs, stated.units, stated.leads, stated.gain, max_hours
            )
            if is_long(source.duration_s, window_s):
                yield LongRecord(str(path), source)
                continue
            record = source.piece(0, source.n_samples)
            prepared = predictor.prepare_record(record, **vars(allowed))
            leads = record.leads
            if allowed.allow_flat:
                leads = tuple(leads[i] for i in nonflat_leads(record.signal, leads))
            about_leads = lead_warnings(
                leads, record.name, predictor.artifact.vocabulary.states_leads
            )
        except (ValueError, OSError) as error:
            on_error(path, error)
            continue
        warnings = length_warnings(prepared.duration_s, window_s)
        warnings += [*record.warnings, *about_leads]
        warnings += window_warnings(record, window_s, removes_offset(predictor))
        values = measure_ecg(record.signal, record.fs, record.leads) if measured else None
        yield replace(prepared, record=str(path), warnings=warnings, measurements=values)


def is_long(duration_s: float, window_s: float) -> bool:
    """Return whether a record is cut into windows; otherwise only its middle is used."""
    return duration_s >= LONG * window_s


def length_warnings(duration_s: float, window_s: float) -> list[str]:
    """Return what was done to a record that is longer or shorter than the model's window."""
    if duration_s > window_s + 0.05:
        return [f"only the middle {window_s:g} s of {duration_s:g} s were used"]
    if duration_s < window_s - 0.05:
        return [f"{duration_s:g} s of signal, padded to {window_s:g} s"]
    return []


def removes_offset(predictor: Predictor) -> bool:
    """Return whether the preparation of a model takes a constant offset off the signal."""
    spec = predictor.artifact.waveform
    return spec["low_hz"] is not None


def window_warnings(record: Record, duration_s: float, offset_removed: bool = False) -> list[str]:
    """Return the quality warnings of the part of a record that the model sees."""
    n_spare = max(0, record.signal.shape[1] - round(duration_s * record.fs))
    window = slice(n_spare // 2, record.signal.shape[1] - (n_spare - n_spare // 2))
    ordered = order_leads(record.signal[:, window], record.leads, record.name, True)
    return quality_warnings(ordered, record.fs, available_leads(record.leads), offset_removed)


def _predict_batch(
    predictor: Predictor, records: Sequence[PreparedRecord], settings: config.PredictConfig
) -> list[Prediction]:
    """Predict prepared records with one pass of the model."""
    raw, embedding_BD = predictor.forward(np.stack([record.signal for record in records]))
    predictions = []
    for record, y_prob, embedding_D in zip(records, raw, embedding_BD, strict=True):
        tuning = predictor.tuning(record.available)
        calibrated = multilabel.calibrate(y_prob[None], tuning.calibration)[0]
        findings = _decision(predictor, settings, record.available).findings(calibrated)
        prediction = Prediction(
            record.record,
            record.signal,
            findings,
            record.warnings,
            available=record.available,
            measurements=record.measurements,
            recorded=record.recorded,
            identity=record.identity,
            device=record.device,
            model_simulated=predictor.artifact.provenance.simulated,
        )
        is_complete = bool(record.available.all())
        predictions.append(
            add_neighbors(prediction, predictor, embedding_D, is_complete, settings.n_similar)
        )
    return predictions


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
        lambda record: window_warnings(record, window_s, removes_offset(predictor)),
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
    is_complete = bool(available.all())
    return add_neighbors(prediction, predictor, embedding_BD[0], is_complete, settings.n_similar)


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
    prediction: Prediction,
    predictor: Predictor,
    embedding_D: np.ndarray,
    is_complete: bool,
    k: int,
) -> Prediction:
    """Add the k most similar training ECGs, and a warning if none is similar.

    With fewer than twelve leads (``is_complete`` false) every record differs from the training
    records: the prediction is returned as it is.
    """
    training, codes = predictor.artifact.neighbors, predictor.artifact.codes
    if training is None or not is_complete:
        return prediction
    rows, cosines = training.nearest(embedding_D[None], max(1, k))
    similar = [
        SimilarRecord(
            int(training.ecg_id[row]),
            round(float(cosine), 4),
            findings_of_neighbor(training, row, codes),
            training.name(int(row)),
        )
        for row, cosine in zip(rows[0, :k], cosines[0, :k], strict=True)
    ]
    fs = float(predictor.artifact.waveform["to_fs"])
    scored = training.novelty(cosines[:1, 0], prediction.signal[None], fs)
    novelty = float(scored.value[0])
    parts = {name: float(value[0]) for name, value in scored.parts.items()}
    warnings = prediction.warnings
    if novelty > NOVEL:
        warnings = [*warnings, novelty_warning(novelty, parts)]
    return replace(
        prediction, similar=similar, novelty=novelty, novelty_parts=parts, warnings=warnings
    )


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

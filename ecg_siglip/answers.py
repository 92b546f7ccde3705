"""From files to answers: read, checked, asked, and what a reader must know beside the findings."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecg_siglip import ask, config, lead_sets, metrics, neighbours, quality, records, waveform
from ecg_siglip import windows as cut
from ecg_siglip.predictor import Finding, Predictor

if TYPE_CHECKING:
    from ecg_siglip import sheet


@dataclass(frozen=True)
class Similar:
    """A training ECG like the record, with what is known of it."""

    ecg_id: int
    cosine: float
    findings: list[str]


@dataclass(frozen=True)
class Answer:
    """What is said of a record.

    Attributes
    ----------
    record : str
        Its path.
    signal : ndarray of shape (12, n_samples), int16, uV
        What the model saw; of a longer record, the window that speaks most for its findings.
    findings : list of Finding
        All of them, in the model's order.
    warnings : list of str
    novelty : float in [0, 1], optional
        See ``neighbours.Neighbours.novelty``; null where a lead is missing or the model was saved
        without its training records.
    similar : list of Similar
        Training ECGs, the most similar first, as many as were asked for.
    course : windows.Course, optional
        When the findings are there, in a record that was cut in windows.
    available : ndarray of shape (12,), bool, optional
        Leads that the record has; null: all.
    asked : list of ask.Asked
        What is made of each question that was asked with the record.
    """

    record: str
    signal: np.ndarray
    findings: list[Finding]
    warnings: list[str]
    novelty: float | None = None
    similar: list[Similar] = field(default_factory=list)
    course: cut.Course | None = None
    available: np.ndarray | None = None
    asked: list[ask.Asked] = field(default_factory=list)

    def to_json(self, model: str) -> str:
        """The line that ``predict`` prints; the likeliest finding comes first."""
        likely = sorted(self.findings, key=lambda f: -f.probability)
        found = [
            {
                "code": f.code,
                "name": f.name,
                "probability": round(f.probability, 6),
                "threshold": round(f.threshold, 6),
                **({"certainty": f.certainty} if f.certainty else {}),
                **({"at_s": self.course.at_s(f.code)} if self.course else {}),
            }
            for f in likely
            if f.present
        ]
        content = {
            "record": self.record,
            "findings": found,
            "not_excluded": [f.code for f in likely if f.certainty == "possible"],
            "cannot_be_seen": [f.code for f in self.findings if not f.seen],
            "probabilities": {
                f.code: round(f.probability, 6) if f.seen else None for f in self.findings
            },
            "model": model,
            "warnings": self.warnings,
            "novelty": None if self.novelty is None else round(self.novelty, 4),
            **({"similar": [asdict(each) for each in self.similar]} if self.similar else {}),
            **({"asked": self._asked_json()} if self.asked else {}),
            **({"windows": self.course.to_json()} if self.course else {}),
        }
        return json.dumps(content, ensure_ascii=False)

    def _asked_json(self) -> list[dict[str, Any]]:
        """What each question means, with what is said of the findings that are meant."""
        of_code, rows = {f.code: f for f in self.findings}, []
        for asked in self.asked:
            row = asked.to_dict()
            for near in row["meant"]:
                finding = of_code[near["code"]]
                near["probability"] = round(finding.probability, 6) if finding.seen else None
                near["present"] = finding.present
            rows.append(row)
        return rows


@dataclass(frozen=True)
class Prepared:
    """A record as the model sees it.

    Attributes
    ----------
    record : str
        Its path.
    signal : ndarray of shape (12, n_samples), int16, uV
    available : ndarray of shape (12,), bool
        Leads that the record has, see ``waveform.available``.
    warnings : list of str
    """

    record: str
    signal: np.ndarray
    available: np.ndarray
    warnings: list[str]


@dataclass(frozen=True)
class Long:
    """A record longer than the model's window, to be read piece by piece."""

    record: str
    source: records.Source


Refused = Callable[[Path, Exception], None]


def to_stderr(path: Path, error: Exception) -> None:
    print(f"predict: {config.one_line(error)}", file=sys.stderr)


def readable(
    predictor: Predictor,
    paths: list[Path],
    allowed: config.PredictWaveform,
    read: config.ReadConfig | None = None,
    refused: Refused = to_stderr,
) -> Iterator[Prepared | Long]:
    """Each record that can be read, in its place; ``refused`` is told the errors of the others."""
    stated = read or config.ReadConfig()
    spec = predictor.artifact.waveform
    for path in paths:
        try:
            source = records.source(path, stated.fs, stated.units, stated.leads)
            if cut.is_long(source.duration_s, spec["duration_s"]):
                yield Long(str(path), source)
                continue
            record = source.piece(0, source.n_samples)
            signal = predictor.prepare(record, **vars(allowed))
        except (ValueError, OSError) as error:
            refused(path, error)
            continue
        leads = record.leads
        if allowed.allow_flat:
            leads = tuple(leads[i] for i in waveform.moving(record.signal, leads))
        available = waveform.available(leads)
        duration_s = record.signal.shape[1] / record.fs
        warnings = []
        if duration_s > spec["duration_s"] + 0.05:
            warnings.append(
                f"only the middle {spec['duration_s']:g} s of {duration_s:g} s were looked at"
            )
        if duration_s < spec["duration_s"] - 0.05:
            warnings.append(f"{duration_s:g} s of signal, padded to {spec['duration_s']:g} s")
        warnings += lead_sets.warnings(leads) + flaws(record, spec["duration_s"])
        yield Prepared(str(path), signal, available, warnings)


def flaws(record: records.Record, duration_s: float) -> list[str]:
    """What is suspicious about the part of a record that the model looks at."""
    n_spare = max(0, record.signal.shape[1] - round(duration_s * record.fs))
    seen = slice(n_spare // 2, record.signal.shape[1] - (n_spare - n_spare // 2))
    ordered = waveform.order_leads(record.signal[:, seen], record.leads, record.name, True)
    return quality.warnings(ordered, record.fs, waveform.available(record.leads))


def rule_of(settings: config.PredictConfig) -> str:
    """The thresholds that decide, by operating point."""
    return {
        "screening": f"sensitivity_{settings.sensitivity:g}",
        "balanced": settings.threshold_rule,
        "confirm": f"precision_{settings.precision:g}",
    }[settings.operating_point]


def answered(
    predictor: Predictor,
    paths: list[Path],
    settings: config.PredictConfig,
    refused: Refused = to_stderr,
) -> list[Answer]:
    """The answers for those records of a batch that could be read (errors as ``ask.ask``)."""
    found: list[Answer | None] = []
    waiting: dict[int, Prepared] = {}
    for each in readable(predictor, paths, settings.waveform, settings.read, refused):
        if isinstance(each, Prepared):
            waiting[len(found)] = each
            found.append(None)
            continue
        try:
            found.append(answered_in_windows(predictor, each, settings))
        except (ValueError, OSError) as error:
            refused(Path(each.record), error)
    if waiting:
        signals = np.stack([each.signal for each in waiting.values()])
        raw, embedding_BD = predictor.forward(signals)
        for (i, each), y_prob, place in zip(waiting.items(), raw, embedding_BD, strict=True):
            tuning = predictor.tuning(each.available)
            calibrated = metrics.calibrate(y_prob[None], tuning.calibration)[0]
            answer = predictor.findings(calibrated, *levels_of(settings), each.available)
            said = Answer(each.record, each.signal, answer, each.warnings, available=each.available)
            found[i] = with_neighbours(
                said, predictor, place, bool(each.available.all()), settings.n_similar
            )
    return [
        replace(said, asked=[ask.ask(predictor, said.signal, words) for words in settings.ask])
        for said in found
        if said
    ]


def with_neighbours(
    answer: Answer, predictor: Predictor, embedding_D: np.ndarray, is_whole: bool, k: int
) -> Answer:
    """The answer with the training ECGs most like the record, and a warning if none is like it.

    With fewer leads (``is_whole`` false) every record is unlike those with twelve: nothing is
    said of it then.
    """
    known, codes = predictor.artifact.neighbours, predictor.artifact.codes
    if known is None or not is_whole:
        return answer
    rows, cosines = known.nearest(embedding_D[None], max(1, k))
    similar = [
        Similar(int(known.ecg_id[row]), round(float(cosine), 4), named(known, row, codes))
        for row, cosine in zip(rows[0, :k], cosines[0, :k], strict=True)
    ]
    novelty = float(known.novelty_at(cosines[:, 0])[0])
    warnings = answer.warnings
    if novelty > neighbours.NOVEL:
        unlike = (
            "unlike the ECGs that the model learned from: further from the nearest of them than "
            f"{100 * neighbours.NOVEL:g} % of those it was tuned on"
        )
        warnings = [*warnings, unlike]
    return replace(answer, similar=similar, novelty=novelty, warnings=warnings)


def named(known: neighbours.Neighbours, row: int, codes: Sequence[str]) -> list[str]:
    """The findings of a training record."""
    return [code for code, here in zip(codes, known.labels_NF[row], strict=True) if here]


def answered_in_windows(predictor: Predictor, long: Long, settings: config.PredictConfig) -> Answer:
    """The answer for a record longer than the model's window.

    Raises
    ------
    ValueError
        If no part of it can be used.
    """
    source = long.source
    window_s = float(predictor.artifact.waveform["duration_s"])
    leads = source.piece(0, 1).leads
    available = waveform.available(leads)
    lead_set = lead_sets.nearest(available)

    def prepare(record: records.Record) -> np.ndarray:
        return predictor.prepare(record, **vars(settings.waveform))

    seen = cut.look(
        source,
        window_s,
        settings.windows.step_s or window_s,
        settings.batch_size,
        prepare,
        lambda signals: predictor.probabilities(signals, lead_set=lead_set),
        lambda record: flaws(record, window_s),
    )
    overall, best = seen.overall(settings.windows.sustained_s)
    answer = predictor.findings(overall, *levels_of(settings), available)
    thresholds = np.array([finding.threshold for finding in answer])
    visible = np.array([finding.seen for finding in answer])
    present = metrics.apply_thresholds(seen.probabilities, thresholds) & visible
    shown = cut.strongest(seen.probabilities, thresholds, np.array([f.present for f in answer]))
    first = round(seen.starts_s[shown] * source.fs)
    signal = prepare(source.piece(first, first + round(window_s * source.fs)))
    course = cut.Course(seen, predictor.artifact.codes, present, best, shown)
    warnings = [*lead_sets.warnings(leads), *seen.warnings]
    said = Answer(long.record, signal, answer, warnings, course=course, available=available)
    _, place = predictor.forward(signal[None])
    return with_neighbours(said, predictor, place[0], bool(available.all()), settings.n_similar)


def levels_of(settings: config.PredictConfig) -> tuple[str, float, float]:
    """What ``Predictor.findings`` decides and draws its lines by."""
    return rule_of(settings), settings.sensitivity, settings.precision


def decided(predictor: Predictor, answer: Answer, settings: config.PredictConfig) -> Answer:
    """The same answer by other thresholds (errors as ``Predictor.findings``).

    Of a longer record the window that is shown stays the one that it was.
    """
    y_prob = np.array([finding.probability for finding in answer.findings])
    found = predictor.findings(y_prob, *levels_of(settings), answer.available)
    course = answer.course
    if course:
        thresholds = np.array([finding.threshold for finding in found])
        visible = np.array([finding.seen for finding in found])
        present = metrics.apply_thresholds(course.windows.probabilities, thresholds) & visible
        course = replace(course, present=present)
    return replace(answer, findings=found, course=course)


def sheet_of(predictor: Predictor, answer: Answer, codes: Sequence[str]) -> sheet.Sheet:
    """An answer as a sheet, with the reasons for these findings (errors as ``attribute``)."""
    # matplotlib takes as long to import as all the rest: only who wants to see it waits for it.
    from ecg_siglip import sheet

    fs = float(predictor.artifact.waveform["to_fs"])
    reasons = predictor.attribute(answer.signal, codes) if codes else np.empty(0)
    marks = {code: sheet.strength(r, fs) for code, r in zip(codes, reasons, strict=True)}
    bars = [
        sheet.Bar(f.code, f.name, f.probability, f.threshold, f.present, f.certainty)
        for f in answer.findings
        if f.seen
    ]
    signal = waveform.from_int16(answer.signal)
    drawn = sheet.Sheet(
        answer.record,
        signal,
        fs,
        bars,
        answer.warnings,
        marks,
        unseen=[f.name for f in answer.findings if not f.seen],
        similar=[
            f"{each.ecg_id} (cosine {each.cosine:.2f}): {', '.join(each.findings) or 'no finding'}"
            for each in answer.similar
        ],
    )
    if answer.course:
        spans = {f.code: answer.course.stretches(f.code) for f in answer.findings if f.present}
        note, duration_s = answer.course.note(), answer.course.windows.duration_s
        drawn = replace(drawn, note=note, duration_s=duration_s, spans=spans)
    return drawn

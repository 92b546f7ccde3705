"""Records to findings: what is in an ECG, with a calibrated probability for each finding.

The same ``probabilities`` answers for one patient, for a fold in ``evaluate`` and for the tuning
fold in ``train``: a published score and a single answer come out of the same lines.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ecg_siglip import (
    config,
    explain,
    findings,
    lead_sets,
    metrics,
    neighbours,
    operating,
    quality,
    records,
    waveform,
)
from ecg_siglip import windows as cut
from ecg_siglip.checkpoint import Artifact, load_artifact
from ecg_siglip.model import Model, pick_device
from ecg_siglip.ranks import Ranks

MOST_SHEETS = 200  # of a report: a sheet is half a megabyte


@dataclass(frozen=True)
class Finding:
    """One answer: is the finding in the record?

    Attributes
    ----------
    code, name : str
    probability, threshold : float in [0, 1]
    present : bool
        The probability reaches the threshold.
    certainty : {"sure", "likely", "possible", "unlikely", ""}
        Reaches the threshold of the wanted precision; is present short of that; is not, but cannot
        be excluded at the wanted sensitivity; can. Empty for models that have no such thresholds.
    seen : bool
        False if its criteria lie in leads that the record does not have: then neither present nor
        absent, whatever the probability.
    """

    code: str
    name: str
    probability: float
    threshold: float
    present: bool
    certainty: str = ""
    seen: bool = True


@torch.inference_mode()
def forward(
    model: Model,
    text_FD: Tensor,
    signals: np.ndarray,
    batch_size: int = 256,
    progress: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Probability of each text for each record, as the pair loss trained it (not calibrated).

    Parameters
    ----------
    model : EcgTextModel or Ensemble
    text_FD : Tensor of shape (n_findings, D)
        What ``model.encode_text`` made of the prompts.
    signals : ndarray of shape (n_records, 12, n_samples), int16, uV
        Prepared records, at the model's sampling rate; may be a memory map.
    batch_size : int
        Records at one time.
    progress : bool
        Show a bar on stderr if that is a terminal.

    Returns
    -------
    ndarray of shape (n_records, n_findings), float64 in [0, 1]
    ndarray of shape (n_records, D), float32
        Where the records lie in the embedding.
    """
    was_training = model.training
    model.eval()
    n_findings, n_features = text_FD.shape
    y_prob = np.empty((len(signals), n_findings))
    embedding_BD = np.empty((len(signals), n_features), np.float32)
    starts = range(0, len(signals), batch_size)
    for start in tqdm(starts, "records", disable=None if progress else True, leave=False):
        here = slice(start, start + batch_size)
        batch = waveform.from_int16(np.asarray(signals[here]))
        ecg_BD = model.encode_ecg(torch.from_numpy(batch).to(model.device))
        y_prob[here] = torch.sigmoid(model.logits(ecg_BD, text_FD).double()).cpu().numpy()
        embedding_BD[here] = ecg_BD.float().cpu().numpy()
    model.train(was_training)
    return y_prob, embedding_BD


def probabilities(
    model: Model,
    text_FD: Tensor,
    signals: np.ndarray,
    batch_size: int = 256,
    progress: bool = False,
) -> np.ndarray:
    """The first half of what ``forward`` gives, (n_records, n_findings)."""
    return forward(model, text_FD, signals, batch_size, progress)[0]


class Predictor:
    """A loaded model that answers for records.

    Parameters
    ----------
    artifact : Artifact
    device : torch.device or str

    Examples
    --------
    ::

        predictor = Predictor.load("runs/r1/model")
        signal = predictor.prepare(records.read("data/ptbxl/records100/00000/00001_lr"))
        for finding in predictor.findings(predictor.probabilities(signal[None])[0]):
            print(finding.name, finding.probability)
    """

    def __init__(
        self,
        artifact: Artifact,
        device: torch.device | str = "cpu",
        language: str | None = None,
    ):
        self.artifact = replace(artifact, model=artifact.model.to(device).eval())
        self.text_FD = self.texts(language)

    @torch.inference_mode()
    def texts(self, language: str | None = None) -> Tensor:
        """What is asked, (n_findings, D): as the model was tuned, or in another language.

        Raises
        ------
        ValueError
            If the model has no words, or the language no prompts.
        """
        model, prompts = self.artifact.model, self.artifact.prompts
        if language is not None:
            prompts = findings.prompts(self.artifact.codes, language)
            if self.artifact.about["text"] == "none":
                raise ValueError(
                    f"language={language}: {self.artifact.about['run']} is a supervised head "
                    "without words; expected a model with a text tower"
                )
        return model.encode_text(prompts)

    @classmethod
    def load(cls, name: str | Path, device: str = "auto", language: str | None = None) -> Predictor:
        """From a folder (``runs/<name>/model``) or the hub.

        Raises
        ------
        ValueError
            If the model is not there, not whole, or of another vocabulary.
        """
        return cls(load_artifact(name), pick_device(device), language)

    def prepare(
        self,
        record: records.Record,
        allow_short: bool = False,
        allow_flat: bool = False,
        allow_missing_leads: bool = False,
    ) -> np.ndarray:
        """What the model sees of a record: (12, n_samples) int16, uV.

        Raises
        ------
        ValueError
            As ``waveform.prepare``: a missing or flat lead, NaN, wrong units, too short; or if
            leads are missing and the model was not trained to see fewer.
        """
        spec = dict(self.artifact.waveform)
        spec["allow_short"] |= allow_short
        spec["allow_flat"] |= allow_flat
        spec["allow_missing_leads"] = allow_missing_leads
        signal = waveform.prepare(
            record.signal, record.fs, record.leads, record=record.name, **spec
        )
        try:
            self.artifact.tuning(lead_sets.nearest(waveform.available(record.leads)))
        except ValueError as error:
            raise ValueError(f"record {record.name}: {error}") from error
        return waveform.to_int16(signal)

    def probabilities(
        self,
        signals: np.ndarray,
        batch_size: int = 256,
        progress: bool = False,
        lead_set: str = "12",
    ) -> np.ndarray:
        """Calibrated probabilities of prepared records.

        Parameters
        ----------
        signals : ndarray of shape (n_records, 12, n_samples), int16, uV
        lead_set : str
            Which leads they have, see ``lead_sets.nearest``.

        Returns
        -------
        ndarray of shape (n_records, n_findings), float64 in [0, 1]
        """
        raw, _ = self.forward(signals, batch_size, progress)
        return metrics.calibrate(raw, self.artifact.tuning(lead_set).calibration)

    def forward(
        self, signals: np.ndarray, batch_size: int = 256, progress: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Not calibrated probabilities of prepared records, and where they lie in the embedding;
        see ``forward``."""
        return forward(self.artifact.model, self.text_FD, signals, batch_size, progress)

    def findings(
        self,
        probabilities: np.ndarray,
        rule: str = metrics.DEFAULT_RULE,
        sensitivity: float = operating.SENSITIVITY,
        precision: float = operating.PRECISION,
        available: np.ndarray | None = None,
    ) -> list[Finding]:
        """One record's probabilities (n_findings,) as findings, present or not.

        Parameters
        ----------
        probabilities : ndarray of shape (n_findings,), float in [0, 1]
        rule : str
            A threshold rule, or ``sensitivity_0.9`` or ``precision_0.8``, see ``operating``.
        sensitivity, precision : float
            Where ``certainty`` draws its lines.
        available : ndarray of shape (12,), bool, optional
            Leads that the record has, see ``waveform.available``; null: all.

        Raises
        ------
        ValueError
            If the model was saved without thresholds of that rule, sensitivity or precision.
        """
        codes = self.artifact.codes
        if available is None:
            available = np.ones(len(waveform.LEADS), bool)
        tuning = self.artifact.tuning(lead_sets.nearest(available))
        known = tuning.thresholds | tuning.operating
        seen = ~lead_sets.unseen(codes, available)
        low, high = f"sensitivity_{sensitivity:g}", f"precision_{precision:g}"
        for wanted in (rule, low, high) if tuning.operating else (rule,):
            if wanted not in known:
                raise ValueError(
                    f"{wanted}: this model has thresholds for {', '.join(known)}; expected one of "
                    "them"
                )
        present = metrics.apply_thresholds(probabilities[None], known[rule])[0] & seen
        certainty = np.full(len(codes), "", object)
        if tuning.operating:
            certainty = np.where(probabilities >= known[low], "possible", "unlikely").astype(object)
            certainty[present] = "likely"
            certainty[present & (probabilities >= known[high])] = "sure"
            certainty[~seen] = ""
        return [
            Finding(code, name, float(p), float(t), bool(here), str(sure), bool(visible))
            for code, name, p, t, here, sure, visible in zip(
                codes,
                findings.names(codes),
                probabilities,
                known[rule],
                present,
                certainty,
                seen,
                strict=True,
            )
        ]

    def attribute(self, signal: np.ndarray, codes: Sequence[str]) -> np.ndarray:
        """What speaks for findings in a prepared record, see ``explain.attribute``.

        Parameters
        ----------
        signal : ndarray of shape (12, n_samples), int16, uV
        codes : sequence of str, K of them

        Returns
        -------
        ndarray of shape (K, 12, n_samples), float32, log-odds before calibration

        Raises
        ------
        ValueError
            If a code is none of the model's, or captum is not there.
        """
        known = self.artifact.codes
        for code in codes:
            if code not in known:
                raise ValueError(
                    f"{code}: no finding of this model; expected one of {', '.join(known)}"
                )
        columns = [known.index(code) for code in codes]
        return explain.attribute(self.artifact.model, self.text_FD, signal, columns)


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
    """

    record: str
    signal: np.ndarray
    findings: list[Finding]
    warnings: list[str]
    novelty: float | None = None
    similar: list[Similar] = field(default_factory=list)
    course: cut.Course | None = None

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
            **({"windows": self.course.to_json()} if self.course else {}),
        }
        return json.dumps(content, ensure_ascii=False)


def expand(paths: list[str]) -> list[Path]:
    """The records meant: a folder stands for every record below it (``records.find``).

    Raises
    ------
    ValueError
        If nothing is named.
    """
    if not paths:
        raise ValueError("no record named: expected records=[path/to/record, ...]")
    expanded: list[Path] = []
    for path in map(Path, paths):
        # A folder without a record stays as it is named, to be refused like any bad record.
        expanded += (records.find(path) if path.is_dir() else []) or [path]
    return expanded


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


def readable(
    predictor: Predictor,
    paths: list[Path],
    allowed: config.PredictWaveform,
    read: config.ReadConfig | None = None,
) -> Iterator[Prepared | Long]:
    """Each record that can be read, in its place; the errors of the others go to stderr."""
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
            print(f"predict: {config.one_line(error)}", file=sys.stderr)
            continue
        available = waveform.available(record.leads)
        duration_s = record.signal.shape[1] / record.fs
        warnings = []
        if duration_s > spec["duration_s"] + 0.05:
            warnings.append(
                f"only the middle {spec['duration_s']:g} s of {duration_s:g} s were looked at"
            )
        if duration_s < spec["duration_s"] - 0.05:
            warnings.append(f"{duration_s:g} s of signal, padded to {spec['duration_s']:g} s")
        warnings += lead_sets.warnings(record.leads) + flaws(record, spec["duration_s"])
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


def check_report(settings: config.PredictConfig, n_records: int) -> None:
    """Refuse a report before the work, not after it.

    Raises
    ------
    ValueError
        If it is neither HTML nor PDF, or of more records than one reads.
    """
    if settings.report is not None:
        from ecg_siglip import sheet

        sheet.check_path(settings.report)
        if n_records > MOST_SHEETS:
            raise ValueError(
                f"report={settings.report}: {n_records} records; expected {MOST_SHEETS} at most, a "
                "sheet each"
            )
    elif settings.n_reasons:
        raise ValueError("n_reasons: reasons are drawn in a report; expected report=out.html")


def predict(settings: config.PredictConfig) -> int:
    """Answer for every record with one JSON line on stdout; 1 if a record could not be read."""
    paths = expand(settings.records)
    check_report(settings, len(paths))
    if not settings.run.name and settings.model is None:
        raise ValueError("no model named: expected run.name=... or model=...")
    folder = Path(settings.run.root) / settings.run.name / "model"
    if settings.model is None and not folder.is_dir():
        raise ValueError(f"{folder}: no trained model there; expected the name of a finished run")
    ranks = Ranks.join(settings.device)
    if settings.report and ranks.n > 1:
        raise ValueError("report: written by one process; expected no torchrun")
    predictor = Predictor.load(settings.model or folder, settings.device, settings.language)
    about = predictor.artifact.about
    model = f"{about['run']} ({about['version']})"
    batches = [
        paths[start : start + settings.batch_size]
        for start in range(0, len(paths), settings.batch_size)
    ]
    failed, drawn = False, []
    for start in range(0, len(batches), ranks.n):
        mine = batches[start + ranks.rank : start + ranks.rank + 1]
        answers = answered(predictor, mine[0], settings) if mine else []
        all_read = not mine or len(answers) == len(mine[0])
        lines = [answer.to_json(model) for answer in answers]
        for part in ranks.gathered(json.dumps([lines, all_read]).encode()):
            lines, all_read = json.loads(part)
            failed |= not all_read
            if ranks.is_first and lines:
                print("\n".join(lines), flush=True)
        drawn += answers if settings.report else []
    if drawn:
        write_report(settings, predictor, drawn, model)
    ranks.leave()
    return int(failed)


def answered(
    predictor: Predictor, paths: list[Path], settings: config.PredictConfig
) -> list[Answer]:
    """The answers for those records of a batch that could be read."""
    found: list[Answer | None] = []
    waiting: dict[int, Prepared] = {}
    for each in readable(predictor, paths, settings.waveform, settings.read):
        if isinstance(each, Prepared):
            waiting[len(found)] = each
            found.append(None)
            continue
        try:
            found.append(answered_in_windows(predictor, each, settings))
        except (ValueError, OSError) as error:
            print(f"predict: {config.one_line(error)}", file=sys.stderr)
    if waiting:
        signals = np.stack([each.signal for each in waiting.values()])
        raw, embedding_BD = predictor.forward(signals)
        for (i, each), y_prob, place in zip(waiting.items(), raw, embedding_BD, strict=True):
            tuning = predictor.artifact.tuning(lead_sets.nearest(each.available))
            calibrated = metrics.calibrate(y_prob[None], tuning.calibration)[0]
            answer = predictor.findings(calibrated, *levels_of(settings), each.available)
            said = Answer(each.record, each.signal, answer, each.warnings)
            found[i] = with_neighbours(
                said, predictor, place, bool(each.available.all()), settings.n_similar
            )
    return [answer for answer in found if answer]


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
    rows, cosines = known.nearest(embedding_D[None], k)
    similar = [
        Similar(int(known.ecg_id[row]), round(float(cosine), 4), named(known, row, codes))
        for row, cosine in zip(rows[0], cosines[0], strict=True)
    ]
    novelty = float(known.novelty(embedding_D[None])[0])
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
    said = Answer(long.record, signal, answer, warnings, course=course)
    _, place = predictor.forward(signal[None])
    return with_neighbours(said, predictor, place[0], bool(available.all()), settings.n_similar)


def levels_of(settings: config.PredictConfig) -> tuple[str, float, float]:
    """What ``Predictor.findings`` decides and draws its lines by."""
    return rule_of(settings), settings.sensitivity, settings.precision


def write_report(
    settings: config.PredictConfig, predictor: Predictor, answers: list[Answer], model: str
) -> None:
    """A sheet a record, with the reasons for its likeliest findings."""
    # matplotlib takes as long to import as all the rest: only who wants to see it waits for it.
    from ecg_siglip import sheet

    assert settings.report is not None
    fs = float(predictor.artifact.waveform["to_fs"])
    sheets = []
    for answer in tqdm(answers, "sheets", disable=None, leave=False):
        present = sorted((f for f in answer.findings if f.present), key=lambda f: -f.probability)
        asked = [f.code for f in present[: settings.n_reasons]]
        reasons = predictor.attribute(answer.signal, asked) if asked else np.empty(0)
        marks = {code: sheet.strength(r, fs) for code, r in zip(asked, reasons, strict=True)}
        bars = [
            sheet.Bar(f.code, f.name, f.probability, f.threshold, f.present)
            for f in answer.findings
        ]
        signal = waveform.from_int16(answer.signal)
        drawn = sheet.Sheet(answer.record, signal, fs, bars, answer.warnings, marks)
        if answer.course:
            spans = {f.code: answer.course.stretches(f.code) for f in present}
            note, duration_s = answer.course.note(), answer.course.windows.duration_s
            drawn = replace(drawn, note=note, duration_s=duration_s, spans=spans)
        sheets.append(drawn)
    sheet.write(settings.report, sheets, model, rule_of(settings))
    print(f"predict: wrote {settings.report}", file=sys.stderr)


def main() -> None:
    config.run("predict", config.PredictConfig, predict)


if __name__ == "__main__":
    main()

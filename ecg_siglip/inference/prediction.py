"""Predictions: findings with their probabilities, similar records, and their JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ecg_siglip.core.files import UNPRINTABLE
from ecg_siglip.core.translation import ENGLISH
from ecg_siglip.inference.measured_questions import MeasuredQuestion
from ecg_siglip.inference.timeline import Timeline
from ecg_siglip.metrics.likelihood import likelihood_word
from ecg_siglip.readers.identity import DeviceResults, Identity
from ecg_siglip.readers.preparation import RecordedSignal
from ecg_siglip.signals.measurements import Measurements
from ecg_siglip.vocabulary.question_matching import Match


# Not frozen: a record has one for each finding, and a frozen one takes four times as long to make.
@dataclass(slots=True, unsafe_hash=True)
class Finding:
    """A finding of a record: whether it is reported, and how likely it is.

    Attributes
    ----------
    code, name : str
    probability, threshold : float in [0, 1]
    present : bool
        It is reported: the probability reaches the threshold of the operating point, and no
        finding that is present excludes it, see ``metrics.consistency``.
    assessable : bool
        False if its criteria need leads that the record does not have: the finding is then neither
        present nor absent, whatever the probability.
    not_excluded : bool
        It is not reported, but not very unlikely either, or critical: see ``decision``.
    alternative_to : str
        Code of the finding that is reported in its place: both reach their thresholds, they exclude
        each other, and this one is not very unlikely or critical.
    likelihood : str
        Word for the probability alone, see ``metrics.likelihood``.
    """

    code: str
    name: str
    probability: float
    threshold: float
    present: bool
    assessable: bool = True
    not_excluded: bool = False
    alternative_to: str = ""
    likelihood: str = field(init=False)

    def __post_init__(self) -> None:
        self.likelihood = likelihood_word(self.probability)


def alternatives(findings: Iterable[Finding], code: str) -> list[Finding]:
    """Return the findings that another one is reported in place of, the likeliest first."""
    return sorted(
        (finding for finding in findings if finding.alternative_to == code),
        key=lambda finding: -finding.probability,
    )


@dataclass(frozen=True)
class SimilarRecord:
    """A training ECG that is similar to the record, with its labelled findings.

    Attributes
    ----------
    ecg_id : int
        Number of the training record, a hash of its name if that is no number.
    cosine : float
    findings : list of str
    record : str
        Name of the training record as its data set has it.
    """

    ecg_id: int
    cosine: float
    findings: list[str]
    record: str = ""


@dataclass(frozen=True)
class LackingTerm:
    """A term of a question that the vocabulary of a model has no finding for.

    Attributes
    ----------
    name : str
        In the language of the question.
    nearest : tuple of Match
        Findings of the model that are related, but not the same.
    text : str
        The same as a sentence.
    """

    name: str
    nearest: tuple[Match, ...]
    text: str


@dataclass(frozen=True)
class QuestionResult:
    """Findings and measurements that a question is about, and the score of its words.

    Attributes
    ----------
    question : str
    matches : tuple of Match
        Findings of the model whose wording is close to the question, the closest first; empty if
        the question is far from all that the model was trained on, or if the finding that it means
        was held out of training.
    nearest_prompts : tuple of Match
        Findings whose prompts are nearest to the text tower's embedding of the words (cosine);
        empty for a model without text.
    probability : float in [0, 1] or None
        Score of the words as they are written, not calibrated.
    notes : tuple of str
        Remarks that a reader of the result needs, one sentence each.
    language : str
        Of the question, and of names and sentences of the result.
    measured : tuple of MeasuredQuestion
    lacking : tuple of LackingTerm
    """

    question: str
    matches: tuple[Match, ...]
    nearest_prompts: tuple[Match, ...]
    probability: float | None
    notes: tuple[str, ...]
    language: str = ENGLISH
    measured: tuple[MeasuredQuestion, ...] = ()
    lacking: tuple[LackingTerm, ...] = ()

    @property
    def no_match(self) -> bool:
        """Whether the question is about nothing that is known."""
        return not (self.matches or self.measured or self.lacking)

    @property
    def sentences(self) -> list[str]:
        """The measurements and the terms that are lacking, one text each."""
        texts = [each.text(self.language) for each in self.measured]
        return texts + [term.text for term in self.lacking]

    @property
    def misread(self) -> bool:
        """Whether the text tower read the words as another finding: then ignore the probability."""
        codes = [match.code for match in self.matches]
        return bool(self.nearest_prompts) and self.nearest_prompts[0].code not in codes

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a JSON object."""

        def rows(matches: Iterable[Match]) -> list[dict[str, Any]]:
            return [
                {"code": m.code, "name": m.name, "closeness": round(m.closeness, 3)}
                for m in matches
            ]

        return {
            "question": self.question,
            "language": self.language,
            "matches": rows(self.matches),
            "measurements": [each.to_dict(self.language) for each in self.measured],
            "lacking": [
                {"name": term.name, "text": term.text, "nearest": rows(term.nearest)}
                for term in self.lacking
            ],
            "no_match": self.no_match,
            "nearest_prompts": rows(self.nearest_prompts),
            "misread": self.misread,
            "uncalibrated": None if self.probability is None else round(self.probability, 6),
            "notes": list(self.notes),
        }


def json_line(content: dict[str, Any]) -> str:
    """Return a JSON object on one line.

    Control and format characters are escaped as in JSON, so that any name of a record is on one
    line. So are bytes of a name that are not UTF-8, as ``\\udc80`` to ``\\udcff``: of
    ``json.loads(line)["record"]``, ``os.fsencode`` returns the bytes of the path.
    """
    text = json.dumps(content, ensure_ascii=False)
    return UNPRINTABLE.sub(lambda match: json.dumps(match[0])[1:-1], text)


@dataclass(frozen=True)
class Prediction:
    """Findings of a record, with warnings and similar training records.

    Attributes
    ----------
    record : str
        Path of the record.
    signal : ndarray of shape (12, n_samples), int16, uV
        Input of the model; of a long record, the window that supports its findings most.
    findings : list of Finding
        All findings, in the model's order.
    warnings : list of str
    novelty : float in [0, 1], optional
        See ``novelty.Novelty``; null if a lead is missing or the model was saved
        without its training records.
    novelty_parts : dict of str to float in [0, 1]
        Novelty in each of ``novelty.PARTS``; empty without novelty.
    similar : list of SimilarRecord
        Training ECGs, the most similar first, as many as were requested.
    timeline : timeline.Timeline, optional
        When the findings are present, in a record that was cut into windows.
    available : ndarray of shape (12,), bool, optional
        Leads that the record has; null: all.
    questions : list of QuestionResult
        Result of each question.
    model_simulated : bool, optional
        Whether the model was trained on simulated ECGs only; null if it is not noted.
    measurements : Measurements, optional
        Rate, intervals, axes and amplitudes; of a long record, in the window of ``signal``.
    recorded : RecordedSignal, optional
        What ``signal`` was made from, to be drawn.
    identity : Identity
        Time, device and filters as the file states them; patient, age and sex only with
        ``show_ids``.
    device : DeviceResults
        Measurements and statements of the device, as the file states them.
    """

    record: str
    signal: np.ndarray
    findings: list[Finding]
    warnings: list[str]
    novelty: float | None = None
    similar: list[SimilarRecord] = field(default_factory=list)
    timeline: Timeline | None = None
    available: np.ndarray | None = None
    questions: list[QuestionResult] = field(default_factory=list)
    measurements: Measurements | None = None
    recorded: RecordedSignal | None = None
    identity: Identity = Identity()
    device: DeviceResults = DeviceResults()
    model_simulated: bool | None = None
    novelty_parts: dict[str, float] = field(default_factory=dict)

    def alternatives(self, code: str) -> list[Finding]:
        """Return the findings that a finding is reported in place of, the likeliest first."""
        return alternatives(self.findings, code)

    def to_json(self, model: str) -> str:
        """Return the line that ``predict`` prints, see ``json_line`` and ``to_dict``."""
        return json_line(self.to_dict(model))

    def to_dict(self, model: str) -> dict[str, Any]:
        """Return what ``predict`` prints as a JSON object; the likeliest finding comes first."""
        likely = sorted(self.findings, key=lambda f: -f.probability)
        present = [
            {
                "code": f.code,
                "name": f.name,
                "probability": round(f.probability, 6),
                "threshold": round(f.threshold, 6),
                "likelihood": f.likelihood,
                **self._alternatives_json(f.code),
                **({"at_s": self.timeline.at_s(f.code)} if self.timeline else {}),
            }
            for f in likely
            if f.present
        ]
        return {
            "record": self.record,
            "findings": present,
            "not_excluded": [f.code for f in likely if f.not_excluded],
            "not_assessable": [f.code for f in self.findings if not f.assessable],
            "probabilities": {
                f.code: round(f.probability, 6) if f.assessable else None for f in self.findings
            },
            "model": model,
            "model_simulated": self.model_simulated,
            "warnings": self.warnings,
            "novelty": None if self.novelty is None else round(self.novelty, 4),
            "novelty_parts": {name: round(value, 4) for name, value in self.novelty_parts.items()},
            **({"recording": recording} if (recording := self.identity.to_dict()) else {}),
            **({"device": self.device.to_dict()} if self.device else {}),
            **({"measurements": self.measurements.to_dict()} if self.measurements else {}),
            **({"similar": [asdict(each) for each in self.similar]} if self.similar else {}),
            **({"questions": self._questions_json()} if self.questions else {}),
            **({"windows": self.timeline.to_json()} if self.timeline else {}),
        }

    def _alternatives_json(self, code: str) -> dict[str, Any]:
        """Return the findings that a finding was reported in place of, if there are any."""
        rows = [
            {
                "code": f.code,
                "name": f.name,
                "probability": round(f.probability, 6),
                "likelihood": f.likelihood,
            }
            for f in self.alternatives(code)
        ]
        return {"alternatives": rows} if rows else {}

    def _questions_json(self) -> list[dict[str, Any]]:
        """Return the results of the questions, with the predictions of the matching findings."""
        of_code, rows = {f.code: f for f in self.findings}, []
        for result in self.questions:
            row = result.to_dict()
            nearest = [match for term in row["lacking"] for match in term["nearest"]]
            for match in nearest:
                del match["closeness"]
            for match in (*row["matches"], *nearest):
                finding = of_code[match["code"]]
                match["probability"] = round(finding.probability, 6) if finding.assessable else None
                match["present"] = finding.present
                match["likelihood"] = finding.likelihood if finding.assessable else None
            rows.append(row)
        return rows

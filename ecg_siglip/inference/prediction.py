"""Predictions: findings with their probabilities, similar records, and their JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ecg_siglip.inference.sliding_window import Timeline
from ecg_siglip.vocabulary.question_matching import Match


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
    assessable : bool
        False if its criteria lie in leads that the record does not have: then neither present nor
        absent, whatever the probability.
    """

    code: str
    name: str
    probability: float
    threshold: float
    present: bool
    certainty: str = ""
    assessable: bool = True


@dataclass(frozen=True)
class SimilarRecord:
    """A training ECG like the record, with what is known of it."""

    ecg_id: int
    cosine: float
    findings: list[str]


@dataclass(frozen=True)
class QuestionResult:
    """What is made of a question.

    Attributes
    ----------
    question : str
    matches : tuple of Near
        Findings of the model whose words are those of the question, the nearest first; empty if
        the question is far from all that the model was trained on, or means what was kept from it.
    nearest_prompts : tuple of Near
        Findings that the text tower's embedding of the words is nearest to (cosine); empty for a
        model without text.
    probability : float in [0, 1] or None
        What the model says to the words as they are written, not calibrated.
    notes : tuple of str
        What a reader of the answer has to know, a sentence each.
    """

    question: str
    matches: tuple[Match, ...]
    nearest_prompts: tuple[Match, ...]
    probability: float | None
    notes: tuple[str, ...]

    @property
    def no_match(self) -> bool:
        """The words are those of no finding that the model knows."""
        return not self.matches

    @property
    def misread(self) -> bool:
        """The text tower took the words for something else: its probability tells nothing."""
        codes = [near.code for near in self.matches]
        return bool(self.nearest_prompts) and self.nearest_prompts[0].code not in codes

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""

        def rows(near: Iterable[Match]) -> list[dict[str, Any]]:
            return [
                {"code": n.code, "name": n.name, "closeness": round(n.closeness, 3)} for n in near
            ]

        return {
            "question": self.question,
            "matches": rows(self.matches),
            "no_match": self.no_match,
            "nearest_prompts": rows(self.nearest_prompts),
            "misread": self.misread,
            "uncalibrated": None if self.probability is None else round(self.probability, 6),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Prediction:
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
        See ``neighbors.Neighbors.novelty``; null where a lead is missing or the model was saved
        without its training records.
    similar : list of Similar
        Training ECGs, the most similar first, as many as were asked for.
    timeline : sliding_window.Timeline, optional
        When the findings are there, in a record that was cut in windows.
    available : ndarray of shape (12,), bool, optional
        Leads that the record has; null: all.
    questions : list of questions.QuestionResult
        What is made of each question that was asked with the record.
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
                **({"at_s": self.timeline.at_s(f.code)} if self.timeline else {}),
            }
            for f in likely
            if f.present
        ]
        content = {
            "record": self.record,
            "findings": found,
            "not_excluded": [f.code for f in likely if f.certainty == "possible"],
            "not_assessable": [f.code for f in self.findings if not f.assessable],
            "probabilities": {
                f.code: round(f.probability, 6) if f.assessable else None for f in self.findings
            },
            "model": model,
            "warnings": self.warnings,
            "novelty": None if self.novelty is None else round(self.novelty, 4),
            **({"similar": [asdict(each) for each in self.similar]} if self.similar else {}),
            **({"questions": self._questions_json()} if self.questions else {}),
            **({"windows": self.timeline.to_json()} if self.timeline else {}),
        }
        return json.dumps(content, ensure_ascii=False)

    def _questions_json(self) -> list[dict[str, Any]]:
        """What each question means, with what is said of the findings that are meant."""
        of_code, rows = {f.code: f for f in self.findings}, []
        for result in self.questions:
            row = result.to_dict()
            for near in row["matches"]:
                finding = of_code[near["code"]]
                near["probability"] = round(finding.probability, 6) if finding.assessable else None
                near["present"] = finding.present
            rows.append(row)
        return rows

"""Questions in free words about one record: findings, measurements, and the text encoder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ecg_siglip.core.translation import ENGLISH, LANGUAGE_NAMES, Translate, translator
from ecg_siglip.inference.measured_questions import measured_question
from ecg_siglip.inference.prediction import LackingTerm, Prediction, QuestionResult
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.models.artifact import Artifact
from ecg_siglip.signals.measurements import Measurements
from ecg_siglip.signals.preprocessing import from_int16
from ecg_siglip.vocabulary.measurement_questions import MeasurementQuery
from ecg_siglip.vocabulary.other_terms import OtherTerm
from ecg_siglip.vocabulary.plain_text import question_language
from ecg_siglip.vocabulary.question_matching import (
    N_SHOWN,
    NEGATION,
    Match,
    check_question,
    nearest_findings,
    question_subjects,
    without_frame,
)


def question_about(
    predictor: Predictor, prediction: Prediction, question: str, otherwise: str | None = None
) -> QuestionResult:
    """Return the result of a question about a predicted record (as ``interpret_question``)."""
    is_part = prediction.timeline is not None
    return interpret_question(
        predictor, prediction.signal, question, prediction.measurements, is_part, otherwise
    )


def interpret_question(
    predictor: Predictor,
    signal: np.ndarray,
    question: str,
    measurements: Measurements | None = None,
    is_part: bool = False,
    otherwise: str | None = None,
) -> QuestionResult:
    """Match a question in free words to findings and measurements of a record, and score its words.

    Parameters
    ----------
    predictor : Predictor
    signal : ndarray of shape (12, n_samples), int16, uV
        A prepared record, see ``Predictor.prepare``.
    question : str
        At most ``MAX_CHARACTERS`` long.
    measurements : Measurements, optional
        Of the record.
    is_part : bool
        The signal is a part of a longer record.
    otherwise : str, optional
        Language of an abbreviation, or of other words that are in no language or in several. By
        default that of the vocabulary.

    Returns
    -------
    QuestionResult
        In the language of the question. Where it matches findings, their calibrated probabilities
        in the record's ``Prediction`` are the result to use.

    Raises
    ------
    ValueError
        If the question is empty or too long.
    """
    question = check_question(question)
    artifact = predictor.artifact
    otherwise = otherwise or artifact.vocabulary.language
    language = question_language(question, otherwise if otherwise in LANGUAGE_NAMES else ENGLISH)
    _ = translator(language)
    held_out = artifact.provenance.held_out
    known = [*artifact.codes, *held_out]
    subjects = question_subjects(question, known, artifact.vocabulary, language)
    queries = subjects.measurements
    matches = (*subjects.findings, *_same_subject(question, queries, subjects.findings, artifact))
    held_out_match = ""
    if matches and matches[0].code in held_out:
        (held_out_match,) = artifact.vocabulary.names([matches[0].code], language)
        matches = ()
    matches = tuple(match for match in matches if match.code not in held_out)
    probability, nearest_prompts = _score_words(predictor, signal, question)
    result = QuestionResult(
        question,
        _named_in(language, matches, artifact),
        nearest_prompts,
        probability,
        (),
        language,
        tuple(measured_question(query, measurements) for query in queries) if measurements else (),
        tuple(_lacking(term, artifact, language) for term in subjects.lacking),
    )
    notes = _notes(result, _, held_out_match, bool(queries))
    if queries and measurements is None:
        notes.append(_("Rate, intervals and axes were not measured (measurements=false)."))
    elif queries and is_part:
        notes.append(_("Measured in the part of the record that is shown."))
    return replace(result, notes=tuple(notes))


def _notes(result: QuestionResult, _: Translate, held_out: str, is_measurement: bool) -> list[str]:
    """Return remarks about a result; ``held_out`` is the finding that it is about, if it was."""
    notes = []
    if NEGATION.search(result.question.casefold()):
        notes.append(
            _("'no', 'not' and 'without' are not understood: the result is for the finding itself.")
        )
    if held_out:
        text = _(
            "%(name)s was held out of this model's training (data.held_out): only the probability "
            "of the words themselves is available, not calibrated."
        )
        notes.append(text % {"name": held_out})
    elif result.no_match and not is_measurement:
        notes.append(
            _(
                "Nothing that this model knows matches the question. Its words are far from all "
                "that the model was trained on: do not rely on their probability."
            )
        )
    if result.probability is None:
        notes.append(_("This model has no text tower: questions are only matched to its findings."))
    return notes


def _same_subject(
    question: str,
    queries: tuple[MeasurementQuery, ...],
    matches: tuple[Match, ...],
    artifact: Artifact,
) -> list[Match]:
    """Return the findings about the same as a measurement that are not among the matches."""
    matched = {match.code for match in matches}
    codes = dict.fromkeys(
        code
        for query in queries
        for code in query.findings
        if code in artifact.codes and code not in matched
    )
    return nearest_findings(question, [*codes], artifact.vocabulary) if codes else []


def _named_in(language: str, matches: tuple[Match, ...], artifact: Artifact) -> tuple[Match, ...]:
    """Return matches with the names of the findings in a language."""
    names = artifact.vocabulary.names([match.code for match in matches], language)
    return tuple(replace(m, name=name) for m, name in zip(matches, names, strict=True))


def _lacking(term: OtherTerm, artifact: Artifact, language: str) -> LackingTerm:
    """Return a term that the vocabulary lacks, with the nearest findings of the model."""
    _ = translator(language)
    codes = [code for code in term.nearest if code in artifact.codes]
    nearest = _named_in(language, tuple(Match(code, "", 0.0) for code in codes), artifact)
    name = term.name_in(language)
    text = _("No statement for %(name)s in this model's vocabulary.") % {"name": name}
    if nearest:
        names = ", ".join(match.name for match in nearest)
        text += " " + _("Nearest: %(names)s (related, not the same).") % {"names": names}
    return LackingTerm(name, nearest, text)


@torch.inference_mode()
def _score_words(
    predictor: Predictor, signal: np.ndarray, question: str
) -> tuple[float | None, tuple[Match, ...]]:
    """Return the probability of the words as they are written, and the nearest prompts to them."""
    model, codes = predictor.artifact.model, predictor.artifact.codes
    try:
        text_1D = model.encode_text([without_frame(question)])
    except ValueError:  # text=none
        return None, ()
    signal_1LS = torch.from_numpy(from_int16(signal)[None]).to(model.device)
    logit = model.logits(model.encode_ecg(signal_1LS), text_1D).cpu().double()
    # An ensemble's embeddings are not of unit norm.
    cosine_F = torch.nn.functional.cosine_similarity(text_1D, predictor.text_FD).cpu().numpy()
    nearest = np.argsort(-cosine_F, kind="stable")[:N_SHOWN]
    names = predictor.artifact.names
    prompts = [Match(codes[i], names[i], float(np.clip(cosine_F[i], 0, 1))) for i in nearest]
    return float(torch.sigmoid(logit).item()), tuple(prompts)

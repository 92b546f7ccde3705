"""Questions in free words about one record, matched to findings and read by the text encoder."""

from __future__ import annotations

import numpy as np
import torch

from ecg_siglip.inference.prediction import QuestionResult
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.signals.preprocessing import from_int16
from ecg_siglip.vocabulary.question_matching import (
    N_SHOWN,
    NEGATION,
    Match,
    check_question,
    match_question,
    without_frame,
)


def interpret_question(predictor: Predictor, signal: np.ndarray, question: str) -> QuestionResult:
    """Match a question in free words to findings, and score its words for a record.

    Parameters
    ----------
    predictor : Predictor
    signal : ndarray of shape (12, n_samples), int16, uV
        A prepared record, see ``Predictor.prepare``.
    question : str
        At most ``MAX_CHARACTERS`` long.

    Returns
    -------
    QuestionResult
        Where the question matches findings, their calibrated probabilities in the record's
        ``Prediction`` are the result to use.

    Raises
    ------
    ValueError
        If the question is empty or too long.
    """
    question = check_question(question)
    artifact = predictor.artifact
    held_out = artifact.provenance.held_out
    matches = match_question(question, [*artifact.codes, *held_out], artifact.vocabulary)
    held_out_match = matches[0].name if matches and matches[0].code in held_out else ""
    if held_out_match:
        matches = ()
    else:
        matches = tuple(match for match in matches if match.code not in held_out)
    probability, nearest_prompts = _score_words(predictor, signal, question)
    notes = []
    if NEGATION.search(question.casefold()):
        notes.append(
            "'no', 'not' and 'without' are not understood: the result is for the finding itself."
        )
    if held_out_match:
        notes.append(
            f"{held_out_match} was held out of this model's training (data.held_out): only the "
            "probability of the words themselves is available, not calibrated."
        )
    elif not matches:
        notes.append(
            "These words are far from all that the model was trained on: do not rely on the "
            "probability."
        )
    if probability is None:
        notes.append("This model has no text tower: questions are only matched to its findings.")
    return QuestionResult(question, matches, nearest_prompts, probability, tuple(notes))


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
    logit = model.logits(model.encode_ecg(signal_1LS), text_1D).double()
    # An ensemble's embeddings are not of unit norm.
    cosine_F = torch.nn.functional.cosine_similarity(text_1D, predictor.text_FD).cpu().numpy()
    nearest = np.argsort(-cosine_F, kind="stable")[:N_SHOWN]
    names = predictor.artifact.names
    prompts = [Match(codes[i], names[i], float(np.clip(cosine_F[i], 0, 1))) for i in nearest]
    return float(torch.sigmoid(logit).item()), tuple(prompts)

"""Questions in free words about one record, answered by findings and by the text encoder."""

from __future__ import annotations

import numpy as np
import torch

from ecg_siglip.inference.prediction import QuestionResult
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.signals.preprocessing import from_int16
from ecg_siglip.vocabulary import findings
from ecg_siglip.vocabulary.question_matching import (
    N_SHOWN,
    NEGATION,
    Match,
    check_question,
    match_question,
)


def answer_question(predictor: Predictor, signal: np.ndarray, question: str) -> QuestionResult:
    """What a question in free words means to a model, and its answer for a record.

    Parameters
    ----------
    predictor : Predictor
    signal : ndarray of shape (12, n_samples), int16, uV
        As ``Predictor.prepare`` gives it.
    question : str
        At most ``MAX_CHARACTERS`` long.

    Returns
    -------
    Asked
        Where findings are meant, their calibrated probabilities are the answer: those that
        ``Predictor.findings`` gives.

    Raises
    ------
    ValueError
        If the question is empty or too long.
    """
    question = check_question(question)
    unheard = predictor.artifact.provenance.held_out
    meant = match_question(question, [*predictor.artifact.codes, *unheard])
    kept_from_it = meant[0].name if meant and meant[0].code in unheard else ""
    meant = () if kept_from_it else tuple(near for near in meant if near.code not in unheard)
    probability, read_as = _by_text_tower(predictor, signal, question)
    notes = []
    if NEGATION.search(question.casefold()):
        notes.append("'no', 'not' and 'without' are not understood: the answer is for the finding.")
    if kept_from_it:
        notes.append(
            f"{kept_from_it} was kept from this model's training (data.held_out): there is only "
            "what the words come to, not calibrated."
        )
    elif not meant:
        notes.append(
            "These words are far from all that the model was trained on: take nothing from the "
            "probability."
        )
    if probability is None:
        notes.append("This model has no text tower: only its findings can be asked for.")
    return QuestionResult(question, meant, read_as, probability, tuple(notes))


@torch.inference_mode()
def _by_text_tower(
    predictor: Predictor, signal: np.ndarray, question: str
) -> tuple[float | None, tuple[Match, ...]]:
    """The probability of the words as they are written, and the prompts they are nearest to."""
    model, codes = predictor.artifact.model, predictor.artifact.codes
    try:
        text_1D = model.encode_text([question])
    except ValueError:  # text=none
        return None, ()
    signal_1LS = torch.from_numpy(from_int16(signal)[None]).to(model.device)
    logit = model.logits(model.encode_ecg(signal_1LS), text_1D).double()
    # An ensemble's embeddings are not of unit norm.
    cosine_F = torch.nn.functional.cosine_similarity(text_1D, predictor.text_FD).cpu().numpy()
    first = np.argsort(-cosine_F, kind="stable")[:N_SHOWN]
    names = findings.names(codes[i] for i in first)
    near = [
        Match(codes[i], name, float(np.clip(cosine_F[i], 0, 1)))
        for i, name in zip(first, names, strict=True)
    ]
    return float(torch.sigmoid(logit).item()), tuple(near)

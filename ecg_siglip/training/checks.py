"""Checks of training settings that concern more than one setting."""

from __future__ import annotations

from dataclasses import replace

from ecg_siglip import config
from ecg_siglip.core.suggestions import did_you_mean, nearest
from ecg_siglip.datasets.source_settings import check_sources
from ecg_siglip.training.initialization import check_locks
from ecg_siglip.training.targets import parse_terms
from ecg_siglip.vocabulary.question_matching import match_question
from ecg_siglip.vocabulary.vocabulary_file import load_vocabulary


def check_train_settings(settings: config.TrainConfig) -> None:
    """Check settings that exclude each other, before any data are read.

    Raises
    ------
    ValueError
        If some do; the message names the setting to change.
    """
    check_objective(settings)
    check_locks(settings)
    check_vocabulary(settings)
    check_sources(settings.data)
    if not settings.data.train_folds:
        raise ValueError("data.train_folds=[]: expected at least one fold")
    if settings.data.tune_fold in settings.data.train_folds:
        raise ValueError(
            f"data.tune_fold={settings.data.tune_fold}: expected a fold that is not trained on"
        )


def with_language(settings: config.TrainConfig) -> config.TrainConfig:
    """Return the settings with the language of the vocabulary, where they name none."""
    language = settings.text.language or load_vocabulary(settings.vocabulary).language
    return replace(settings, text=replace(settings.text, language=language))


def check_vocabulary(settings: config.TrainConfig) -> None:
    """Check that the vocabulary has the task, language and findings that the settings name.

    Raises
    ------
    ValueError
        If it does not, or cannot be read.
    """
    vocabulary = load_vocabulary(settings.vocabulary)
    codes = list(vocabulary.task(settings.data.task))
    for setting, named in (
        ("data.held_out", settings.data.held_out),
        ("objective.exclude", settings.objective.exclude),
    ):
        for code in [code for code in named if code not in codes]:
            meant = [match.code for match in match_question(code, codes, vocabulary)]
            near = list(dict.fromkeys([*meant, *nearest(code, codes, 0.5)]))[:3]
            hint = did_you_mean(near, f"expected some of {', '.join(codes[:12])}, ...")
            raise ValueError(f"{setting}: {code} is not a finding of this task; {hint}")
    if settings.text.language not in (None, "mixed"):
        try:
            vocabulary.check_language(settings.text.language)
        except ValueError as error:
            raise ValueError(f"text.{error}") from None


def check_objective(settings: config.TrainConfig) -> None:
    """Check that the terms of the objective fit the loss, the text encoder and the teachers.

    Raises
    ------
    ValueError
        If they do not, or are unknown.
    """
    objective = settings.objective
    names = {term.name for term in parse_terms(objective.terms)}
    if objective.loss == "softmax" and objective.n_chunk:
        raise ValueError("objective.n_chunk: only the sigmoid loss has chunks; expected null")
    if objective.loss == "softmax" and objective.across == "ring":
        raise ValueError("objective.across=ring: a softmax needs all texts; expected gather")
    if settings.text.name == "none" and names != {"bank/present"}:
        raise ValueError(
            f"text=none with objective.terms={objective.terms}: without a text encoder only the "
            "findings themselves can be targets; expected objective=bank"
        )
    if objective.teachers and not names <= {"bank/present", "finding/present"}:
        raise ValueError(
            f"objective.teachers with objective.terms={objective.terms}: teachers predict single "
            "findings; expected bank/present or finding/present"
        )

"""Checks of training settings that concern more than one setting."""

from __future__ import annotations

import re

from ecg_siglip import config
from ecg_siglip.training.initialization import check_locks
from ecg_siglip.training.targets import parse_terms
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


def check_sources(data: config.DataConfig) -> None:
    """Check that every data set of a training is fully named.

    Raises
    ------
    ValueError
        If a name is missing, wrong or given twice, a data set has no folder or table or has
        settings of another kind, or the tuning fold has no data set.
    """
    for i, source in enumerate(data.sources or [data]):
        where = f"data.sources[{i}]" if data.sources else "data"
        if data.sources:
            _check_name(where, source.name)
        place = "table" if source.kind == "table" else "root"
        if not getattr(source, place):
            expected = f"the {place} of {source.name}" if data.sources else f"data.{place}=..."
            raise ValueError(f"{where}.{place} is missing; expected {expected}")
        if source.kind != "table" and source.table:
            raise ValueError(
                f"{where}.table={source.table} with kind={source.kind}: expected kind=table"
            )
    names = [source.name for source in data.sources]
    if doubled := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"data.sources: two have the name {doubled[0]}; expected different names")
    if data.sources and data.table:
        raise ValueError(
            f"data.table={data.table} with data.sources: expected the table as one of the sources"
        )
    if data.sources and not any(source.tune for source in data.sources):
        raise ValueError("data.sources: all have tune=false; expected one with tune=true")


def _check_name(where: str, name: str) -> None:
    """Check the name of a data set, which becomes part of file names."""
    if name == config.SourceConfig().name:
        raise ValueError(f"{where}.name is missing; expected the name of the data set")
    if not re.fullmatch(r"\w[\w .+-]*", name):
        raise ValueError(f"{where}.name={name}: expected letters, digits, . _ + and -")


def check_vocabulary(settings: config.TrainConfig) -> None:
    """Check that the vocabulary has the task and the language that the settings name.

    Raises
    ------
    ValueError
        If it does not, or cannot be read.
    """
    vocabulary = load_vocabulary(settings.vocabulary)
    vocabulary.task(settings.data.task)
    if settings.text.language != "mixed":
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

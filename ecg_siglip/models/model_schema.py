"""Types and ranges of what a model's ``config.json`` contains, checked before anything is built.

The types are those of dataclasses, the ranges of encoders and waveform those of ``config.py``.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from ecg_siglip import config as settings
from ecg_siglip.core.files import shown
from ecg_siglip.core.settings import check_settings
from ecg_siglip.models.provenance import Provenance
from ecg_siglip.signals.preprocessing import VERSION
from ecg_siglip.vocabulary.vocabulary import Vocabulary
from ecg_siglip.vocabulary.vocabulary_file import MAX_CODE, MAX_FINDINGS, MAX_TEXT

MAX_STAGES = 16  # of an ECG encoder: each doubles the channels
MAX_MEMBERS = 100
MAX_LINEAGE = 50  # models that a model was derived from, one from the other
MAX_CALIBRATION = 1e4  # slope or intercept; those of trained models are below 20
MAX_LOGIT_BIAS = 100.0
# A threshold above every probability is the next number above 1, see ``tune_thresholds``.
MAX_THRESHOLD = 1.0 + 1e-9


@dataclasses.dataclass
class ArtifactContent:
    """What ``config.json`` contains in addition to the encoders."""

    codes: list[str]
    prompts: list[str]
    waveform: dict[str, Any]
    calibration: list[list[float]]
    thresholds: dict[str, list[float]]
    about: dict[str, Any]
    operating: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    fewer_leads: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    sources: dict[str, dict[str, dict[str, Any]]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class TuningContent:
    """Calibration and thresholds, as ``config.json`` contains them."""

    calibration: list[list[float]]
    thresholds: dict[str, list[float]]
    operating: dict[str, list[float]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class ModelContent:
    """What ``config.json`` contains of the encoders."""

    embed_dim: int
    ecg: dict[str, Any]
    text: dict[str, Any]
    logit_scale: float
    logit_bias: float


def check_encoders(content: Mapping[str, Any]) -> None:
    """Check the settings of both encoders of a model.

    Raises
    ------
    ValueError
        Naming the setting, what was expected and what was found.
    """
    check_types(ModelContent, content)
    values = {key: content[key] for key in ("ecg", "text", "embed_dim") if key in content}
    for key, schema in (("ecg", settings.EcgConfig), ("text", settings.TextConfig)):
        _check_settings(schema, values[key], key)
    # A supervised head has no embedding of its own.
    check_settings(settings.TrainConfig(embed_dim=content["embed_dim"]))
    if len(content["ecg"].get("depths", [])) > MAX_STAGES:
        raise ValueError(f"ecg.depths: expected at most {MAX_STAGES} stages")
    _check_range("logit_scale", content["logit_scale"], 1e-6, 1e6)
    _check_range("logit_bias", content["logit_bias"], -MAX_LOGIT_BIAS, MAX_LOGIT_BIAS)


def check_members(value: Any) -> int:
    """Return the number of members of an ensemble.

    Raises
    ------
    ValueError
        If it is no number from 1 to ``MAX_MEMBERS``.
    """
    if not has_type(value, int) or not 1 <= value <= MAX_MEMBERS:
        raise ValueError(f"members: expected 1 to {MAX_MEMBERS}, got {_short(value)}")
    return int(value)


def check_artifact(content: Mapping[str, Any]) -> None:
    """Check findings, prompts, waveform, calibration, thresholds and provenance of a model.

    Raises
    ------
    ValueError
        Naming the entry, what was expected and what was found.
    """
    check_types(ArtifactContent, content)
    codes, prompts = content["codes"], content["prompts"]
    if not 1 <= len(codes) <= MAX_FINDINGS:
        raise ValueError(f"codes: expected 1 to {MAX_FINDINGS}, got {len(codes)}")
    for what, texts, n_most in (("codes", codes, MAX_CODE), ("prompts", prompts, 4 * MAX_TEXT)):
        if len({*texts}) < len(texts):
            twice = next(text for i, text in enumerate(texts) if text in texts[:i])
            raise ValueError(f"{what}: {shown(twice)} occurs twice")
        if longest := max((text for text in texts if len(text) > n_most), default=""):
            raise ValueError(f"{what}: {shown(longest)} has {len(longest)} characters")
    _check_waveform(content["waveform"])
    tunings = {"": content, **content.get("fewer_leads", {})}
    for source, by_leads in content.get("sources", {}).items():
        if "12" not in by_leads:
            raise ValueError(f"{shown(source)} lacks the tuning of all 12 leads")
        tunings |= {f"{source} {leads}": tuning for leads, tuning in by_leads.items()}
    sizes = {"prompts": len(prompts)}
    for name, tuning in tunings.items():
        sizes |= _check_tuning(shown(name), tuning)
    for part, size in sizes.items():
        if size != len(codes):
            raise ValueError(f"{size} {part}, expected one for each of {len(codes)} codes")
    _check_provenance(content["about"], "about", MAX_LINEAGE)


def check_prompts(codes: tuple[str, ...], prompts: list[str], vocabulary: Vocabulary) -> None:
    """Check that no finding has the prompt of another one: the codes are in their order.

    A prompt that the vocabulary does not contain is that of an earlier version, or edited.

    Raises
    ------
    ValueError
        Naming both findings.
    """
    owners = {
        text: entry.code
        for entry in vocabulary.by_code.values()
        for texts in entry.prompts.values()
        for text in texts
    }
    for code, prompt in zip(codes, prompts, strict=True):
        if owners.get(prompt, code) != code:
            raise ValueError(
                f"{shown(code)} has the prompt of {owners[prompt]}, {shown(prompt)!r}; expected "
                "codes and prompts in the same order"
            )


def _check_waveform(waveform: dict[str, Any]) -> None:
    """Check the settings of signal preparation."""
    ours = {"fs" if key == "to_fs" else key: value for key, value in waveform.items()}
    version = ours.pop("version", 1)
    if not has_type(version, int) or not 1 <= version <= VERSION:
        raise ValueError(f"waveform.version={_short(version)}: expected 1 to {VERSION}")
    for key in ("to_fs", "duration_s", "low_hz", "high_hz", "allow_short", "allow_flat"):
        if key not in waveform:
            raise ValueError(f"waveform lacks {key!r}")
    _check_settings(settings.WaveformConfig, ours, "waveform")


def _check_tuning(name: str, tuning: Mapping[str, Any]) -> dict[str, int]:
    """Check the numbers of calibration and thresholds; return the lengths of the arrays."""
    prefix = f"{name} " if name else ""
    check_types(TuningContent, tuning, prefix)
    for row in tuning["calibration"]:
        if len(row) != 2:
            raise ValueError(f"{prefix}calibration: expected slope and intercept, got {row!r:.80}")
        _check_range(f"{prefix}slope of calibration", row[0], 0.0, MAX_CALIBRATION)
        _check_range(f"{prefix}calibration", row[1], -MAX_CALIBRATION, MAX_CALIBRATION)
    sizes = {f"{prefix}calibration": len(tuning["calibration"])}
    if not tuning["thresholds"]:
        raise ValueError(f"{prefix}thresholds: expected those of one rule at least")
    for key in ("thresholds", "operating"):
        for rule, values in tuning.get(key, {}).items():
            what = f"{prefix}{key}/{shown(rule)}"
            sizes[what] = len(values)
            for value in values:
                _check_range(what, value, 0.0, MAX_THRESHOLD)
    return sizes


def _check_provenance(about: Mapping[str, Any], where: str, n_most: int) -> None:
    """Check the types of a provenance and of the models before it."""
    if n_most == 0:
        raise ValueError(f"{where}: more than {MAX_LINEAGE} models one from the other")
    if "run" not in about:
        raise ValueError(f"{where} lacks 'run'")
    check_types(Provenance, about, f"{where}.", partial=True)
    for before in (about.get("pretrained"), *(about.get("teachers") or ())):
        if before:
            _check_provenance(before, where, n_most - 1)


def _check_settings(schema: type, values: Mapping[str, Any], prefix: str) -> None:
    """Check the settings that a model stores of a group in ``config.py``."""
    check_types(schema, values, f"{prefix}.", partial=True, known=True)
    if "name" not in values and "name" in {f.name for f in dataclasses.fields(schema)}:
        raise ValueError(f"{prefix} lacks 'name'")
    check_settings(schema(**values), f"{prefix}.")


def check_types(
    schema: type,
    values: Mapping[str, Any],
    prefix: str = "",
    partial: bool = False,
    known: bool = False,
) -> None:
    """Check that values have the types of a dataclass.

    Parameters
    ----------
    schema : type
    values : mapping
        As read from JSON.
    prefix : str
        Of the names, for messages.
    partial : bool
        Whether fields without a default may be missing.
    known : bool
        Whether each value must be a field.

    Raises
    ------
    ValueError
        Naming the field, what was expected and what was found.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{prefix.rstrip('. ')}: expected keys with values, got {_short(values)}")
    hints = _hints(schema)
    for field in dataclasses.fields(schema):
        missing = dataclasses.MISSING
        required = field.default is missing and field.default_factory is missing
        if field.name not in values:
            if required and not partial:
                raise ValueError(f"lacks '{prefix}{field.name}'")
        elif not has_type(values[field.name], hints[field.name]):
            expected = field.type if isinstance(field.type, str) else hints[field.name]
            raise ValueError(
                f"{prefix}{field.name}: expected {expected}, got {_short(values[field.name])}"
            )
    if known and (unknown := sorted({*values} - {*hints})):
        raise ValueError(f"{prefix}{shown(unknown[0])}: no setting of this version")


@functools.cache
def _hints(schema: type) -> dict[str, Any]:
    return typing.get_type_hints(schema)


def has_type(value: Any, hint: Any) -> bool:
    """Return whether a value of JSON has a type; numbers must be finite.

    Examples
    --------
    >>> has_type([1, 2], list[int]), has_type([1, True], list[int]), has_type(1, float)
    (True, False, True)
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(has_type(value, each) for each in args)
    if hint is Any:
        return True
    if hint is float:
        return type(value) is int or (type(value) is float and math.isfinite(value))
    if origin in (list, tuple, frozenset):
        return isinstance(value, list) and all(has_type(each, args[0]) for each in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, dict) and all(has_type(each, args[1]) for each in value.values())
    if dataclasses.is_dataclass(hint):
        return isinstance(value, dict)
    return type(value) is hint or (hint is type(None) and value is None)


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    if not (has_type(value, float) and low <= value <= high):
        raise ValueError(f"{name}: expected {low:g} to {high:g}, got {_short(value)}")


def _short(value: Any) -> str:
    """Return a value for a message; a long one in part."""
    return shown(repr(value)) if not isinstance(value, list | dict) else f"{type(value).__name__}"

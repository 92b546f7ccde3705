"""Settings: dataclass fields that carry their help text, unit and range."""

from __future__ import annotations

import dataclasses
import re
import typing
from typing import Any

from ecg_siglip.core.suggestions import did_you_mean, nearest

# What people write for the device cuda.
GPU = re.compile(r"(gpus?|nvidia|cuda)(:?\d+)?", re.IGNORECASE)

# The dotted name of a class.
CLASS_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def setting(
    default: Any,
    doc: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    items: type | None = None,
    texts: bool = False,
    classes: bool = False,
) -> Any:
    """Make a configuration field that carries its own help text and range.

    Parameters
    ----------
    default : value, or a list (copied for each configuration)
    doc : str
        Help text: what the setting does, with the unit.
    low, high : float, optional
        Inclusive range of the number, or of every number in a list.
    choices : tuple of str, optional
        Allowed values.
    items : type, optional
        Dataclass of settings that every item of a list is.
    texts : bool
        The items of a list are sentences, which may contain commas: on the command line a single
        one needs no brackets.
    classes : bool
        The value may also be the dotted name of a class: ``my_package.MyEncoder``.
    """
    metadata = {"doc": doc, "low": low, "high": high, "choices": choices, "items": items}
    metadata |= {"texts": texts, "classes": classes}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def group(schema: type) -> Any:
    """Make a field that holds a group of settings with their defaults."""
    return dataclasses.field(default_factory=schema)


def same_setting(schema: type, name: str) -> Any:
    """Make a field with the default, help text and range of a field of another dataclass.

    Unlike inheritance it leaves the order of the fields to the class that uses it.
    """
    field = {field.name: field for field in dataclasses.fields(schema)}[name]
    if field.default_factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=field.default_factory, metadata=field.metadata)
    return dataclasses.field(default=field.default, metadata=field.metadata)


def check_settings(config: Any, prefix: str = "") -> None:
    """Check that every setting of a configuration is in its range.

    Raises
    ------
    ValueError
        Naming the setting, its value and its range.
    """
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            check_settings(value, f"{name}.")
            continue
        low, high = field.metadata.get("low"), field.metadata.get("high")
        for i, item in enumerate(value if isinstance(value, list) else [value]):
            if item is None:
                continue
            if dataclasses.is_dataclass(item):
                check_settings(item, f"{name}[{i}].")
                continue
            check_choice(name, item, field)
            if low is not None and not item >= low:
                raise ValueError(f"{name}={item}: expected at least {low}")
            if high is not None and not item <= high:
                raise ValueError(f"{name}={item}: expected at most {high}")


def check_choice(name: str, value: Any, field: dataclasses.Field[Any]) -> None:
    """Check that a value is one of the allowed ones of a setting, if it has such.

    Raises
    ------
    ValueError
        Naming the allowed values, and the one that is most like it.
    """
    choices = field.metadata.get("choices")
    if not choices or value in choices:
        return
    if field.metadata.get("classes") and CLASS_NAME.fullmatch(str(value)):
        return
    expected = f"{name}={value}: expected one of {', '.join(choices)}"
    if "cuda" in choices and (match := GPU.fullmatch(str(value))):
        number = (match[2] or "").lstrip(":")
        advice = f"cuda, and the variable CUDA_VISIBLE_DEVICES={number} for this GPU" * bool(number)
        raise ValueError(f"{expected}; did you mean {advice or 'cuda'}?")
    similar = nearest(str(value), choices)
    raise ValueError(f"{expected}; {did_you_mean(similar)}" if similar else expected)


def setting_names(schema: type) -> list[str]:
    """Return the dotted names of all settings of a configuration, in the order of its fields."""
    return [name for name, _ in setting_fields(schema)]


def setting_help(schema: type, name: str) -> str:
    """Return the help text of a setting, with its unit."""
    return str(dict(setting_fields(schema))[name].metadata["doc"])


def setting_fields(schema: type, prefix: str = "") -> list[tuple[str, dataclasses.Field[Any]]]:
    """Return the dotted name and the dataclass field of every setting, those in groups included."""
    hints = typing.get_type_hints(schema)
    fields: list[tuple[str, dataclasses.Field[Any]]] = []
    for field in dataclasses.fields(schema):
        name, inner = f"{prefix}{field.name}", hints[field.name]
        is_group = isinstance(inner, type) and dataclasses.is_dataclass(inner)
        fields += setting_fields(inner, f"{name}.") if is_group else [(name, field)]
    return fields

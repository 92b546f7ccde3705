"""Settings: dataclass fields that carry their meaning, unit and range."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any


def setting(
    default: Any,
    doc: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A configuration field that carries its own meaning, unit and range.

    Parameters
    ----------
    default : value, or a list (copied for each configuration)
    doc : str
        What it does, with the unit.
    low, high : float, optional
        Inclusive range of the number, or of every number in a list.
    choices : tuple of str, optional
        The words allowed.
    """
    metadata = {"doc": doc, "low": low, "high": high, "choices": choices}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def group(schema: type) -> Any:
    """A group of knobs with its defaults."""
    return dataclasses.field(default_factory=schema)


def check_settings(config: Any, prefix: str = "") -> None:
    """Hold every field of a configuration to its range.

    Raises
    ------
    ValueError
        Names the knob, the value it has and the range it must lie in.
    """
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            check_settings(value, f"{name}.")
            continue
        low, high = field.metadata.get("low"), field.metadata.get("high")
        choices = field.metadata.get("choices")
        for item in value if isinstance(value, list) else [value]:
            if item is None:
                continue
            if choices and item not in choices:
                raise ValueError(f"{name}={item}: expected one of {', '.join(choices)}")
            if low is not None and not item >= low:
                raise ValueError(f"{name}={item}: expected at least {low}")
            if high is not None and not item <= high:
                raise ValueError(f"{name}={item}: expected at most {high}")


def setting_names(schema: type) -> list[str]:
    """All knobs of a configuration, dotted, in the order of the page."""
    return [name for name, _ in setting_fields(schema)]


def setting_help(schema: type, name: str) -> str:
    """What a knob does, with its unit."""
    return str(dict(setting_fields(schema))[name].metadata["doc"])


def setting_fields(schema: type, prefix: str = "") -> list[tuple[str, dataclasses.Field[Any]]]:
    hints = typing.get_type_hints(schema)
    found: list[tuple[str, dataclasses.Field[Any]]] = []
    for field in dataclasses.fields(schema):
        name, inner = f"{prefix}{field.name}", hints[field.name]
        is_group = isinstance(inner, type) and dataclasses.is_dataclass(inner)
        found += setting_fields(inner, f"{name}.") if is_group else [(name, field)]
    return found

"""The help page of a command: its settings with their defaults, help text, units and ranges."""

from __future__ import annotations

import dataclasses
import re
import typing
from pathlib import Path
from typing import Any

from ecg_siglip.core.command_schema import CONF_DIR
from ecg_siglip.core.settings import setting_fields


def help_page(command: str, schema: type, summary: str) -> str:
    """Return what ``--help`` prints: every setting with its default, help text, unit and range.

    Parameters
    ----------
    command : str
    schema : type
        Configuration of the command.
    summary : str
        What the command does, on one line.
    """
    lines = [f"python -m ecg_siglip.{command} SETTING=VALUE ...", "", summary, ""]
    if command == "train":
        lines += [*_option_lines(schema), ""]
    lines += ["Settings with their defaults:"]
    defaults = yaml_defaults(command)
    for name, field in setting_fields(schema):
        factory = field.default_factory
        default = field.default if factory is dataclasses.MISSING else factory()
        default = defaults.get(name, default)
        low, high, choices = (field.metadata[key] for key in ("low", "high", "choices"))
        allowed = ", ".join(choices) if choices else ""
        if low is not None:
            allowed = f"{low} to {high}" if high is not None else f"{low} or more"
        shown = "null" if default is None else str(default).replace(" ", "")
        meaning = field.metadata["doc"] + (f" [{allowed}]" if allowed else "")
        lines += [f"  {f'{name}={shown}':34} {meaning}"]
    lines += [
        "",
        "???: required. A list: 'name=[a,b]'. One run for each of several values: name=a,b -m.",
        "To print the composed configuration: --cfg job. Hydra's own flags: --hydra-help.",
    ]
    return "\n".join(lines)


def _option_lines(schema: type) -> list[str]:
    """Return the groups of settings of ``train`` that are chosen by name, with their options."""
    lines = ["Groups of settings with their defaults and options; each option is a file in conf/:"]
    groups = (*typing.get_type_hints(schema), "freeze", "experiment")
    train_yaml = (CONF_DIR / "train.yaml").read_text("utf-8")
    for name in [name for name in groups if (CONF_DIR / name).is_dir()]:
        default = re.search(rf"^  - {name}: (\w+)", train_yaml, re.MULTILINE)
        lines += [f"  {name}={default[1] if default else 'null'}"]
        for path in sorted((CONF_DIR / name).glob("*.yaml")):
            text = path.read_text("utf-8").removeprefix("# @package _global_\n")
            comment = text.partition("\n")[0].removeprefix("# ")
            lines += [f"    {path.stem:18} {comment}"]
    return lines


def yaml_defaults(command: str) -> dict[str, Any]:
    """Return the values that ``conf/<command>.yaml`` and its default groups set, by dotted name."""
    import yaml

    def load(path: Path) -> dict[str, Any]:
        return yaml.safe_load(path.read_text("utf-8")) or {}

    def flatten(tree: dict[str, Any], prefix: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in tree.items():
            is_group = isinstance(value, dict)
            values |= flatten(value, f"{prefix}{key}.") if is_group else {f"{prefix}{key}": value}
        return values

    own = load(CONF_DIR / f"{command}.yaml")
    values: dict[str, Any] = {}
    for entry in own.pop("defaults", []):
        for group_name, option in entry.items() if isinstance(entry, dict) else ():
            path = CONF_DIR / group_name / f"{option}.yaml"
            values |= flatten(load(path), f"{group_name}.") if path.is_file() else {}
    return values | flatten(own, "")

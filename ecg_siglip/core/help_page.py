"""The help page of a command: its settings with their defaults, help text, units and ranges."""

from __future__ import annotations

import dataclasses
import re
import textwrap
from pathlib import Path
from typing import Any

from ecg_siglip.core.command_schema import CONF_DIR, Command


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
    described = Command(command, schema)
    words = ""
    if described.positional:
        kind = "RUN" if described.positional == "runs" else "FILE"
        words = f"[{kind} ...] " if described.takes_many else f"[{kind}] "
    lines = [f"python -m ecg_siglip.{command} {words}SETTING=VALUE ...", "", summary, ""]
    lines += ["Examples:", *(f"  {each}" for each in examples(command)), ""]
    if described.groups:
        lines += [*_option_lines(described), ""]
    lines += ["Settings with their defaults:"]
    defaults = yaml_defaults(command)
    for name, field in described.settings.items():
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
        *[f"{words}is short for {described.positional}=...; after -- every word is one."]
        * bool(words),
        "To print the composed configuration: --cfg job. Hydra's own flags: --hydra-help.",
    ]
    return "\n".join(lines)


def fit_width(page: str, width: int) -> str:
    """Return a help page with lines of at most ``width`` characters, for a terminal.

    The rest of a long line is below the meaning of the setting or option.
    """
    lines = []
    for line in page.splitlines():
        match = re.match(r"( {2,}\S+ {2,})\S", line)
        indent = min(len(match[1]), width // 2) if match else len(line) - len(line.lstrip()) + 2
        wrapped = textwrap.wrap(
            line, width, subsequent_indent=" " * indent, break_long_words=False,
            break_on_hyphens=False, drop_whitespace=True,
        )  # fmt: skip
        lines += wrapped or [""]
    return "\n".join(lines)


def examples(command: str) -> list[str]:
    """Return the command lines at the top of ``conf/<command>.yaml``."""
    text = (CONF_DIR / f"{command}.yaml").read_text("utf-8")
    return re.findall(r"^# (python -m .*?)(?:   \(.*)?$", text, re.MULTILINE)


def _option_lines(command: Command) -> list[str]:
    """Return the groups of settings that are chosen by name, with their options."""
    lines = ["Groups of settings with their defaults and options; each option is a file in conf/:"]
    text = (CONF_DIR / f"{command.name}.yaml").read_text("utf-8")
    for name, options in command.groups.items():
        default = re.search(rf"^  - {name}: (\w+)", text, re.MULTILINE)
        lines += [f"  {name}={default[1] if default else 'null'}"]
        for option in options:
            text_of_option = (CONF_DIR / name / f"{option}.yaml").read_text("utf-8")
            first = text_of_option.removeprefix("# @package _global_\n").partition("\n")[0]
            lines += [f"    {option:18} {first.removeprefix('# ')}"]
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

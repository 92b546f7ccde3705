"""Errors for words of a command line that are no setting: what was meant, on one line."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from ecg_siglip.core.command_schema import Command, is_list, is_optional
from ecg_siglip.core.suggestions import (
    any_of,
    did_you_mean,
    nearest,
    nearest_settings,
    same_names,
    similar_names,
)

MAX_OPTIONS, MAX_SETTINGS = 12, 3  # that an error lists
RUN_NAME = "run.name"


def flag_mistake(command: Command, words: Sequence[str], i: int) -> str:
    """Return an error for a word with a dash that is no flag: ``--batch-size 4``."""
    word, next_word = words[i], _next(words, i)
    flag, equals, value = word.partition("=")
    if command.positional and os.path.lexists(word):
        return f"{word}: a name with a dash; expected ./{word}, or -- before it"
    name = flag.lstrip("-").replace("-", "_")
    names = nearest_settings(name, {**command.settings, **dict.fromkeys(command.groups)})
    if not names:
        files = ", files with a dash are named after --" * bool(command.positional)
        return f"{word}: no flag of {command.name}; settings are SETTING=VALUE{files}, see --help"
    has_value = not equals and next_word and "=" not in next_word and next_word[0] != "-"
    shown = f"{word} {next_word}" if has_value else word
    value = value or (next_word if has_value else "VALUE")
    hint = did_you_mean([shlex.quote(f"{each}={value}") for each in names])
    return f"{shown}: settings have no dashes; {hint}"


def lone_word_mistake(command: Command, words: Sequence[str], i: int) -> str:
    """Return an error for a word without ``=`` where the command takes none."""
    word, next_word = words[i], _next(words, i)
    if next_word[:1] == "=":
        value = next_word[1:] or _next(words, i + 1) or "VALUE"
        return f"{word} = {value}: expected no spaces around =: {shlex.quote(f'{word}={value}')}"
    names: dict[str, None] = {**dict.fromkeys(command.settings), **dict.fromkeys(command.groups)}
    if mistake := _divided_value(command, words, i):
        return mistake
    if near := [word] if word in names else same_names(word, names):
        value = next_word if next_word and "=" not in next_word else "VALUE"
        return f"{word}: expected {any_of([shlex.quote(f'{each}={value}') for each in near])}"
    options = [f"{group}={word}" for group, all_ in command.groups.items() if word in all_]
    meant = [f"{RUN_NAME}={word}"] * is_run(command, words, word) + options[-1:]
    return f"{word}: expected SETTING=VALUE; {did_you_mean(meant)}"


def file_mistake(command: Command, words: Sequence[str], i: int) -> str:
    """Return an error for a word that is taken for a file, but is none; empty if there is none."""
    word = words[i]
    if os.path.lexists(word) or re.search(r"[*?\[]|^[@~-]|://", word):
        return ""
    if mistake := _divided_value(command, words, i):
        return mistake
    has_parts = any(Path(word).parent.glob(f"{re.sub(r'[*?[]', '?', Path(word).name)}.*"))
    if not has_parts and command.positional != "runs" and is_run(command, words, word):
        return f"{word}: no such file; {did_you_mean([f'{RUN_NAME}={word}'])}"
    return ""


def _divided_value(command: Command, words: Sequence[str], i: int) -> str:
    """Return an error for a value with spaces that the shell has divided; empty if it is none."""
    start = next((k for k in range(i - 1, -1, -1) if "=" in words[k]), None)
    if start is None or words[i][:1] in "-@":
        return ""
    name, _, value = words[start].partition("=")
    field = command.settings.get(name)
    if field is None or not str(field.type).startswith(("str", "list[str]")):
        return ""
    end = next((k for k in range(i, len(words)) if "=" in words[k]), len(words))
    whole = " ".join([value, *words[start + 1 : end]])
    # A file after a setting is no part of it, unless both together are one.
    is_path = value[-1:] == "," or (value and os.path.lexists(os.path.expanduser(whole)))
    if not (field.metadata["texts"] or is_path):
        return ""
    text = f"{name}={whole}"
    return f"{text}: a value with spaces needs quotes for the shell: {shlex.quote(text)}"


def bracket_mistake(words: Sequence[str], i: int) -> str:
    """Return an error for a list that the shell has divided; empty if there is none."""
    value = words[i].partition("=")[2]
    if not value.startswith("[") or "]" in value or os.path.lexists(value):
        return ""
    end = next((k for k in range(i + 1, len(words)) if words[k].endswith("]")), None)
    if end is None:
        return ""
    whole = " ".join(words[i : end + 1])
    return f"{whole}: a list with spaces needs quotes for the shell: {shlex.quote(whole)}"


def empty_mistake(command: Command, words: Sequence[str], i: int) -> str:
    """Return an error for a setting without a value."""
    name, next_word = words[i].partition("=")[0].lstrip("+"), _next(words, i)
    if (
        next_word
        and "=" not in next_word
        and next_word[0] != "-"
        and not os.path.lexists(next_word)
    ):
        whole = shlex.quote(f"{name}={next_word}")
        return f"{name}= {next_word}: expected no space after =: {whole}"
    if name in command.groups:
        return f"{name}=: expected one of {_options(command, name)}"
    field = command.settings[name]
    advice = f"; for none: '{name}=[]'" if is_list(field) else ""
    return f"{name}=: expected a value{' or null' * is_optional(field)}{advice}"


def unknown_mistake(command: Command, name: str, value: str) -> str:
    """Return an error for a name that is no setting of the command."""
    names = {**command.settings, **dict.fromkeys(command.groups)}
    expected = f"{name}: expected a setting of {command.name}"
    if not name:
        return f"={value}: expected SETTING=VALUE, without spaces around ="
    if name in command.parents:
        return f"{name}={value}: a group of settings; expected {_some_of(command, name)}"
    if same := same_names(name, names):
        return f"{expected}; {did_you_mean(same)}"
    if others := command.others_with(name):
        near = similar_names(name, names)
        hint = f"; {did_you_mean(near)}" if near else ""
        listed = any_of(others, "and")
        return f"{name}: a setting of {listed}, not of {command.name}{hint}"
    if near := nearest_settings(name, names):
        return f"{expected}; {did_you_mean(near)}"
    parent = name.rpartition(".")[0]
    hint = f"such as {_some_of(command, parent)}" if parent in command.parents else "see --help"
    return f"{expected}; {hint}"


def option_mistake(command: Command, group: str, value: str) -> str:
    """Return an error for an option that a group of settings does not have."""
    options = command.groups[group]
    expected = f"{group}={value}: expected one of {_options(command, group)}"
    path = Path(value)
    if path.suffix in (".yaml", ".yml"):
        if path.stem in options:
            return f"{expected}; {did_you_mean([f'{group}={path.stem}'])}"
        folder = path.parent.parent if path.parent.name == group else Path("FOLDER")
        return (
            f"{group}={value}: expected the name of an option; for a file of your own: "
            f"--config-dir {folder} {group}={path.stem}, with {folder}/{group}/{path.stem}.yaml"
        )
    leaf = f"{group}.{'root' if path.is_dir() or not path.suffix else 'table'}"
    if ("/" in value or path.suffix or path.exists()) and leaf in command.settings:
        return f"{expected}; {did_you_mean([f'{leaf}={value}'])}"
    elsewhere = [f"{other}={value}" for other, all_ in command.groups.items() if value in all_]
    similar = elsewhere or nearest(value, options)
    return f"{expected}; {did_you_mean(similar)}" if similar else expected


def repeated_mistake(command: Command, name: str, words: Sequence[str]) -> str:
    """Return an error for a list or group that is given several times with different values."""
    given = [word for word in words if word.partition("=")[0].lstrip("+") == name]
    field = command.settings.get(name)
    one = f"one list: '{name}=[a,b]'" if field is not None and is_list(field) else "one of them"
    return f"{name} is given several times: {' '.join(given)}; expected {one}"


def is_run(command: Command, words: Sequence[str], word: str) -> bool:
    """Return whether a word is the name of a run."""
    if RUN_NAME not in command.settings or not word.strip("./"):
        return False
    roots = [each.partition("=")[2] for each in words if each.startswith("run.root=")]
    folder = Path(roots[0] if roots else "runs") / word
    return (folder / "config.yaml").is_file() or (folder / "model").is_dir()


def _some_of(command: Command, parent: str) -> str:
    """Return the first settings of a group, for an error."""
    names = [f"{name}=..." for name in command.parents[parent]]
    listed = ", ".join(names[:MAX_SETTINGS])
    return f"{listed} and {len(names) - MAX_SETTINGS} more" if names[MAX_SETTINGS:] else listed


def _options(command: Command, group: str) -> str:
    options = command.groups[group]
    return ", ".join(options) if len(options) <= MAX_OPTIONS else f"{len(options)} in --help"


def _next(words: Sequence[str], i: int) -> str:
    return words[i + 1] if i + 1 < len(words) else ""

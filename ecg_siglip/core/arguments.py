"""The words of a command line, as people type them, to arguments of Hydra.

A word is a setting (``optim.lr=1e-3``), an option of a group (``ecg=transformer``), a flag of Hydra
(``-m``) or, where a command takes them, the name of a file.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path

from ecg_siglip.core.command_schema import Command, is_list, is_mapping
from ecg_siglip.core.setting_values import hydra_value, quoted
from ecg_siglip.core.word_mistakes import (
    bracket_mistake,
    empty_mistake,
    file_mistake,
    flag_mistake,
    lone_word_mistake,
    option_mistake,
    repeated_mistake,
    unknown_mistake,
)

FLAGS = (
    *("--hydra-help", "--resolve", "--run", "-r", "--multirun", "-m"),
    *("--shell-completion", "-sc"),
)
FLAGS_WITH_VALUE = (
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"),
    *("--config-dir", "-cd", "--experimental-rerun"),
)
CFG_KINDS = ("job", "hydra", "all")
INFO, INFO_KINDS = ("--info", "-i"), ("all", "config", "defaults", "defaults-tree", "plugins")
MULTIRUN = {"-m", "--multirun", "hydra.mode=MULTIRUN"}


def hydra_arguments(name: str, schema: type, words: Sequence[str]) -> list[str]:
    """Return the arguments of Hydra for the words of a command line: flags, then overrides.

    Parameters
    ----------
    name : str
        Of the command.
    schema : type
        Dataclass of its settings.
    words : sequence of str
        Words after ``--`` are names of files, whatever is in them.

    Raises
    ------
    ValueError
        For a word that is no setting, option, flag or file, and for a value that the setting cannot
        have. The message is one line and names what is like it.
    """
    end = words.index("--") if "--" in words else len(words)
    files = list(words[end + 1 :])
    flags, words = _split_flags(words[:end])
    command = Command(name, schema, _config_folders(flags))
    if files and not command.positional:
        raise ValueError(f"--: {name} takes no files; expected SETTING=VALUE, see --help")
    many = not MULTIRUN.isdisjoint([*flags, *words])
    # Only Hydra knows the groups and options of further places.
    is_open = any(word.startswith("hydra.searchpath") for word in words)
    overrides: dict[str, str] = {}
    named = list[str]()
    for i, word in enumerate(words):
        key = word.partition("=")[0].lstrip("+~")
        if is_file(command, word):
            _raise(file_mistake(command, words, i))
            named.append(word)
        elif key.startswith("hydra") or (is_open and "=" in word):
            overrides[key] = word
        else:
            override = _override(command, words, i, many)
            # Of one value the last counts, so that a script can put "$@" after its own settings.
            if overrides.get(key, override) != override and not is_scalar(command, key):
                raise ValueError(repeated_mistake(command, key, words))
            overrides[key] = override
    _add_files(command, overrides, [*named, *files])
    return [*flags, *overrides.values()]


def is_scalar(command: Command, name: str) -> bool:
    """Return whether a name is that of a setting with one value, neither a list nor a group."""
    field = command.settings.get(name)
    return field is not None and not is_list(field)


def is_file(command: Command, word: str) -> bool:
    """Return whether a word is the name of a file, not a setting.

    A name with ``=`` is one if it is not that of a setting and the file exists, or if there are
    slashes or wildcards before ``=``, as in ``./seed=1.csv``.
    """
    if not command.positional or re.match("-.", word):
        return False
    key, equals, _ = word.partition("=")
    name = key.lstrip("+~")
    if name in command.settings or name in command.groups or name in command.parents:
        return not equals and os.path.lexists(word)
    if not equals:
        return True
    return bool(re.search(r"[/\\*?\[]|^@", key)) or os.path.lexists(word)


def _split_flags(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the flags of Hydra with their values, and the other words."""
    flags, others = list[str](), list[str]()
    rest = iter(words)
    for word in rest:
        flag, equals, _ = word.partition("=")
        if word in (*FLAGS, *INFO) or (equals and word[:2] == "--" and flag in FLAGS_WITH_VALUE):
            flags.append(word)
        elif word in FLAGS_WITH_VALUE:
            value = next(rest, None)
            if value is None:
                raise ValueError(f"{word}: expected a value after it")
            if word in ("--cfg", "-c") and value not in CFG_KINDS:
                raise ValueError(f"{word} {value}: expected one of {', '.join(CFG_KINDS)}")
            flags += [word, value]
        elif flags and flags[-1] in INFO and word in INFO_KINDS:
            flags.append(word)
        else:
            others.append(word)
    return flags, others


def _config_folders(flags: Sequence[str]) -> tuple[Path, ...]:
    """Return the folders of the user's own options."""
    names = ("--config-dir", "-cd")
    values = [b for a, b in itertools.pairwise(flags) if a in names]
    values += [flag.partition("=")[2] for flag in flags if flag.startswith("--config-dir=")]
    return tuple(map(Path, values))


def _override(command: Command, words: Sequence[str], i: int, many: bool) -> str:
    """Return the override of a word, which is a setting or an option."""
    word = words[i]
    if re.match("-.", word):
        raise ValueError(flag_mistake(command, words, i))
    key, equals, value = word.partition("=")
    name = key.lstrip("+~")
    for old in (word.lstrip("+~"), name):
        if old in command.renamed:
            raise ValueError(f"{old}: renamed to {command.renamed[old]}")
    if key.startswith("~"):
        if name in command.settings or name not in command.groups:
            raise ValueError(
                f"{word}: a setting cannot be left out; without it the default is used"
            )
        return word
    if not equals:
        raise ValueError(lone_word_mistake(command, words, i))
    _raise(bracket_mistake(words, i))
    is_group, is_setting = name.partition("@")[0] in command.groups, name in command.settings
    if not value and (is_group or is_setting):
        raise ValueError(empty_mistake(command, words, i))
    if is_group:
        return f"{name}={_option(command, name.partition('@')[0], value, many)}"
    if is_setting:
        field = command.settings[name]
        return f"{name}={hydra_value(command.schema, name, field, value, many)}"
    parent = command.settings.get(name.rpartition(".")[0])
    if parent is not None and is_mapping(parent):
        return f"++{name}={value}"
    if command.folders or (name in command.parents and value.startswith("{")):
        return word  # a folder of the user's may have further groups
    raise ValueError(unknown_mistake(command, name, value))


def _option(command: Command, group: str, value: str, many: bool) -> str:
    """Return the option of a group, or the options of several runs."""
    if re.match(r"\[|\$\{|\w+\(", value):  # only Hydra can read it
        return value
    if "," in value and not many:
        raise ValueError(f"{group}={value}: expected one option; several runs need -m")
    options = []
    for option in value.split(","):
        alias = command.aliases.get(f"{group}={option}", f"{group}={option}")
        options.append(alias.partition("=")[2])
        if options[-1] not in (*command.groups[group], "null"):
            raise ValueError(option_mistake(command, group, options[-1]))
    return ",".join(options)


def _add_files(command: Command, overrides: dict[str, str], files: Sequence[str]) -> None:
    """Add names of files to the setting of the command that takes them."""
    name = command.positional
    if not files:
        return
    given = overrides.get(name, f"{name}=[]" if command.takes_many else "")
    if not command.takes_many and (given or len(files) > 1):
        what = f"{given} and {files[0]}" if given else ", ".join(files)
        raise ValueError(f"{what}: expected one file ({name})")
    names = [os.path.expanduser(file) if file.startswith("~") else file for file in files]
    items = ",".join(map(quoted, names))
    if not command.takes_many:
        overrides[name] = f"{name}={items}"
        return
    if not given.endswith("]"):
        raise ValueError(f"{given} and {files[0]}: expected files, or {name}=[...]")
    separator = "" if given.endswith("=[]") else ","
    overrides[name] = f"{given[:-1]}{separator}{items}]"


def _raise(mistake: str) -> None:
    """Raise an error if there is a mistake."""
    if mistake:
        raise ValueError(mistake)

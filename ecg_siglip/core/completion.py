"""Completion for shells: what can follow the words of an unfinished command line.

The script of a shell passes the line on to ``ecg-siglip --complete``, which prints one candidate
per line. Neither torch nor Hydra is imported.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ecg_siglip.core.arguments import CFG_KINDS, FLAGS, FLAGS_WITH_VALUE
from ecg_siglip.core.command_schema import Command, is_list, is_optional

MODULE = re.compile(r"ecg_siglip(?:\.(\w+)(?:\.__main__)?)?\Z")
ONLY_RUNS = ("run.name", "runs", "objective.teachers", "baseline")
STARTS = ("init", "ecg.weights")  # a run, the folder of a model, or default
LONG_FLAGS = [flag for flag in (*FLAGS, *FLAGS_WITH_VALUE, "--help", "--info") if flag[:2] == "--"]
MAX_FILES = 1000

BASH = r"""_ecg_siglip() {
    local line="${COMP_LINE:0:COMP_POINT}" found
    local -a program=("${COMP_WORDS[0]/#\~/$HOME}")
    COMPREPLY=()
    if [[ "$line" == *"-m ecg_siglip"* ]]; then
        program+=(-m ecg_siglip)
    elif [[ "${program[0]##*/}" != ecg-siglip* ]]; then
        return
    fi
    while IFS= read -r found; do
        [[ -n "$found" ]] && COMPREPLY+=("$found")
    done < <("${program[@]}" --complete bash "$line" "$COMP_WORDBREAKS" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == *[=/] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o bashdefault -o default -F _ecg_siglip ecg-siglip
"""
ZSH = r"""#compdef ecg-siglip
_ecg_siglip() {
    local -a found
    if [[ "${words[1]:t}" == ecg-siglip* ]]; then
        found=("${(@f)$("${(Q)words[1]}" --complete zsh "$LBUFFER" 2>/dev/null)}")
    elif [[ "$LBUFFER" == *"-m ecg_siglip"* ]]; then
        found=("${(@f)$("${(Q)words[1]}" -m ecg_siglip --complete zsh "$LBUFFER" 2>/dev/null)}")
    else
        _default
        return
    fi
    compadd -S '' -- ${(M)found:#*[=/]}
    compadd -- ${found:#(*[=/]|)}
}
compdef _ecg_siglip ecg-siglip
"""
FISH = r"""function _ecg_siglip
    set -l program (commandline -opc)[1]
    $program --complete fish (commandline -cp) 2>/dev/null
end
complete -c ecg-siglip -f -a '(_ecg_siglip)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def script(shell: str) -> str:
    """Return the code that makes a shell complete the words of ``ecg-siglip``.

    Raises
    ------
    ValueError
        If the shell is unknown.
    """
    if shell not in SCRIPTS:
        raise ValueError(f"--completion {shell}: expected one of {', '.join(SCRIPTS)}")
    return SCRIPTS[shell]


def complete_line(
    shell: str,
    line: str,
    breaks: str,
    commands: Sequence[str],
    schema_of: Callable[[str], type],
) -> list[str]:
    """Return what can stand in place of the last word of a line.

    Parameters
    ----------
    shell : str
        ``bash`` gets the part after the last character of ``breaks`` in the word, with backslashes
        before special characters; other shells get whole words as they are.
    line : str
        The line up to the cursor.
    breaks : str
        Characters at which bash divides words, ``COMP_WORDBREAKS``.
    commands : sequence of str
    schema_of : function
        Returns the dataclass of a command.
    """
    words, is_quoted = split_line(line)
    before, word = words[:-1], words[-1]
    found = candidates(before, word, commands, schema_of)
    if shell != "bash":
        return found
    start = max((word.rfind(char) + 1 for char in breaks if char in "=:"), default=0)
    parts = [each[start:] if each.startswith(word[:start]) else each for each in found]
    return parts if is_quoted else [re.sub(r"([^\w@%+=:,./~\[\]-])", r"\\\1", p) for p in parts]


def split_line(line: str) -> tuple[list[str], bool]:
    """Return the words of an unfinished line, and whether the last one has an open quote."""
    for mark in ("", "'", '"'):
        try:
            words = shlex.split(f"{line}{mark}")
        except ValueError:
            continue
        is_new = not mark and (not line or line[-1].isspace()) and not line.endswith("\\ ")
        return [*words, *[""] * (is_new or not words)], bool(mark)
    return [*line.split(" ")], False


def candidates(
    before: Sequence[str], word: str, commands: Sequence[str], schema_of: Callable[[str], type]
) -> list[str]:
    """Return what can stand in place of a word, after the words before it."""
    name, given = _command_of(before)
    if not name:
        flags = ["--help", "--version", "--completion"] if word.startswith("-") else []
        return _starting([*commands, *flags], word)
    if name not in commands:
        return _starting(SCRIPTS, word) if name == "--completion" else []
    command = Command(name, schema_of(name))
    if given and given[-1] in FLAGS_WITH_VALUE:
        return _starting(CFG_KINDS, word) if given[-1] in ("--cfg", "-c") else _files(word)
    if word.startswith("-") and word != "-":
        return _starting(LONG_FLAGS, word)
    key, equals, value = word.partition("=")
    if equals and (key in command.settings or key in command.groups):
        return [f"{key}={each}" for each in _values(command, key, value, given)]
    names = [*command.settings, *command.groups]
    taken = {each.partition("=")[0] for each in given}
    found = _starting([f"{each}=" for each in names if each not in taken], word)
    if command.positional:
        found += _values(command, command.positional, word, given)
    if not found:  # lr: optim.lr=, if there is one such setting
        leaves = [each for each in names if each.rpartition(".")[2].startswith(word)]
        found = [f"{each}=" for each in leaves] if len(leaves) == 1 else []
    return found


def _command_of(words: Sequence[str]) -> tuple[str, list[str]]:
    """Return the command that a line names, or "", and the words after it."""
    if "-m" in words and Path(words[0]).name != "ecg-siglip":
        after = [*words[words.index("-m") + 1 :]]
        match = MODULE.match(after[0]) if after else None
        if match is None:
            return "", []
        if match[1]:
            return match[1], after[1:]
        words = after
    return (words[1], [*words[2:]]) if len(words) > 1 else ("", [])


def _values(command: Command, name: str, value: str, given: Sequence[str]) -> list[str]:
    """Return the values of a setting or group that begin with a text."""
    if name in command.groups:
        return _starting([*command.groups[name], *_aliases(command, name)], value)
    field = command.settings[name]
    if is_list(field) and (match := re.match(r"(\[(?:.*,)?)([^,]*)\Z", value)):
        return [f"{match[1]}{each}" for each in _values(command, name, match[2], given)]
    if field.metadata["choices"]:
        return _starting(field.metadata["choices"], value)
    if str(field.type).startswith("bool"):
        return _starting(["true", "false"], value)
    if not str(field.type).startswith(("str", "list[str]")):
        return _starting(["null"] * is_optional(field), value)
    runs = _runs(given) if name in (*ONLY_RUNS, *STARTS) else []
    if found := _starting([*runs, *["default"] * (name in (*STARTS, "model"))], value):
        return found
    return [] if name in ONLY_RUNS and "/" not in value else _files(value)


def _aliases(command: Command, group: str) -> list[str]:
    pairs = [each.partition("=") for each in command.aliases]
    return [option for name, _, option in pairs if name == group]


def _runs(given: Sequence[str]) -> list[str]:
    """Return the names of the runs in the folder of all runs."""
    roots = [each.partition("=")[2] for each in given if each.startswith(("run.root=", "root="))]
    root = Path(roots[-1] if roots else "runs")
    return sorted({path.parent.name for path in root.glob("*/config.yaml")})


def _files(start: str) -> list[str]:
    """Return files and folders whose path begins with a text; folders end with a slash."""
    folder, name = os.path.split(start)
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:
            found = [(e.name, e.is_dir()) for e in entries if e.name.startswith(name)]
    except OSError:
        return []
    shown = [each for each in sorted(found)[:MAX_FILES] if name[:1] == "." or each[0][0] != "."]
    return [os.path.join(folder, each) + "/" * is_folder for each, is_folder in shown]


def _starting(words: Iterable[str], start: str) -> list[str]:
    return [word for word in words if word.startswith(start)]

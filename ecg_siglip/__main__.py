"""Run a command: ``ecg-siglip COMMAND SETTING=VALUE ...`` or ``python -m ecg_siglip COMMAND ...``.

Each command is a module of its own and also runs as ``python -m ecg_siglip.<command>``, which is
the form that torchrun needs. Only the module of the requested command is imported.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from ecg_siglip import __doc__ as package_doc
from ecg_siglip import __version__
from ecg_siglip.core.command_line import quiet_if_stdout_closes, stop_after_interrupt
from ecg_siglip.core.suggestions import did_you_mean, nearest

# In the order of a first use, for the help page.
COMMANDS = (
    *("simulate", "ptbxl", "vocabulary", "check", "train", "adapt", "evaluate", "predict"),
    *("compare", "ensemble", "export", "app"),
)


def module_name(command: str) -> str:
    """Return the module of a command: of its own name, or that which runs a package of the name."""
    is_package = Path(__file__).with_name(command).is_dir()
    return f"ecg_siglip.{command}" + (".__main__" if is_package else "")


def command_summary(command: str) -> str:
    """Return the first line of a command's docstring, read without an import of the module."""
    folder = Path(__file__).parent
    path = folder.joinpath(*module_name(command).split(".")[1:]).with_suffix(".py")
    source = path.read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def help_text() -> str:
    """Return the help page: the usage, each command with its summary, where to read more."""
    return "\n".join(
        [
            "ecg-siglip COMMAND SETTING=VALUE ...",
            "",
            (package_doc or "").partition("\n")[0],
            "",
            "Commands:",
            *(f"  {command:10} {command_summary(command)}" for command in COMMANDS),
            "",
            "First steps:",
            "  ecg-siglip predict FILE ...                 findings of ECG files, as JSON",
            "  ecg-siglip app                              the same in a browser",
            "  ecg-siglip check ecgs.csv                   what is in a table of your own ECGs",
            "  ecg-siglip simulate data.root=data/demo     ECGs to try a training with",
            "  ecg-siglip train experiment=demo run.name=demo",
            "",
            "Settings of a command: ecg-siglip COMMAND --help. Version: ecg-siglip --version.",
            "Completion in the shell: ecg-siglip --completion bash, zsh or fish.",
            "Each command also runs as a module: python -m ecg_siglip.COMMAND SETTING=VALUE ...",
        ]
    )


def meant_commands(word: str) -> list[str]:
    """Return the commands that an unknown word may stand for: by name, a file, or by summary."""
    if commands := nearest(word.lstrip("-"), COMMANDS):
        return commands
    if Path(word).exists():
        return [f"predict {word}"]
    pattern = re.compile(rf"\b{re.escape(word)}", re.IGNORECASE)
    is_word = word.isalpha() and len(word) > 3
    return [each for each in COMMANDS if is_word and pattern.search(command_summary(each))][:2]


def complete(flag: str, words: Sequence[str]) -> int:
    """Print the completion of a shell, or what can follow an unfinished line.

    Parameters
    ----------
    flag : str
        ``--completion`` with the name of a shell, or ``--complete`` with that name, the line, and
        the characters at which bash divides words.
    words : sequence of str

    Returns
    -------
    int
        Exit code: 0, or 2 if the shell is unknown.
    """
    from ecg_siglip.core import completion

    if flag == "--complete":
        from ecg_siglip import config

        shell, line, breaks = [*words, "", "", ""][:3]
        found = completion.complete_line(
            shell,
            line,
            breaks,
            COMMANDS,
            lambda name: getattr(config, f"{name.capitalize()}Config"),
        )
        print("\n".join(found))
        return 0
    try:
        print(completion.script(words[0] if words else ""), end="")
    except ValueError as error:
        print(f"ecg-siglip: {error}", file=sys.stderr)
        return 2
    return 0


def main() -> int:
    """Run the command that is named first on the command line with the arguments after it.

    Returns
    -------
    int
        Exit code: 0 after the command, 2 if there is no command of that name.
    """
    first, *rest = sys.argv[1:] or ["--help"]
    if first in ("-h", "--help") or [first, *rest] == ["help"]:
        with quiet_if_stdout_closes():
            print(help_text())
        return 0
    if first == "--version":
        print(f"ecg_siglip {__version__}")
        return 0
    if first in ("--completion", "--complete"):
        with quiet_if_stdout_closes():
            return complete(first, rest)
    if first == "help" and rest[:1] and rest[0] in COMMANDS:
        first, rest = rest[0], ["--help"]
    if first not in COMMANDS:
        print(
            f"ecg-siglip: expected a command ({', '.join(COMMANDS)}), got {first!r}; "
            f"{did_you_mean(meant_commands(first), 'see ecg-siglip --help')}",
            file=sys.stderr,
        )
        return 2
    sys.argv = [f"ecg-siglip {first}", *rest]  # Hydra reads its overrides from here
    try:
        importlib.import_module(module_name(first)).main()
    except KeyboardInterrupt:  # while the module is imported
        stop_after_interrupt(first)
    return 0


if __name__ == "__main__":
    sys.exit(main())

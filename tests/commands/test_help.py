"""Every command has a summary in plain words: its docstring, printed by `--help`."""

import importlib
import sys

import pytest

from ecg_siglip.__main__ import module_name

COMMANDS = (
    *("simulate", "ptbxl", "vocabulary", "check", "train", "evaluate", "predict"),
    *("compare", "ensemble", "export", "app"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_starts_with_usage_and_summary(command, monkeypatch, capsys):
    if command == "app":
        pytest.importorskip("fastapi", reason="needs the extra [app]")
    module = importlib.import_module(module_name(command))
    assert module.__doc__.partition("\n")[0].endswith(".")
    monkeypatch.setattr(sys, "argv", [command, "--help"])
    module.main()
    usage, empty, summary, *_ = capsys.readouterr().out.splitlines()
    files = {"predict": "[FILE ...] ", "check": "[FILE] ", "vocabulary": "[FILE] "}
    words = files | dict.fromkeys(("compare", "ensemble"), "[RUN ...] ")
    assert usage == f"python -m ecg_siglip.{command} {words.get(command, '')}SETTING=VALUE ..."
    assert empty == ""
    assert summary[0].isupper() and summary.endswith(".")

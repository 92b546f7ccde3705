"""The help page: usage, examples that work, options with their comments, width of a terminal."""

import shlex
import sys

import pytest

from ecg_siglip import config
from ecg_siglip.core.command_line import CONF_DIR, run_command
from ecg_siglip.core.help_page import examples, fit_width, help_page

COMMANDS = sorted(path.stem for path in CONF_DIR.glob("*.yaml"))


def schema_of(command: str) -> type:
    return getattr(config, f"{command.capitalize()}Config")


def test_help_of_train_lists_the_options_of_every_group_with_their_first_comment():
    page = help_page("train", config.TrainConfig, "Train.").splitlines()
    assert page[:3] == ["python -m ecg_siglip.train SETTING=VALUE ...", "", "Train."]
    for group in CONF_DIR.iterdir():
        if group.is_dir():
            assert any(line.startswith(f"  {group.name}=") for line in page)
            for path in group.glob("*.yaml"):
                assert any(line.split()[:1] == [path.stem] for line in page), path
    assert not any(line.strip().startswith("# @package") for line in page)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_examples_that_work(command, monkeypatch):
    lines = examples(command)
    assert lines
    for line in lines:
        assert f"  {line}" in help_page(command, schema_of(command), "Run.").splitlines()
        words = shlex.split(line)
        assert words[:3] == ["python", "-m", f"ecg_siglip.{command}"]
        received = []
        monkeypatch.setattr(sys, "argv", [command, *words[3:]])
        if "-m" not in words[3:]:
            run_command(command, schema_of(command), received.append)
            assert type(received[0]) is schema_of(command)


@pytest.mark.parametrize("width", [60, 100])
def test_a_page_fits_the_width_of_a_terminal_and_keeps_its_words(width):
    page = help_page("train", config.TrainConfig, "Train.")
    fitted = fit_width(page, width)
    assert fitted.split() == page.split()
    lines = fitted.splitlines()
    assert all(len(line) <= width or len(line.split()) <= 2 for line in lines)
    start = next(i for i, line in enumerate(lines) if line.startswith("  vocabulary=ptbxl "))
    assert lines[start + 1].startswith(" " * 20)

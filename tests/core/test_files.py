"""Files and folders are written completely or not at all; after an error the old ones stay."""

import os

import pytest

from ecg_siglip.core import files
from ecg_siglip.core.files import (
    MAX_LINE,
    one_line,
    remove_leftovers,
    replace_folder,
    shown,
    visible,
    write_file,
)


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_file(path, "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*a\.json"):
        write_file(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_complete_folder_replaces_the_old_one(tmp_path):
    folder = tmp_path / "model"
    with replace_folder(folder) as partial:
        (partial / "old").write_text("1")
    with replace_folder(folder) as partial:
        assert (folder / "old").exists()
        (partial / "new").write_text("2")
    assert os.listdir(folder) == ["new"]
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("error", [ValueError("no"), OSError(28, "full"), KeyboardInterrupt()])
def test_a_folder_that_cannot_be_filled_leaves_the_old_one(tmp_path, error):
    folder = tmp_path / "model"
    with replace_folder(folder) as partial:
        (partial / "old").write_text("1")

    def fill_and_fail():
        with replace_folder(folder) as partial:
            (partial / "new").write_text("2")
            raise error

    with pytest.raises(type(error)):
        fill_and_fail()
    assert os.listdir(folder) == ["old"]
    assert os.listdir(tmp_path) == ["model"]


def test_temporary_files_of_killed_processes_are_removed_and_nothing_else(tmp_path):
    (tmp_path / "run.tmp").write_text("a user's file")
    files._sibling(tmp_path / "state.pt").write_text("half")
    files._sibling(tmp_path / "model").mkdir()
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["run.tmp"]


def test_an_error_is_one_line_and_never_empty():
    assert one_line(ValueError("two\n  lines")) == "two lines"
    assert one_line(KeyError()) == "KeyError"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\nb\tc", r"a\nb\tc"),
        ("gnp.\u202eexe", r"gnp.\u202eexe"),
        ("\udcff.csv", r"\udcff.csv"),
        ("\x9b\x7f\u2028\ufeff", r"\x9b\x7f\u2028\ufeff"),
        ("Müller 心電図 🫀 [1], a=b 'x'", "Müller 心電図 🫀 [1], a=b 'x'"),
    ],
)
def test_control_and_format_characters_are_made_visible(text, expected):
    assert visible(text) == expected
    assert visible(expected) == expected
    assert shown(text) == expected


def test_a_message_is_bounded_and_without_control_characters():
    message = one_line(ValueError("expected \x1b[2J a number, got " + "9" * 10_000 + " in lead V1"))
    assert len(message) == MAX_LINE
    assert message.startswith(r"expected \x1b[2J a number, got 999")
    assert message.endswith("99 in lead V1")
    assert " ... " in message


def test_content_is_quoted_in_short():
    assert shown(b"\xffab\n") == r"\xffab\n"
    assert shown("0123456789" * 1_000_000, 25) == "0123456789 ... 0123456789"
    assert len(shown(bytes(1000))) <= 80

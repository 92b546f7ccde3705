"""Files and folders are written completely or not at all; after an error the old ones stay."""

import os

import pytest

from ecg_siglip.core import files
from ecg_siglip.core.files import one_line, remove_leftovers, replace_folder, write_file


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

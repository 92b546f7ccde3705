"""Files and folders are written completely or not at all; after an error the old ones stay."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ecg_siglip.core import files
from ecg_siglip.core.files import (
    MAX_LINE,
    hold,
    make_folder,
    one_line,
    replace_file,
    replace_folder,
    shown,
    tidy,
    visible,
    write_file,
)

HOLD = """
import sys, time
from pathlib import Path
from ecg_siglip.core.files import hold
with hold(Path(sys.argv[1]), float(sys.argv[3]), inside=sys.argv[2] == "inside"):
    print("held", flush=True)
    time.sleep(float(sys.argv[4]))
"""


def write_folder(folder, **content):
    with replace_folder(folder) as partial:
        for name, text in content.items():
            (partial / name).write_text(text)


def names(folder):
    return sorted(os.listdir(folder))


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


def failing(function, number, error):
    """Return the function, which raises an error at its call with this number."""
    calls = []

    def call(*args, **kwargs):
        calls.append(args)
        if len(calls) == number:
            raise error
        return function(*args, **kwargs)

    return call


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_rename_that_fails_loses_neither_version(tmp_path, monkeypatch, number):
    folder = tmp_path / "model"
    write_folder(folder, a="old")
    error = OSError(errno.EIO, "Input/output error")
    monkeypatch.setattr(os, "rename", failing(os.rename, number, error))
    with pytest.raises(OSError, match=r"Input/output error.*model"):
        write_folder(folder, a="new")
    monkeypatch.undo()
    assert (folder / "a").read_text() == "old"
    with hold(folder):  # the next command
        assert names(tmp_path) == [".model.lock", ".model.lock.json", "model"]
        # What was not named complete yet is not taken for complete.
        assert (folder / "a").read_text() == ("old" if number == 1 else "new")


def test_an_old_version_that_cannot_be_deleted_is_replaced(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    write_folder(folder, a="old")
    monkeypatch.setattr(os, "unlink", failing(os.unlink, 1, OSError(errno.EPERM, "no")))
    write_folder(folder, a="new")
    monkeypatch.undo()
    assert (folder / "a").read_text() == "new"
    write_file(tmp_path / "other", "1")
    write_folder(folder, a="newer")
    assert names(tmp_path) == ["model", "other"]


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        ({"tmp": "half"}, None),
        ({"new": "new"}, "new"),
        ({"new": "new", "old": "old"}, "new"),
        ({"old": "old"}, "old"),
        ({"old": "old", "tmp": "half"}, "old"),
        ({"old": "half deleted", "": "new"}, "new"),
        ({"new": "new", "": "old"}, "new"),
    ],
)
def test_an_interrupted_replacement_is_completed_or_undone(tmp_path, left, expected):
    for state, content in left.items():
        folder = tmp_path / (f".model.0123456789ab.{state}" if state else "model")
        folder.mkdir()
        (folder / "a").write_text(content)
    (tmp_path / ".model.lock").touch()  # of a killed process
    with hold(tmp_path / "model"):
        pass
    assert names(tmp_path) == ([] if expected is None else ["model"])
    assert expected is None or (tmp_path / "model" / "a").read_text() == expected


def test_what_is_not_ours_is_not_removed(tmp_path):
    users = [".model.tmp", "run.tmp", ".model.1.tmp", ".other.0123456789ab.tmp", ".lock"]
    for name in users:
        (tmp_path / name).write_text("a user's file, or of another command")
    write_file(tmp_path / "model", "new")
    assert names(tmp_path) == sorted([*users, "model"])
    with hold(tmp_path, inside=True):  # everything in the folder is of this command
        pass
    assert names(tmp_path) == sorted({*users, "model"} - {".other.0123456789ab.tmp", ".lock"})


def test_everything_is_flushed_before_it_takes_its_place(tmp_path, monkeypatch):
    events = []
    rename, flush_file = os.rename, files._flush_file

    def record_rename(source, target):
        events.append(("rename", Path(target).name))
        rename(source, target)

    def record_flush(path):
        events.append(("flush", path.relative_to(tmp_path).parts[-1] if path != tmp_path else ""))
        flush_file(path)

    monkeypatch.setattr(os, "rename", record_rename)
    monkeypatch.setattr(files, "_flush_file", record_flush)
    with replace_folder(tmp_path / "model") as partial:
        (partial / "text").mkdir()
        (partial / "text" / "a").write_text("1")
        (partial / "b").write_text("1")
    last = events.index(("rename", "model"))
    flushed = {name for what, name in events[:last] if what == "flush"}
    assert {"a", "b", "text"} < flushed
    assert ("flush", "") in events[last:]  # the folder that has the new name


def test_a_folder_is_made_with_those_above_it(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(files, "_flush_folder", flushed.append)
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    assert set(flushed) == {tmp_path, tmp_path / "a"}


def test_links_are_followed_and_devices_written(tmp_path):
    (tmp_path / "real").mkdir()
    write_file(tmp_path / "real" / "a", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "a")
    write_file(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a").read_text() == "new"
    write_file(Path(os.devnull), "nothing")
    assert not Path(os.devnull).is_file()


def test_a_file_is_not_written_over_a_folder_nor_a_folder_over_a_file(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(IsADirectoryError, match="expected the name of a file"):
        write_file(tmp_path / "folder", "x")
    with pytest.raises(NotADirectoryError, match="expected a folder"):
        write_folder(tmp_path / "file", a="x")
    assert names(tmp_path) == ["file", "folder"]


def holding(path, kind="next", wait_s=0.0, seconds=60.0):
    """Start a process that holds a lock; return it when it does, or has ended."""
    words = [sys.executable, "-c", HOLD, str(path), kind, str(wait_s), str(seconds)]
    env = os.environ | {"PYTHONPATH": str(Path(files.__file__).parents[2])}
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )
    process.stdout.readline()
    return process


@pytest.mark.parametrize("kind", ["next", "inside"])
def test_the_second_process_names_the_first_and_stops(tmp_path, kind):
    path = tmp_path / "run"
    process = holding(path, kind)
    try:
        expected = rf"run: in use by process {process.pid} on \S+ \(-c\) since 20\d\d-"
        with pytest.raises(ValueError, match=expected), hold(path, inside=kind == "inside"):
            pass
        second = holding(path, kind, wait_s=0.4)
        assert "still after 0.4 s" in second.stderr.read()
    finally:
        process.kill()
        process.wait()
    with hold(path, inside=kind == "inside"):  # the lock of a killed process is free
        assert os.environ.get("RANK", "0") == "0"
    assert names(tmp_path) in ([], ["run"])
    assert kind == "next" or names(path) == []


def test_the_second_process_waits_if_it_may(tmp_path, capsys):
    start_s = time.monotonic()
    process = holding(tmp_path, "inside", seconds=1.0)
    with hold(tmp_path, 30.0, inside=True):
        assert process.poll() is not None or time.monotonic() - start_s > 1.0
    process.wait()
    assert "in use by process" in capsys.readouterr().err
    assert names(tmp_path) == []


def test_a_lock_covers_what_is_in_its_folder(tmp_path):
    with hold(tmp_path / "run", inside=True):
        with replace_file(tmp_path / "run" / "a" / "b") as partial:
            partial.write_text("1")
            assert names(tmp_path / "run" / "a") == [partial.name]  # no lock of its own
        with hold(tmp_path / "run", inside=True):
            pass
        assert names(tmp_path / "run") == [".lock", ".lock.json", "a"]
    assert names(tmp_path / "run") == ["a"]


def test_a_folder_that_stays_empty_is_not_left(tmp_path):
    with pytest.raises(ValueError, match="bad data"), hold(tmp_path / "run", inside=True):
        raise ValueError("bad data")
    assert names(tmp_path) == []


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


def test_a_folder_within_a_held_one_is_made_as_well(tmp_path):
    with hold(tmp_path / "run", inside=True):
        with hold(tmp_path / "run" / "cache", inside=True):
            (tmp_path / "run" / "cache" / "a").write_text("a")
        assert (tmp_path / "run" / "cache" / "a").exists()


def test_what_a_killed_process_left_is_removed_but_not_what_is_in_use(tmp_path):
    tidy(tmp_path)
    assert not names(tmp_path)
    process = holding(tmp_path, "inside")
    (tmp_path / ".model.0123456789ab.tmp").mkdir()
    tidy(tmp_path)
    assert {".lock", ".model.0123456789ab.tmp"} <= {*names(tmp_path)}
    process.kill()
    process.wait()
    tidy(tmp_path)
    assert not names(tmp_path)

"""Uploads have a bounded size and age; those of a killed server are removed at the next start."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ecg_siglip.serving.upload_folder import (
    UploadFolder,
    remove_leftovers,
    remove_uploads,
    server_folder,
)

KILLED = """
import os, sys
from pathlib import Path
from ecg_siglip.serving.upload_folder import server_folder
with server_folder() as uploads:
    (uploads / "a").mkdir()
    (uploads / "a" / "ecg.csv").write_text("1")
    print(uploads.parent, flush=True)
    if sys.argv[1] == "kill":
        os.kill(os.getpid(), 9)
    sys.stdin.read()
"""


def upload(folder, name, n_bytes, age_s=0):
    path = folder / name / "ecg.csv"
    path.parent.mkdir()
    path.write_bytes(b"x" * n_bytes)
    time_s = path.stat().st_mtime - age_s
    os.utime(path.parent, (time_s, time_s))
    return path


def test_the_oldest_uploads_that_nobody_uses_free_space(tmp_path):
    uploads = UploadFolder(tmp_path, 1000)
    oldest, old = upload(tmp_path, "a", 300, age_s=300), upload(tmp_path, "b", 300, age_s=200)
    new = upload(tmp_path, "c", 300)
    assert uploads.n_bytes() >= 900
    uploads.max_bytes = uploads.n_bytes()
    assert uploads.free_space(0) and oldest.exists()
    assert uploads.free_space(200)
    assert not oldest.exists() and old.exists() and new.exists()
    assert not uploads.free_space(uploads.max_bytes + 1)
    assert new.exists(), "it may be predicted at this moment"
    uploads.n_arriving = uploads.max_bytes
    assert not uploads.free_space(0)


def test_old_uploads_are_swept(tmp_path):
    old, new = upload(tmp_path, "a", 1, age_s=300), upload(tmp_path, "b", 1)
    (tmp_path / "part").write_bytes(b"1")
    UploadFolder(tmp_path, 1000).sweep(100)
    assert not old.exists() and new.exists()
    UploadFolder(tmp_path, 1000).sweep(-1)
    assert list(tmp_path.iterdir()) == []


def test_an_upload_is_removed_with_its_folder(tmp_path):
    first, second = upload(tmp_path, "a", 1), upload(tmp_path, "b", 1)
    remove_uploads([str(first), str(first), str(tmp_path / "no" / "such")])
    assert not first.parent.exists() and second.exists()


def test_everything_of_a_server_is_in_one_folder_that_it_removes(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with server_folder() as uploads:
        assert uploads.is_relative_to(tmp_path) and list(uploads.iterdir()) == []
        with tempfile.NamedTemporaryFile() as file:
            assert Path(file.name).is_relative_to(uploads.parent)
    assert list(tmp_path.iterdir()) == [] and tempfile.gettempdir() == str(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_the_folder_of_a_killed_server_is_removed_and_no_other(tmp_path):
    def start(word):
        return subprocess.Popen(
            [sys.executable, "-c", KILLED, word],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"TMPDIR": str(tmp_path)},
        )  # fmt: skip

    running = start("run")
    kept = Path(running.stdout.readline().strip())
    # Only now: a server that starts removes what a killed one has left.
    removed = Path(start("kill").communicate()[0].strip())
    (tmp_path / "ecg_siglip_app_starting").mkdir()
    (tmp_path / "ecg_siglip_app_link").symlink_to(tmp_path)
    assert (removed / "uploads" / "a" / "ecg.csv").exists()
    try:
        remove_leftovers(tmp_path)
        assert not removed.exists()
        assert (kept / "uploads" / "a" / "ecg.csv").exists()
        assert (tmp_path / "ecg_siglip_app_starting").exists()
    finally:
        running.communicate("")
    assert not kept.exists()

"""What is written is whole or absent; what is read is checked; nothing pickled is run."""

import errno
import os
import pickle

import pytest
import torch

from ecg_siglip.core.files import write_file
from ecg_siglip.training.state import load_state
from ecg_siglip.vocabulary.findings import check_same_codes


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    write_file(path, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


class Evil:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize("write", [lambda f, o: pickle.dump(o, f), lambda f, o: torch.save(o, f)])
def test_pickled_code_is_not_run(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    with open("state.pt", "wb") as file:
        write(file, Evil())
    with pytest.raises(ValueError, match="training state"):
        load_state(tmp_path / "state.pt")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("theirs", "how"),
    [
        (["SR"], "1 findings without AFIB"),
        (["SR", "AFIB", "LVH"], "with LVH"),
        (["AFIB", "SR"], "in another order"),
    ],
)
def test_another_vocabulary_is_refused_saying_how_it_differs(theirs, how):
    check_same_codes(["SR", "AFIB"], ("SR", "AFIB"), where="here")
    with pytest.raises(ValueError, match=f"here: another vocabulary.*{how}"):
        check_same_codes(["SR", "AFIB"], theirs, where="here")

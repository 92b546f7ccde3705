"""What is written is whole or absent; what is read is checked; nothing pickled is run."""

import errno
import os
import pickle

import pytest
import torch

from ecg_siglip.core.files import write_file
from ecg_siglip.training.state import clone_tensors, load_state, save_state
from ecg_siglip.vocabulary.findings import check_same_codes


def test_a_state_comes_back_as_it_was(tmp_path):
    state = {"weights": {"a": torch.arange(3.0)}, "epoch": 3, "codes": ["SR"], "best": {}}
    save_state(tmp_path / "state.pt", state)
    loaded = load_state(tmp_path / "state.pt")
    assert torch.equal(loaded["weights"]["a"], state["weights"]["a"])
    assert {k: v for k, v in loaded.items() if k != "weights"} == {
        "epoch": 3,
        "codes": ["SR"],
        "best": {},
    }


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


def test_a_truncated_state_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "state.pt"
    save_state(path, {"weights": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"state\.pt.*delete it to start"):
        load_state(path)


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


def test_clones_do_not_follow_their_originals():
    original = {"a": torch.zeros(2)}
    copy = clone_tensors(original)
    original["a"] += 1
    assert copy["a"].tolist() == [0, 0]

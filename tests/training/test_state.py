"""A training state is loaded as it was saved; damaged files and pickled code are refused."""

import os
import pickle

import pytest
import torch

from ecg_siglip.training.state import clone_tensors, load_state, save_state


def test_a_state_is_loaded_as_it_was_saved(tmp_path):
    state = {"weights": {"a": torch.arange(3.0)}, "epoch": 3, "codes": ["SR"], "best": {}}
    save_state(tmp_path / "state.pt", state)
    loaded = load_state(tmp_path / "state.pt")
    assert torch.equal(loaded.pop("weights")["a"], state.pop("weights")["a"])
    assert loaded == state


def test_a_truncated_state_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "state.pt"
    save_state(path, {"weights": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"state\.pt.*delete it to start the run again"):
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


def test_clones_do_not_change_with_their_originals():
    original = {"a": torch.zeros(2)}
    copy = clone_tensors(original)
    original["a"] += 1
    assert copy["a"].tolist() == [0, 0]

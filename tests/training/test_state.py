"""A training state is loaded as it was saved; damaged files and pickled code are refused."""

import os
import pickle

import pytest
import torch

from ecg_siglip.training.state import clone_tensors, load_state, save_state, weights, weights_of


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


def test_weights_are_parameters_and_running_statistics(make_trainer):
    model = make_trainer().model
    names = {name for name, _ in model.named_parameters()}
    statistics = {name for name in weights(model) if name.endswith(("running_mean", "running_var"))}
    assert set(weights(model)) == names | statistics
    assert statistics
    weights(model)["logit_bias"].fill_(3.0)
    assert model.logit_bias.item() == 3.0


def test_temporary_weights_are_replaced_by_the_models_own(make_trainer):
    model = make_trainer().model
    before = clone_tensors(weights(model))
    other = {name: torch.full_like(w, 0.25) for name, w in before.items()}
    with weights_of(model, other):
        assert all(torch.equal(w, other[name]) for name, w in weights(model).items())
    assert all(torch.equal(w, before[name]) for name, w in weights(model).items())

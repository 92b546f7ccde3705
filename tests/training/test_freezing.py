"""A locked tower stays as it is and is asked once; what cannot be locked is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ecg_siglip.core.distributed import Distributed
from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.predict import Predictor
from ecg_siglip.train import train
from ecg_siglip.training.data import TrainingData
from ecg_siglip.training.state import clone_tensors
from ecg_siglip.training.trainer import Trainer, batch_loss

AS_THEY_ARE = {
    f"augment.{name}": 0.0 for name in ("shift_s", "gain", "wander_mv", "lead_mask", "mixup")
}


@pytest.fixture
def text_only(train_config, trained):
    """Settings of a run that leaves the ECG encoder of a finished run as it is."""
    knobs = {"ecg.locked": True, "ecg.weights": str(trained / "model")}
    return lambda **more: train_config(**knobs | more)


def begun(settings) -> Trainer:
    data = TrainingData(load_training_data(settings, progress=False), settings, torch.device("cpu"))
    training = Trainer(settings, data, Distributed())
    training.start_from(settings.ecg.weights)
    training.read_locked_ecgs()
    return training


def test_a_finished_ecg_encoder_moves_neither_weights_nor_statistics(text_only):
    training = begun(text_only())
    before = clone_tensors(training.model.ecg.state_dict())
    training.run_step(training.data.train_rows[:20], 10)
    after = training.model.ecg.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert training.model.text.training


def test_records_as_they_are_pass_a_locked_ecg_encoder_once(text_only, monkeypatch):
    training = begun(text_only(**AS_THEY_ARE, **{"ecg.dropout": 0.0}))
    data, batch = training.data, training.data.train_rows[:20]
    assert data.features is not None
    cached = batch_loss(training.model, data, training.terms, batch, 0, Distributed())
    features, data.features = data.features, None
    whole = batch_loss(training.model, data, training.terms, batch, 0, Distributed())
    torch.testing.assert_close(cached, whole, rtol=1e-4, atol=1e-4)
    data.features = features
    monkeypatch.setattr(data, "signals", None)  # nothing is read again
    training.run_step(batch, 10)


def test_an_augmented_record_is_another_in_each_epoch_and_not_kept(text_only):
    assert begun(text_only()).data.features is None


def test_a_run_with_a_locked_ecg_encoder_resumes_as_it_was(text_only, monkeypatch, trained):
    whole = text_only(**AS_THEY_ARE)
    train(whole)
    broken = text_only(**AS_THEY_ARE, **{"run.name": "broken"})
    steps = Trainer.run_step
    with monkeypatch.context() as patch:

        def stop(self, *given):
            if self.epoch:
                raise KeyboardInterrupt
            steps(self, *given)

        patch.setattr(Trainer, "run_step", stop)
        with pytest.raises(KeyboardInterrupt):
            train(broken)
    train(broken)
    root = Path(whole.run.root)
    one, two = (
        Predictor.load(root / name / "model", "cpu").artifact.model for name in ("r", "broken")
    )
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, two.state_dict()[name]), name
    finished = Predictor.load(trained / "model", "cpu").artifact.model
    for name, weight in finished.ecg.state_dict().items():
        assert torch.equal(weight, one.ecg.state_dict()[name]), name


def test_a_run_by_lora_ends_with_a_model_that_answers_as_it_did(train_config, tiny_qwen3):
    pytest.importorskip("peft", reason="needs the extra [lora]")
    knobs = {"text.name": str(tiny_qwen3), "text.pool": "last", "text.lora_rank": 2}
    settings = train_config(**knobs, **{"optim.n_epochs": 1})
    train(settings)
    folder = Path(settings.run.root) / "r" / "model"
    assert not [path.name for path in folder.rglob("*") if path.suffix in (".bin", ".pkl", ".pt")]
    predictor = Predictor.load(folder, "cpu")
    again = Predictor.load(folder, "cpu")
    signals = np.zeros((2, 12, 1000), np.int16)
    assert np.array_equal(predictor.probabilities(signals), again.probabilities(signals))
    added = [w for n, w in predictor.artifact.model.text.named_parameters() if "lora_B" in n]
    assert added
    assert any(w.any() for w in added)  # they start at 0
    assert str(tiny_qwen3) in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"ecg.locked": True}, r"freeze=ecg.*expected ecg\.weights"),
        ({"text.locked": True, "text.name": "none"}, r"freeze=text.*text=none.*freeze=none"),
        ({"text.locked": True, "text.lora_rank": 4}, r"freeze=text.*text\.lora_rank=4"),
    ],
)
def test_what_cannot_be_locked_is_refused(train_config, knobs, message):
    with pytest.raises(ValueError, match=message):
        train(train_config(**knobs))


@pytest.mark.parametrize(
    ("whose", "among"), [("all", "each"), ("validated", "checked"), ("written", "by hand")]
)
def test_which_reports_are_read(train_config, whose, among):
    settings = train_config(**{"data.reports": whose})
    loaded = load_training_data(settings, progress=False)
    data = TrainingData(loaded, settings, torch.device("cpu"))
    wanted = {
        "each": np.ones(len(loaded), bool),
        "checked": loaded.validated,
        "by hand": ~loaded.autogenerated,
    }[among]
    assert wanted.sum() > 0
    assert [bool(text) for text in data.reports] == wanted.tolist()
    _, own, _ = data.texts("report", data.train_rows, 0)
    assert set(own) <= set(np.flatnonzero(wanted))

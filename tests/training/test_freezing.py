"""A frozen encoder does not change and encodes its inputs once; useless freezing is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.train import train
from ecg_siglip.training.state import clone_tensors
from ecg_siglip.training.trainer import Trainer, batch_loss

NOT_AUGMENTED = {
    f"augment.{name}": 0.0 for name in ("shift_s", "gain", "wander_mv", "lead_mask", "mixup")
}


@pytest.fixture
def frozen_ecg(trained):
    """Settings of a run with the frozen ECG encoder of a finished run."""
    return {"ecg.locked": True, "ecg.weights": str(trained / "model")}


@pytest.fixture
def begin(make_trainer, frozen_ecg):
    """Makes the trainer of such a run, before its first step."""

    def make(**settings) -> Trainer:
        trainer = make_trainer(**frozen_ecg | settings)
        trainer.start_from(trainer.settings.ecg.weights)
        trainer.cache_ecg_features()
        return trainer

    return make


def test_a_finished_ecg_encoder_keeps_weights_and_statistics(begin):
    trainer = begin()
    before = clone_tensors(trainer.model.ecg.state_dict())
    trainer.run_step(trainer.data.train_rows[:20], 10)
    after = trainer.model.ecg.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert trainer.model.text.training


def test_records_without_augmentation_are_encoded_once(begin, monkeypatch):
    trainer = begin(**NOT_AUGMENTED, **{"ecg.dropout": 0.0})
    model, data, rows = trainer.model, trainer.data, trainer.data.train_rows[:20]
    assert data.features is not None
    cached = batch_loss(model, trainer.texts, data.batch(rows, 0))
    features, data.features = data.features, None
    encoded = batch_loss(model, trainer.texts, data.batch(rows, 0))
    torch.testing.assert_close(cached, encoded, rtol=1e-4, atol=1e-4)
    data.features = features
    monkeypatch.setattr(data.reader, "signals", None)
    monkeypatch.setattr(model.ecg, "forward", None)
    trainer.run_step(rows, 10)


def test_augmented_records_are_encoded_in_every_epoch(begin):
    assert begin().data.features is None


def test_an_unfinished_ecg_encoder_has_no_cached_features(make_trainer):
    trainer = make_trainer(**NOT_AUGMENTED)
    trainer.cache_ecg_features()
    assert trainer.data.features is None


def test_a_run_with_a_frozen_ecg_encoder_resumes(train_config, frozen_ecg, monkeypatch, trained):
    settings = frozen_ecg | NOT_AUGMENTED
    whole = train_config(**settings)
    train(whole)
    broken = train_config(**settings, **{"run.name": "broken"})
    run_step = Trainer.run_step
    with monkeypatch.context() as patch:

        def stop(self, *args):
            if self.epoch:
                raise KeyboardInterrupt
            run_step(self, *args)

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


def test_a_run_with_a_frozen_text_encoder_resumes(make_trainer, tmp_path):
    trainer = make_trainer(**{"text.locked": True})
    batches = trainer.data.batches(0)
    for rows in batches[:2]:
        trainer.run_step(rows, len(batches))
    # Another seed, and so other weights until the state is loaded.
    resumed = make_trainer(**{"text.locked": True, "seed": 1})
    prompts = trainer.data.prompts
    assert not torch.equal(resumed.texts.encode(prompts), trainer.texts.encode(prompts))
    resumed.resume(trainer.state(), tmp_path / "state.pt")
    assert torch.equal(resumed.texts.encode(prompts), trainer.texts.encode(prompts))


def test_a_frozen_text_encoder_has_no_dropout_in_training(make_trainer, tiny_bert):
    trainer = make_trainer(**{"text.name": str(tiny_bert), "text.locked": True})
    for _ in range(2):
        assert trainer.model.ecg.training
        assert not any(module.training for module in trainer.model.text.modules())
        trainer.tune_scores()  # ends in training mode again
    trainable = make_trainer(**{"text.name": str(tiny_bert)})
    assert trainable.model.text.model.training


def test_the_tuning_fold_is_scored_with_the_cached_features(make_trainer, monkeypatch):
    trainer = make_trainer(**{"text.locked": True})
    monkeypatch.setattr(trainer.model.text, "forward", None)
    assert np.isfinite(trainer.tune_scores()["macro_auprc"])


def test_a_run_with_lora_ends_with_a_model_that_loads(train_config, tiny_qwen3):
    pytest.importorskip("peft", reason="needs the extra [lora]")
    encoder = {"text.name": str(tiny_qwen3), "text.pool": "last", "text.lora_rank": 2}
    settings = train_config(**encoder, **{"optim.n_epochs": 1})
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
    ("settings", "message"),
    [
        ({"ecg.locked": True}, r"freeze=ecg.*expected ecg\.weights"),
        ({"text.locked": True, "text.name": "none"}, r"freeze=text.*text=none.*freeze=none"),
        ({"text.locked": True, "text.lora_rank": 4}, r"freeze=text.*text\.lora_rank=4"),
    ],
)
def test_useless_freezing_is_refused(train_config, settings, message):
    with pytest.raises(ValueError, match=message):
        train(train_config(**settings))

"""Training from published weights: frozen and fine-tuned, with their licence and their folds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import change_config
from published_encoders import save_ecgfounder, save_hubert_ecg

from ecg_siglip import EcgClassifier
from ecg_siglip.datasets.records import LabelledRecords
from ecg_siglip.models import load_artifact
from ecg_siglip.models.public_encoders import encoder_options, load_published, public_encoder
from ecg_siglip.train import train
from ecg_siglip.training.trainer import Trainer


@pytest.fixture
def real_records(monkeypatch):
    """Let the simulated data count as real ones."""
    monkeypatch.setattr(
        LabelledRecords, "is_simulated", property(lambda self: np.zeros(len(self), bool))
    )


def published(name, folder):
    """Write published weights of an encoder."""
    if name == "ecgfounder":
        return save_ecgfounder(folder)
    pytest.importorskip("transformers", reason="needs the extra [hf]")
    return save_hubert_ecg(folder)


def features_of(name, weights, signal):
    """Features of the published weights."""
    options = encoder_options(name, str(weights), 100)
    encoder = public_encoder(name, options)
    load_published(encoder, name, str(weights), options)
    with torch.no_grad():
        return encoder.eval()(signal)


@pytest.mark.parametrize("name", ["hubert_ecg", "ecgfounder"])
@pytest.mark.parametrize("locked", [True, False])
def test_a_run_trains_predicts_and_names_licence_and_origin(
    name, locked, train_config, simulated, tmp_path, capsys
):
    weights = published(name, tmp_path / "published")
    settings = train_config(
        **{"ecg.name": name, "ecg.weights": str(weights), "ecg.locked": locked},
        **{"optim.n_epochs": 1, "optim.ecg_lr": 0.01},
    )
    train(settings)
    licence = {"hubert_ecg": "CC-BY-NC-4.0", "ecgfounder": "MIT"}[name]
    assert capsys.readouterr().out.count(f"licence of the weights: {licence}") == 1

    folder = tmp_path / "runs/r/model"
    artifact = load_artifact(folder)
    signal = torch.randn(2, 12, 1000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = artifact.model.ecg(signal)
    expected = features_of(name, weights, signal)
    assert torch.allclose(found, expected, atol=1e-5) == locked
    assert torch.allclose(found, expected, atol=0.3 * float(expected.abs().max()))

    before = artifact.provenance.pretrained
    assert before is not None and before.licence == licence and "SHA-256" in before.run
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"whose licence, {licence}, also applies" in card
    assert ("license: cc-by-nc-4.0" in card) == (name == "hubert_ecg")
    assert ("Weights and code: Apache-2.0" in card) == (name == "ecgfounder")

    # A trained model needs the published files no longer.
    (weights if weights.is_file() else weights / "model.safetensors").unlink()
    record = simulated / "records100/00000/00001_lr"
    probabilities = EcgClassifier.from_pretrained(folder, device="cpu").predict_proba(record)
    assert np.isfinite(probabilities).all()


def test_an_interrupted_run_ends_with_the_weights_of_an_undisturbed_one(
    train_config, tmp_path, monkeypatch
):
    def save_and_stop(trainer, run, save=Trainer.save):
        save(trainer, run)
        if trainer.epoch == 1:
            raise KeyboardInterrupt

    weights = published("hubert_ecg", tmp_path / "published")
    values = {"ecg.name": "hubert_ecg", "ecg.weights": str(weights), "ecg.drop_path": 0.2}
    train(train_config(**values, **{"run.name": "whole"}))
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train(train_config(**values))
    train(train_config(**values))
    whole, resumed = (load_artifact(tmp_path / "runs" / run / "model") for run in ("whole", "r"))
    expected = whole.model.state_dict()
    found = resumed.model.state_dict()
    assert [key for key in expected if not torch.equal(expected[key], found[key])] == []
    assert resumed.provenance.pretrained == whole.provenance.pretrained is not None


def test_a_run_can_start_from_a_run_with_a_public_encoder(train_config, tmp_path):
    weights = save_ecgfounder(tmp_path)
    common = {"ecg.name": "ecgfounder", "optim.n_epochs": 1}
    train(train_config(**common, **{"ecg.weights": str(weights)}))
    weights.unlink()
    settings = train_config(**common, **{"ecg.weights": "r", "run.name": "second"})
    train(settings)
    second = load_artifact(tmp_path / "runs/second/model").provenance
    assert [each.licence for each in second.lineage()] == ["", "", "MIT"]
    assert second.pretrained.run == "r"
    train(train_config(**{"init": "r", "run.name": "third", "optim.n_epochs": 1}))
    third = load_artifact(tmp_path / "runs/third/model")
    assert third.provenance.ecg == "ecgfounder" and third.provenance.pretrained.run == "r"
    assert third.model.config["ecg"]["options"]["widths"] == [8, 16, 24]

    folder = tmp_path / "runs/third/model"
    change_config(folder, lambda content: content["ecg"]["options"].update(fs=250))
    with pytest.raises(ValueError, match=r"ecg.options: fs=250 Hz; expected 100 Hz"):
        load_artifact(folder)
    change_config(folder, lambda content: content["ecg"]["options"].update(widths=[8, 16, 10**9]))
    with pytest.raises(ValueError, match=r"ecg.name=ecgfounder: widths: expected 1 to 4096"):
        load_artifact(folder)


def test_weights_that_may_have_seen_a_fold_are_refused_on_real_data(
    train_config, tmp_path, real_records
):
    weights = published("hubert_ecg", tmp_path / "published")
    settings = {"ecg.name": "hubert_ecg", "ecg.weights": str(weights)}
    with pytest.raises(ValueError, match="ecg.name=hubert_ecg: its weights may have seen fold 9"):
        train(train_config(**settings))


def test_mistakes_are_found_before_the_data_are_read(train_config, tmp_path, monkeypatch):
    def read(*args, **kwargs):
        raise AssertionError("data are read")

    monkeypatch.setattr("ecg_siglip.training.run.load_on_all", read)
    for changes, message in (
        ({}, "ecg.name=ecgfounder: needs its published weights"),
        ({"ecg.weights": str(tmp_path / "none")}, "does not exist; expected ecg.weights="),
        (
            {"ecg.weights": str(save_ecgfounder(tmp_path)), "ecg.options": {"depth": 3}},
            "sizes of ecgfounder follow from ecg.weights",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            train(train_config(**{"ecg.name": "ecgfounder", **changes}))


def test_the_ecg_encoder_has_a_learning_rate_of_its_own(train_config):
    from ecg_siglip.training.initialization import new_optimizer

    settings = train_config(**{"optim.ecg_lr": 0.25, "optim.text_lr": 0.5})
    model = torch.nn.Module()
    model.device = torch.device("cpu")
    for part in ("ecg", "text", "project_ecg"):
        setattr(model, part, torch.nn.Linear(2, 2))
    groups = new_optimizer(settings, model).param_groups
    assert sorted({group["factor"] for group in groups}) == [0.25, 0.5, 1.0]
    assert {id(p) for g in groups if g["factor"] == 0.25 for p in g["params"]} == {
        id(p) for p in model.ecg.parameters()
    }
    same = replace(settings, optim=replace(settings.optim, ecg_lr=1.0, text_lr=1.0))
    assert {group["factor"] for group in new_optimizer(same, model).param_groups} == {1.0}

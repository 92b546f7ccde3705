"""Encoders of other packages: trained by their name, never imported because a model names them."""

import sys

import numpy as np
import pytest

from ecg_siglip import EcgClassifier
from ecg_siglip.datasets.records import LabelledRecords
from ecg_siglip.models import external_encoders, load_artifact, register_ecg_encoder
from ecg_siglip.models.ecg_encoders import ecg_encoder
from ecg_siglip.train import train

CODE = """
from torch import nn

class Encoder(nn.Module):
    def __init__(self, n_features=8):
        super().__init__()
        self.n_features = n_features
        self.convolution = nn.Conv1d(12, n_features, 9, 4)

    def forward(self, signal):
        return self.convolution(signal).relu().mean(2)

class Pretrained(Encoder):
    pretrained = {"run": "SomeFM", "data": "a million ECGs, PTB-XL", "ptbxl_folds": [1, 2, 10]}

class PretrainedElsewhere(Encoder):
    pretrained = {"run": "OtherFM", "data": "a million ECGs"}

NotAClass = 3
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A module of the user with encoders; returns its name."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "their_encoders.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    monkeypatch.setattr(external_encoders, "_REGISTERED", {})
    monkeypatch.delitem(sys.modules, "their_encoders", raising=False)
    monkeypatch.delenv(external_encoders.VARIABLE, raising=False)
    return "their_encoders"


@pytest.fixture
def forget(monkeypatch):
    """A function that makes this process like a new one."""

    def run():
        monkeypatch.setattr(external_encoders, "_REGISTERED", {})
        sys.modules.pop("their_encoders", None)

    return run


def test_a_model_with_it_loads_only_if_the_user_names_the_class(
    package, forget, train_config, simulated, monkeypatch
):
    name = f"{package}.Encoder"
    settings = train_config(**{"ecg.name": name, "ecg.options": {"n_features": 12}})
    train(settings)
    folder = f"{settings.run.root}/r/model"
    artifact = load_artifact(folder)  # in the process of the training
    assert artifact.provenance.ecg == name and artifact.model.ecg.n_features == 12
    assert artifact.model.config["ecg"]["options"] == {"n_features": 12}

    forget()
    with pytest.raises(ValueError, match=rf"ecg\.name={name}: .* {external_encoders.VARIABLE}="):
        load_artifact(folder)
    assert "their_encoders" not in sys.modules

    monkeypatch.setenv(external_encoders.VARIABLE, f"other.Thing, {name}")
    record = simulated / "records100/00000/00001_lr"
    expected = EcgClassifier.from_pretrained(folder, device="cpu").predict_proba(record)
    assert "other" not in sys.modules

    forget()
    monkeypatch.delenv(external_encoders.VARIABLE)
    register_ecg_encoder(name)
    classifier = EcgClassifier.from_pretrained(folder, device="cpu")
    assert (classifier.predict_proba(record) == expected).all()


def test_weights_that_have_seen_a_fold_are_refused_and_others_are_noted(
    package, train_config, monkeypatch
):
    real = property(lambda self: np.zeros(len(self), bool))
    monkeypatch.setattr(LabelledRecords, "is_simulated", real)
    with pytest.raises(ValueError, match="may have seen fold 10 of PTB-XL, which this run is not"):
        train(train_config(**{"ecg.name": f"{package}.Pretrained"}))
    settings = train_config(
        **{"ecg.name": f"{package}.PretrainedElsewhere", "run.name": "other", "ecg.locked": True}
    )
    train(settings)
    before = load_artifact(f"{settings.run.root}/other/model").provenance.pretrained
    assert before is not None
    assert (before.run, before.data) == ("OtherFM", "a million ECGs")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("no_such_package.Encoder", {}, "cannot be imported .*no_such_package"),
        ("their_encoders.Missing", {}, "cannot be imported .*Missing"),
        ("their_encoders.NotAClass", {}, "expected a class that is a torch.nn.Module"),
        ("their_encoders.Encoder", {"depth": 3}, "cannot be built with .*depth"),
    ],
)
def test_errors_name_the_class(package, train_config, name, options, message):
    with pytest.raises(ValueError, match=f"^ecg.name={name}: {message}"):
        train(train_config(**{"ecg.name": name, "ecg.options": options}))


def test_an_encoder_of_this_package_takes_no_options():
    with pytest.raises(ValueError, match="resnet1d has settings of its own"):
        ecg_encoder("resnet1d", {"n_layers": 3}, width=8)

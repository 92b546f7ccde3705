"""A model of simulated ECGs may know the findings that a run holds out; one of real ECGs not."""

import dataclasses

import pytest

from ecg_siglip import config
from ecg_siglip.datasets import ptbxl
from ecg_siglip.models.provenance import Provenance
from ecg_siglip.training.initialization import check_provenance

HOLDS_OUT = config.TrainConfig(data=config.DataConfig(held_out=["AFIB"]))


def test_the_simulator_marks_its_folder(simulated):
    records = ptbxl.load_ptbxl(simulated, signals=False)
    assert records.is_simulated.all()
    assert not dataclasses.replace(records, simulated=None).is_simulated.any()


def test_findings_learned_on_simulated_ecgs_may_be_held_out(capsys):
    before = Provenance(run="pretrain", data="other", simulated=True, train_folds=[1], tune_fold=2)
    check_provenance("init=pretrain", before, HOLDS_OUT, "9 records")
    assert "pretrain knows AFIB from simulated ECGs" in capsys.readouterr().out


def test_findings_learned_on_real_ecgs_may_not():
    before = Provenance(run="bank", data="other", train_folds=[1], tune_fold=2)
    with pytest.raises(ValueError, match="bank was trained with AFIB, which data.held_out hides"):
        check_provenance("init=bank", before, HOLDS_OUT, "9 records")


def test_an_ancestor_on_real_ecgs_counts():
    real = Provenance(run="bank", data="other", train_folds=[1], tune_fold=2)
    before = Provenance(run="later", data="other", simulated=True, pretrained=real, tune_fold=2)
    with pytest.raises(ValueError, match="bank was trained with AFIB"):
        check_provenance("init=later", before, HOLDS_OUT, "9 records")


def test_the_mark_is_stored():
    before = Provenance(run="pretrain", simulated=True)
    after = Provenance(run="best", pretrained=before)
    assert Provenance.from_json(after.to_json()).pretrained.simulated


def test_findings_learned_on_the_same_simulated_records_may_not():
    version = "9 records, metadata sha256 0123456789ab"
    before = Provenance(run="small", data=version, simulated=True, train_folds=[1], tune_fold=2)
    with pytest.raises(ValueError, match="small was trained with AFIB"):
        check_provenance("init=small", before, HOLDS_OUT, version)

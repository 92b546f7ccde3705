"""Artifact: saved and loaded without change, whole or not at all; damage is an error."""

import errno
import shutil
from dataclasses import replace

import numpy as np
import pytest
from helpers import change_config

from ecg_siglip.models.artifact import Tuning, load_artifact, save_artifact


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of a trained model, to damage."""
    return shutil.copytree(trained / "model", tmp_path / "model")


def test_an_artifact_is_loaded_as_it_was_saved(trained, tmp_path):
    artifact = load_artifact(trained / "model")
    save_artifact(tmp_path / "copy", artifact, "# A card")
    loaded = load_artifact(tmp_path / "copy")
    assert (tmp_path / "copy" / "README.md").read_text() == "# A card"
    assert loaded.codes == artifact.codes
    assert loaded.prompts == artifact.prompts
    assert loaded.waveform == artifact.waveform
    assert loaded.provenance == artifact.provenance
    assert loaded.tuning().to_json() == artifact.tuning().to_json()
    np.testing.assert_array_equal(loaded.neighbors.ecg_id, artifact.neighbors.ecg_id)
    expected = artifact.model.state_dict()
    for name, weight in loaded.model.state_dict().items():
        assert weight.equal(expected[name]), name


def test_a_failed_save_keeps_the_existing_artifact(folder, monkeypatch):
    artifact = load_artifact(folder)

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(artifact.neighbors), "save", fail)
    with pytest.raises(OSError, match="No space left"):
        save_artifact(folder, artifact, "# Another card")
    assert "Another card" not in (folder / "README.md").read_text()
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    load_artifact(folder)


def test_each_set_of_leads_has_its_own_tuning(trained, tmp_path):
    artifact = load_artifact(trained / "model")
    with pytest.raises(ValueError, match=r"small: has calibration .* all 12 leads only"):
        artifact.tuning("limb")
    n = len(artifact.codes)
    limb = Tuning(
        np.tile([2.0, 1.0], (n, 1)), {"prevalence": np.full(n, 0.3)}, {"sensitivity": np.ones(n)}
    )
    save_artifact(tmp_path / "model", replace(artifact, fewer_leads={"limb": limb}), "")
    loaded = load_artifact(tmp_path / "model")
    assert loaded.tuning("limb").to_json() == limb.to_json()
    assert loaded.tuning("12").to_json() == artifact.tuning().to_json()


@pytest.mark.parametrize("key", ["codes", "prompts", "waveform", "calibration", "about"])
def test_a_model_without_a_part_of_the_artifact_is_refused(folder, key):
    change_config(folder, lambda content: content.pop(key))
    with pytest.raises(ValueError, match=f"config.json: lacks '{key}'"):
        load_artifact(folder)


def test_arrays_of_another_length_than_the_codes_are_refused(folder):
    change_config(folder, lambda content: content["thresholds"]["prevalence"].pop())
    with pytest.raises(ValueError, match=r"70 thresholds/prevalence, expected .* 71 codes"):
        load_artifact(folder)


def test_an_unknown_code_is_refused(folder):
    change_config(folder, lambda content: content["codes"].__setitem__(0, "XYZ"))
    with pytest.raises(ValueError, match="XYZ"):
        load_artifact(folder)

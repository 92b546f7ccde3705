"""Files of public encoders: read without code, refused in one line, and downloaded by name only."""

import pickle
import shutil
import zipfile

import pytest
import torch
from published_encoders import HUBERT, net1d_state, save_ecgfounder, save_hubert_ecg
from safetensors.torch import save_file

from ecg_siglip.models import hub
from ecg_siglip.models.ecg_encoders import ecg_encoder
from ecg_siglip.models.public_encoders import (
    PUBLIC_ENCODERS,
    encoder_options,
    find_weights,
    load_published,
    read_weights,
    stated_origin,
)


class Code:
    """A pickle that would write a file when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def built(name, weights, fs=100):
    """The encoder with its published weights."""
    options = encoder_options(name, str(weights), fs)
    encoder = ecg_encoder(name, options, width=32, drop_path=0.0).eval()
    load_published(encoder, name, str(weights), options)
    return encoder


def test_a_file_of_tensors_and_numbers_is_read_whatever_its_form(tmp_path):
    path = save_ecgfounder(tmp_path / "a")
    save_file(dict(net1d_state()), tmp_path / "model.safetensors")
    torch.save({f"module.{k}": v for k, v in net1d_state().items()}, tmp_path / "other.pt")
    signal = torch.randn(2, 12, 1000)
    expected = built("ecgfounder", path)(signal)
    for name in ("a", "model.safetensors", "other.pt", "."):
        assert torch.equal(built("ecgfounder", tmp_path / name)(signal), expected)


def test_numbers_of_an_earlier_numpy_are_read(tmp_path):
    path = save_ecgfounder(tmp_path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            if name.endswith("data.pkl"):
                assert b"cnumpy._core.multiarray\nscalar\n" in content
                content = content.replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray")
            archive.writestr(name, content)
    assert read_weights(path).keys() == net1d_state().keys()


def test_code_in_a_file_is_not_run(tmp_path):
    path, written = tmp_path / "12_lead_ECGFounder.pth", tmp_path / "written"
    torch.save({"state_dict": net1d_state(), "args": Code(str(written))}, path)
    with pytest.raises(ValueError, match=r"12_lead_ECGFounder.pth: damaged, or has more than"):
        encoder_options("ecgfounder", str(path), 100)
    path.write_bytes(pickle.dumps(Code(str(written)), protocol=2))
    with pytest.raises(ValueError, match="damaged, or has more than tensors and numbers"):
        encoder_options("ecgfounder", str(path), 100)
    assert not written.exists()


def test_other_files_are_errors_of_one_line(tmp_path):
    def refused(name, weights, message):
        with pytest.raises(ValueError, match=message) as error:
            built(name, weights)
        assert "\n" not in str(error.value) and str(error.value).startswith("ecg.weights=")

    refused("ecgfounder", tmp_path / "none.pth", "does not exist; expected ecg.weights=<file or")
    refused("ecgfounder", tmp_path, "has no model.safetensors or 12_lead_ECGFounder.pth")
    refused("ecgfounder", save_ecgfounder(tmp_path / "1", state_dict=net1d_state(1)), "12 leads")
    refused("ecgfounder", save_ecgfounder(tmp_path / "2", state_dict=[1]), "tensors by name")
    state = net1d_state()
    del state["stage_list.1.block_list.0.se_fc1.bias"]
    refused(
        "ecgfounder",
        save_ecgfounder(tmp_path / "3", state_dict=state),
        r"blocks.1.squeeze.bias has shape none, expected \(8,\)",
    )
    state = net1d_state() | {"extra.weight": torch.zeros(2)}
    refused("ecgfounder", save_ecgfounder(tmp_path / "4", state_dict=state), "extra.weight has")
    state = net1d_state()
    state["first_conv.conv.bias"] *= float("nan")
    refused("ecgfounder", save_ecgfounder(tmp_path / "5", state_dict=state), "stem.bias has values")
    (tmp_path / "model.safetensors").write_bytes(b"not safetensors")
    refused("ecgfounder", tmp_path, "model.safetensors: damaged")


def test_hubert_ecg_is_read_from_a_folder_with_its_configuration(tmp_path):
    pytest.importorskip("transformers", reason="needs the extra [hf]")
    folder = save_hubert_ecg(tmp_path / "h")
    assert encoder_options("hubert_ecg", str(folder), 250) == {
        "fs": 250,
        **{k: v for k, v in HUBERT.items() if k.startswith(("hidden", "num_", "inter", "conv"))},
    }
    assert built("hubert_ecg", folder)(torch.randn(2, 12, 1000)).shape == (2, 16)
    wider = save_hubert_ecg(tmp_path / "w", {"intermediate_size": 64})
    with pytest.raises(ValueError, match=r"intermediate_dense.bias has shape \(32,\), expected"):
        built("hubert_ecg", wider)
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match="config.json: is missing"):
        built("hubert_ecg", folder)


@pytest.mark.parametrize("name", sorted(PUBLIC_ENCODERS))
def test_without_weights_or_with_other_options_it_is_an_error(name):
    with pytest.raises(ValueError, match=f"ecg.name={name}: needs its published weights: expected"):
        ecg_encoder(name, {})
    with pytest.raises(ValueError, match=f"ecg.name={name}: needs its published weights"):
        encoder_options(name, None, 100)
    with pytest.raises(ValueError, match=f"ecg.name={name}: .*nonsense"):
        ecg_encoder(name, {"fs": 100, "nonsense": 3})


def test_from_the_hub_only_named_files_are_downloaded(tmp_path, monkeypatch):
    calls = []

    def snapshot(repo, revision, allow_patterns, ignore_patterns):
        calls.append((repo, revision, allow_patterns, ignore_patterns))
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    path = save_ecgfounder(tmp_path)
    assert find_weights("ecgfounder", "PKUDigitalHealth/ECGFounder@abc") == path
    files = ["config.json", "model.safetensors", "12_lead_ECGFounder.pth"]
    assert calls == [("PKUDigitalHealth/ECGFounder", "abc", files, ["*/*"])]
    shutil.rmtree(tmp_path)
    with pytest.raises(ValueError, match="expected ecg.weights=<file or folder"):
        find_weights("hubert_ecg", "Edoardo-BS/hubert-ecg-small")


def test_the_hub_out_of_reach_is_an_error_of_one_line(monkeypatch):
    def snapshot(*args, **kwargs):
        raise hub.LocalEntryNotFoundError("offline")

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    with pytest.raises(ValueError, match=r"^ecg.weights=a/b: no such file or folder, and not on"):
        find_weights("ecgfounder", "a/b")


def test_the_origin_names_file_hash_and_licence(tmp_path):
    origin = stated_origin("ecgfounder", save_ecgfounder(tmp_path))
    assert origin["run"].startswith("ECGFounder (12_lead_ECGFounder.pth, SHA-256 ")
    assert (origin["licence"], origin["ptbxl_folds"]) == ("MIT", [])

"""Fixtures: folders of real ECGs (tests skip without them), simulated ECGs, small trained runs."""

import shutil
import subprocess
from pathlib import Path

import pytest
from helpers import SHARED, TINY, change_config, configured, export_onnx


def shared(name: str) -> Path:
    """Return a folder of real ECGs in `shared/`, or skip the test."""
    path = SHARED / name
    if not path.is_dir():
        pytest.skip(f"needs {name}/ in a folder `shared` next to the checkout")
    return path


@pytest.fixture(scope="session")
def shared_ptbxl() -> Path:
    """A part of PTB-XL."""
    return shared("ptbxl")


@pytest.fixture(scope="session")
def shared_metadata() -> Path:
    """The whole metadata of PTB-XL."""
    return shared("ptbxl_metadata")


@pytest.fixture(scope="session")
def shared_challenge() -> Path:
    """Records of the PhysioNet challenges."""
    return shared("challenge")


@pytest.fixture(scope="session")
def simulated(tmp_path_factory) -> Path:
    """A small synthetic PTB-XL, shared by all tests; not to be changed."""
    from ecg_siglip.simulation.dataset import simulate_dataset

    return simulate_dataset(tmp_path_factory.mktemp("data") / "simulated", n_records=150, seed=1)


@pytest.fixture(scope="session")
def hospital(tmp_path_factory) -> Path:
    """A small synthetic hospital: device files, a table, 98 findings; not to be changed."""
    from ecg_siglip.simulation.hospital import simulate_hospital

    pytest.importorskip("pydicom", reason="needs the extra [formats]")
    return simulate_hospital(tmp_path_factory.mktemp("data") / "hospital", n_records=150, seed=1)


@pytest.fixture
def train_config(simulated, tmp_path):
    """A function that makes the configuration of a training of a second or two."""
    from ecg_siglip.config import TrainConfig

    def make(**settings):
        base = {"run.name": "r", "run.root": str(tmp_path / "runs"), "data.root": str(simulated)}
        return configured(TrainConfig, base | TINY | {"data.n_workers": 1} | settings)

    return make


@pytest.fixture(scope="session")
def trained(simulated, tmp_path_factory) -> Path:
    """The folder of a small finished run on the simulated data; not to be changed."""
    from ecg_siglip.config import TrainConfig
    from ecg_siglip.train import train

    runs = tmp_path_factory.mktemp("runs")
    base = {"run.name": "small", "run.root": str(runs), "data.root": str(simulated)}
    train(configured(TrainConfig, base | TINY | {"data.n_workers": 1}))
    return runs / "small"


@pytest.fixture(scope="session")
def evaluated(trained, tmp_path_factory) -> Path:
    """The folder that `evaluate` wrote for fold 10 of a copy of the finished run."""
    from ecg_siglip.config import EvaluateConfig
    from ecg_siglip.evaluation.fold import evaluate_fold

    run = tmp_path_factory.mktemp("evaluated") / trained.name
    shutil.copytree(trained, run)
    base = {"run.name": run.name, "run.root": str(run.parent), "n_bootstrap": 20}
    evaluate_fold(configured(EvaluateConfig, base))
    return run / "evaluate" / "fold10"


@pytest.fixture(scope="session")
def exported_file(trained, tmp_path_factory) -> Path:
    """The ONNX file of the small finished run, with its metadata and an ECG next to it."""
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package, reason="needs the extra [export]")
    return export_onnx(trained, tmp_path_factory.mktemp("onnx"))


@pytest.fixture(scope="session")
def trained_in_all_languages(simulated, tmp_path_factory) -> Path:
    """The folder of a small finished run with prompts in all languages; not to be changed."""
    from ecg_siglip.config import TrainConfig
    from ecg_siglip.train import train

    runs = tmp_path_factory.mktemp("languages")
    base = {"run.name": "mixed", "run.root": str(runs), "data.root": str(simulated)}
    train(configured(TrainConfig, base | TINY | {"text.language": "mixed", "data.n_workers": 1}))
    return runs / "mixed"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Files of a certificate for 127.0.0.1 and of its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the command openssl")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


@pytest.fixture
def unpackaged(tmp_path, monkeypatch) -> Path:
    """The folder of the default model, which does not exist."""
    from ecg_siglip.core import run_folder

    folder = tmp_path / "no_package" / "pretrained"
    monkeypatch.setattr(run_folder, "PRETRAINED", folder)
    return folder


@pytest.fixture
def packaged(trained_in_all_languages, tmp_path, monkeypatch) -> Path:
    """The folder of the default model: a copy of a small model and the settings of its run."""
    from ecg_siglip.core import run_folder

    folder = tmp_path / "default_model"
    shutil.copytree(trained_in_all_languages / "model", folder)
    shutil.copy(trained_in_all_languages / "config.yaml", folder)
    change_config(folder, lambda content: None)  # its hash
    monkeypatch.setattr(run_folder, "PRETRAINED", folder)
    monkeypatch.setattr(run_folder, "NAMED", set())
    return folder


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory) -> Path:
    """A Hugging Face encoder on disk, of random weights."""
    import torch

    transformers = pytest.importorskip("transformers", reason="needs the extra [hf]")
    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "sinus", "rhythm", "links", "##block"]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizerFast(vocab_file=str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_qwen3(tmp_path_factory) -> Path:
    """A Qwen3 language model on disk, of random weights; its tokenizer pads on the left."""
    import torch

    transformers = pytest.importorskip("transformers", reason="needs the extra [hf]")
    from ecg_siglip.models.tokenizer import PAD, train_tokenizer

    folder = tmp_path_factory.mktemp("qwen3")
    trained_tokenizer = train_tokenizer(["sinus rhythm", "linksschenkelblock"] * 3, 300)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=trained_tokenizer, eos_token=PAD, padding_side="left"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    config = transformers.Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        intermediate_size=32,
    )
    transformers.Qwen3Model(config).save_pretrained(folder)
    return folder

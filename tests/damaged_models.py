"""Damaged models: each has to be refused in one line, without a traceback, in time and memory.

    python tests/damaged_models.py ecg_siglip/pretrained [--n-flips 60] [--seed 0] [--verbose]

Each case damages a copy of the model, loads it in a process of its own (at most 5 s of computation
and 1 GB) and predicts a signal with it. The table counts what came of each. It works with earlier
versions of the package as well: set PYTHONPATH to one.
"""

import argparse
import collections
import contextlib
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CONFIG, WEIGHTS, NEAR = "config.json", "model.safetensors", "neighbours.safetensors"
TOKENIZER, VOCABULARY = "text/tokenizer.json", "vocabulary.json"
FILES = (CONFIG, WEIGHTS, NEAR, TOKENIZER, VOCABULARY)
SEAL = ("format", "sha256", "files")
MAX_SECONDS, MAX_WALL_S, MAX_BYTES = 5, 30, 1 << 30
ODD: tuple[Any, ...] = (None, "text", -1, 1e308, True, [], {}, [[1]], {"a": [None]})
DEEP = 100_000  # levels of nested lists


@dataclass(frozen=True)
class Case:
    """One way to damage a model.

    Attributes
    ----------
    kind, name : str
    damage : callable
        Changes the files of a model in a folder.
    hashed : bool
        Whether the model has hashes; otherwise it is as if an earlier version had saved it.
    """

    kind: str
    name: str
    damage: Callable[[Path], object]
    hashed: bool = True


# What changes a folder.


def flip(file: str, share: float, bit: int) -> Callable[[Path], object]:
    """Flip one bit of a file, at a share of its length."""

    def damage(folder: Path) -> None:
        content = bytearray((folder / file).read_bytes())
        content[int(share * len(content))] ^= 1 << bit
        (folder / file).write_bytes(content)

    return damage


def rewrite(file: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Change the bytes of a file."""
    return lambda folder: (folder / file).write_bytes(change((folder / file).read_bytes()))


def edit(file: str, change: Callable[[Any], Any]) -> Callable[[Path], object]:
    """Change the content of a JSON file; the change may return another content."""

    def damage(folder: Path) -> None:
        content = json.loads((folder / file).read_text(encoding="utf-8"))
        changed = change(content)
        content = content if changed is None else changed
        (folder / file).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

    return damage


def put(*path: Any) -> Callable[[Any], None]:
    """Put the last item into nested content, at the place that the other items name."""

    def change(content: Any) -> None:
        for key in path[:-2]:
            content = content[key]
        content[path[-2]] = path[-1]

    return change


def tensors(file: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], object]:
    """Change the arrays of a file of tensors."""

    def damage(folder: Path) -> None:
        from safetensors.numpy import load_file, save

        content = dict(load_file(folder / file))
        change(content)
        (folder / file).write_bytes(save(content))

    return damage


def replaced(file: str, other: Path) -> Callable[[Path], object]:
    """Replace a file by that of another model."""
    return lambda folder: shutil.copy(other / file, folder / file)


def as_folder(file: str) -> Callable[[Path], object]:
    """Replace a file by a folder."""

    def damage(folder: Path) -> None:
        (folder / file).unlink()
        (folder / file).mkdir()

    return damage


def as_pipe(file: str) -> Callable[[Path], object]:
    """Replace a file by a pipe, which nobody writes to."""

    def damage(folder: Path) -> None:
        (folder / file).unlink()
        os.mkfifo(folder / file)

    return damage


def swap_findings(content: dict[str, Any], *keys: str) -> None:
    """Swap the first two findings of some lists."""
    for key in keys:
        content[key][:2] = content[key][1::-1]


# The cases.


def cases(other: Path, n_flips: int = 60, seed: int = 0) -> list[Case]:
    """Return all cases, in a fixed order.

    Parameters
    ----------
    other : Path
        Another model with files of the same sizes.
    n_flips : int
        Flipped bits of the weights; a third of that of each other file.
    seed : int
    """
    rng = np.random.default_rng(seed)
    found = []
    for file in FILES:
        for _ in range(n_flips if file == WEIGHTS else n_flips // 3):
            share, bit = float(rng.random()), int(rng.integers(8))
            name = f"{file}: bit {bit} at {share:.6f}"
            found.append(Case("flipped bit", name, flip(file, share, bit)))
    found += _files(other)
    for name, damage in (*_content(), *_tokenizer(), *_vocabulary(), *_arrays()):
        found.append(Case("content", name, damage))
        found.append(Case("content, no hashes", name, damage, hashed=False))
    return found


def _files(other: Path) -> Iterator[Case]:
    """Yield cases of whole files: cut off, missing, of another model, no files, added, newer."""
    for file in FILES:
        for n in (0, 1, 100):
            cut = rewrite(file, lambda content, n=n: content[:n])
            yield Case("truncated", f"{file}: {n} bytes", cut)
        yield Case("truncated", f"{file}: half", rewrite(file, lambda c: c[: len(c) // 2]))
        yield Case("truncated", f"{file}: last byte", rewrite(file, lambda c: c[:-1]))
        yield Case("appended", f"{file}: a byte", rewrite(file, lambda c: c + b"x"))
        yield Case("appended", f"{file}: itself", rewrite(file, lambda c: c + c))
        yield Case("zeros", file, rewrite(file, lambda c: bytes(len(c))))
        yield Case("missing", file, lambda folder, file=file: (folder / file).unlink())
        for hashed in (True, False):
            yield Case("no file", f"{file}: a folder", as_folder(file), hashed)
            yield Case("no file", f"{file}: a pipe", as_pipe(file), hashed)
    for file in (CONFIG, WEIGHTS, NEAR, TOKENIZER):
        yield Case("another model", file, replaced(file, other))
    added = edit_new("text/added_tokens.json", {"sinus": 7})
    yield Case("added", "text/added_tokens.json", added)
    for number in (3, 99, 10**30, -1, 0, "2", 2.5, None, True):
        newer = edit(CONFIG, put("format", number))
        yield Case("newer format", f"format {number!r}", newer)
    for key in SEAL:
        without = edit(CONFIG, lambda content, key=key: content.pop(key, None))
        yield Case("newer format", f"without {key}", without)


def edit_new(file: str, content: Any) -> Callable[[Path], object]:
    """Add a JSON file."""
    return lambda folder: (folder / file).write_text(json.dumps(content))


def _content() -> Iterator[tuple[str, Callable[[Path], object]]]:
    """Yield changes of ``config.json``."""
    keys = ("embed_dim", "ecg", "text", "logit_scale", "logit_bias", "codes", "prompts")
    keys += ("waveform", "calibration", "thresholds", "about")
    for key in keys:
        yield f"without {key}", edit(CONFIG, lambda c, key=key: c.pop(key) and None)
        for odd in ODD:
            if (key, odd) != ("logit_bias", -1):  # a bias that a model can have
                yield f"{key}={odd!r}", edit(CONFIG, put(key, odd))
    for path in (
        *(("ecg", "name", value) for value in ("resnet9", "../x", None, 7)),
        *(("ecg", "width", value) for value in (0, -8, 10**9, 1e300, "32", 32.5)),
        *(("ecg", "depths", value) for value in ([10**7], [2] * 60, [-1], ["2"], 4)),
        *(("ecg", "kernel_size", value) for value in (10**9, 4, 0, None)),
        *(("ecg", "stem_size", value) for value in (10**9, -1)),
        *(("ecg", "stem_stride", value) for value in (0, 10**9)),
        *(("ecg", "dropout", value) for value in (2.0, -1.0, "x")),
        ("ecg", "weight", 3),
        *(("text", "name", value) for value in (None, 3, "none", "../../x", "no/model")),
        *(("text", "width", value) for value in (0, 10**9, 129, "128")),
        *(("text", "depth", value) for value in (-1, 10**8, 3, None)),
        *(("text", "n_heads", value) for value in (0, 7, 10**9)),
        *(("text", "max_tokens", value) for value in (0, -5, 10**12)),
        *(("text", "pool", value) for value in ("max", None)),
        ("text", "lora_rank", 10**9),
        ("embed_dim", 10**10),
        ("embed_dim", 64.5),
        *(("logit_scale", value) for value in (0, -1.0, 1e300)),
        *(("codes", 0, value) for value in ("XYZ", None, 5, "", "x" * 10**5)),
        *(("prompts", 0, value) for value in (None, 5, "x" * 10**6)),
        *(("calibration", 0, value) for value in ([1.0], [1.0, 0, 0], [None, 0.0], "x", 1.0)),
        *(("calibration", 0, [value, 0.0]) for value in (1e300, -3.0, "1")),
        *(("thresholds", "f1", 0, value) for value in (2, -0.5, 1e300, None, "0.5", [0.5])),
        *(("thresholds", "f1", value) for value in ([], [0.5], None, {})),
        *(("operating", "precision_0.8", 0, value) for value in (3.0, None)),
        *(("waveform", "to_fs", value) for value in (0, -100, 10**9, "100", None)),
        *(("waveform", "duration_s", value) for value in (0, 1e12, -1.0, "10")),
        *(("waveform", "low_hz", value) for value in (-1.0, 1e9, "x")),
        ("waveform", "allow_flat", "yes"),
        ("waveform", "version", 99),
        *(("about", "run", value) for value in (None, 5, {})),
        ("about", "train_folds", "all"),
        ("about", "n_train_records", "many"),
        ("about", "pretrained", [1]),
        ("about", "teachers", 7),
        *(("members", value) for value in (0, -1, 10**9, "2", [], 2)),
        ("fewer_leads", {"6": {"calibration": [], "thresholds": {}}}),
        ("sources", {"a": {"6": {}}}),
    ):
        yield f"{path[:-1]}={path[-1]!r:.30}", edit(CONFIG, put(*path))
    yield "codes in another order", edit(CONFIG, lambda c: swap_findings(c, "codes"))
    yield "prompts in another order", edit(CONFIG, lambda c: swap_findings(c, "prompts"))
    yield "a code twice", edit(CONFIG, lambda c: put("codes", 1, c["codes"][0])(c))
    yield "a prompt twice", edit(CONFIG, lambda c: put("prompts", 1, c["prompts"][0])(c))
    for key in ("codes", "prompts", "calibration"):
        yield f"one of {key} less", edit(CONFIG, lambda c, key=key: c[key].pop() and None)
    yield "a list", edit(CONFIG, lambda c: [c])
    for number in ("Infinity", "NaN", "-Infinity", "1e400", "9" * 5000):
        first = re.compile(rb'("calibration":\s*\[\s*\[\s*)[-+.\de]+')
        value = rb"\g<1>" + number.encode()
        yield (
            f"a calibration of {number:.9}",
            rewrite(CONFIG, lambda c, value=value, first=first: first.sub(value, c, count=1)),
        )
    yield "nested lists", rewrite(CONFIG, lambda c: b"[" * DEEP + b"]" * DEEP)
    nested = b'{"a": ' + b"[" * DEEP + b"]" * DEEP + b", "
    yield "nested lists as a value", rewrite(CONFIG, lambda c: nested + c[1:])
    chain = '{"run": "r", "pretrained": ' * 300 + "{}" + "}" * 300
    yield "300 models, one from the other", edit(CONFIG, put("about", json.loads(chain)))
    yield "a key twice", rewrite(CONFIG, lambda c: b'{"codes": [], ' + c[1:])
    yield "40 MB", rewrite(CONFIG, lambda c: c + b" " * (40 << 20))
    yield "another encoding", rewrite(CONFIG, lambda c: c.decode().encode("utf-16"))


def _tokenizer() -> Iterator[tuple[str, Callable[[Path], object]]]:
    """Yield changes of the tokenizer."""
    for path in (
        *(("model", "vocab", "<pad>", value) for value in (2**32 - 1, 10**18, 1, -1, "0")),
        *(("model", "vocab", value) for value in ({}, None, [1])),
        *(("model", "merges", value) for value in (None, [["a"]], [["zz", "qq"]], [[1, 2]])),
        *(("model", "type", value) for value in ("Unigram", "WordPiece", 3)),
        ("model", "dropout", 0.9),
        ("model", None),
        ("added_tokens", [{"id": 10**9, "content": "x", "special": True}]),
        ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": "((((("}, "behavior": "x"}),
        ("pre_tokenizer", {"type": "Whitespace"}),
        ("pre_tokenizer", None),
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        ("normalizer", None),
        ("decoder", 3),
        ("truncation", {"max_length": 1, "strategy": "LongestFirst", "stride": 10**12}),
        (
            "padding",
            {
                "strategy": {"Fixed": 10**12},
                "direction": "Right",
                "pad_to_multiple_of": None,
                "pad_id": 0,
                "pad_type_id": 0,
                "pad_token": "<pad>",
            },
        ),
        ("post_processor", {"type": "BertProcessing", "sep": ["a", 10**9], "cls": ["b", 1]}),
    ):
        yield f"tokenizer {path[:-1]}={path[-1]!r:.40}", edit(TOKENIZER, put(*path))
    yield "tokenizer: two tokens with the same number", edit(TOKENIZER, _same_number)
    yield "tokenizer: one token less", edit(TOKENIZER, lambda c: c["model"]["vocab"].popitem()[:0])
    yield "tokenizer: nested lists", rewrite(TOKENIZER, lambda c: b"[" * DEEP)


def _same_number(content: Any) -> None:
    vocab = content["model"]["vocab"]
    vocab[next(reversed(vocab))] = 5


def _vocabulary() -> Iterator[tuple[str, Callable[[Path], object]]]:
    """Yield changes of the vocabulary."""
    for odd in ODD:
        yield f"vocabulary: findings={odd!r}", edit(VOCABULARY, put("findings", odd))
    for key in ("code", "name"):
        change = put("findings", 0, key, ["a"])
        yield f"vocabulary: {key} is a list", edit(VOCABULARY, change)
    yield "vocabulary: a finding less", edit(VOCABULARY, lambda c: c["findings"].pop(0) and None)
    yield "vocabulary: nested lists", rewrite(VOCABULARY, lambda c: b"[" * DEEP)
    yield "vocabulary: without a name", edit(VOCABULARY, lambda c: c.pop("name") and None)


def _arrays() -> Iterator[tuple[str, Callable[[Path], object]]]:
    """Yield changes of weights and of the embeddings of training records."""
    name = "project_ecg.weight"

    def header(content: bytes, length: int) -> bytes:
        return length.to_bytes(8, "little") + content[8:]

    for length in (0, 1, 10**6, 2**40, 2**63):
        changed = rewrite(WEIGHTS, lambda c, n=length: header(c, n))
        yield f"weights: a header of {length} bytes", changed
        changed = rewrite(NEAR, lambda c, n=length: header(c, n))
        yield f"neighbours: a header of {length} bytes", changed
    for what, change in {
        "transposed": lambda c: c.update({name: np.ascontiguousarray(c[name].T[:, :-1])}),
        "missing": lambda c: c.pop(name),
        "renamed": lambda c: c.update(other=c.pop(name)),
        "another one": lambda c: c.update(extra=np.zeros(3, np.float32)),
        "whole numbers": lambda c: c.update({name: c[name].astype(np.int32)}),
        "NaN": lambda c: c[name].__setitem__((0, 0), np.nan),
        "infinite": lambda c: c[name].__setitem__((0, 0), np.inf),
        "none at all": lambda c: c.clear(),
    }.items():
        yield f"weights: {what}", tensors(WEIGHTS, change)
    for what, change in {
        "fewer embeddings": lambda c: c.update(embedding=c["embedding"][:-1]),
        "embeddings of another size": lambda c: c.update(
            embedding=np.ascontiguousarray(c["embedding"][:, :-1])
        ),
        "embeddings in one dimension": lambda c: c.update(embedding=c["embedding"].reshape(-1)),
        "NaN": lambda c: c["embedding"].__setitem__((0, 0), np.nan),
        "labels as numbers": lambda c: c.update(labels=c["labels"].astype(np.float32)),
        "fewer labels": lambda c: c.update(labels=np.ascontiguousarray(c["labels"][:, :-1])),
        "no distances": lambda c: c.update(tune_distance=np.zeros(0, np.float32)),
        "without distances": lambda c: c.pop("tune_distance"),
        "ecg_id as text": lambda c: c.update(ecg_id=c["ecg_id"].astype(np.uint8)),
    }.items():
        yield f"neighbours: {what}", tensors(NEAR, change)


def make_other(model: Path, other: Path) -> None:
    """Make another model with files of the same sizes: other weights, other tokens."""
    from ecg_siglip.models.artifact import load_artifact, save_artifact

    artifact = load_artifact(model)
    for weight in artifact.model.state_dict().values():
        if weight.is_floating_point():
            weight.mul_(1.01)
    save_artifact(other, artifact, "")

    def swap(content: Any) -> None:
        vocab = content["model"]["vocab"]
        first, second = list(vocab)[100:102]
        vocab[first], vocab[second] = vocab[second], vocab[first]

    edit(TOKENIZER, swap)(other)
    tensors(NEAR, lambda content: content.update(ecg_id=content["ecg_id"] + 1))(other)
    content = (other / CONFIG).read_text(encoding="utf-8")
    (other / CONFIG).write_text(content.replace('"version": "', '"version": "9'), encoding="utf-8")


def damaged(model: Path, folder: Path, case: Case) -> Path:
    """Make a damaged copy of a model; return its folder."""
    shutil.copytree(model, folder)
    if not case.hashed:
        edit(CONFIG, lambda content: {k: v for k, v in content.items() if k not in SEAL})(folder)
    case.damage(folder)
    return folder


def predict(folder: Path) -> list[float]:
    """Load a model, and predict a signal of noise with it."""
    from ecg_siglip.inference.predictor import Predictor

    predictor = Predictor.load(folder, "cpu")
    signals = np.random.default_rng(0).integers(-900, 900, (1, 12, 1000)).astype(np.int16)
    probabilities = predictor.probabilities(signals)[0]
    findings = [finding.code for finding in predictor.decide(probabilities)]
    return [*probabilities.tolist(), *findings]


def outcome(folder: Path, expected: list[float]) -> str:
    """Return what comes of a damaged model, on one line."""
    try:
        result = predict(folder)
    except (ValueError, OSError) as error:
        message = str(error)
        if "\n" in message or len(message) > 1000:
            return f"several lines: {message!r:.200}"
        return f"refused: {message}"
    except BaseException as error:
        return f"traceback: {type(error).__name__}: {error!r:.200}"
    return "taken: same prediction" if result == expected else "taken: another prediction"


def outcome_apart(folder: Path, expected: list[float]) -> str:
    """Return ``outcome`` of another process, with limits of time and memory."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        with contextlib.suppress(BaseException):
            in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (in_use + MAX_BYTES,) * 2)
            used = int(sum(os.times()[:2]))
            resource.setrlimit(resource.RLIMIT_CPU, (used + MAX_SECONDS,) * 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            os.write(write, outcome(folder, expected).encode("utf-8", "replace")[:4000])
        os._exit(0)
    os.close(write)
    deadline = time.monotonic() + MAX_WALL_S
    status = 0
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    if not done:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with open(read, "rb") as pipe:
        result = pipe.read().decode()
    if not done or (os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, 9)):
        return "hang: more than 5 s"
    if os.WIFSIGNALED(status):
        return f"killed: {signal.Signals(os.WTERMSIG(status)).name}"
    return result or "killed: no result"


def damage_all(
    model: Path, n_flips: int = 60, seed: int = 0, every: int = 1
) -> Iterator[tuple[Case, str]]:
    """Yield each case, or one of so many, and what comes of it (see ``outcome``)."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        expected = predict(model)
        make_other(model, place / "other")
        for i, case in enumerate(cases(place / "other", n_flips, seed)[::every]):
            folder = damaged(model, place / f"m{i}", case)
            result = outcome_apart(folder, expected)
            shutil.rmtree(folder)
            yield case, result.replace(scratch, "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--n-flips", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="print each case")
    options = parser.parse_args()
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for case, result in damage_all(options.model, options.n_flips, options.seed):
        counts[case.kind][result.partition(":")[0]] += 1
        if options.verbose or not result.startswith("refused"):
            print(f"{case.kind}: {case.name}: {result}", flush=True)
    columns = ("refused", "taken", "traceback", "several lines", "hang", "killed")
    print(f"\n{'damage':22}" + "".join(f"{column:>15}" for column in ("cases", *columns)))
    total = sum(counts.values(), collections.Counter())
    for kind, count in {**counts, "all": total}.items():
        numbers = (count.total(), *(count[column] for column in columns))
        print(f"{kind:22}" + "".join(f"{number:15}" for number in numbers))
    return int(total["refused"] < total.total())


if __name__ == "__main__":
    sys.exit(main())

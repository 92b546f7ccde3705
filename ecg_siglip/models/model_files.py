"""Files of a model: a format number, the SHA-256 of each file, and JSON that is read with limits.

``config.json`` binds the files of a model together: it has the SHA-256 of every other file under
``files``, and its own under ``sha256``, computed with that value empty. The card (``README.md``)
may be edited and is left out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ecg_siglip.core.files import one_line, sha256_of, shown

FORMAT = 2  # 1: models of versions before the hashes, without a format number
CONFIG, WEIGHTS, VOCABULARY = "config.json", "model.safetensors", "vocabulary.json"
NEIGHBORS, SETTINGS, CARD = "neighbours.safetensors", "config.yaml", "README.md"
# Files of a text encoder: of a built-in one, a linear head, and the tokenizers of Hugging Face.
TEXT_FILES = (
    *("tokenizer.json", "table.json", "config.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt"),
    *("spiece.model", "spm.model", "sentencepiece.bpe.model", "tokenizer.model", "vocab.bpe"),
)
PARTS = (WEIGHTS, NEIGHBORS, VOCABULARY, SETTINGS, *(f"text/{name}" for name in TEXT_FILES))
HASHED = (*PARTS, *(f"member*/{part}" for part in (*PARTS, CONFIG)))
SEAL = ("format", "sha256", "files")
MAX_JSON_BYTES = 32 << 20
SHA256 = re.compile("[0-9a-f]{64}")


def write_config(folder: Path, content: Mapping[str, Any], indent: int | None = 1) -> None:
    """Write ``config.json`` with the format and the hashes of all files that are in the folder.

    It is written last: what is added or changed later is refused by ``read_config``.

    Parameters
    ----------
    folder : Path
    content : mapping
        What JSON can store, without NaN.
    indent : int, optional
        None: on one line.
    """
    own = {key: value for key, value in content.items() if key not in SEAL}
    files = {name: sha256_of(folder / name) for name in files_of(folder)}
    sealed = {"format": FORMAT, "sha256": "", "files": files, **own}
    text = json.dumps(sealed, indent=indent, ensure_ascii=False, allow_nan=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    text = text.replace(_stated(""), _stated(digest), 1)
    # As bytes: with other ends of lines the hash would be another one.
    (folder / CONFIG).write_bytes(text.encode())


def read_config(folder: Path, name: str | Path) -> tuple[dict[str, Any], bool]:
    """Read ``config.json`` and compare all files of the model with their hashes.

    Parameters
    ----------
    folder : Path
    name : str or Path
        Name of the model, for messages.

    Returns
    -------
    config : dict
        Without format and hashes.
    is_verified : bool
        False for a model of an earlier version, which has no hashes.

    Raises
    ------
    ValueError
        If a file is missing, damaged, added or of another model, or the model's format is newer.
    """
    if not (folder / CONFIG).exists():
        raise ValueError(f"model {name}: {CONFIG} is missing")
    config = read_json(folder / CONFIG, f"model {name}: {CONFIG}")
    if not isinstance(config, dict):
        raise ValueError(f"model {name}: {CONFIG}: damaged: expected a JSON object")
    if not any(key in config for key in SEAL):
        return config, False
    _check_format(config, name)
    stated = config["sha256"]
    content = (folder / CONFIG).read_bytes()
    content = content.replace(_stated(stated).encode(), _stated("").encode(), 1)
    if hashlib.sha256(content).hexdigest() != stated:
        raise ValueError(
            f"model {name}: {CONFIG} is not as it was saved (SHA-256 differs): damaged or edited; "
            "copy or download the model again"
        )
    _check_files(folder, config["files"], name)
    return {key: value for key, value in config.items() if key not in SEAL}, True


def _check_format(config: dict[str, Any], name: str | Path) -> None:
    """Check format number and form of the hashes."""
    number = config.get("format")
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ValueError(
            f"model {name}: {CONFIG}: damaged: format {shown(str(number))}; expected a number up "
            f"to {FORMAT}"
        )
    if number > FORMAT:
        about = config.get("about")
        version = about.get("version") if isinstance(about, dict) else None
        by = f"ecg_siglip {shown(version)}" if isinstance(version, str) else "a newer version"
        raise ValueError(
            f"model {name}: was written by {by} in format {number}; this version reads up to "
            f"{FORMAT}: upgrade ecg_siglip"
        )
    files = config.get("files")
    digests = [config.get("sha256"), *(files.values() if isinstance(files, dict) else [None])]
    if not all(isinstance(each, str) and SHA256.fullmatch(each) for each in digests):
        raise ValueError(
            f"model {name}: {CONFIG}: damaged: expected a SHA-256 of itself and of each file"
        )


def _check_files(folder: Path, files: Mapping[str, str], name: str | Path) -> None:
    """Check that the files of a model are those of the hashes, no fewer and no more."""
    present = set(files_of(folder))
    for file, digest in files.items():
        if file not in present:
            raise ValueError(
                f"model {name}: {shown(file)} is missing; copy or download the model again"
            )
        if sha256_of(folder / file) != digest:
            raise ValueError(
                f"model {name}: {file} is not as it was saved (SHA-256 differs): damaged or of "
                "another model; copy or download the model again"
            )
    if added := sorted(present - {*files}):
        raise ValueError(
            f"model {name}: {shown(added[0])} does not belong to the model: it was added after the "
            "model was saved; remove it"
        )


@contextlib.contextmanager
def explain_damage(where: str) -> Iterator[None]:
    """Raise whatever a library raises about a file as a ``ValueError`` on one line."""
    try:
        yield
    except BaseException as error:
        # A panic of a library in Rust is no Exception.
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            raise
        is_plain = isinstance(error, ValueError | OSError)
        reason = one_line(error) if is_plain else f"damaged: {type(error).__name__}"
        if not is_plain and str(error):
            reason += f": {one_line(error)}"
        raise ValueError(f"{where}: {reason}") from error


def files_of(folder: Path) -> Iterator[str]:
    """Iterate over the files of a model, without ``config.json`` and the card, sorted."""
    paths = {path for pattern in HASHED for path in folder.glob(pattern) if path.is_file()}
    yield from sorted(path.relative_to(folder).as_posix() for path in paths)


def read_json(path: Path, where: str) -> Any:
    """Read a JSON file of at most ``MAX_JSON_BYTES``, without NaN and without a key twice.

    Raises
    ------
    ValueError
        If it is not such a file; the message begins with ``where``.
    """
    if not path.is_file():
        raise ValueError(f"{where}: is missing" if not path.exists() else f"{where}: no file")
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_JSON_BYTES + 1)
        if len(content) > MAX_JSON_BYTES:
            raise ValueError(f"larger than {MAX_JSON_BYTES >> 20} MB")
        return json.loads(
            content.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=_distinct
        )
    except RecursionError as error:
        raise ValueError(f"{where}: damaged: nested too deeply") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"{where}: damaged: {one_line(error)}") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"expected numbers, got {constant}")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key occurs twice")
    return content


def _stated(digest: str) -> str:
    """Return how ``config.json`` states its own hash."""
    return f'"sha256": "{digest}"'

"""A job: the records of an archive in blocks, each stored one time, whatever interrupts it."""

from __future__ import annotations

import hashlib
import json
import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ecg_siglip import __version__, config
from ecg_siglip.archive.engine import Block, Engine
from ecg_siglip.archive.outputs import Job, Output
from ecg_siglip.archive.progress import Progress
from ecg_siglip.archive.rows import SCHEMA_VERSION
from ecg_siglip.core.distributed import Distributed
from ecg_siglip.core.files import sha256_of
from ecg_siglip.core.settings import setting_names


def fingerprint(settings: config.PredictConfig, folder: Path, paths: Sequence[str]) -> Job:
    """Return what decides on the rows of a job: model, settings and records.

    Parameters
    ----------
    settings : PredictConfig
    folder : Path
        Of the model.
    paths : sequence of str
        Of the records, in the order of the job.
    """
    of_paths = hashlib.sha256()
    for path in paths:
        of_paths.update(path.encode("utf-8", "surrogateescape") + b"\0")
    return {
        "schema_version": SCHEMA_VERSION,
        "model": model_digest(folder),
        "n_records": len(paths),
        "records": of_paths.hexdigest(),
        "settings": {
            name: operator.attrgetter(name)(settings)
            for name in setting_names(type(settings))
            if name not in settings.FREE
        },
    }


def model_digest(folder: Path) -> str:
    """Return the SHA-256 of the configuration and the weights of a model, in hexadecimal."""
    digests = [sha256_of(path) for path in sorted([*folder.glob("*.json"), *folder.glob("*.saf*")])]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def check_same_job(stored: Job, now: Job, name: str) -> None:
    """Check that a job is continued with the same model, settings and records.

    Parameters
    ----------
    stored, now : dict
        From ``fingerprint``.
    name : str
        Of the output.

    Raises
    ------
    ValueError
        Naming what differs.
    """
    differing = []
    for key, value in now["settings"].items():
        then = stored["settings"].get(key)
        if then != value:
            differing.append(f"{key} (was {then}, now {value})")
    if stored["model"] != now["model"]:
        differing.append("the model")
    if stored["records"] != now["records"]:
        n, n_now = stored["n_records"], now["n_records"]
        counts = f"{n:,}, now {n_now:,}" if n != n_now else f"{n:,} others or in another order"
        differing.append(f"the records (were {counts})")
    if stored["schema_version"] != now["schema_version"]:
        differing.append("the version of the columns")
    if differing:
        raise ValueError(
            f"out={name}: was begun with something else: {'; '.join(differing)}; expected the same "
            "to continue, another out, or overwrite=true"
        )


def cut_blocks(paths: Sequence[str], size: int, finished: set[int]) -> Iterator[Block]:
    """Yield the blocks of a job that are not finished."""
    for index in range(n_blocks(len(paths), size)):
        if index not in finished:
            yield Block(index, tuple(paths[index * size : (index + 1) * size]))


def n_blocks(n_records: int, size: int) -> int:
    """Return the number of blocks of a job."""
    return -(-n_records // size)


def run_job(
    paths: Sequence[str],
    now: Job,
    about: dict[str, Any],
    size: int,
    engine: Engine,
    output: Output,
    distributed: Distributed | None = None,
    overwrite: bool = False,
) -> tuple[Counter[str], bool]:
    """Run a job, or what is left of it, and store what it is and its result.

    Parameters
    ----------
    paths : sequence of str
    now : dict
        From ``fingerprint``.
    about : dict
        What else is stored about the job.
    size : int
        Records per block.
    engine : Engine
    output : Output
        This process holds it.
    distributed : Distributed, optional
        The processes of torchrun share the blocks.
    overwrite : bool
        Begin again whatever is there.

    Returns
    -------
    Counter of str
        Number of records by status.
    bool
        Whether the job was complete before.

    Raises
    ------
    ValueError
        As ``check_same_job``.
    OSError
        If rows cannot be stored.
    """
    distributed = distributed or Distributed()
    n = n_blocks(len(paths), size)
    job = begin_job(now, about | {"n_blocks": n}, output, overwrite) if distributed.is_first else {}
    job = json.loads(distributed.all_gather_bytes(json.dumps(job).encode())[0])
    if job["complete"]:
        if distributed.is_first:
            output.tidy()
        return Counter(job["counts"]), True
    finished = output.finished()
    n_finished = sum(min(size, len(paths) - index * size) for index in finished)
    own = (
        block
        for i, block in enumerate(cut_blocks(paths, size, finished))
        if i % distributed.n == distributed.rank
    )
    with Progress(len(paths), n_finished, distributed.n, distributed.is_first) as progress:
        for index, rows in engine.run(own):
            output.write(index, rows)
            progress.add(min(size, len(paths) - index * size))
    distributed.wait()
    counts = Counter[str]()
    if distributed.is_first:
        counts = output.counts()
        output.finish(n)
        output.write_job(job | {"complete": True, "counts": dict(counts)})
        output.tidy()
    return counts, False


def begin_job(now: Job, about: dict[str, Any], output: Output, overwrite: bool) -> Job:
    """Return the job of an output, which is a new one unless the same was begun before.

    Raises
    ------
    ValueError
        As ``check_same_job`` and ``Output.read_job``.
    """
    if overwrite:
        output.clear()
    stored = output.read_job()
    if stored is not None:
        check_same_job(stored["fingerprint"], now, output.name)
        return stored
    job = {"version": __version__, "started": datetime.now(UTC).isoformat(timespec="seconds")}
    job |= about | {"fingerprint": now, "complete": False}
    output.write_job(job)
    return job

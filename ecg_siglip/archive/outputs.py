"""Outputs of a job: where the rows of each block are stored, exactly one time."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from ecg_siglip.archive.part_formats import PartFormat
from ecg_siglip.archive.rows import Row
from ecg_siglip.core.files import hold, make_folder, one_line, replace_file, write_file

JOB_FILE = "_job.json"  # Arrow, Spark and others that read a folder pass over names with _
Job = dict[str, Any]


def check_complete(finished: set[int], n_blocks: int, name: Callable[[int], str]) -> None:
    """Check that every block has its part.

    Parameters
    ----------
    finished : set of int
        The blocks that have one.
    n_blocks : int
    name : function of int
        Returns the name of a part for the error.

    Raises
    ------
    ValueError
        If parts are missing: they were removed while the job ran.
    """
    missing = sorted(set(range(n_blocks)) - finished)
    if missing:
        raise ValueError(f"{name(missing[0])}: was removed while the job ran; repeat it")


class Output(Protocol):
    """Where a job stores its rows.

    Attributes
    ----------
    name : str
        For messages; without a password.
    """

    name: str

    def hold(self, wait_s: float) -> AbstractContextManager[None]:
        """Keep other processes from writing to it; a ValueError names the one that does."""
        ...

    def read_job(self) -> Job | None:
        """Return what ``write_job`` stored; None if there is no job yet.

        Raises
        ------
        ValueError
            If there is something else in its place.
        """
        ...

    def write_job(self, job: Job) -> None:
        """Store what the job is, whole or not at all."""
        ...

    def clear(self) -> None:
        """Remove the job and its rows; a complete result stays until it is replaced."""
        ...

    def finished(self) -> set[int]:
        """Return the numbers of the blocks that are stored."""
        ...

    def write(self, block: int, rows: Sequence[Row]) -> None:
        """Store the rows of a block, whole or not at all; those of an earlier try are replaced."""
        ...

    def counts(self) -> Counter[str]:
        """Return the number of stored records by status, see ``rows.count_records``."""
        ...

    def finish(self, n_blocks: int) -> None:
        """Make the result of all blocks available. May be repeated after an interruption."""
        ...

    def tidy(self) -> None:
        """Remove what is not needed any more; called when the job is stored as complete."""
        ...


class FolderOutput:
    """A folder with a file for each block (``part-000000.parquet``) and ``_job.json``.

    Parameters
    ----------
    folder : Path
    form : PartFormat
    """

    def __init__(self, folder: Path, form: PartFormat):
        self.folder = folder
        self.form = form
        self.name = str(folder)

    @property
    def _job_path(self) -> Path:
        return self.folder / JOB_FILE

    def hold(self, wait_s: float) -> AbstractContextManager[None]:
        """Keep other processes from writing to the folder."""
        return hold(self.folder, wait_s, inside=True)

    def read_job(self) -> Job | None:
        """Return the job of the folder."""
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"out={self.name}: is a file; expected the name of a folder")
        if not self._job_path.exists():
            others = [p.name for p in _listed(self.folder) if not p.name.startswith(".")]
            if others:
                raise ValueError(
                    f"out={self.name}: holds other files ({others[0]}) and no {JOB_FILE}; expected "
                    "a new or empty folder"
                )
            return None
        job = _read_job(self._job_path)
        is_whole = len(self.finished()) == job["n_blocks"]
        return job | {"complete": bool(job.get("complete")) and is_whole}

    def write_job(self, job: Job) -> None:
        """Write ``_job.json``."""
        write_file(self._job_path, json.dumps(job, indent=1) + "\n")

    def clear(self) -> None:
        """Remove the parts and ``_job.json``, which is removed last."""
        for path in [*self._parts(), self._job_path]:
            path.unlink(missing_ok=True)

    def finished(self) -> set[int]:
        """Return the numbers of the blocks that have a part."""
        return {int(path.name[len("part-") : -len(self.form.suffix)]) for path in self._parts()}

    def write(self, block: int, rows: Sequence[Row]) -> None:
        """Write the part of a block."""
        with replace_file(self.part(block)) as partial:
            self.form.write(partial, rows)

    def counts(self) -> Counter[str]:
        """Return the number of records in the parts by status."""
        return sum(map(self.form.counts, self._parts()), Counter())

    def finish(self, n_blocks: int) -> None:
        """Check that every block has its part.

        Raises
        ------
        ValueError
            If parts are missing: they were removed while the job ran.
        """
        check_complete(self.finished(), n_blocks, lambda block: str(self.part(block)))

    def tidy(self) -> None:
        """Leave the folder as it is."""

    def part(self, block: int) -> Path:
        """Return the path of the part of a block."""
        return self.folder / f"part-{block:06d}{self.form.suffix}"

    def _parts(self) -> list[Path]:
        """Return the parts in the order of their blocks."""
        parts = [
            path
            for path in _listed(self.folder)
            if path.name.startswith("part-")
            and path.suffix == self.form.suffix
            and path.stem[len("part-") :].isdecimal()
        ]
        return sorted(parts, key=lambda path: int(path.stem[len("part-") :]))


class FileOutput:
    """One file, made at the end from the parts in a hidden folder next to it.

    ``<file>.job.json`` next to it stays: it states what the file was made from.

    Parameters
    ----------
    path : Path
    form : PartFormat
    """

    def __init__(self, path: Path, form: PartFormat):
        self.path = path
        self.form = form
        self.name = str(path)
        self.folder = FolderOutput(path.with_name(f".{path.name}.parts"), form)
        self._is_replaced = False

    @property
    def _job_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.job.json")

    @contextlib.contextmanager
    def hold(self, wait_s: float) -> Iterator[None]:
        """Keep other processes from writing to the file and its parts."""
        with hold(self.path, wait_s), hold(self.folder.folder, wait_s, inside=True):
            yield

    def read_job(self) -> Job | None:
        """Return the job of the file."""
        if self.path.is_dir():
            raise ValueError(f"out={self.name}: is a folder; expected the name of a file")
        if self._job_path.exists():
            job = _read_job(self._job_path)
            return job | {"complete": bool(job.get("complete")) and self.path.exists()}
        if self.path.exists() and not self._is_replaced:
            raise ValueError(
                f"out={self.name}: exists and was not made by predict; expected another name, or "
                "overwrite=true"
            )
        return None

    def write_job(self, job: Job) -> None:
        """Write ``<file>.job.json``."""
        write_file(self._job_path, json.dumps(job, indent=1) + "\n")

    def clear(self) -> None:
        """Remove the parts and the job; the file stays until it is replaced."""
        self.folder.clear()
        self._job_path.unlink(missing_ok=True)
        self._is_replaced = True

    def finished(self) -> set[int]:
        """Return the numbers of the blocks that have a part."""
        return self.folder.finished()

    def write(self, block: int, rows: Sequence[Row]) -> None:
        """Write the part of a block."""
        self.folder.write(block, rows)

    def counts(self) -> Counter[str]:
        """Return the number of records in the parts by status."""
        return self.folder.counts()

    def finish(self, n_blocks: int) -> None:
        """Join the parts to the file."""
        self.folder.finish(n_blocks)
        make_folder(self.path.parent)
        with replace_file(self.path) as partial:
            self.form.join([self.folder.part(block) for block in range(n_blocks)], partial)

    def tidy(self) -> None:
        """Remove the hidden folder of the parts."""
        shutil.rmtree(self.folder.folder, ignore_errors=True)


@contextlib.contextmanager
def _described(path: Path) -> Iterator[None]:
    """Turn an error of a damaged job file into one that names it."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{path}: cannot be read: {one_line(error)}; expected what predict wrote, or "
            "overwrite=true"
        ) from None


def _read_job(path: Path) -> Job:
    """Read what ``write_job`` wrote."""
    with _described(path):
        job = json.loads(path.read_text("utf-8"))
        if not isinstance(job, dict) or not {"fingerprint", "n_blocks"} <= set(job):
            raise ValueError("no description of a job")
        return job


def _listed(folder: Path) -> list[Path]:
    """Return what is in a folder; nothing if there is no such folder."""
    return sorted(folder.iterdir()) if folder.is_dir() else []

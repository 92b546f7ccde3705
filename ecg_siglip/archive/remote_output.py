"""A remote folder of parts: an object for each block, and ``_job.json``."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ecg_siglip.archive import remote
from ecg_siglip.archive.outputs import JOB_FILE, Job, check_complete
from ecg_siglip.archive.part_formats import PartFormat
from ecg_siglip.archive.rows import Row


class RemoteOutput:
    """A folder in an object store or on another machine.

    Parameters
    ----------
    url : str
    form : PartFormat

    Notes
    -----
    There is no lock. Two jobs that write to one folder at the same time do the work twice, and
    write the same parts.
    """

    def __init__(self, url: str, form: PartFormat):
        self.url = url.rstrip("/")
        self.form = form
        self.name = remote.without_password(url)
        self._counts: dict[int, Counter[str]] = {}  # of the blocks that this process wrote

    @contextlib.contextmanager
    def hold(self, wait_s: float) -> Iterator[None]:
        """Do nothing: object stores have no locks."""
        yield

    def read_job(self) -> Job | None:
        """Return the job of the folder.

        Raises
        ------
        ValueError
            If there are other files in the folder.
        """
        names = remote.list_names(self.url)
        if JOB_FILE not in names:
            if names:
                raise ValueError(
                    f"out={self.name}: holds other files ({names[0]}) and no {JOB_FILE}; expected "
                    "a new or empty folder"
                )
            return None
        try:
            job = dict(json.loads(remote.read_bytes(self._address(JOB_FILE))))
            is_whole = len(self.finished()) == job["n_blocks"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"out={self.name}: {JOB_FILE} cannot be read ({type(error).__name__}); expected "
                "what predict wrote, or overwrite=true"
            ) from None
        return job | {"complete": bool(job.get("complete")) and is_whole}

    def write_job(self, job: Job) -> None:
        """Write ``_job.json``."""
        content = json.dumps(job, indent=1) + "\n"
        remote.write_whole(self._address(JOB_FILE), content.encode())

    def clear(self) -> None:
        """Remove the parts and ``_job.json``, which is removed last."""
        names = remote.list_names(self.url)
        for name in sorted(names, key=lambda name: name == JOB_FILE):
            if name == JOB_FILE or self._number(name) is not None:
                remote.remove(self._address(name))

    def finished(self) -> set[int]:
        """Return the numbers of the blocks that have a part."""
        numbers = map(self._number, remote.list_names(self.url))
        return {number for number in numbers if number is not None}

    def write(self, block: int, rows: Sequence[Row]) -> None:
        """Write the part of a block."""
        with tempfile.TemporaryDirectory(prefix="ecg-part-") as folder:
            path = Path(folder, self._part(block))
            self.form.write(path, rows)
            remote.write_whole(self._address(path.name), path.read_bytes())
            self._counts[block] = self.form.counts(path)

    def counts(self) -> Counter[str]:
        """Return the number of records in the parts by status."""
        for block in self.finished() - set(self._counts):
            with remote.local_copy(self._address(self._part(block))) as path:
                self._counts[block] = self.form.counts(path)
        return sum(self._counts.values(), Counter())

    def finish(self, n_blocks: int) -> None:
        """Check that every block has its part.

        Raises
        ------
        ValueError
            If parts are missing: they were removed while the job ran.
        """
        check_complete(
            self.finished(),
            n_blocks,
            lambda block: remote.without_password(self._address(self._part(block))),
        )

    def tidy(self) -> None:
        """Leave everything: the parts are the result."""

    def _address(self, name: str) -> str:
        return remote.join(self.url, name)

    def _part(self, block: int) -> str:
        return f"part-{block:06d}{self.form.suffix}"

    def _number(self, name: str) -> int | None:
        """Return the number of the block of a part; None for another file."""
        match = re.fullmatch(rf"part-(\d+){re.escape(self.form.suffix)}", name)
        return int(match[1]) if match else None

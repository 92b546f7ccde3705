"""Files of the training records, by the names that a model has of them."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import numpy as np

from ecg_siglip.readers.folders import find_records
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import order_leads

# Files of PTB-XL: the number of the record, and the sampling rate, low or high.
PTBXL_FILE = re.compile(r"0*(\d+)_(lr|hr)")


class RecordFolder:
    """Training records in a folder, found by their names.

    Parameters
    ----------
    root : Path
        Folder with the records; it is searched once.

    Raises
    ------
    OSError, ValueError
        As ``folders.find_records``.
    """

    def __init__(self, root: Path):
        self._paths: dict[str, list[Path]] = defaultdict(list)
        for text in find_records(root):
            path = Path(text)
            relative = path.relative_to(root)
            names = {str(relative), str(relative.with_suffix("")), path.name, path.stem}
            number = PTBXL_FILE.fullmatch(path.stem)
            if number:
                names.add(number[1])
            for name in names:
                self._paths[name].append(path)

    def path(self, name: str) -> Path | None:
        """Return the file of a record; None if there is none, or several that may differ.

        Of the two files of a record of PTB-XL it is the one at 500 Hz.
        """
        paths = self._paths.get(name, [])
        if len(paths) > 1:
            paths = [path for path in paths if path.stem.endswith("_hr")]
        return paths[0] if len(paths) == 1 else None


def read_beginning(path: Path, duration_s: float = 10.0) -> tuple[np.ndarray, float]:
    """Read the first seconds of a record.

    Returns
    -------
    signal : ndarray of shape (12, n_samples), mV
        Leads in the standard order, 0 where the record does not have one.
    fs : float, Hz

    Raises
    ------
    OSError, ValueError
        As ``record.read_record`` and ``leads.order_leads``.
    """
    record = read_record(path)
    signal = order_leads(record.signal, record.leads, record.name, allow_missing=True)
    return signal[:, : round(duration_s * record.fs)], record.fs

"""Log of a run: one line per epoch in ``log.jsonl`` and on the terminal."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from ecg_siglip.metrics.multilabel import without_nan


class RunLog:
    """Log file of a run, ``log.jsonl``.

    Parameters
    ----------
    run : Path
        Folder of the run.
    n_bytes : int
        Length of ``log.jsonl`` when the training state was saved that the run resumes from. Later
        lines are of epochs that will be trained again, and are removed.
    """

    def __init__(self, run: Path, n_bytes: int = 0):
        self.path = run / "log.jsonl"
        self.path.touch()
        self.n_bytes = min(n_bytes, self.path.stat().st_size)  # less after a power cut
        os.truncate(self.path, self.n_bytes)

    def write(self, line: Mapping[str, float | str]) -> None:
        """Append the numbers of an epoch, with its number as ``epoch``."""
        with open(self.path, "a", encoding="utf-8", newline="\n") as file:
            print(json.dumps(without_nan(line)), file=file, flush=True)
            self.n_bytes = file.tell()
            os.fsync(file.fileno())  # the state that is saved next refers to this line


def print_epoch(line: Mapping[str, float | str], n_epochs: int) -> None:
    """Print the main numbers of an epoch above a progress bar."""
    scores = "  ".join(
        f"{name} {line[name]:.3f}" for name in ("macro_auroc", "macro_auprc", "micro_f1")
    )
    tqdm.write(f"epoch {line['epoch']}/{n_epochs}  loss {line['loss']:.3f}  {scores}")

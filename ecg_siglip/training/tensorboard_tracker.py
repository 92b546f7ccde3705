"""TensorBoard: files in ``tensorboard/`` of the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ecg_siglip.core.files import flush


class TensorBoardTracker:
    """Writer of TensorBoard's files, see ``tracking.Tracker``.

    Each session of a run writes a file of its own to the same folder, which TensorBoard shows as
    one run; an ``id`` is not needed. It hides what earlier sessions wrote, and gets all epochs
    again: a killed session may not have written its last ones.
    """

    id = ""

    def __init__(self, run: Path, id: str = ""):
        from torch.utils.tensorboard import SummaryWriter

        self.folder, self.epoch = run / "tensorboard", 0
        self.place = str(self.folder)
        self.board = SummaryWriter(str(self.folder), purge_step=0)

    def start(self, settings: Mapping[str, str], about: Mapping[str, str]) -> None:
        """Write the settings as a table of text."""
        rows = [f"| {name} | {value} |" for name, value in {**about, **settings}.items()]
        self.board.add_text("settings", "\n".join(["| setting | value |", "| --- | --- |", *rows]))

    def log(self, numbers: Mapping[str, float], epoch: int | None = None) -> None:
        """Add points of curves; those without an epoch at the last one."""
        self.epoch = self.epoch if epoch is None else epoch
        for name, value in numbers.items():
            self.board.add_scalar(name, value, self.epoch)

    def add(self, path: Path, folder: str = "") -> None:
        """Add nothing: the files are next to TensorBoard's."""

    def close(self, status: str = "") -> None:
        """Close the files."""
        self.board.close()
        flush(self.folder)

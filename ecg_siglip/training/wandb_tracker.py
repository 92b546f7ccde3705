"""Weights & Biases: its server, or files in ``wandb/`` of the run to upload later."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROJECT = "ecg_siglip"


class WandbTracker:
    """Run of Weights & Biases, see ``tracking.Tracker``.

    ``WANDB_PROJECT``, ``WANDB_ENTITY`` and ``WANDB_MODE`` are those of wandb. Without a key and a
    mode the run is stored offline: wandb would wait for a key to be typed.
    """

    def __init__(self, run: Path, id: str = ""):
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read when wandb is imported
        import wandb

        self.id = id or secrets.token_hex(4)
        mode: Any = os.environ.get("WANDB_MODE")
        if not mode:
            mode = "online" if wandb.login(prompt=False, verify=False) else "offline"
        self.session: Any = wandb.init(
            id=self.id,
            resume="allow",
            name=run.name,
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            mode=mode,
            dir=str(run),
            settings=wandb.Settings(
                console="off",
                disable_code=True,
                disable_git=True,
                silent=True,
                x_disable_machine_info=True,
                x_disable_stats=True,
            ),
        )
        folder = str(Path(self.session.dir).parent)
        self.place: str = (self.session.url if mode == "online" else None) or folder
        self.session.define_metric("*", step_metric="epoch")

    def start(self, settings: Mapping[str, str], about: Mapping[str, str]) -> None:
        """Set the configuration."""
        self.session.config.update({**settings, **about}, allow_val_change=True)

    def log(self, numbers: Mapping[str, float], epoch: int | None = None) -> None:
        """Add points of curves; scores of the whole run to the summary."""
        if epoch is None:
            self.session.summary.update(dict(numbers))
        else:
            self.session.log({**numbers, "epoch": epoch}, step=epoch)

    def add(self, path: Path, folder: str = "") -> None:
        """Copy a file or a folder to those of the session, which are uploaded with it."""
        # In a folder of its own: wandb has a config.yaml, too.
        copy = Path(self.session.dir) / "run" / folder / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, copy, dirs_exist_ok=True)
        else:
            shutil.copy(path, copy)
        for file in [copy, *copy.rglob("*")]:
            if file.is_file():
                self.session.save(str(file), base_path=self.session.dir, policy="now")

    def close(self, status: str = "") -> None:
        """Wait until everything is sent or stored."""
        self.session.finish(exit_code=1 if status == "failed" else 0)

"""Simulate ECGs with known findings, in the layout of PTB-XL or as a table with device files."""

from __future__ import annotations

from pathlib import Path

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.core.files import hold
from ecg_siglip.simulation.dataset import simulate_dataset
from ecg_siglip.simulation.hospital import TABLE, VOCABULARY, simulate_hospital
from ecg_siglip.simulation.marker import MARKER


def simulate(settings: config.SimulateConfig) -> None:
    """Simulate ECGs with known findings: a PTB-XL, or a hospital with a table and device files."""
    root, n_records = Path(settings.data.root), settings.n_records
    if settings.balance and settings.difficulty != "realistic":
        raise ValueError(f"balance={settings.balance:g}: expected with difficulty=realistic only")
    if settings.layout == "table":
        if settings.records500:
            raise ValueError("records500=true: expected with layout=ptbxl only")
        if settings.difficulty != "plain":
            raise ValueError(f"difficulty={settings.difficulty}: expected with layout=ptbxl only")
    with hold(root):
        has_written = "complete:" if (root / MARKER).exists() else "wrote"
        if settings.layout == "table":
            simulate_hospital(root, n_records, settings.seed, settings.n_workers, progress=True)
            print(f"{has_written} {n_records} records, {root / TABLE} and {root / VOCABULARY}")
            return
        simulate_dataset(
            root,
            n_records,
            settings.seed,
            settings.records500,
            settings.n_workers,
            progress=True,
            difficulty=settings.difficulty,
            balance=settings.balance,
        )
        print(f"{has_written} {n_records} records to {root}")


def main() -> None:
    """Run the command."""
    run_command("simulate", config.SimulateConfig, simulate)


if __name__ == "__main__":
    main()

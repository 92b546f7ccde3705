"""Simulate ECGs with known findings in the layout of PTB-XL."""

from __future__ import annotations

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.simulation.dataset import simulate_dataset


def simulate(settings: config.SimulateConfig) -> None:
    """Simulate ECGs with known findings in the layout of PTB-XL."""
    root = simulate_dataset(
        settings.data.root,
        settings.n_records,
        settings.seed,
        settings.records500,
        settings.n_workers,
        progress=True,
    )
    print(f"wrote {settings.n_records} records to {root}")


def main() -> None:
    run_command("simulate", config.SimulateConfig, simulate)


if __name__ == "__main__":
    main()

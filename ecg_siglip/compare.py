"""Compare runs on the same records."""

from __future__ import annotations

from pathlib import Path

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.evaluation.comparison import compare_runs, markdown


def compare(settings: config.CompareConfig) -> None:
    """Compare runs, write the tables and figures, and print the tables."""
    result = compare_runs(settings)
    print(markdown(result))
    print(f"\nwrote {Path(settings.out)}/")


def main() -> None:
    run_command("compare", config.CompareConfig, compare)


if __name__ == "__main__":
    main()

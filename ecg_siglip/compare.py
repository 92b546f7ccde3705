"""Compare runs on the same records."""

from __future__ import annotations

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.evaluation.comparison import compare_runs


def main() -> None:
    run_command("compare", config.CompareConfig, compare_runs)


if __name__ == "__main__":
    main()

"""Compare recipes by the scores of their runs on the same records."""

from __future__ import annotations

from pathlib import Path

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.core.files import hold
from ecg_siglip.evaluation.comparison import compare_runs, markdown


def compare(settings: config.CompareConfig) -> None:
    """Compare recipes by the scores of their runs on the same records."""
    with hold(Path(settings.out), settings.wait_s):
        result = compare_runs(settings)
    print(markdown(result))
    print(f"\nwrote {Path(settings.out)}/")


def main() -> None:
    """Run the command."""
    run_command("compare", config.CompareConfig, compare)


if __name__ == "__main__":
    main()

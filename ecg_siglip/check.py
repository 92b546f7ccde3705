"""Check data before training: what is in it, and what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.core.files import visible, write_file
from ecg_siglip.datasets.checking import check_data
from ecg_siglip.reporting.data_report import write_data_report
from ecg_siglip.reporting.data_text import data_text


def check(settings: config.CheckConfig) -> int:
    """Check data before training: what is in it, and what is wrong.

    Returns
    -------
    int
        Exit code: 1 if training would stop.
    """
    if settings.out and Path(settings.out).is_file():
        raise ValueError(f"out={settings.out} is a file; expected a folder")
    result = check_data(settings).as_json()
    print("\n".join(visible(line) for line in data_text(result).split("\n")))
    if settings.folds:
        written = result["folds_written"]
        print(f"wrote {written}" if written else f"{settings.folds} is not written: see the errors")
    if settings.out:
        folder = Path(settings.out)
        write_file(folder / "check.json", json.dumps(result, ensure_ascii=False, indent=1) + "\n")
        write_data_report(folder / "check.html", result)
        print(f"wrote {folder / 'check.json'} and {folder / 'check.html'}")
    return int(not result["ok"])


def main() -> None:
    """Run the command."""
    run_command("check", config.CheckConfig, check)


if __name__ == "__main__":
    main()

"""The few faults that ``make test`` injects."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]


def rows(part: str, folder: Path) -> list[dict[str, Any]]:
    """Return the counts of a part of ``make faults --quick``."""
    env = os.environ | {"PYTHONPATH": f"{TESTS.parent}:{TESTS}", "OMP_NUM_THREADS": "1"}
    out = folder / "rows.json"
    command = [sys.executable, "-m", "faults", "--quick", "--parts", part, "--out", str(out)]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert out.exists(), done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(out.read_text())[part]
    return found

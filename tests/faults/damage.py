"""Damaged files: flipped bits of models, training states and data sets, and damaged models.

Each has to be noticed: an error on one line that names the file, or, where the files can be
fetched again, the right file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from damaged_models import damage_all
from faults.injection import Fault, Outcome, kill
from faults.storage import Bench

HANGS = ("hang", "killed")


@dataclass
class DamageRow:
    """Counts of damaged files of one kind."""

    damage: str
    command: str
    runs: int = 0
    noticed: int = 0  # refused on one line, or mended
    tracebacks: int = 0
    hangs: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, where: str, is_noticed: bool, problem: str) -> None:
        """Count a damaged file."""
        self.runs += 1
        self.noticed += is_noticed
        self.tracebacks += problem.startswith("traceback")
        self.hangs += problem.startswith(HANGS)
        self.failures += [] if is_noticed else [f"{where}: {problem}"]


def flip(path: Path, rng: np.random.Generator) -> str:
    """Flip one bit of a file; return where."""
    content = bytearray(path.read_bytes())
    byte, bit = int(rng.integers(len(content))), int(rng.integers(8))
    content[byte] ^= 1 << bit
    path.write_bytes(content)
    return f"{path.name}: bit {bit} of byte {byte}"


def damaged_models(model: Path, n_flips: int, every: int = 1) -> list[DamageRow]:
    """Load damaged copies of a model, see ``damaged_models.py``."""
    rows: dict[str, DamageRow] = {}
    for case, result in damage_all(model, n_flips, every=every):
        row = rows.setdefault(case.kind, DamageRow(f"model: {case.kind}", "`predict`"))
        row.add(case.name, result.startswith("refused"), result)
    return list(rows.values())


def damaged_states(faults: Bench, n: int) -> list[DamageRow]:
    """Flip bits of ``state.pt``: of a finished run, and of one that was killed after an epoch."""
    operations = faults.operations("train")
    written = [
        i
        for i, (kind, path) in enumerate(operations, 1)
        if (kind, Path(path).name[:10]) == ("rename", ".state.pt.")
    ]
    rng, rows = np.random.default_rng(0), []
    for what, number in (("a finished run", 0), ("an interrupted run", written[-1] + 1)):
        row = DamageRow(f"state.pt of {what}: flipped bit", "`train`")
        for _ in range(n):
            with faults.copy("train") as folder:
                fault = Fault(number, kill) if number else None
                faults.cases["train"].run(folder, fault)
                where = flip(folder / "runs" / "a" / "state.pt", rng)
                outcome = faults.cases["train"].run(folder)
                is_line, problem = _judge(outcome)
                row.add(where, is_line and outcome.code == 1, problem)
        rows.append(row)
    return rows


def damaged_data(faults: Bench, n: int) -> DamageRow:
    """Flip bits of a downloaded data set; ``ptbxl verify=true`` fetches these files again."""
    row, rng = DamageRow("data set: flipped bit", "`ptbxl verify=true`"), np.random.default_rng(0)
    with faults.copy("ptbxl") as folder:
        faults.cases["ptbxl"].run(folder)
        files = sorted(path for path in (folder / "copy").rglob("*") if _is_data(path))
        for path in rng.permutation(np.array(files, object))[:n]:
            right = hashlib.sha256(path.read_bytes()).digest()
            where = flip(path, rng)
            outcome = faults.cases["ptbxl"].run(folder, words=["verify=true"])
            is_line, problem = _judge(outcome)
            is_right = hashlib.sha256(path.read_bytes()).digest() == right
            row.add(where, is_line and (is_right or outcome.code == 1), problem)
    return row


def _is_data(path: Path) -> bool:
    """Return whether a file was downloaded, and has a check sum."""
    return path.is_file() and path.suffix in (".csv", ".dat", ".hea") and "cache" not in path.parts


def _judge(outcome: Outcome) -> tuple[bool, str]:
    """Return whether a run has ended well or with one line, and what came of it."""
    lines = outcome.errors.strip().splitlines()
    if any(line.startswith("Traceback") for line in lines):
        return False, f"traceback: {lines[-1]}"
    if outcome.code < 0:
        return False, f"killed: signal {-outcome.code}"
    return True, f"taken: {lines[-1] if lines else 'no message'}"


def damage_table(rows: list[DamageRow]) -> str:
    """Return the counts as a table in Markdown, with their sum."""
    head = ["damage", "command", "cases", "noticed", "tracebacks", "hangs and crashes"]
    lines = [head, ["---"] * len(head)]
    counts = [(row.runs, row.noticed, row.tracebacks, row.hangs) for row in rows]
    for row, numbers in zip(rows, counts, strict=True):
        lines.append([row.damage, row.command, *map(str, numbers)])
    lines.append(["all", "", *(str(sum(column)) for column in zip(*counts, strict=True))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

"""Inject faults into the commands and print what held: ``make faults``.

PYTHONPATH=tests python -m faults [--quick] [--out FILE] [COMMAND ...]
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from faults.storage import Bench, Row, bench

COMMANDS = ("simulate", "train", "evaluate", "ensemble", "compare", "export", "check", "ptbxl")
DELETES = ("unlink", "rmdir")
WRITES = ("open", "mkdir", "fsync")


def deletes(faults: Bench, name: str, n: int) -> Row | None:
    """Let every deletion fail in a command that replaces results."""
    return faults.failing(name, 2, DELETES, True) if faults.cases[name].before else None


KINDS: dict[str, Callable[[Bench, str, int], Row | None]] = {
    "killed": lambda faults, name, n: faults.killed(name, n),
    "renames": lambda faults, name, n: faults.failing(name, n // 2, ("rename",), False),
    "all renames": lambda faults, name, n: faults.failing(name, 1, ("rename",), True),
    "writes": lambda faults, name, n: faults.failing(name, n // 2, WRITES, False),
    "deletes": deletes,
    "disk full": lambda faults, name, n: faults.full_disk(name, n // 2),
    "power cut": lambda faults, name, n: faults.power_cut(name, n // 2),
}


def main() -> int:
    """Run the faults; the exit code is 1 if something did not hold."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few faults: about 20 s")
    parser.add_argument("--n", type=int, default=10, help="faults of each kind and command")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--out", type=Path, help="file for the rows, JSON")
    parser.add_argument("commands", nargs="*", help=f"of {', '.join(COMMANDS)}; default: all")
    options = parser.parse_args()
    rows: list[Row] = []
    start_s = time.perf_counter()
    commands = ["simulate", "check"] if options.quick else options.commands or COMMANDS
    with bench(commands) as faults:
        if options.quick:
            rows = [
                faults.killed("simulate", 4),
                faults.failing("simulate", 2, ("rename",), True),
                faults.failing("check", 2, ("rename",), False),
            ]
        for kind, name in () if options.quick else itertools.product(options.kinds, commands):
            row = KINDS[kind](faults, name, options.n)
            rows += [row] if row else []
            seconds = time.perf_counter() - start_s
            print(
                f"{seconds:.0f} s: {kind}, {name}",
                *row.failures if row else [],
                sep="\n  ",
                file=sys.stderr,
                flush=True,
            )
            if options.out:
                options.out.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    print(table(rows))
    failures = [f"{row.command}, {row.fault}, {each}" for row in rows for each in row.failures]
    print("\n".join(failures), file=sys.stderr)
    return int(bool(failures))


def table(rows: list[Row]) -> str:
    """Return the counts as a table in Markdown."""
    head = ["fault", "command", "runs", "old or new whole", "error on one line"]
    head += ["same result when repeated", "nothing left"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        numbers = (row.runs, row.whole, row.one_line, row.repeated, row.clean)
        lines.append([row.fault, row.command, *map(str, numbers)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    raise SystemExit(main())

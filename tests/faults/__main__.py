"""Inject faults into the commands and print what held: ``make faults``.

PYTHONPATH=tests python -m faults [--quick] [--out FILE] [COMMAND ...]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from faults.storage import Row, bench

COMMANDS = ("simulate", "train", "evaluate", "ensemble", "compare", "export", "check", "ptbxl")
REPLACES = ("rename",)
DELETES = ("unlink", "rmdir")
WRITES = ("open", "mkdir", "fsync")


def main() -> int:
    """Run the faults; the exit code is 1 if something did not hold."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few faults: about 20 s")
    parser.add_argument("--n", type=int, default=10, help="faults of each kind and command")
    parser.add_argument("--out", type=Path, help="file for the rows, JSON")
    parser.add_argument("commands", nargs="*", help=f"of {', '.join(COMMANDS)}; default: all")
    options = parser.parse_args()
    rows: list[Row] = []
    start_s = time.perf_counter()
    commands = ["simulate", "check"] if options.quick else options.commands or COMMANDS
    with bench(commands) as faults:
        if options.quick:
            rows += [faults.killed("simulate", 4), faults.failing("simulate", 2, REPLACES, True)]
            rows.append(faults.failing("check", 2, REPLACES, False))
        for name in () if options.quick else commands:
            n = options.n
            rows += [
                faults.killed(name, n),
                faults.failing(name, n // 2, REPLACES, False),
                faults.failing(name, 2, REPLACES, True),
                faults.failing(name, n // 2, WRITES, False),
            ]
            if faults.cases[name].before:
                rows.append(faults.failing(name, 2, DELETES, True))
            rows += [row for row in (faults.full_disk(name, n // 2),) if row]
            rows += [row for row in (faults.power_cut(name, n // 2),) if row]
            print(f"{name}: {time.perf_counter() - start_s:.0f} s", file=sys.stderr, flush=True)
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

"""Inject faults into the commands and print what held: ``make faults``.

PYTHONPATH=tests python -m faults [--quick] [--parts PART ...] [--out FILE] [COMMAND ...]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from faults.damage import (
    DamageRow,
    damage_table,
    damaged_data,
    damaged_models,
    damaged_states,
)
from faults.server import KINDS as ABUSES
from faults.server import AbuseRow, abuse_table, abused, running
from faults.storage import Bench, Row, bench

COMMANDS = ("simulate", "train", "adapt", "evaluate", "ensemble", "compare")
COMMANDS += ("export", "predict", "check", "ptbxl")
PARTS = ("storage", "damage", "server")
SLOW = ("adapt", "export", "predict")  # half as many faults
DELETES = ("unlink", "rmdir")
WRITES = ("open", "mkdir", "fsync")
MODEL = Path(__file__).resolve().parents[2] / "ecg_siglip" / "pretrained"


def deletes(faults: Bench, name: str, n: int) -> Row | None:
    """Let every deletion fail in a command that replaces results."""
    return faults.failing(name, n, DELETES, True) if faults.cases[name].before else None


KINDS: dict[str, Callable[[Bench, str, int], Row | None]] = {
    "killed": lambda faults, name, n: faults.killed(name, 2 * n),
    "renames": lambda faults, name, n: faults.failing(name, n, ("rename",), False),
    "all renames": lambda faults, name, n: faults.failing(name, -(-n // 2), ("rename",), True),
    "writes": lambda faults, name, n: faults.failing(name, n, WRITES, False),
    "deletes": deletes,
    "disk full": lambda faults, name, n: faults.full_disk(name, n),
    "power cut": lambda faults, name, n: faults.power_cut(name, n),
}


def storage(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the counts of each kind of fault and each command."""
    commands = ["simulate", "check"] if options.quick else options.commands or COMMANDS
    with bench(commands) as faults:
        if options.quick:
            yield faults.killed("simulate", 4)
            yield faults.failing("simulate", 2, ("rename",), True)
            yield faults.failing("check", 2, ("rename",), False)
            return
        kinds = [kind for kind in KINDS if kind in options.kinds]
        for kind, name in itertools.product(kinds, commands):
            row = KINDS[kind](faults, name, -(-options.n // (2 if name in SLOW else 1)))
            if row:
                yield row


def damage(options: argparse.Namespace) -> Iterator[DamageRow]:
    """Yield the counts of each kind of damage."""
    if MODEL.is_dir() and not options.quick:
        yield from damaged_models(MODEL, 6 * options.n)
    commands = ("simulate", "ptbxl") if options.quick else ("simulate", "train", "ptbxl")
    with bench(commands) as faults:
        yield damaged_data(faults, 2 if options.quick else options.n)
        if not options.quick:
            yield from damaged_states(faults, 2 * options.n)


def server(options: argparse.Namespace) -> Iterator[AbuseRow]:
    """Yield what came of each kind of abuse, each of a server of its own."""
    if options.quick:
        with running() as started:
            yield abused(started, "1,000 silent connections", seconds=3.0)
        return
    for name in (each for each in ABUSES if each in options.kinds):
        with running() as started:
            yield abused(started, name)


def main() -> int:
    """Run the faults; the exit code is 1 if something did not hold."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few faults: about 40 s")
    parser.add_argument("--n", type=int, default=10, help="faults of each kind and command")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    kinds = [*KINDS, *ABUSES]
    parser.add_argument("--kinds", nargs="+", choices=kinds, metavar="KIND", default=kinds)
    parser.add_argument("--out", type=Path, help="file for the rows, JSON")
    parser.add_argument("commands", nargs="*", help=f"of {', '.join(COMMANDS)}; default: all")
    options = parser.parse_args()
    rows: dict[str, list] = {part: [] for part in options.parts}
    start_s = time.perf_counter()
    for part in options.parts:
        found: Iterator = {"storage": storage, "damage": damage, "server": server}[part](options)
        for row in found:
            rows[part].append(row)
            words = [str(value) for value in asdict(row).values() if isinstance(value, str)]
            print(f"{time.perf_counter() - start_s:.0f} s: {', '.join(words)}", file=sys.stderr)
            print(*(f"  {each}\n" for each in _failures(row)), sep="", end="", file=sys.stderr)
            if options.out:
                content = {name: [asdict(each) for each in rows[name]] for name in rows}
                options.out.write_text(json.dumps(content, indent=1) + "\n")
    tables = {"storage": table, "damage": damage_table, "server": abuse_table}
    print("\n\n".join(tables[part](rows[part]) for part in options.parts))
    return int(any(_failures(row) for part in options.parts for row in rows[part]))


def _failures(row: Row | DamageRow | AbuseRow) -> list[str]:
    """Return what did not hold."""
    return row.failures() if isinstance(row, AbuseRow) else row.failures


def table(rows: list[Row]) -> str:
    """Return the counts of each kind of fault as a table in Markdown."""
    head = ["fault", "commands", "runs", "old or new whole", "error on one line"]
    head += ["same result when repeated", "nothing left"]
    lines = [head, ["---"] * len(head)]
    for fault, group in itertools.groupby(rows, lambda row: row.fault):
        each = list(group)
        counts = [(row.runs, row.whole, row.one_line, row.repeated, row.clean) for row in each]
        names = ", ".join(f"`{row.command}`" for row in each)
        lines.append([fault, names, *(str(sum(column)) for column in zip(*counts, strict=True))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.stdout.flush()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    raise SystemExit(main())

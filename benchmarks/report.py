"""Write the tables of docs/performance.md from the ``results/`` of the other programs.

    python benchmarks/report.py

The text between ``<!-- bench: NAME -->`` and ``<!-- /bench -->`` is written by this program, never
by hand.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import measure

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
BLOCK = re.compile(r"(<!-- bench: (\w+) -->\n).*?(<!-- /bench -->)", re.S)
DEVICES = {"cuda": "GPU", "cpu": "CPU"}
MISSING = "Not measured yet.\n"


def read(name: str) -> list[tuple[str, dict]]:
    """Read the results of a program on each device that it ran on."""
    results = []
    for device in DEVICES:
        path = measure.OUT / device / f"{name}.json"
        if path.is_file():
            results.append((device, json.loads(path.read_text())))
    return results


def table(head: list[str], rows: list[list[object]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *[[str(cell) for cell in row] for row in rows]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def data() -> str:
    """Return the table of building the cache."""
    head = [
        "processes",
        "records",
        "ours, ms per record",
        "loop of `wfdb.rdrecord`",
        "times as fast",
    ]
    parts = []
    for _, result in read("data"):
        rows = [
            [
                row["n_workers"],
                row["n_records"],
                f"{row['cache_ms_per_record']:.2f}",
                f"{row['wfdb_loop_ms_per_record']:.2f}",
                f"{row['ratio']:.1f}",
            ]
            for row in result["rows"]
        ]
        parts.append(where(result) + table(head, rows))
    return "\n".join(parts) or MISSING


def archive() -> str:
    """Return the table of the prediction of an archive."""
    head = ["files", "records", "records/s", "ms of a core per record", "MiB"]
    head += ["before: records/s", "ms of a core", "times as fast"]
    parts = []
    for _, result in read("archive"):
        rows = []
        for row in result["rows"]:
            ways = [row["job"], row.get("before")]
            cells = [
                [f"{way['records_per_s']:.0f}", f"{way['cpu_ms_per_record']:.1f}"]
                for way in ways
                if way
            ]
            ratio = [f"{row['ratio']:.1f}"] if "ratio" in row else []
            first, before = cells if len(cells) == 2 else (*cells, [])
            memory = f"{row['job']['mib']:.0f}"
            counted = [row["format"], f"{row['n_records']:,}"]
            rows.append([*counted, *first, memory, *before, *ratio])
        parts.append(where(result) + table(head, rows))
    return "\n".join(parts) or MISSING


def loss() -> str:
    """Return the table of the pair loss."""
    head = ["targets", "B", "T", "against", "memory", "time", "gradients differ by"]
    parts = []
    for _, result in read("loss"):
        rows = []
        for row in result["rows"]:
            for peer, name in (("whole", "the whole matrix"), ("siglip", "transformers' SigLIP")):
                if peer not in row:
                    continue
                fused, other = row["fused"], row[peer]
                n_texts = 71 if row["rule"] == "bank" else row["n"]
                labels = [row["rule"], f"{row['n']:,}", f"{n_texts:,}", name]
                if "failed" in other:
                    cells = ["it does not fit", f"{fused['seconds']:.1f} s"]
                elif not other["bytes"]:
                    cells = ["-", f"{fused['seconds'] / other['seconds']:.2f}"]
                else:
                    cells = [
                        f"{fused['bytes'] / other['bytes']:.2f}",
                        f"{fused['seconds'] / other['seconds']:.2f}",
                    ]
                differ = row.get("gradient_difference") if peer == "whole" else None
                rows.append([*labels, *cells, "" if differ is None else f"{differ:.0e}"])
        parts.append(where(result) + table(head, rows))
    return "\n".join(parts) or MISSING


def training() -> str:
    """Return the table of the training step."""
    head = ["encoder", "fs, Hz", "records/s", "fed by a DataLoader and wfdb", "times as fast"]
    head += ["data, share of a step", "GFLOP per record", "of the FLOP limit", "of the roofline"]
    parts = []
    for _, result in read("training"):
        rows = []
        for row in result["rows"]:
            if "failed" in row:
                continue
            rows.append(
                [
                    f"`{row['encoder']}`",
                    row["fs"],
                    f"{row['records_per_s']:,.0f}",
                    f"{row['plain_records_per_s']:,.0f}",
                    f"{row['ratio']:.1f}",
                    f"{100 * row['data_share_of_step']:.1f} %",
                    f"{row['gflop_per_record']:.2f}",
                    f"{100 * row['share_of_flops']:.0f} %",
                    f"{100 * row['share_of_roofline']:.0f} %",
                ]
            )
        first = result["rows"][0]
        limits = (
            f"Measured limits: {first['limit_tflops']:.2f} TFLOP/s (bfloat16 product), "
            f"{first['limit_gbytes']:.0f} GB/s (copy). "
        )
        parts.append(limits + where(result) + table(head, rows))
    return "\n".join(parts) or MISSING


def profile() -> str:
    """Return the table of the kinds of work in a training step."""
    parts = []
    for device, result in read("training"):
        if device == "cuda":
            continue  # KINDS are names of operations; the kernels of a GPU have other names
        rows = [row for row in result["rows"] if row.get("fs") == 100]
        kinds = list(rows[0]["where"])
        head = ["kind of work", *[f"`{row['encoder']}`" for row in rows]]
        cells = [
            [kind, *[f"{100 * row['where'].get(kind, 0.0):.0f} %" for row in rows]]
            for kind in kinds
        ]
        parts.append(where(result) + table(head, cells))
    return "\n".join(parts) or MISSING


def commands() -> str:
    """Return the table of the waiting times of the commands."""
    parts = []
    for _, result in read("commands"):
        rows = [[row["what"], f"{row['value']:,.1f}"] for row in result["rows"]]
        parts.append(where(result) + table(["what", ""], rows))
    return "\n".join(parts) or MISSING


def app() -> str:
    """Return the table of the JSON interface under load."""
    head = ["clients", "responses per second", "p50, ms", "p90, ms", "p99, ms"]
    head += ["before: per second", "p50, ms", "times as many per second"]
    parts = []
    for _, result in read("app"):
        rows = []
        for row in result["rows"]:
            then = row.get("before")
            before = ["", "", ""]
            if then:
                ratio = row["per_s"] / then["per_s"]
                before = [f"{then['per_s']:.0f}", f"{then['p50_ms']:.0f}", f"{ratio:.1f}"]
            times = [f"{row[key]:.0f}" for key in ("p50_ms", "p90_ms", "p99_ms")]
            rows.append([row["n_clients"], f"{row['per_s']:.0f}", *times, *before])
        parts.append(where(result) + table(head, rows))
    return "\n".join(parts) or MISSING


def fingerprint() -> str:
    """Return the table of the scores on every path."""
    names = {
        "first_loss": "loss, epoch 1",
        "loss": "loss, epoch 12",
        "macro_auroc": "macro AUROC",
        "macro_auprc": "macro AP",
        "micro_f1": "micro F1 at 0.5",
    }
    parts = []
    for _, result in read("fingerprint"):
        rows = [[row["path"], *[f"{row[key]:.5f}" for key in names]] for row in result["rows"]]
        parts.append(where(result) + table(["path", *names.values()], rows))
    return "\n".join(parts) or MISSING


def whole() -> str:
    """Return the table of complete trainings."""
    head = ["recipe", "training records", "epochs", "of them run", "seconds"]
    parts = []
    for _, result in read("whole"):
        (row,) = result["rows"]
        cells = [row["recipe"], f"{row['n_records']:,}", row["n_epochs"], row["n_run"]]
        parts.append(where(result) + table(head, [[*cells, f"{row['seconds']:.0f}"]]))
    return "\n".join(parts) or MISSING


def where(result: dict) -> str:
    """Return a line with the machine and the commit of a result."""
    return f"{result['machine']}; commit {result['commit']}.\n\n"


BLOCKS = {
    f.__name__: f
    for f in (data, archive, loss, training, profile, commands, app, fingerprint, whole)
}


def main() -> None:
    page = PAGE.read_text("utf-8")
    page = BLOCK.sub(lambda block: block[1] + "\n" + BLOCKS[block[2]]() + "\n" + block[3], page)
    PAGE.write_text(page, "utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()

"""Do explanations point at where the findings of simulated records are known to be?

    python benchmarks/attributions.py RUN N_RECORDS N_EACH [SEED]

A tenth of all cells (0.1 s of a lead) is pointed at. Held against it: a tenth at random, the tenth
with the most signal, and the explanation of another finding of the same model.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from ecg_siglip.evaluation.attribution_tests import pointing
from ecg_siglip.inference.attribution import sum_cells
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.metrics.decision_rules import DEFAULT_RULE
from ecg_siglip.readers.record import Record
from ecg_siglip.signals.leads import LEADS
from ecg_siglip.simulation import dataset
from ecg_siglip.simulation.finding_masks import EVERYWHERE, FS, finding_masks


def told(
    predictor: Predictor, n_records: int, n_each: int, seed: int
) -> dict[str, list[tuple[float, ...]]]:
    """By finding, one row an explanation: hits, chance, mass, hits of the signal, of another."""
    codes = list(predictor.artifact.codes)
    thresholds = predictor.artifact.thresholds[DEFAULT_RULE]
    rows: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    n_called: dict[str, int] = defaultdict(int)
    n_asked: dict[str, int] = defaultdict(int)
    rng = np.random.default_rng(seed)
    people = dataset.draw_patients(n_records, seed)
    for ecg_id, age, is_woman in zip(
        range(1, n_records + 1), people["age"], people["is_woman"], strict=True
    ):
        drawn = dataset.draw_findings(np.random.default_rng([seed, 1, ecg_id]), age)
        if all(code in EVERYWHERE or len(rows[code]) >= n_each for code in drawn):
            continue
        signal, _ = dataset.make_record(seed, ecg_id, age, is_woman)
        record = Record("", signal, dataset.FS, LEADS, ())
        seen = predictor.prepare(record)
        called = predictor.probabilities(seen[None])[0] >= thresholds
        masks = finding_masks(seed, ecg_id, age, is_woman)
        energy = sum_cells(np.abs(seen - np.median(seen, axis=1, keepdims=True)), FS)
        for code, mask in masks.items():
            cells = sum_cells(mask, FS) > 0
            if code not in codes or not cells.any() or len(rows[code]) >= n_each:
                continue
            n_asked[code] += 1
            if not called[codes.index(code)]:
                continue
            n_called[code] += 1
            other = str(rng.choice([c for c in codes if c not in drawn]))
            ours, theirs = predictor.attribute(seen, [code, other])
            hits, chance, mass = pointing(sum_cells(ours, FS), cells)
            of_signal, _, _ = pointing(energy, cells)
            of_other, _, _ = pointing(sum_cells(theirs, FS), cells)
            rows[code].append((hits, chance, mass, of_signal, of_other))
    for code in sorted(n_asked):
        if n_called[code] < n_asked[code]:
            print(f"{code}: {n_called[code]} of {n_asked[code]} called", file=sys.stderr)
    return rows


def main() -> None:
    run, n_records, n_each = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else 9
    rows = told(Predictor.load(run / "model", "cpu"), n_records, n_each, seed)
    rows = {code: found for code, found in rows.items() if len(found) >= 5}
    print("| finding | n | hits | chance | ratio | most signal | another finding | mass | p |")
    print("|---|---|---|---|---|---|---|---|---|")
    means = {code: np.nanmean(found, axis=0) for code, found in rows.items()}
    for code in sorted(means, key=lambda code: -means[code][0] / means[code][1]):
        hits, chance, mass, signal, other = means[code]
        gain = np.array([row[0] - row[1] for row in rows[code]])
        # Sign flips: were it chance, each difference would as often be the other way round.
        flips = np.random.default_rng(0).choice([-1, 1], (4000, len(gain)))
        p = (1 + ((flips * gain).mean(axis=1) >= gain.mean()).sum()) / 4001
        print(
            f"| {code} | {len(gain)} | {hits:.2f} | {chance:.2f} | {hits / chance:.1f} | "
            f"{signal:.2f} | {other:.2f} | {mass:.2f} | {p:.3f} |"
        )
    hits, chance, mass, signal, other = np.mean(list(means.values()), axis=0)
    print(
        f"| mean of {len(means)} | | {hits:.2f} | {chance:.2f} | {hits / chance:.1f} | "
        f"{signal:.2f} | {other:.2f} | {mass:.2f} | |"
    )


if __name__ == "__main__":
    main()

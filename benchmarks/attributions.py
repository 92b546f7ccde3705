"""Compare explanations with the known places of the findings of simulated records.

    python benchmarks/attributions.py RUN N_RECORDS N_EACH [SEED]

The explanation selects a tenth of all cells (0.1 s of a lead). It is compared with a tenth at
random, the tenth with the most signal, and the explanation of another finding of the same model.
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


def explanation_rows(
    predictor: Predictor, n_records: int, n_each: int, seed: int
) -> dict[str, list[tuple[float, ...]]]:
    """Return one row per explanation, by finding.

    A row has hits, chance, mass, hits by signal, and hits by the explanation of another finding.
    """
    codes = list(predictor.artifact.codes)
    thresholds = predictor.artifact.thresholds[DEFAULT_RULE]
    rows: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    n_present: dict[str, int] = defaultdict(int)
    n_records_of: dict[str, int] = defaultdict(int)
    rng = np.random.default_rng(seed)
    people = dataset.draw_patients(n_records, seed)
    for ecg_id, age, is_woman in zip(
        range(1, n_records + 1), people["age"], people["is_woman"], strict=True
    ):
        true_codes = dataset.draw_findings(np.random.default_rng([seed, 1, ecg_id]), age)
        if all(code in EVERYWHERE or len(rows[code]) >= n_each for code in true_codes):
            continue
        signal, _ = dataset.make_record(seed, ecg_id, age, is_woman)
        record = Record("", signal, dataset.FS, LEADS, ())
        prepared = predictor.prepare(record)
        y_pred = predictor.probabilities(prepared[None])[0] >= thresholds
        masks = finding_masks(seed, ecg_id, age, is_woman)
        energy = sum_cells(np.abs(prepared - np.median(prepared, axis=1, keepdims=True)), FS)
        for code, mask in masks.items():
            cells = sum_cells(mask, FS) > 0
            if code not in codes or not cells.any() or len(rows[code]) >= n_each:
                continue
            n_records_of[code] += 1
            if not y_pred[codes.index(code)]:
                continue
            n_present[code] += 1
            other = str(rng.choice([c for c in codes if c not in true_codes]))
            of_code, of_absent = predictor.attribute(prepared, [code, other])
            hits, chance, mass = pointing(sum_cells(of_code, FS), cells)
            signal_hits, _, _ = pointing(energy, cells)
            other_hits, _, _ = pointing(sum_cells(of_absent, FS), cells)
            rows[code].append((hits, chance, mass, signal_hits, other_hits))
    for code in sorted(n_records_of):
        if n_present[code] < n_records_of[code]:
            counts = f"{n_present[code]} of {n_records_of[code]}"
            print(f"{code}: {counts} predicted positive", file=sys.stderr)
    return rows


def main() -> None:
    run, n_records, n_each = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else 9
    rows = explanation_rows(Predictor.load(run / "model", "cpu"), n_records, n_each, seed)
    rows = {code: of_code for code, of_code in rows.items() if len(of_code) >= 5}
    print("| finding | n | hits | chance | ratio | most signal | another finding | mass | p |")
    print("|---|---|---|---|---|---|---|---|---|")
    means = {code: np.nanmean(of_code, axis=0) for code, of_code in rows.items()}
    for code in sorted(means, key=lambda code: -means[code][0] / means[code][1]):
        hits, chance, mass, signal, other = means[code]
        gain = np.array([row[0] - row[1] for row in rows[code]])
        # Sign flips: by chance alone, each difference would have either sign equally often.
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

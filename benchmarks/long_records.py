"""Compare ways to combine the windows of a long record into one prediction.

    python benchmarks/long_records.py RUN_PRETRAINED RUN_EVALUATED FOLD

Simulated: hours of people with an episode of a finding (model: RUN_PRETRAINED). Real: predictions
of RUN_EVALUATED for the records of a fold, combined as if they were windows of one person. Their
errors are then as independent as possible; real long records are between the two.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import logit

from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.inference.timeline import Windows
from ecg_siglip.metrics.decision_rules import DEFAULT_RULE
from ecg_siglip.models.artifact import load_artifact
from ecg_siglip.signals.preprocessing import to_int16
from ecg_siglip.signals.resampling import resample
from ecg_siglip.simulation import dataset, finding_rules, patients
from ecg_siglip.simulation.heart import Heart
from ecg_siglip.simulation.rhythms import simulate_ecg

N_PEOPLE, N_WINDOWS, N_SICK = 24, 360, 10
TRANSIENT = ("AFIB", "AFLT", "SVTAC", "PVC", "ISCAL", "STD_", "CLBBB", "2AVB")
# Findings that a person does not have for the whole hour.
PASSING = {"PVC", "PAC", "BIGU", "TRIGU", "PRC(S)", "2AVB", "3AVB"}
Way = Callable[[np.ndarray], np.ndarray]


def sustained(seconds: float) -> Way:
    """Return the way of ``predict`` for windows of 10 s: the best stretch of some seconds."""

    def overall(p: np.ndarray) -> np.ndarray:
        return Windows(10.0 * np.arange(len(p)), 10.0, p).overall(seconds)[0]

    return overall


def top(n: int = 0, share: float = 0.0) -> Way:
    """Return the mean log-odds of the windows with the largest, anywhere in the record."""

    def overall(p: np.ndarray) -> np.ndarray:
        k = min(len(p), max(n, int(np.ceil(share * len(p)))))
        return 1 / (1 + np.exp(logit(np.sort(p, axis=0)[-k:]).mean(axis=0) * -1))

    return overall


WAYS: dict[str, Way] = {
    "maximum": sustained(0),
    "3 best windows": top(3),
    "best tenth of the windows": top(1, 0.1),
    "best 30 s in a row": sustained(30),
    "best minute in a row": sustained(60),
    "best 5 minutes in a row": sustained(300),
    "mean of all": sustained(1e9),
}


def simulate_window(heart: Heart, rng: np.random.Generator) -> np.ndarray:
    """Return ten seconds of a heart as the model sees them."""
    independent, _ = simulate_ecg(heart, dataset.FS, 10.0, rng)
    signal, _ = dataset.with_faults(independent, rng)
    return to_int16(resample(signal, dataset.FS, 100))


def print_simulated(predictor: Predictor) -> None:
    """Print false positives and misses in simulated hours by length, and episodes found."""
    codes = list(predictor.artifact.codes)
    thresholds = predictor.artifact.thresholds[DEFAULT_RULE]
    hours, ground_truth, episodes = [], [], []
    for i in range(N_PEOPLE):
        rng = np.random.default_rng([78, i])
        heart = finding_rules.person(rng, float(rng.uniform(30, 85)), bool(rng.random() < 0.5))
        lasting = {"NORM"} if rng.random() < 0.45 else {*patients.abnormal_findings(rng, "SR")}
        heart = finding_rules.with_findings(heart, {"SR", *lasting - PASSING}, rng)
        code = TRANSIENT[i % len(TRANSIENT)]
        sick = copy.deepcopy(heart)
        finding_rules.RULES[code](sick, rng)
        hearts = [heart] * N_WINDOWS + [sick] * N_SICK
        p = predictor.probabilities(np.stack([simulate_window(one, rng) for one in hearts])).clip(
            1e-9
        )
        hours.append(p[:N_WINDOWS].clip(max=1 - 1e-9))
        episodes.append((codes.index(code), p[N_WINDOWS:].clip(max=1 - 1e-9)))
        ground_truth.append(np.isin(codes, ["SR", *lasting - PASSING]))
    print("| simulated | false positives in 10 s, 30 s, 5 min, 1 h | missed | episodes found |")
    print("|---|---|---|---|")
    for name, way in WAYS.items():
        false_positives, missed, hits = [], [], []
        for n in (1, 3, 30, 360):
            stretches = [
                (way(p[start : start + n]) >= thresholds, y_true)
                for p, y_true in zip(hours, ground_truth, strict=True)
                for start in range(0, N_WINDOWS - n + 1, max(n, 30))
            ]
            false_positives.append(np.mean([(y & ~t).sum() for y, t in stretches]))
            missed.append(np.mean([(~y & t).sum() for y, t in stretches]))
        for m in (3, 6):
            is_hit = []
            for p, y_true, (f, episode) in zip(hours, ground_truth, episodes, strict=True):
                mixed = np.concatenate([p[:170], episode[:m], p[170 : N_WINDOWS - m]])
                is_hit += [] if y_true[f] else [way(mixed)[f] >= thresholds[f]]
            hits.append(np.mean(is_hit))
        print("|", " | ".join([name, _row(false_positives), _row(missed), _row(hits)]), "|")


def print_real(run: Path, fold: str) -> None:
    """Print the same for records of different people in place of windows."""
    artifact = load_artifact(run / "model")
    table = pd.read_parquet(run / "evaluate" / f"fold{fold}" / "predictions.parquet")
    rng = np.random.default_rng(0)
    print("\n| real, independent | false positives, 10 s, 30 s, 5 min, 1 h | 30 s of 5 min found |")
    print("|---|---|---|")
    thresholds = dict(zip(artifact.codes, artifact.thresholds[DEFAULT_RULE], strict=True))
    frequent = [c for c in artifact.codes if 10 <= table[f"true/{c}"].sum() < len(table) / 3]
    for name, way in WAYS.items():
        false_positives: dict[int, list[bool]] = {1: [], 3: [], 30: [], 360: []}
        hits = []
        for code in frequent:
            y_true = table[f"true/{code}"].to_numpy(bool)
            p = table[f"probability/{code}"].to_numpy().clip(1e-9, 1 - 1e-9)[:, None]
            for n, is_positive in false_positives.items():
                for _ in range(200 if n < 100 else 40):
                    is_positive.append(way(rng.choice(p[~y_true], n))[0] >= thresholds[code])
            for _ in range(200):
                mixed = [rng.choice(p[~y_true], 13), rng.choice(p[y_true], 3)]
                mixed.append(rng.choice(p[~y_true], 14))
                hits.append(way(np.concatenate(mixed))[0] >= thresholds[code])
        rates = _row([np.mean(of_length) for of_length in false_positives.values()], 3)
        print("|", " | ".join([name, rates, _row([np.mean(hits)])]), "|")
    print(f"\n{len(frequent)} findings with 10 or more positives")


def _row(values: list[float], digits: int = 2) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)


if __name__ == "__main__":
    print_simulated(Predictor.load(Path(sys.argv[1]) / "model", "cpu"))
    print_real(Path(sys.argv[2]), sys.argv[3])

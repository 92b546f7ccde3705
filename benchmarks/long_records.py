"""How should the windows of a long record become one answer? Several ways, held to the truth.

    python benchmarks/long_records.py RUN_PRETRAINED RUN_EVALUATED FOLD

Simulated: hours of people (the model: RUN_PRETRAINED), in which a finding comes for a while. Real:
what RUN_EVALUATED said of the records of a fold, put together as if they were windows of one
person, whose errors then are as independent as they can get: the truth lies between the two.
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
from ecg_siglip.inference.sliding_window import Windows
from ecg_siglip.metrics.decision_rules import DEFAULT_RULE
from ecg_siglip.models.artifact import load_artifact
from ecg_siglip.signals.preprocessing import resample, to_int16
from ecg_siglip.simulation import dataset, finding_rules, patients
from ecg_siglip.simulation.heart import Heart
from ecg_siglip.simulation.rhythms import simulate_ecg

N_PEOPLE, N_WINDOWS, N_SICK = 24, 360, 10
TRANSIENT = ("AFIB", "AFLT", "SVTAC", "PVC", "ISCAL", "STD_", "CLBBB", "2AVB")
# Premature beats and blocks that come and go are among the transient ones.
PASSING = {"PVC", "PAC", "BIGU", "TRIGU", "PRC(S)", "2AVB", "3AVB"}
Way = Callable[[np.ndarray], np.ndarray]


def sustained(seconds: float) -> Way:
    """As ``predict`` does it, of windows of 10 s."""

    def overall(p: np.ndarray) -> np.ndarray:
        return Windows(10.0 * np.arange(len(p)), 10.0, p).overall(seconds)[0]

    return overall


def top(n: int = 0, share: float = 0.0) -> Way:
    """Mean log-odds of the windows that speak most, wherever they are."""

    def overall(p: np.ndarray) -> np.ndarray:
        k = min(len(p), max(n, int(np.ceil(share * len(p)))))
        return 1 / (1 + np.exp(logit(np.sort(p, axis=0)[-k:]).mean(axis=0) * -1))

    return overall


WAYS: dict[str, Way] = {
    "maximum": sustained(0),
    "3 best windows": top(3),
    "best tenth of the windows": top(1, 0.1),
    "best 30 s on end": sustained(30),
    "best minute on end": sustained(60),
    "best 5 minutes on end": sustained(300),
    "mean of all": sustained(1e9),
}


def window(heart: Heart, rng: np.random.Generator) -> np.ndarray:
    """Ten seconds of a heart as the model sees them."""
    independent, _ = simulate_ecg(heart, dataset.FS, 10.0, rng)
    signal, _ = dataset.with_faults(independent, rng)
    return to_int16(resample(signal, dataset.FS, 100))


def simulated(predictor: Predictor) -> None:
    """Findings called without and missed in hours of people, by length; hits of what passes."""
    codes = list(predictor.artifact.codes)
    thresholds = predictor.artifact.thresholds[DEFAULT_RULE]
    hours, truths, spells = [], [], []
    for i in range(N_PEOPLE):
        rng = np.random.default_rng([78, i])
        heart = finding_rules.person(rng, float(rng.uniform(30, 85)), bool(rng.random() < 0.5))
        stays = {"NORM"} if rng.random() < 0.45 else {*patients.abnormal_findings(rng, "SR")}
        heart = finding_rules.with_findings(heart, {"SR", *stays - PASSING}, rng)
        code = TRANSIENT[i % len(TRANSIENT)]
        sick = copy.deepcopy(heart)
        finding_rules.RULES[code](sick, rng)
        hearts = [heart] * N_WINDOWS + [sick] * N_SICK
        p = predictor.probabilities(np.stack([window(one, rng) for one in hearts])).clip(1e-9)
        hours.append(p[:N_WINDOWS].clip(max=1 - 1e-9))
        spells.append((codes.index(code), p[N_WINDOWS:].clip(max=1 - 1e-9)))
        truths.append(np.isin(codes, ["SR", *stays - PASSING]))
    print("| simulated | false calls in 10 s, 30 s, 5 min, 1 h | missed | spells found |")
    print("|---|---|---|---|")
    for name, way in WAYS.items():
        false, missed, hits = [], [], []
        for n in (1, 3, 30, 360):
            called = [
                (way(p[start : start + n]) >= thresholds, truth)
                for p, truth in zip(hours, truths, strict=True)
                for start in range(0, N_WINDOWS - n + 1, max(n, 30))
            ]
            false.append(np.mean([(c & ~t).sum() for c, t in called]))
            missed.append(np.mean([(~c & t).sum() for c, t in called]))
        for m in (3, 6):
            found = []
            for p, truth, (f, spell) in zip(hours, truths, spells, strict=True):
                mixed = np.concatenate([p[:170], spell[:m], p[170 : N_WINDOWS - m]])
                found += [] if truth[f] else [way(mixed)[f] >= thresholds[f]]
            hits.append(np.mean(found))
        print("|", " | ".join([name, _row(false), _row(missed), _row(hits)]), "|")


def real(run: Path, fold: str) -> None:
    """The same with records of different people in the place of windows."""
    artifact = load_artifact(run / "model")
    table = pd.read_parquet(run / "evaluate" / f"fold{fold}" / "predictions.parquet")
    rng = np.random.default_rng(0)
    print("\n| real, independent | called without, 10 s, 30 s, 5 min, 1 h | 30 s of 5 min found |")
    print("|---|---|---|")
    thresholds = dict(zip(artifact.codes, artifact.thresholds[DEFAULT_RULE], strict=True))
    frequent = [c for c in artifact.codes if 10 <= table[f"true/{c}"].sum() < len(table) / 3]
    for name, way in WAYS.items():
        false: dict[int, list[bool]] = {1: [], 3: [], 30: [], 360: []}
        hits = []
        for code in frequent:
            truth = table[f"true/{code}"].to_numpy(bool)
            p = table[f"probability/{code}"].to_numpy().clip(1e-9, 1 - 1e-9)[:, None]
            for n, called in false.items():
                for _ in range(200 if n < 100 else 40):
                    called.append(way(rng.choice(p[~truth], n))[0] >= thresholds[code])
            for _ in range(200):
                mixed = [rng.choice(p[~truth], 13), rng.choice(p[truth], 3)]
                mixed.append(rng.choice(p[~truth], 14))
                hits.append(way(np.concatenate(mixed))[0] >= thresholds[code])
        rates = _row([np.mean(called) for called in false.values()], 3)
        print("|", " | ".join([name, rates, _row([np.mean(hits)])]), "|")
    print(f"\n{len(frequent)} findings with 10 or more positives")


def _row(values: list[float], digits: int = 2) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)


if __name__ == "__main__":
    simulated(Predictor.load(Path(sys.argv[1]) / "model", "cpu"))
    real(Path(sys.argv[2]), sys.argv[3])

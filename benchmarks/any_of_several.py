"""The probability that any of several findings is present: the largest of theirs, or noisy-or?

Over the unions that a SNOMED CT code stands for, on a fold that need not be kept for scores::

    python benchmarks/any_of_several.py runs/best_s0 8
"""

import sys
from pathlib import Path

import numpy as np

from ecg_siglip import config, findings, metrics, snomed
from ecg_siglip.evaluate import load_data
from ecg_siglip.predictor import Predictor


def main(run: Path, fold: int) -> None:
    trained = config.from_yaml(config.TrainConfig, run / "config.yaml")
    predictor = Predictor.load(run / "model", "cpu")
    artifact = predictor.artifact
    data = load_data(config.EvaluateData(), trained, artifact)
    rows = data.fold(fold)
    assert data.signals is not None
    y_true, y_prob = data.y_true[rows], predictor.probabilities(data.signals[rows])
    y_pred = metrics.apply_thresholds(y_prob, artifact.thresholds["expected_f1"])
    columns = {code: i for i, code in enumerate(artifact.codes)}
    print("any of         n  true   mean         AUROC        ECE          F1: one called, own")
    for question in snomed.questions(findings.STATEMENTS):
        several = [columns[code] for code in question.findings]
        truth = y_true[:, several].any(axis=1)[:, None]
        if len(several) < 2 or truth.sum() < metrics.MIN_POSITIVES:
            continue
        largest = y_prob[:, several].max(axis=1)[:, None]
        noisy = snomed.any_probability([question], artifact.codes, y_prob)
        called = snomed.any_called([question], artifact.codes, y_pred)
        own = metrics.tune_thresholds(truth, noisy, "expected_f1")
        cells = [f"{score(largest):.3f} {score(noisy):.3f}" for score in (
            np.mean,
            lambda p, y=truth: metrics.macro_auroc(y, p),
            lambda p, y=truth: metrics.expected_calibration_error(y, p),
        )]  # fmt: skip
        f1 = [metrics.macro_f1(truth, y) for y in (called, metrics.apply_thresholds(noisy, own))]
        print(
            f"{question.code:12}{truth.sum():4}  {truth.mean():.3f}  {'  '.join(cells)}  "
            f"{f1[0]:.3f} {f1[1]:.3f}"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""The probability that any of several findings is present: the largest of theirs, or noisy-or?

Over the unions that a SNOMED CT code stands for, on a fold that need not be kept for scores::

    python benchmarks/any_of_several.py runs/best_s0 8
"""

import sys
from pathlib import Path

import numpy as np

from ecg_siglip import config
from ecg_siglip.core.run_folder import from_yaml
from ecg_siglip.datasets.loading import load_evaluation_data
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.metrics import multilabel
from ecg_siglip.vocabulary import findings, snomed


def main(run: Path, fold: int) -> None:
    trained = from_yaml(config.TrainConfig, run / "config.yaml")
    predictor = Predictor.load(run / "model", "cpu")
    artifact = predictor.artifact
    data = load_evaluation_data(config.EvaluateData(), trained, artifact)
    rows = data.fold(fold)
    assert data.signals is not None
    y_true, y_prob = data.y_true[rows], predictor.probabilities(data.signals[rows])
    y_pred = multilabel.apply_thresholds(y_prob, artifact.thresholds["expected_f1"])
    columns = {code: i for i, code in enumerate(artifact.codes)}
    print("any of         n  true   mean         AUROC        ECE          F1: one called, own")
    for question in snomed.label_queries(findings.STATEMENTS):
        several = [columns[code] for code in question.findings]
        truth = y_true[:, several].any(axis=1)[:, None]
        if len(several) < 2 or truth.sum() < multilabel.MIN_POSITIVES:
            continue
        largest = y_prob[:, several].max(axis=1)[:, None]
        noisy = snomed.any_probability([question], artifact.codes, y_prob)
        called = snomed.any_present([question], artifact.codes, y_pred)
        own = multilabel.tune_thresholds(truth, noisy, "expected_f1")
        cells = [f"{score(largest):.3f} {score(noisy):.3f}" for score in (
            np.mean,
            lambda p, y=truth: multilabel.macro_auroc(y, p),
            lambda p, y=truth: multilabel.expected_calibration_error(y, p),
        )]  # fmt: skip
        f1 = [
            multilabel.macro_f1(truth, y) for y in (called, multilabel.apply_thresholds(noisy, own))
        ]
        print(
            f"{question.code:12}{truth.sum():4}  {truth.mean():.3f}  {'  '.join(cells)}  "
            f"{f1[0]:.3f} {f1[1]:.3f}"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

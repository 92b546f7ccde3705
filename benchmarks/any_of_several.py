"""Compare two probabilities that any of several findings is present: the largest, and noisy-or.

The unions are those that a SNOMED CT code stands for, on a fold that need not be kept for scores::

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
from ecg_siglip.vocabulary import snomed


def main(run: Path, fold: int) -> None:
    """Print one line per union that has enough positives."""
    trained = from_yaml(config.TrainConfig, run / "config.yaml")
    predictor = Predictor.load(run / "model", "cpu")
    artifact = predictor.artifact
    data = load_evaluation_data(
        config.EvaluateData(), trained, artifact.waveform, artifact.codes, artifact.vocabulary
    )
    rows = data.fold(fold)
    assert data.signals is not None
    y_true, y_prob = data.y_true[rows], predictor.probabilities(data.signals[rows])
    y_pred = multilabel.apply_thresholds(y_prob, artifact.thresholds["expected_f1"])
    columns = {code: i for i, code in enumerate(artifact.codes)}
    print("any of         n  true   mean         AUROC        ECE          F1: one present, own")
    for query in snomed.label_queries(artifact.codes, artifact.vocabulary):
        members = [columns[code] for code in query.findings]
        any_true = y_true[:, members].any(axis=1)[:, None]
        if len(members) < 2 or any_true.sum() < multilabel.MIN_POSITIVES:
            continue
        largest = y_prob[:, members].max(axis=1)[:, None]
        noisy_or = snomed.any_probability([query], artifact.codes, y_prob)
        any_present = snomed.any_present([query], artifact.codes, y_pred)
        threshold = multilabel.tune_thresholds(any_true, noisy_or, "expected_f1")
        cells = [f"{score(largest):.3f} {score(noisy_or):.3f}" for score in (
            np.mean,
            lambda p, y=any_true: multilabel.macro_auroc(y, p),
            lambda p, y=any_true: multilabel.expected_calibration_error(y, p),
        )]  # fmt: skip
        by_threshold = multilabel.apply_thresholds(noisy_or, threshold)
        f1 = [multilabel.macro_f1(any_true, y) for y in (any_present, by_threshold)]
        print(
            f"{query.code:12}{any_true.sum():4}  {any_true.mean():.3f}  {'  '.join(cells)}  "
            f"{f1[0]:.3f} {f1[1]:.3f}"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

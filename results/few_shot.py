"""Tables for the study of new findings from few examples, and its linear probes.

    python results/few_shot.py tables data/study data/few_shot
    python results/few_shot.py probe data/study RUN [RUN ...]

A base model is trained without four findings (``data.held_out``). ``tables`` writes, per seed and
number of examples, a table with the base model's training records and so many positive records of
each of the four; the other training records that have one of them are left out, folds 8 and 9 are
complete. ``nonsense.yaml`` is PTB-XL's vocabulary with prompts without meaning for the four.
``probe`` fits a linear model per finding on the frozen ECG embedding of a base run, on the same
records, and prints its scores on folds 8 and 9.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score

from ecg_siglip.config import TrainConfig
from ecg_siglip.core.run_folder import from_yaml
from ecg_siglip.datasets import ptbxl
from ecg_siglip.datasets.records import LabelledRecords
from ecg_siglip.inference.predictor import Predictor

HELD_OUT = ("AFIB", "ASMI", "LAFB", "PVC")
NUMBERS, SEEDS = (5, 20, 100), (0, 1, 2)
TRAIN_FOLDS, TUNE_FOLD, REPORT_FOLD = (1, 2, 3, 4, 5, 6, 7), 8, 9
# Syllables without a meaning, about as long as the prompts that they replace.
NONSENSE = {
    "AFIB": "plomvar zetkin dorbus, quellan pristo mavel",
    "ASMI": "grondal feptis ulmark, roshen tavik belmo zun",
    "LAFB": "wexil darmon pulth, kestrin oblay vantu",
    "PVC": "mirdo scathel yuppen, fralk tozin",
}


def chosen_rows(data: LabelledRecords, n: int, seed: int) -> np.ndarray:
    """Return the training rows: all without the four findings, and n positives of each."""
    train = data.fold(*TRAIN_FOLDS)
    held = data.y_true[:, [data.codes.index(code) for code in HELD_OUT]]
    rng = np.random.default_rng(seed)
    order = rng.permutation(train)
    chosen = {*train[~held[train].any(1)].tolist()}
    for j in range(len(HELD_OUT)):
        chosen |= {*order[held[order, j]][:n].tolist()}
    return np.array(sorted(chosen))


def write_tables(root: Path, out: Path) -> None:
    """Write a table per number of examples and seed, and the vocabulary of nonsense."""
    data = ptbxl.load_ptbxl(root, signals=False)
    codes = np.array(data.codes)
    out.mkdir(parents=True, exist_ok=True)
    others = data.fold(TUNE_FOLD, REPORT_FOLD)
    for n in NUMBERS:
        for seed in SEEDS:
            rows = np.sort(np.concatenate([chosen_rows(data, n, seed), others]))
            pd.DataFrame(
                {
                    "record": data.ecg_id[rows],
                    "path": [data.paths[i].relative_to(root) for i in rows],
                    "findings": [";".join(codes[data.y_true[i]]) for i in rows],
                    "patient_id": data.patient_id[rows],
                    "fold": data.strat_fold[rows],
                    "report": "",
                }
            ).to_csv(out / f"n{n}_s{seed}.csv", index=False)
    values = data.vocabulary.to_json()
    del values["name"]
    for entry in values["findings"]:
        if entry["code"] in NONSENSE:
            entry["prompts"] = {"en": [NONSENSE[entry["code"]]]}
            entry.pop("synonyms", None)
    # JSON is YAML.
    (out / "nonsense.yaml").write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")


def probe(root: Path, runs: list[Path]) -> None:
    """Print the scores of linear probes on the frozen embedding of base runs."""
    for seed, run in enumerate(runs):
        settings = from_yaml(TrainConfig, run / "config.yaml")
        data = ptbxl.load_ptbxl(
            root, waveform=ptbxl.waveform_spec(settings.waveform), cache_dir=settings.data.cache_dir
        )
        assert data.signals is not None
        embedding = Predictor.load(run / "model", "cpu").forward(data.signals[:], 256)[1]
        tune, report = data.fold(TUNE_FOLD), data.fold(REPORT_FOLD)
        for n in NUMBERS:
            train = chosen_rows(data, n, seed)
            for code in HELD_OUT:
                y = data.y_true[:, data.codes.index(code)]
                # The regularization is chosen on the tuning fold.
                models = [
                    LogisticRegression(C=c, max_iter=2000).fit(embedding[train], y[train])
                    for c in (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
                ]
                scores = [m.decision_function(embedding) for m in models]
                best = max(scores, key=lambda s: roc_auc_score(y[tune], s[tune]))
                threshold = np.sort(best[tune])[-int(y[tune].sum())]
                row = {
                    "run": run.name, "n": n, "code": code,
                    "auroc_tune": roc_auc_score(y[tune], best[tune]),
                    "auroc": roc_auc_score(y[report], best[report]),
                    "f1": f1_score(y[report], best[report] >= threshold),
                }  # fmt: skip
                print(json.dumps(row))


if __name__ == "__main__":
    what, root, *rest = sys.argv[1:]
    if what == "tables":
        write_tables(Path(root), Path(rest[0]))
    else:
        probe(Path(root), [Path(each) for each in rest])

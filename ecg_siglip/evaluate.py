"""A fold to scores and a report: the honest number.

Thresholds and calibration come out of the artifact, where the tuning fold put them; nothing here
fits anything to the fold that is reported on.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ecg_siglip import config, findings, held_out, lead_sets, metrics, operating, ptbxl, waveform
from ecg_siglip.checkpoint import Artifact, Tuning, same_vocabulary
from ecg_siglip.predict import Predictor
from ecg_siglip.ranks import Ranks

N_WORST = 6
SHORT_SCORES = (
    "macro_auroc_min5",
    "macro_auprc_min5",
    "prevalence/macro_f1_min5",
    "expected_f1/macro_f1_min5",
    "fixed_0.5/micro_f1",
)


def tune(
    y_true: np.ndarray, y_prob: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Calibration and, on calibrated probabilities, every rule's thresholds, of the tuning fold.

    Parameters
    ----------
    y_true : ndarray of shape (n_records, n_findings), bool
    y_prob : ndarray of shape (n_records, n_findings), float in [0, 1]

    Returns
    -------
    calibration : ndarray of shape (n_findings, 2)
    thresholds : dict of str to ndarray of shape (n_findings,)
    calibrated : ndarray of shape (n_records, n_findings)
    """
    calibration = metrics.fit_calibration(y_true, y_prob)
    calibrated = metrics.calibrate(y_prob, calibration)
    thresholds = {
        rule: metrics.tune_thresholds(y_true, calibrated, rule) for rule in metrics.THRESHOLD_RULES
    }
    return calibration, thresholds, calibrated


def tune_fewer_leads(
    y_true: np.ndarray, ask: Callable[[np.ndarray], np.ndarray], signals: np.ndarray
) -> dict[str, Tuning]:
    """The same for each smaller set of leads, see ``lead_sets.SETS``.

    Parameters
    ----------
    y_true : ndarray of shape (n_records, n_findings), bool
    ask : function
        Prepared records (n_records, 12, n_samples), int16, uV, to probabilities.
    signals : ndarray of shape (n_records, 12, n_samples), int16, uV
    """
    found = {}
    for name in lead_sets.SETS:
        if name != "12":
            calibration, thresholds, calibrated = tune(y_true, ask(lead_sets.kept(signals, name)))
            found[name] = Tuning(calibration, thresholds, operating.thresholds(calibrated))
    return found


def epoch_scores(y_true: np.ndarray, y_prob: np.ndarray) -> dict[str, float]:
    """The few scores by which epochs are compared; none of them needs a tuned threshold."""
    fixed = {"fixed_0.5": metrics.tune_thresholds(y_true, y_prob, "fixed_0.5")}
    scores = metrics.scores(y_true, y_prob, fixed, n_bootstrap=0)
    enough = scores["n_findings_min5"] > 0
    return {
        "macro_auroc": scores["macro_auroc_min5" if enough else "macro_auroc"],
        "macro_auprc": scores["macro_auprc_min5" if enough else "macro_auprc"],
        "micro_f1": scores["fixed_0.5/micro_f1"],
    }


def load_data(
    settings: config.EvaluateConfig, trained: config.TrainConfig, artifact: Artifact
) -> ptbxl.PtbXl:
    """The data that a run is evaluated on, prepared as its artifact says, with the labels of all
    findings, also of those that the run was never told of (``held_out.known`` has the others)."""
    data = ptbxl.load(
        settings.data.root or trained.data.root,
        fs=trained.data.fs,
        task=trained.data.task,
        allow_missing=settings.data.allow_missing or trained.data.allow_missing,
        cache_dir=settings.data.cache_dir or trained.data.cache_dir,
        n_workers=settings.data.n_workers,
        waveform=artifact.waveform,
    )
    told = held_out.known(data, trained.data.held_out).codes
    same_vocabulary(artifact.codes, told, where=str(settings.data.root or trained.data.root))
    return data


def evaluate(settings: config.EvaluateConfig) -> None:
    """Score a run on a fold; writes ``runs/<name>/evaluate/fold<n>/`` whole or not at all."""
    run = Path(settings.run.root) / settings.run.name
    if not (run / "model").is_dir():
        state = "training has not finished" if (run / "config.yaml").exists() else "no such run"
        raise ValueError(f"{run}/model: {state}; expected a trained model")
    trained = config.from_yaml(config.TrainConfig, run / "config.yaml")
    ranks = Ranks.join(settings.device)
    predictor = Predictor.load(run / "model", settings.device)
    artifact = predictor.artifact
    if not ranks.is_first:
        ranks.wait()  # the first may have to build the cache
    whole = load_data(settings, trained, artifact)
    data = held_out.known(whole, trained.data.held_out)
    if ranks.is_first:
        ranks.wait()
    rows = data.fold(settings.fold)
    if settings.labelled_only:
        rows = rows[data.y_true[rows].any(axis=1)]
    if ranks.is_first and settings.fold in trained.data.train_folds:
        print(f"evaluate: note: the run was trained on fold {settings.fold}", file=sys.stderr)
    if ranks.is_first and settings.fold == trained.data.tune_fold:
        print(f"evaluate: note: the run was tuned on fold {settings.fold}", file=sys.stderr)

    assert data.signals is not None
    y_true = data.y_true[rows]
    own = rows[ranks.share(len(rows), settings.batch_size)]
    y_prob = predictor.probabilities(data.signals[own], settings.batch_size, ranks.is_first)
    y_prob = np.frombuffer(b"".join(ranks.gathered(y_prob.tobytes()))).reshape(y_true.shape)
    ranks.leave()
    if not ranks.is_first:
        return
    scores = metrics.scores(y_true, y_prob, artifact.thresholds, settings.n_bootstrap)
    per_finding = metrics.per_finding(y_true, y_prob, artifact.thresholds, settings.n_bootstrap)
    by_leads = scores_by_leads(predictor, data.signals[rows], y_true, settings.batch_size)
    by_language = scores_by_language(predictor, data.signals[rows], y_true, settings.batch_size)
    unheard = scores_of_unheard(predictor, whole, rows, trained, settings.batch_size)

    folder = run / "evaluate" / f"fold{settings.fold}"
    beside = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    try:
        beside.mkdir(parents=True)
        (beside / "metrics.json").write_text(json.dumps(without_nan(scores), indent=1))
        (beside / "about.json").write_text(json.dumps(artifact.about, indent=1))
        table = pd.DataFrame(per_finding)
        table.insert(0, "name", findings.names(artifact.codes))
        table.insert(0, "code", artifact.codes)
        # With these a reader can take the calibration off again.
        table["calibration/slope"], table["calibration/intercept"] = artifact.calibration.T
        table.to_csv(beside / "findings.csv", index=False)
        predictions(data, rows, y_true, y_prob).to_parquet(beside / "predictions.parquet")
        if by_leads:
            pd.DataFrame(by_leads).to_csv(beside / "leads.csv", index=False)
        if unheard:
            pd.DataFrame(unheard).to_csv(beside / "held_out.csv", index=False)
        if by_language:
            pd.DataFrame(by_language).to_csv(beside / "languages.csv", index=False)
        if settings.report:
            # Matplotlib and scikit-learn take a second that nobody else here has to wait.
            from ecg_siglip import drilldown, report

            tune_rows = data.fold(trained.data.tune_fold)
            tune_prob = predictor.probabilities(data.signals[tune_rows], settings.batch_size)
            report.write(
                beside / "report.html",
                title=f"{settings.run.name} on fold {settings.fold}",
                scores=scores,
                rows=per_finding,
                codes=artifact.codes,
                names=findings.names(artifact.codes),
                y_true=y_true,
                y_prob=y_prob,
                thresholds=artifact.thresholds,
                tune=(data.y_true[tune_rows], tune_prob),
                worst=worst_called(artifact, data, rows, y_true, y_prob),
                by_leads=by_leads,
                by_language=by_language,
                unheard=unheard,
                context=context(settings, trained, artifact, data),
                rule=rule_of(artifact),
                drills=drilldown.drills(
                    y_true,
                    y_prob,
                    artifact.codes,
                    artifact.thresholds,
                    rule_of(artifact),
                    data.ecg_id[rows],
                    [data.paths[row] for row in rows],
                    predict_command(settings.run),
                ),
            )
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    print(headline(scores))
    print(f"wrote {folder}/" + (" (open report.html)" if settings.report else ""))


def scores_by_leads(
    predictor: Predictor, signals: np.ndarray, y_true: np.ndarray, batch_size: int
) -> list[dict[str, Any]]:
    """How well the records are answered with smaller sets of leads, a row a set.

    Parameters
    ----------
    predictor : Predictor
    signals : ndarray of shape (n_records, 12, n_samples), int16, uV
    y_true : ndarray of shape (n_records, n_findings), bool
    batch_size : int

    Returns
    -------
    list of dict
        ``leads``, ``title``, the scores over the findings that can be seen in them, and
        ``unseen_macro_auroc_min5`` over those that cannot: near 0.5 if they really cannot.
        Empty if the model was not trained to see fewer leads.
    """
    if not predictor.artifact.fewer_leads:
        return []
    rows = []
    for name, leads in lead_sets.SETS.items():
        kept = lead_sets.kept(signals, name)
        y_prob = predictor.probabilities(kept, batch_size, lead_set=name)
        unseen = lead_sets.unseen(predictor.artifact.codes, waveform.available(leads))
        thresholds = predictor.artifact.tuning(name).thresholds

        def scored(
            columns: np.ndarray, p: np.ndarray = y_prob, known: Any = thresholds
        ) -> dict[str, float]:
            if not columns.any():
                return {}
            taken = {rule: values[columns] for rule, values in known.items()}
            return metrics.scores(y_true[:, columns], p[:, columns], taken, n_bootstrap=0)

        seen_scores, unseen_scores = scored(~unseen), scored(unseen)
        row: dict[str, Any] = {"leads": name, "title": lead_sets.TITLES[name]}
        row |= {"n_findings": int((~unseen).sum())}
        row |= {key: seen_scores.get(key, math.nan) for key in SHORT_SCORES}
        row["unseen_macro_auroc_min5"] = unseen_scores.get("macro_auroc_min5", math.nan)
        rows.append(row)
    return rows


def scores_by_language(
    predictor: Predictor, signals: np.ndarray, y_true: np.ndarray, batch_size: int
) -> list[dict[str, Any]]:
    """How well the records are answered when asked in each language, a row a language.

    Calibration and thresholds stay those of the language that the model was tuned with: to change
    the language needs no labels.

    Returns
    -------
    list of dict
        ``language``, the scores; ``mean_change`` of a probability against the tuned language, and
        ``same_calls``, of all findings called in either language, the share called in both.
        Empty if the model was trained in one language, or without words.
    """
    artifact = predictor.artifact
    if artifact.about.get("language") != "mixed" or artifact.about["text"] == "none":
        return []
    limits, rule = artifact.thresholds, rule_of(artifact)
    tuned, called = None, None
    rows = []
    for language in findings.LANGUAGES:
        asked = Predictor(artifact, artifact.model.device, language)
        y_prob = asked.probabilities(signals, batch_size)
        said = metrics.apply_thresholds(y_prob, limits[rule])
        if tuned is None or called is None:
            tuned, called = y_prob, said
        scores = metrics.scores(y_true, y_prob, limits, n_bootstrap=0)
        row: dict[str, Any] = {"language": language}
        row |= {key: scores[key] for key in SHORT_SCORES if key in scores}
        row["mean_change"] = float(np.abs(y_prob - tuned).mean())
        row["same_calls"] = float((said & called).sum() / max(1, (said | called).sum()))
        rows.append(row)
    return rows


def scores_of_unheard(
    predictor: Predictor,
    data: ptbxl.PtbXl,
    rows: np.ndarray,
    trained: config.TrainConfig,
    batch_size: int,
) -> list[dict[str, Any]]:
    """How well findings are found that training never heard of, see ``held_out.scores``.

    Empty if it has heard of all, or has no words to ask with.
    """
    artifact, signals = predictor.artifact, data.signals
    if not trained.data.held_out or artifact.about["text"] == "none" or signals is None:
        return []

    def embed(rows: np.ndarray) -> np.ndarray:
        return predictor.forward(signals[rows], batch_size)[1]

    @torch.inference_mode()
    def ask(texts: list[str]) -> np.ndarray:
        asked: np.ndarray = artifact.model.encode_text(texts).float().cpu().numpy()
        return asked

    folds = {
        "train": data.fold(*trained.data.train_folds),
        "tune": data.fold(trained.data.tune_fold),
        "report": rows,
    }
    language = "en" if trained.text.language == "mixed" else trained.text.language
    return held_out.scores(data, trained.data.held_out, folds, embed, ask, language)


def without_nan(scores: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN: a score that cannot be said is null."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in scores.items()}


def predictions(
    data: ptbxl.PtbXl, rows: np.ndarray, y_true: np.ndarray, y_prob: np.ndarray
) -> pd.DataFrame:
    """One row a record: its id, its fold, the probability and truth of each finding."""
    columns: dict[str, np.ndarray] = {
        "ecg_id": data.ecg_id[rows],
        "strat_fold": data.strat_fold[rows],
    }
    columns |= {f"probability/{code}": y_prob[:, i] for i, code in enumerate(data.codes)}
    columns |= {f"true/{code}": y_true[:, i] for i, code in enumerate(data.codes)}
    return pd.DataFrame(columns)


def rule_of(artifact: Artifact) -> str:
    """The default rule, or for a model from before it, the one that was the default then."""
    rule = metrics.DEFAULT_RULE
    return rule if rule in artifact.thresholds else "prevalence"


def worst_called(
    artifact: Artifact, data: ptbxl.PtbXl, rows: np.ndarray, y_true: np.ndarray, y_prob: np.ndarray
) -> list[dict[str, Any]]:
    """The records whose findings surprised the model most (largest cross-entropy)."""
    inside = np.clip(y_prob, 1e-7, 1 - 1e-7)
    surprise = -np.where(y_true, np.log(inside), np.log1p(-inside))
    called = metrics.apply_thresholds(y_prob, artifact.thresholds[rule_of(artifact)])
    codes = np.array(artifact.codes)
    assert data.signals is not None
    worst = []
    for i in np.argsort(-surprise.sum(axis=1))[:N_WORST]:
        top = surprise[i].argmax()
        wrong = "missed" if y_true[i, top] else "called without a label"
        worst.append(
            {
                "record": str(data.ecg_id[rows[i]]),
                "signal": waveform.from_int16(np.asarray(data.signals[rows[i]])),
                "fs": data.fs,
                "probabilities": dict(zip(artifact.codes, y_prob[i].tolist(), strict=True)),
                "findings": codes[called[i]].tolist(),
                "true": codes[y_true[i]].tolist(),
                "why": f"{codes[top]} {wrong}: probability {y_prob[i, top]:.2f}",
            }
        )
    return worst


def context(
    settings: config.EvaluateConfig,
    trained: config.TrainConfig,
    artifact: Artifact,
    data: ptbxl.PtbXl,
) -> dict[str, str]:
    """What the reader of a report must know to trust it."""
    return {
        "run": settings.run.name,
        "model": f"ecg_siglip {artifact.about['version']}, {trained.ecg.name}",
        "objective": trained.objective.terms,
        "task": trained.data.task,
        "trained on folds": ", ".join(map(str, trained.data.train_folds)),
        "thresholds and calibration from fold": str(trained.data.tune_fold),
        "reported on fold": str(settings.fold),
        "records": "with a finding of the task" if settings.labelled_only else "all of the fold",
        "data": data.version,
    }


def predict_command(run: config.RunConfig) -> str:
    """What answers for a record as this run does."""
    root = "" if run.root == config.RunConfig().root else f" {shlex.quote(f'run.root={run.root}')}"
    return f"python -m ecg_siglip.predict {shlex.quote(f'run.name={run.name}')}{root}"


def headline(scores: dict[str, float]) -> str:
    """The scores to look at first, on a few lines."""
    keys = ["macro_auroc_min5", "macro_auprc_min5", "prevalence/macro_f1_min5"]
    keys += ["expected_f1/macro_f1_min5", "expected_f1/micro_f1", "fixed_0.5/micro_f1", "ece"]
    lines = []
    for key in (key for key in keys if key in scores):
        low, high = scores.get(f"{key}/low", math.nan), scores.get(f"{key}/high", math.nan)
        interval = "" if math.isnan(low) else f"  [{low:.3f}, {high:.3f}]"
        lines.append(f"{key:<26}{scores[key]:.3f}{interval}")
    counts = f"{scores['n_records']} records, {scores['n_findings_min5']} findings with 5 or more"
    return "\n".join([*lines, counts])


def main() -> None:
    config.run("evaluate", config.EvaluateConfig, evaluate)


if __name__ == "__main__":
    main()

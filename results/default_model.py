"""Make the model of the package, ``ecg_siglip/pretrained/``, from a finished run.

    python results/default_model.py halve runs/default_model    # before it is evaluated
    python results/default_model.py card runs/default_model ecg_siglip/pretrained 'COMMAND'
    python results/default_model.py hash ecg_siglip/pretrained    # after a file was changed
    python results/default_model.py novelty runs/default_model ecg_siglip/pretrained
    python results/default_model.py points runs/default_model ecg_siglip/pretrained

``halve`` stores the matrices of the run's model as float16, so that ``evaluate`` scores the very
weights that are published; models compute with float32. ``card`` copies the model, with the
settings of its training, and writes its card, ``default_model_card.md`` with the scores of
``evaluate``. ``hash`` writes the hashes of the files of a model to its ``config.json`` again;
the other files stay as they are. ``novelty`` adds the novelty score to a model of an earlier
version, from the data of its run; nothing else of the model changes. So does ``points`` with the
sensitivity and precision of its operating points on the tuning fold.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import published
import torch
from safetensors.torch import load_file, save

from ecg_siglip import config
from ecg_siglip.core.files import replace_folder, write_file
from ecg_siglip.core.run_folder import from_yaml, to_yaml
from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.datasets.records import LabelledRecords
from ecg_siglip.datasets.signal_rows import SignalRows
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.inference.tuning import rule_scores
from ecg_siglip.metrics import multilabel
from ecg_siglip.models.artifact import Artifact, load_artifact
from ecg_siglip.models.model_files import CARD as CARD_FILE
from ecg_siglip.models.model_files import (
    CONFIG,
    PARTS,
    SETTINGS,
    WEIGHTS,
    read_json,
    write_config,
)
from ecg_siglip.models.model_files import NEIGHBORS as FILE
from ecg_siglip.models.novelty import NoveltyScore, statistics_of

MAX_MB = 12
RARE = 20  # a finding with fewer training records is listed as rare
COLUMNS = {
    "macro_auroc_min5": "macro AUROC",
    "macro_auprc_min5": "macro AUPRC",
    "prevalence/macro_f1_min5": "macro F1, `prevalence`",
    "expected_f1/micro_f1": "micro F1, `expected_f1`",
    "fixed_0.5/micro_f1": "micro F1 at 0.5",
    "ece": "calibration error",
}
EXTERNAL = {
    "n_records": "records",
    "n_findings": "findings",
    "macro_auroc": "macro AUROC",
    "macro_auprc": "macro AUPRC",
    "prevalence/macro_f1": "macro F1, `prevalence`",
    "expected_f1/micro_f1": "micro F1",
}
CARD = Path(__file__).parent / "default_model_card.md"


def halve(run: Path) -> tuple[int, int]:
    """Store the matrices of a run's model as float16; return the bytes before and after.

    Vectors (biases, norms, running statistics) stay as they are. Nothing is lost twice.
    """
    path = run / "model" / WEIGHTS
    before = path.stat().st_size
    weights = {
        name: (value.half() if value.ndim > 1 and value.dtype == torch.float32 else value)
        for name, value in load_file(path).items()
    }
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise ValueError(f"{name}: expected weights below 65504, the largest float16")
    write_file(path, save(weights))
    renew_hashes(run / "model")
    return before, path.stat().st_size


def renew_hashes(folder: Path) -> None:
    """Write ``config.json`` again, with the hashes of the files as they are now.

    The rest of its content stays the same. A model of the package has it on one line.
    """
    content = read_json(folder / CONFIG, str(folder / CONFIG))
    write_config(folder, content, _indent(folder))
    load_artifact(folder)


def _indent(folder: Path) -> int | None:
    """Return the indent of ``config.json`` in a folder."""
    return 1 if (folder / CONFIG).read_bytes().count(b"\n") else None


def markdown(rows: list[list[str]]) -> str:
    """Return rows as a table; the first one is its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def cell(scores: Any, key: str) -> str:
    """Return a score with its interval, if there is one, or a dash."""
    value, low, high = (scores.get(f"{key}{end}") for end in ("", "/low", "/high"))
    if value is None or not np.isfinite(value):
        return "–"
    if key.startswith("n_"):
        return f"{value:.0f}"
    return f"{value:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")


def table_of(path: Path, name: str, columns: dict[str, str]) -> str:
    """Return a CSV file of ``evaluate`` as a table with some of its columns."""
    if not path.exists():
        return "Not evaluated."
    rows = [row for row in pd.read_csv(path).to_dict("records") if row.get("n_findings", 1) > 0]
    shown = {key: words for key, words in columns.items() if any(key in row for row in rows)}
    head = ["leads" if name == "title" else name, *shown.values()]
    return markdown([head, *([str(row[name]), *(cell(row, k) for k in shown)] for row in rows)])


def card(run: Path, artifact: Artifact, settings: config.TrainConfig, command: str) -> str:
    """Return the card of the model of a run.

    Raises
    ------
    ValueError
        If the run was not evaluated on a fold that neither it nor an earlier model has seen.
    """
    about = artifact.provenance
    folders = []
    for path in sorted(run.glob("evaluate/fold*/metrics.json")):
        fold = int(re.sub(r"\D.*", "", path.parent.name.removeprefix("fold")))
        same = json.loads((path.parent / "about.json").read_text()) == about.to_json()
        if same and not about.has_seen(fold):
            folders.append((path.parent, fold))
    if not folders:
        raise ValueError(f"{run}: not evaluated on a fold that it has not seen; run evaluate first")
    folder, fold = folders[0]
    scores = json.loads((folder / "metrics.json").read_text())
    source = folder.name.partition("-")[2]
    of = f" of {source}" if source else ""
    n_of = dict(zip(artifact.codes, n_training(artifact), strict=True))
    rare = [f"{code} {n}" for code, n in sorted(n_of.items(), key=lambda x: x[1]) if 0 < n < RARE]
    never = about.never_present or [code for code, n in n_of.items() if n == 0]
    before = about.pretrained
    return CARD.read_text(encoding="utf-8").format(
        **vars(about) | {"train_folds": ", ".join(map(str, about.train_folds))},
        n_findings=len(artifact.codes),
        fs=artifact.waveform["to_fs"],
        sources=", ".join(each.name for each in settings.data.sources) or settings.data.name,
        start=(
            f"Both encoders were first trained on {before.n_train_records:,} simulated ECGs."
            if before
            else ""
        ),
        command=command,
        minutes=about.train_seconds / 60,
        scored_on=f"Fold {fold}{of}, {scores['n_records']:.0f} records",
        scores=markdown(
            [["score", "value"], *([words, cell(scores, key)] for key, words in COLUMNS.items())]
        ),
        leads=table_of(folder / "leads.csv", "title", {"n_findings": "findings", **COLUMNS}),
        languages=table_of(folder / "languages.csv", "language", COLUMNS),
        external=external_scores(run),
        never=", ".join(never) or "none",
        rare=", ".join(rare) or "none",
        rare_limit=RARE,
        findings="\n".join(
            f"- `{code}`: {name} ({n_of[code]} training records)"
            for code, name in zip(artifact.codes, artifact.names, strict=True)
        ),
    )


def n_training(artifact: Artifact) -> list[int]:
    """Return the number of training records that have each finding."""
    if artifact.neighbors is None:
        raise ValueError("the model has no training records; expected keep_embeddings=true")
    return [int(n) for n in artifact.neighbors.labels_NF.sum(axis=0)]


def external_scores(run: Path) -> str:
    """Return the scores on the challenge records, of which many are few."""
    path = run / "evaluate" / "challenge" / "summary.csv"
    if not path.exists():
        return "Not evaluated."
    rows = pd.read_csv(path)
    note = "Collections of the PhysioNet/CinC Challenges 2020-2021, by `evaluate data=challenge`"
    few = f"; with {int(rows['n_records'].sum())} records in all, these numbers are uncertain"
    return f"{note}{few}.\n\n{table_of(path, 'set', EXTERNAL)}"


def write_package(run: Path, out: Path, command: str) -> int:
    """Write the model of a run and its card to a folder; return its size in bytes.

    Raises
    ------
    ValueError
        As ``card``; or if the folder would be too large for the repository.
    """
    artifact = load_artifact(run / "model")
    settings = published.public_settings(run)
    text = card(run, artifact, settings, command)
    os.makedirs(out.parent, exist_ok=True)
    with replace_folder(out) as partial:
        (partial / "text").mkdir()
        for part in PARTS:
            for path in (run / "model").glob(part):
                (partial / path.relative_to(run / "model")).write_bytes(path.read_bytes())
        (partial / SETTINGS).write_bytes(to_yaml(settings).encode("utf-8"))
        (partial / CARD_FILE).write_text(text, encoding="utf-8")
        content = read_json(run / "model" / CONFIG, str(run / "model" / CONFIG))
        write_config(partial, content, indent=None)
        size = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())
        if size > MAX_MB * 1e6:
            raise ValueError(f"{out}: {size / 1e6:.1f} MB; expected {MAX_MB} MB at most")
    return size


def _with_data(run: Path, out: Path) -> tuple[Artifact, LabelledRecords, np.ndarray]:
    """Return the model in a folder, the data of its run, and the rows of the tuning fold.

    Raises
    ------
    ValueError
        If the data are not those that the model was trained on.
    """
    settings, artifact = from_yaml(config.TrainConfig, run / "config.yaml"), load_artifact(out)
    data = load_training_data(settings, progress=True)
    if data.version != artifact.provenance.data:
        raise ValueError(f"{out}: expected a model that was trained on {data.version}")
    return artifact, data, data.fold(settings.data.tune_fold)


def add_points(run: Path, out: Path) -> dict[str, float | None]:
    """Add sensitivity and precision of the operating points to the model in a folder; return them.

    Raises
    ------
    ValueError
        If the data are not those that the model was trained on.
    """
    artifact, data, tune_rows = _with_data(run, out)
    raw, _ = Predictor(artifact).forward(SignalRows.of(data.signals, tune_rows), progress=True)
    y_prob = multilabel.calibrate(raw, artifact.calibration)
    scores = multilabel.without_nan(rule_scores(artifact, data.labels(tune_rows), y_prob))
    content = read_json(out / CONFIG, str(out / CONFIG))
    content["about"]["tune_scores"] |= scores
    write_config(out, content, _indent(out))
    load_artifact(out)
    return scores


def add_novelty(run: Path, out: Path) -> int:
    """Add the novelty score to the model in a folder; return the bytes of its file.

    Parameters
    ----------
    run : Path
        Its run, whose ``config.yaml`` names the data.
    out : Path
        Folder of the model.

    Raises
    ------
    ValueError
        If the data are not those that the model was trained on.
    """
    artifact, data, tune_rows = _with_data(run, out)
    neighbors = artifact.neighbors
    if neighbors is None:
        raise ValueError(f"{out}: expected a model with its training records")
    row_of = {name: row for row, name in enumerate(data.record_names)}
    rows = np.array([row_of[neighbors.name(i)] for i in range(len(neighbors.ecg_id))])
    predictor = Predictor(artifact)
    _, tune_MD = predictor.forward(SignalRows.of(data.signals, tune_rows), progress=True)
    _, cosines = neighbors.nearest(tune_MD, 1)
    score = NoveltyScore.fit(
        statistics_of(data.signals, data.fs, rows),
        statistics_of(data.signals, data.fs, tune_rows),
        1 - cosines[:, 0],
    )
    with tempfile.TemporaryDirectory() as folder:
        replace(neighbors, novelty_score=score).save(Path(folder))
        content = (Path(folder) / FILE).read_bytes()
    write_file(out / FILE, content)
    renew_hashes(out)
    return len(content)


def main() -> None:
    try:
        match sys.argv[1:]:
            case ["halve", run]:
                before, after = halve(Path(run))
                print(f"{run}/model: weights {before / 1e6:.1f} MB -> {after / 1e6:.1f} MB")
            case ["hash", folder]:
                renew_hashes(Path(folder))
                print(f"wrote {folder}/{CONFIG}")
            case ["novelty", run, out]:
                print(f"{out}/{FILE}: {add_novelty(Path(run), Path(out)) / 1e6:.2f} MB")
            case ["points", run, out]:
                for name, value in add_points(Path(run), Path(out)).items():
                    print(f"{name}: {value:.3f}" if value is not None else f"{name}: none")
            case ["card", run, out, command]:
                print(f"wrote {out} ({write_package(Path(run), Path(out), command) / 1e6:.1f} MB)")
            case _:
                raise SystemExit(__doc__)
    except (OSError, ValueError) as error:
        raise SystemExit(f"default_model: {error}") from None


if __name__ == "__main__":
    main()

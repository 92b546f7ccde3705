"""Records to findings: what is in an ECG, with a calibrated probability for each finding.

The same ``probabilities`` answers for one patient, for a fold in ``evaluate`` and for the tuning
fold in ``train``: a published score and a single answer come out of the same lines.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ecg_siglip import config, findings, metrics, records, waveform
from ecg_siglip.checkpoint import Artifact, load_artifact
from ecg_siglip.model import Model, pick_device
from ecg_siglip.ranks import Ranks


@dataclass(frozen=True)
class Finding:
    """One answer: is the finding in the record?"""

    code: str
    name: str
    probability: float
    threshold: float
    present: bool


@torch.inference_mode()
def probabilities(
    model: Model,
    text_FD: Tensor,
    signals: np.ndarray,
    batch_size: int = 256,
    progress: bool = False,
) -> np.ndarray:
    """Probability of each text for each record, as the pair loss trained it (not calibrated).

    Parameters
    ----------
    model : EcgTextModel or Ensemble
    text_FD : Tensor of shape (n_findings, D)
        What ``model.encode_text`` made of the prompts.
    signals : ndarray of shape (n_records, 12, n_samples), int16, uV
        Prepared records, at the model's sampling rate; may be a memory map.
    batch_size : int
        Records at one time.
    progress : bool
        Show a bar on stderr if that is a terminal.

    Returns
    -------
    ndarray of shape (n_records, n_findings), float64 in [0, 1]
    """
    was_training = model.training
    model.eval()
    parts = []
    starts = range(0, len(signals), batch_size)
    for start in tqdm(starts, "records", disable=None if progress else True, leave=False):
        batch = waveform.from_int16(np.asarray(signals[start : start + batch_size]))
        ecg_BD = model.encode_ecg(torch.from_numpy(batch).to(model.device))
        logits_BF = model.logits(ecg_BD, text_FD)
        parts.append(torch.sigmoid(logits_BF.double()).cpu().numpy())
    model.train(was_training)
    return np.concatenate(parts) if parts else np.empty((0, len(text_FD)))


class Predictor:
    """A loaded model that answers for records.

    Parameters
    ----------
    artifact : Artifact
    device : torch.device or str

    Examples
    --------
    ::

        predictor = Predictor.load("runs/r1/model")
        signal = predictor.prepare(records.read("data/ptbxl/records100/00000/00001_lr"))
        for finding in predictor.findings(predictor.probabilities(signal[None])[0]):
            print(finding.name, finding.probability)
    """

    def __init__(self, artifact: Artifact, device: torch.device | str = "cpu"):
        self.artifact = replace(artifact, model=artifact.model.to(device).eval())
        with torch.inference_mode():
            self.text_FD = self.artifact.model.encode_text(artifact.prompts)

    @classmethod
    def load(cls, name: str | Path, device: str = "auto") -> Predictor:
        """From a folder (``runs/<name>/model``) or the hub.

        Raises
        ------
        ValueError
            If the model is not there, not whole, or of another vocabulary.
        """
        return cls(load_artifact(name), pick_device(device))

    def prepare(
        self, record: records.Record, allow_short: bool = False, allow_flat: bool = False
    ) -> np.ndarray:
        """What the model sees of a record: (12, n_samples) int16, uV.

        Raises
        ------
        ValueError
            As ``waveform.prepare``: a missing or flat lead, NaN, wrong units, too short.
        """
        spec = dict(self.artifact.waveform)
        spec["allow_short"] |= allow_short
        spec["allow_flat"] |= allow_flat
        signal = waveform.prepare(
            record.signal, record.fs, record.leads, record=record.name, **spec
        )
        return waveform.to_int16(signal)

    def probabilities(
        self, signals: np.ndarray, batch_size: int = 256, progress: bool = False
    ) -> np.ndarray:
        """Calibrated probabilities of prepared records.

        Parameters
        ----------
        signals : ndarray of shape (n_records, 12, n_samples), int16, uV

        Returns
        -------
        ndarray of shape (n_records, n_findings), float64 in [0, 1]
        """
        raw = probabilities(self.artifact.model, self.text_FD, signals, batch_size, progress)
        return metrics.calibrate(raw, self.artifact.calibration)

    def findings(
        self, probabilities: np.ndarray, rule: str = metrics.DEFAULT_RULE
    ) -> list[Finding]:
        """One record's probabilities (n_findings,) as findings, present or not.

        Raises
        ------
        ValueError
            If the model was saved without thresholds of that rule.
        """
        if rule not in self.artifact.thresholds:
            raise ValueError(
                f"threshold_rule={rule}: this model has thresholds for "
                f"{', '.join(self.artifact.thresholds)}; expected one of them"
            )
        thresholds = self.artifact.thresholds[rule]
        present = metrics.apply_thresholds(probabilities[None], thresholds)[0]
        codes = self.artifact.codes
        return [
            Finding(code, name, float(p), float(t), bool(here))
            for code, name, p, t, here in zip(
                codes, findings.names(codes), probabilities, thresholds, present, strict=True
            )
        ]


def answer(record: str, answers: list[Finding], model: str, warnings: list[str]) -> dict[str, Any]:
    """The JSON that ``predict`` prints for a record; the likeliest finding comes first."""
    present = sorted((f for f in answers if f.present), key=lambda f: -f.probability)
    return {
        "record": record,
        "findings": [
            {
                "code": f.code,
                "name": f.name,
                "probability": round(f.probability, 6),
                "threshold": round(f.threshold, 6),
            }
            for f in present
        ],
        "probabilities": {f.code: round(f.probability, 6) for f in answers},
        "model": model,
        "warnings": warnings,
    }


def expand(paths: list[str]) -> list[Path]:
    """The records meant: a folder stands for every record below it (``records.find``).

    Raises
    ------
    ValueError
        If nothing is named.
    """
    if not paths:
        raise ValueError("no record named: expected records=[path/to/record, ...]")
    expanded: list[Path] = []
    for path in map(Path, paths):
        # A folder without a record stays as it is named, to be refused like any bad record.
        expanded += (records.find(path) if path.is_dir() else []) or [path]
    return expanded


def readable(
    predictor: Predictor,
    paths: list[Path],
    allow_short: bool,
    allow_flat: bool,
    read: config.ReadConfig | None = None,
) -> Iterator[tuple[str, np.ndarray | None, list[str]]]:
    """Each record prepared, with warnings; ``None`` after its error went to stderr."""
    stated = read or config.ReadConfig()
    spec = predictor.artifact.waveform
    for path in paths:
        try:
            record = records.read(path, stated.fs, stated.units, stated.leads)
            signal = predictor.prepare(record, allow_short, allow_flat)
        except (ValueError, OSError) as error:
            print(f"predict: {config.one_line(error)}", file=sys.stderr)
            yield str(path), None, []
            continue
        duration_s = record.signal.shape[1] / record.fs
        warnings = []
        if duration_s > spec["duration_s"] + 0.05:
            warnings.append(
                f"only the middle {spec['duration_s']:g} s of {duration_s:g} s were looked at"
            )
        if duration_s < spec["duration_s"] - 0.05:
            warnings.append(f"{duration_s:g} s of signal, padded to {spec['duration_s']:g} s")
        yield str(path), signal, warnings


def predict(settings: config.PredictConfig) -> int:
    """Answer for every record with one JSON line on stdout; 1 if a record could not be read."""
    paths = expand(settings.records)
    if not settings.run.name and settings.model is None:
        raise ValueError("no model named: expected run.name=... or model=...")
    folder = Path(settings.run.root) / settings.run.name / "model"
    if settings.model is None and not folder.is_dir():
        raise ValueError(f"{folder}: no trained model there; expected the name of a finished run")
    ranks = Ranks.join(settings.device)
    predictor = Predictor.load(settings.model or folder, settings.device)
    about = predictor.artifact.about
    model = f"{about['run']} ({about['version']})"
    batches = [
        paths[start : start + settings.batch_size]
        for start in range(0, len(paths), settings.batch_size)
    ]
    failed = False
    for start in range(0, len(batches), ranks.n):
        mine = batches[start + ranks.rank : start + ranks.rank + 1]
        lines, all_read = answered(predictor, mine[0], settings, model) if mine else ([], True)
        for part in ranks.gathered(json.dumps([lines, all_read]).encode()):
            lines, all_read = json.loads(part)
            failed |= not all_read
            if ranks.is_first and lines:
                print("\n".join(lines), flush=True)
    ranks.leave()
    return int(failed)


def answered(
    predictor: Predictor, paths: list[Path], settings: config.PredictConfig, model: str
) -> tuple[list[str], bool]:
    """The JSON lines of a batch of records, and whether all of them could be read."""
    names, signals, warnings = [], [], []
    allowed = settings.waveform
    for name, signal, notes in readable(
        predictor, paths, allowed.allow_short, allowed.allow_flat, settings.read
    ):
        if signal is not None:
            names.append(name)
            signals.append(signal)
            warnings.append(notes)
    lines = []
    if signals:
        y_prob = predictor.probabilities(np.stack(signals), settings.batch_size)
        for name, row, notes in zip(names, y_prob, warnings, strict=True):
            found = predictor.findings(row, settings.threshold_rule)
            lines.append(json.dumps(answer(name, found, model, notes), ensure_ascii=False))
    return lines, len(signals) == len(paths)


def main() -> None:
    config.run("predict", config.PredictConfig, predict)


if __name__ == "__main__":
    main()

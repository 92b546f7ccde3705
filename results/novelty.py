"""Measure which ECGs, and other signals, a model reports as unlike its training ECGs.

    python results/novelty.py data/ptbxl data/challenge results/novelty [RUN ...]

For the model of the package, and for runs that were trained on simulated ECGs: the share of records
beyond 95 % and 99 % of the tuning fold, and the AUROC against unaltered records of the same fold,
for the nearest training record alone and for the score of ``models.novelty``. Written are
``novelty.json`` and ``novelty.md``. The score was chosen on the tuning fold.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import robustness
from robustness import Change
from scipy.stats import rankdata

from ecg_siglip.core.run_folder import PRETRAINED
from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.readers.record import Record, read_record
from ecg_siglip.signals.leads import LEADS, LEADS_FROM_ELECTRODES, order_leads
from ecg_siglip.signals.resampling import resample
from ecg_siglip.simulation.dataset import make_record

FOLDS = (8, 9)
EVERY = 2  # of how many records of a fold one is altered
N_SIMULATED = 120
FADE_S = 0.2  # between the end of a time-compressed record and its repetition
UNALTERED = "as they are"


def faster(factor: float) -> Change:
    """Return the record with its time compressed, repeated to its former length."""

    def change(signal: np.ndarray, fs: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        short = resample(signal, fs, fs / factor).astype(np.float64)
        n_fade, whole = round(FADE_S * fs), short
        fade = np.linspace(0, 1, n_fade)
        while whole.shape[1] < signal.shape[1]:
            middle = whole[:, -n_fade:] * (1 - fade) + short[:, :n_fade] * fade
            whole = np.concatenate([whole[:, :-n_fade], middle, short[:, n_fade:]], axis=1)
        return whole[:, : signal.shape[1]], fs

    return change


def loose(n_electrodes: int) -> Change:
    """Return the record with electrodes that lose contact for 2 to 5 s."""

    def change(signal: np.ndarray, fs: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        potential, n = robustness.at_electrodes(signal), signal.shape[1]
        for i in rng.choice(len(potential), n_electrodes, replace=False):
            start = rng.integers(0, n // 2)
            stop = start + rng.integers(n // 5, n // 2)
            drift = np.cumsum(rng.normal(0, 0.1, stop - start))
            potential[i, start:stop] = rng.normal() + drift
        return LEADS_FROM_ELECTRODES @ potential, fs

    return change


def shuffled(signal: np.ndarray, fs: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    return signal[rng.permutation(len(signal))], fs


def no_ecg(draw: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Change:
    """Return what electrodes record of another source: ``draw`` gives (9, n_samples) in mV."""

    def change(signal: np.ndarray, fs: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        times = np.arange(signal.shape[1]) / fs
        return LEADS_FROM_ELECTRODES @ draw(times, rng), fs

    return change


def coloured(mv: float, gain: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Return noise with a standard deviation of ``mv``; ``gain`` is that of a frequency in Hz."""

    def draw(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        hz = np.fft.rfftfreq(len(times), times[1])
        spectrum = np.fft.rfft(rng.normal(size=(9, len(times)))) * gain(np.maximum(hz, hz[1]))
        noise = np.fft.irfft(spectrum, len(times))
        return np.asarray(mv * noise / noise.std(axis=1, keepdims=True))

    return no_ecg(draw)


def sines(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    phase = rng.uniform(0, 2 * np.pi, (9, 1))
    return np.asarray(0.5 * np.sin(2 * np.pi * 1.2 * times + phase))


def pulse_waves(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a photoplethysmogram with another amplitude at each electrode."""
    phase = (times * rng.uniform(0.9, 1.6) * (1 + 0.02 * np.sin(0.4 * np.pi * times))) % 1
    wave = np.exp(-0.5 * ((phase - 0.25) / 0.09) ** 2)
    wave += 0.45 * np.exp(-0.5 * ((phase - 0.55) / 0.13) ** 2)
    return np.asarray(rng.uniform(-1, 1, (9, 1)) * wave + rng.normal(0, 0.01, (9, len(times))))


def alterations() -> Iterator[tuple[str, Change]]:
    """Yield the alterations of a record, in the order of the table."""
    swapped, scaled = robustness.swapped, robustness.scaled
    yield "1.5 times as fast", faster(1.5)
    yield "twice as fast", faster(2.0)
    yield "1.5 times as slow", faster(1 / 1.5)
    for mv in (0.1, 0.2, 0.5):
        yield f"muscle noise {mv:g} mV", robustness.muscle(mv)
    yield "baseline wander 2 mV", robustness.sine(2.0, 0.15, 0.3)
    yield "mains hum 0.5 mV", robustness.sine(0.5, 50, 50)
    yield "1 loose electrode", loose(1)
    yield "3 loose electrodes", loose(3)
    yield "RA, LA exchanged", swapped(("RA", "LA"))
    yield "LA, LL exchanged", swapped(("LA", "LL"))
    yield "V1, V6 exchanged", swapped(("V1", "V6"))
    yield "V1 to V6 reversed", swapped(("V1", "V6"), ("V2", "V5"), ("V3", "V4"))
    yield "leads shuffled", shuffled
    yield "upside down", robustness.inverted(LEADS)
    yield "backwards", lambda signal, fs, rng: (signal[:, ::-1], fs)
    for gain in (10.0, 3.0, 1 / 3, 0.1):
        yield f"amplitude x {gain:.2g}", scaled(gain)
    yield "white noise", coloured(0.3, np.ones_like)
    yield "1/f noise", coloured(0.5, lambda hz: 1 / hz)
    alpha = lambda hz: hz**-0.7 + 1.5 * np.exp(-0.5 * ((hz - 10) / 1.2) ** 2)  # noqa: E731
    yield "EEG-like", coloured(0.1, alpha)
    yield "sine of 1.2 Hz", no_ecg(sines)
    yield "pulse waves", no_ecg(pulse_waves)


def changed(records: Sequence[Record], change: Change | None, seed: int) -> Iterator[Record]:
    """Yield records with their leads in order, altered; as they are if there is no change."""
    for i, record in enumerate(records):
        signal = order_leads(record.signal, record.leads, record.name).astype(np.float64)
        fs = record.fs
        if change:
            signal, fs = change(signal, fs, np.random.default_rng([seed, i]))
        yield replace(record, signal=signal.astype(np.float32), fs=fs, leads=LEADS)


def simulated(difficulty: str) -> list[Record]:
    """Return simulated records of adults of 30 to 89 years."""
    return [
        Record(
            str(i), make_record(77, i, 30.0 + i % 60, bool(i % 2), difficulty)[0], 500.0, LEADS, ()
        )
        for i in range(1, N_SIMULATED + 1)
    ]


def novelty(predictor: Predictor, records: Iterator[Record]) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the novelty of records in the embedding and in all parts, and the number refused."""
    signals, n_refused = [], 0
    for record in records:
        try:
            signals.append(predictor.prepare(record, allow_gaps=True))
        except ValueError:
            n_refused += 1
    if not signals:
        return np.empty(0), np.empty(0), n_refused
    neighbors, batch = predictor.artifact.neighbors, np.stack(signals)
    assert neighbors is not None and neighbors.novelty_score is not None
    _, cosines = neighbors.nearest(predictor.forward(batch)[1], 1)
    fs = float(predictor.artifact.waveform["to_fs"])
    scored = neighbors.novelty(cosines[:, 0], batch, fs)
    return scored.parts["embedding"], scored.value, n_refused


def auroc(usual: np.ndarray, unusual: np.ndarray) -> float:
    ranks, n = rankdata(np.concatenate([usual, unusual])), len(unusual)
    return float((ranks[len(usual) :].sum() - n * (n + 1) / 2) / (n * len(usual)))


def measure(
    predictor: Predictor, kinds: Iterator[tuple[str, str, Iterator[Record]]]
) -> list[dict[str, Any]]:
    """Return one row per kind of records: part, kind, and scores of both ways.

    The first kind of each part is what the others are compared with.
    """
    rows: list[dict[str, Any]] = []
    usual: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for part, kind, records in kinds:
        nearest, score, n_refused = novelty(predictor, records)
        compared = usual.setdefault(part, (nearest, score))
        row: dict[str, Any] = {"part": part, "kind": kind, "n": len(score), "refused": n_refused}
        for name, before, values in (
            ("nearest", compared[0], nearest),
            ("score", compared[1], score),
        ):
            row |= {
                f"{name}/beyond_99": float((values > 0.99).mean()) if len(values) else None,
                f"{name}/beyond_95": float((values > 0.95).mean()) if len(values) else None,
                f"{name}/auroc": auroc(before, values) if len(values) else None,
            }
        rows.append(row)
        print(table(rows[-1:]).splitlines()[-1], file=sys.stderr)
    return rows


def all_kinds(
    root: Path, hospitals: Path, full: bool
) -> Iterator[tuple[str, str, Iterator[Record]]]:
    """Yield folds of PTB-XL, altered too if ``full``, records of hospitals, simulated ones."""
    data = ptbxl.load_ptbxl(root, signals=False)
    for fold in FOLDS:
        part = f"fold {fold}"
        records = [read_record(data.paths[i]) for i in data.fold(fold)]
        yield part, UNALTERED, changed(records, None, fold)
        for name, change in alterations() if full else ():
            yield part, name, changed(records[::EVERY], change, fold)
    paths = [path for path in sorted(hospitals.glob("*/*.hea")) if path.parent.name != "ptbxl"]
    yield part, "other hospitals", changed([read_record(path) for path in paths], None, 0)
    for difficulty in ("plain", "realistic"):
        yield part, f"simulated, {difficulty}", changed(simulated(difficulty), None, 0)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Format the rows as a Markdown table."""
    lines = [
        "| records | of | n | nearest: > 99 % | > 95 % | AUROC | score: > 99 % | > 95 % | AUROC |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [row["kind"], row["part"], str(row["n"])]
        for name in ("nearest", "score"):
            for key in ("beyond_99", "beyond_95"):
                value = row[f"{name}/{key}"]
                cells.append("" if value is None else f"{100 * value:.0f} %")
            value = row[f"{name}/auroc"]
            cells.append("" if value is None else f"{value:.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(root: Path, hospitals: Path, out: Path, runs: Sequence[Path]) -> None:
    """Measure the model of the package and runs of simulated ECGs; write JSON and tables."""
    content, text = {}, []
    for folder in (PRETRAINED, *(run / "model" for run in runs)):
        predictor = Predictor.load(folder, "cpu")
        name = predictor.artifact.provenance.run
        rows = measure(predictor, all_kinds(root, hospitals, full=folder == PRETRAINED))
        if folder != PRETRAINED:  # real ECGs are the unusual ones here
            rows = [row | {"nearest/auroc": None, "score/auroc": None} for row in rows]
        content[name] = rows
        text.append(f"Model `{name}`:\n\n{table(rows)}")
    out.mkdir(parents=True, exist_ok=True)
    (out / "novelty.json").write_text(json.dumps(content, indent=1) + "\n")
    (out / "novelty.md").write_text("\n".join(text))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), [*map(Path, sys.argv[4:])])

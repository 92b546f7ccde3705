"""Measure what disturbances of a recording change in the findings of a trained model.

    python results/robustness.py runs/NAME data/ptbxl build/robustness.json [FOLD]

Each disturbance is applied to the records of a fold as they are read, before the preparation, as an
electrocardiograph would record it. Written are JSON and, with the suffix ``.md``, a table: the
share of records whose set of findings changes under the default decision rule, the macro F1 of the
rule ``F1_RULE``, and the share of records with a quality warning that names the disturbance.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.inference.preparation import removes_offset, window_warnings
from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.decision_rules import DEFAULT_RULE
from ecg_siglip.readers.record import Record, read_record
from ecg_siglip.signals.leads import LEADS, LEADS_FROM_ELECTRODES, order_leads
from ecg_siglip.signals.resampling import resample

FOLD, SEED = 9, 0
F1_RULE, MIN_POSITIVES = "prevalence", 5
ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")
# The potential of the right leg, of that of the left leg: nearly the same.
RIGHT_LEG = 0.95
HIGH_FS = 500.0  # Hz, for what a record of 100 Hz cannot hold
Change = Callable[[np.ndarray, float, np.random.Generator], tuple[np.ndarray, float]]


class Disturbance(NamedTuple):
    """A disturbance of a recording.

    Attributes
    ----------
    kind, size : str
    change : function of (signal (12, n) in mV, fs, rng) to (signal, fs)
    named_by : str
        Regular expression of the quality warnings that name it; "" if none does.
    """

    kind: str
    size: str
    change: Change
    named_by: str = ""


def at_electrodes(signal: np.ndarray) -> np.ndarray:
    """Return the potentials of the nine electrodes, (9, n), mV, so that RA + LA + LL is 0."""
    one, two = signal[0], signal[1]
    right = -(one + two) / 3
    return np.vstack([right, right + one, right + two, signal[6:]])


def exchanged(order: Sequence[str]) -> Change:
    """Return the leads with each of the nine inputs at another electrode, RL among them."""

    def change(signal: np.ndarray, fs: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        potential = dict(zip(ELECTRODES, at_electrodes(signal), strict=True))
        potential["RL"] = RIGHT_LEG * potential["LL"]
        return LEADS_FROM_ELECTRODES @ np.stack([potential[name] for name in order]), fs

    return change


def swapped(*pairs: tuple[str, str]) -> Change:
    """Return the leads with pairs of electrodes exchanged."""
    other = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    return exchanged([other.get(name, name) for name in ELECTRODES])


def inverted(leads: Sequence[str]) -> Change:
    """Return the leads with some of them upside down."""
    signs = np.where(np.isin(LEADS, leads), -1.0, 1.0)[:, None]
    return lambda signal, fs, rng: (signal * signs, fs)


def offset(mv: float, per_electrode: bool) -> Change:
    """Return the leads with a constant of up to ``mv``, of each electrode or of each lead."""

    def change(signal: np.ndarray, fs: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        if per_electrode:
            return signal + LEADS_FROM_ELECTRODES @ rng.uniform(-mv, mv, (9, 1)), fs
        return signal + rng.uniform(-mv, mv, (12, 1)), fs

    return change


def scaled(gain: float) -> Change:
    return lambda signal, fs, rng: (signal * gain, fs)


def with_noise(draw: Callable[[int, float, np.random.Generator], np.ndarray]) -> Change:
    """Return the leads at ``HIGH_FS`` with noise that is drawn for each electrode."""

    def change(signal: np.ndarray, fs: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        high = resample(signal, fs, HIGH_FS).astype(np.float64)
        noise = np.stack([draw(high.shape[1], HIGH_FS, rng) for _ in ELECTRODES])
        return high + LEADS_FROM_ELECTRODES @ noise, HIGH_FS

    return change


def sine(mv: float, low_hz: float, high_hz: float) -> Change:
    """Return the leads with a sine of ``mv``, its phase and frequency drawn for each electrode."""

    def draw(n_samples: int, fs: float, rng: np.random.Generator) -> np.ndarray:
        hz, phase = rng.uniform(low_hz, high_hz), rng.uniform(0, 2 * np.pi)
        return np.asarray(mv * np.sin(2 * np.pi * hz * np.arange(n_samples) / fs + phase))

    return with_noise(draw)


def muscle(mv: float) -> Change:
    """Return the leads with noise of 20 to 150 Hz with a standard deviation of ``mv``."""

    def draw(n_samples: int, fs: float, rng: np.random.Generator) -> np.ndarray:
        spectrum = np.fft.rfft(rng.normal(size=n_samples))
        hz = np.fft.rfftfreq(n_samples, 1 / fs)
        noise = np.fft.irfft(np.where((hz >= 20) & (hz <= 150), spectrum, 0), n_samples)
        return np.asarray(mv * noise / noise.std())

    return with_noise(draw)


def shifted(seconds: float) -> Change:
    """Return the leads with their first seconds moved to the end."""
    return lambda signal, fs, rng: (np.roll(signal, -round(seconds * fs), axis=1), fs)


def resampled(to_fs: float) -> Change:
    return lambda signal, fs, rng: (resample(signal, fs, to_fs), to_fs)


def missing(share: float, gap_s: float) -> Change:
    """Return the leads without some samples, in gaps of all leads, as of lost packets."""

    def change(signal: np.ndarray, fs: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        size = max(1, round(gap_s * fs))
        n_slots = signal.shape[1] // (2 * size)  # not two next to each other
        slots = rng.choice(n_slots, round(share * signal.shape[1] / size), replace=False)
        signal = signal.copy()
        for slot in slots:
            signal[:, 2 * slot * size : (2 * slot + 1) * size] = np.nan
        return signal, fs

    return change


def padded(seconds: float) -> Change:
    """Return the leads with zeros in the place of the last seconds."""

    def change(signal: np.ndarray, fs: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        n_samples = signal.shape[1]
        return np.where(np.arange(n_samples) < n_samples - round(seconds * fs), signal, 0.0), fs

    return change


def disturbances() -> Iterator[Disturbance]:
    """Yield all disturbances, in the order of the table."""
    none: Change = lambda signal, fs, rng: (signal, fs)  # noqa: E731
    yield Disturbance("none", "", none)
    for mv in (0.1, 0.3, 1.0, 10.0, 100.0):
        yield Disturbance("offset per electrode", f"{mv:g} mV", offset(mv, True), "off zero")
    for mv in (0.1, 0.3, 1.0, 10.0):
        yield Disturbance("offset per lead", f"{mv:g} mV", offset(mv, False), "off zero")
    for gain in (0.5, 0.8, 1.25, 2.0):
        yield Disturbance("gain", f"{gain:g}", scaled(gain))
    for hz in (50, 60):
        for mv in (0.05, 0.1, 0.5):
            size = f"{hz} Hz, {mv:g} mV"
            yield Disturbance("mains", size, sine(mv, hz, hz), f"mains hum of {hz}")
    for mv in (0.1, 0.5, 1.0, 2.0):
        yield Disturbance("baseline wander", f"{mv:g} mV", sine(mv, 0.15, 0.3), "a moving baseline")
    for mv in (0.02, 0.05, 0.1, 0.2):
        yield Disturbance("muscle noise", f"{mv:g} mV", muscle(mv), "noise in")
    for seconds in (0.1, 0.5, 1.0):
        yield Disturbance("time shift", f"{seconds:g} s", shifted(seconds))
    for to_fs in (125.0, 250.0, 360.0, 500.0, 1000.0):
        yield Disturbance("resampling", f"{to_fs:g} Hz", resampled(to_fs))
    for share in (0.01, 0.03):
        for gap_s in (0.01, 0.05, 0.1):
            size = f"{100 * share:g} %, gaps of {gap_s:g} s"
            yield Disturbance("missing samples", size, missing(share, gap_s), "gaps in")
    yield Disturbance("zeros at the end", "2 s", padded(2.0), "padded")
    yield from lead_errors()


def lead_errors() -> Iterator[Disturbance]:
    """Yield exchanged electrodes and inverted leads."""

    def named(kind: str, size: str, change: Change, named_by: str = "") -> Disturbance:
        return Disturbance(kind, size, change, named_by)

    limb = "electrodes exchanged"
    yield named(limb, "RA, LA", swapped(("RA", "LA")), "arm electrodes|runs against")
    yield named(limb, "RA, LL", swapped(("RA", "LL")), "right arm and left leg")
    yield named(limb, "LA, LL", swapped(("LA", "LL")))
    yield named(limb, "RA, RL", swapped(("RA", "RL")), "right arm and right leg")
    yield named(limb, "LA, RL", swapped(("LA", "RL")), "left arm and right leg")
    yield named(limb, "LL, RL", swapped(("LL", "RL")))
    both = swapped(("RA", "RL"), ("LA", "LL"))
    yield named(limb, "RA, RL and LA, LL", both, "both arms")
    for i in range(1, 6):
        a, b = f"V{i}", f"V{i + 1}"
        yield named(limb, f"{a}, {b}", swapped((a, b)), f"{a} and {b}")
    for a, b in (("V1", "V3"), ("V1", "V6")):
        yield named(limb, f"{a}, {b}", swapped((a, b)), f"{a} and {b}")
    reverse = swapped(("V1", "V6"), ("V2", "V5"), ("V3", "V4"))
    yield named(limb, "V1 to V6 reversed", reverse, "reverse")
    yield named("upside down", "all leads", inverted(LEADS), "all leads seem")
    for lead in ("I", "aVR", "V1", "V2", "V5", "V6"):
        yield named("upside down", lead, inverted([lead]), rf"lead {lead} (seems|contradicts)")


class Outcome(NamedTuple):
    """What a model and the quality warnings return for some records.

    Attributes
    ----------
    y_prob : ndarray of shape (n_records, n_findings), float in [0, 1]
        NaN for refused records.
    refused : ndarray of shape (n_records,), bool
    warnings : list of list of str
    """

    y_prob: np.ndarray
    refused: np.ndarray
    warnings: list[list[str]]


def run(
    predictor: Predictor, records: Sequence[Record], disturbance: Disturbance, seed: int = SEED
) -> Outcome:
    """Predict disturbed records; the disturbance of a record depends on its place and the seed."""
    artifact = predictor.artifact
    signals: list[np.ndarray] = []
    warnings: list[list[str]] = []
    refused = np.zeros(len(records), bool)
    for i, record in enumerate(records):
        signal = order_leads(record.signal, record.leads, record.name).astype(np.float64)
        signal, fs = disturbance.change(signal, record.fs, np.random.default_rng([seed, i]))
        changed = replace(record, signal=signal.astype(np.float32), fs=fs, leads=LEADS)
        duration_s = artifact.waveform["duration_s"]
        warnings.append(
            window_warnings(changed, duration_s, removes_offset(predictor.artifact.waveform))
        )
        try:
            signals.append(predictor.prepare(changed, allow_gaps=True))
        except ValueError:
            refused[i] = True
    y_prob = np.full((len(records), len(artifact.codes)), np.nan)
    if signals:
        y_prob[~refused] = predictor.probabilities(np.stack(signals))
    return Outcome(y_prob, refused, warnings)


def row(
    disturbance: Disturbance,
    outcome: Outcome,
    undisturbed: Outcome,
    y_true: np.ndarray,
    thresholds: dict[str, np.ndarray],
) -> dict[str, Any]:
    """Return the row of the table of a disturbance; scores are of records that are not refused."""
    used = ~outcome.refused
    default = thresholds[DEFAULT_RULE]
    changed = ((outcome.y_prob >= default) != (undisturbed.y_prob >= default))[used]
    enough = y_true.sum(axis=0) >= MIN_POSITIVES
    f1 = None
    if used.any():
        present = outcome.y_prob[used] >= thresholds[F1_RULE]
        f1 = float(np.nanmean(multilabel.f1_scores(y_true[used], present)[enough]))
    pattern = re.compile(disturbance.named_by or r"(?!)")
    is_named = [any(map(pattern.search, sentences)) for sentences in outcome.warnings]
    return {
        "kind": disturbance.kind,
        "size": disturbance.size,
        "changed": float(changed.any(axis=1).mean()) if used.any() else None,
        "findings_changed": float(changed.sum(axis=1).mean()) if used.any() else None,
        "macro_f1_min5": f1,
        "refused": float(outcome.refused.mean()),
        "named": float(np.mean(is_named)),
        "any_warning": float(np.mean([bool(sentences) for sentences in outcome.warnings])),
    }


def measure(
    predictor: Predictor, records: Sequence[Record], y_true: np.ndarray
) -> list[dict[str, Any]]:
    """Return one row per disturbance."""
    rows: list[dict[str, Any]] = []
    undisturbed, thresholds = None, predictor.artifact.thresholds
    for disturbance in disturbances():
        outcome = run(predictor, records, disturbance)
        undisturbed = undisturbed or outcome
        rows.append(row(disturbance, outcome, undisturbed, y_true, thresholds))
        print(table(rows[-1:]).splitlines()[-1], file=sys.stderr)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Format the rows as a Markdown table."""
    lines = [
        "| disturbance | size | records with other findings | macro F1 | refused | named |",
        "|---|---|---|---|---|---|",
    ]
    for each in rows:
        refused = f"{100 * each['refused']:.1f} %" if each["refused"] else ""
        if each["changed"] is None:
            scores = ["", ""]
        else:
            scores = [f"{100 * each['changed']:.1f} %", f"{each['macro_f1_min5']:.3f}"]
        cells = [each["kind"], each["size"], *scores, refused, f"{100 * each['named']:.0f} %"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(run_folder: Path, root: Path, out: Path, fold: int = FOLD) -> None:
    """Measure a trained run on a fold of PTB-XL, and write ``out`` and the table."""
    predictor = Predictor.load(run_folder / "model", "cpu")
    data = ptbxl.load_ptbxl(root, signals=False)
    rows = data.fold(fold)
    columns = [data.codes.index(code) for code in predictor.artifact.codes]
    records = [read_record(data.paths[i]) for i in rows]
    measured = measure(predictor, records, data.y_true[rows][:, columns])
    out.parent.mkdir(parents=True, exist_ok=True)
    about = {"run": run_folder.name, "fold": fold, "n_records": len(records), "seed": SEED}
    out.write_text(json.dumps({**about, "rule": DEFAULT_RULE, "rows": measured}, indent=1) + "\n")
    out.with_suffix(".md").write_text(table(measured))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), *map(int, sys.argv[4:5]))

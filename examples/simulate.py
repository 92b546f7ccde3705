"""Write ``simulated_ecg.csv``: ten seconds of a simulated ECG, not the recording of a person.

python examples/simulate.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ecg_siglip.signals.leads import LEADS
from ecg_siglip.signals.resampling import resample
from ecg_siglip.simulation import finding_rules
from ecg_siglip.simulation.electrode_noise import FS, with_faults
from ecg_siglip.simulation.rhythms import simulate_ecg

OUT = Path(__file__).parent / "simulated_ecg.csv"
CODES = {"AFIB": 0.0, "CRBBB": 100.0}  # atrial fibrillation, complete right bundle branch block
SEED, AGE, IS_WOMAN = 5, 71.0, True
TO_FS, DURATION_S = 100, 10.0


def simulated_ecg(seed: int = SEED) -> np.ndarray:
    """Return an ECG with the findings ``CODES``, (12, 1000), mV, 100 Hz."""
    rng = np.random.default_rng(seed)
    person = finding_rules.person(rng, AGE, IS_WOMAN)
    heart = finding_rules.with_findings(person, CODES, rng)
    independent, _ = simulate_ecg(heart, FS, DURATION_S, rng)
    signal, _ = with_faults(independent, rng)
    return resample(signal.astype(np.float32), FS, TO_FS)


def as_csv(signal: np.ndarray) -> str:
    """Return a signal as a table with one row per sample: time in s, then the leads in mV."""
    lines = [",".join(["time (s)", *(f"{lead} (mV)" for lead in LEADS)])]
    for i, row in enumerate(signal.T):
        lines.append(",".join([f"{i / TO_FS:.2f}", *(f"{value:.3f}" for value in row)]))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    OUT.write_text(as_csv(simulated_ecg()), encoding="utf-8")

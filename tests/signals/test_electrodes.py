"""Exchanged electrodes and inverted leads of real ECGs are named; few others are."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from simulated_hearts import hearts

from ecg_siglip.datasets import ptbxl
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.electrodes import electrode_warnings
from ecg_siglip.signals.leads import LEADS, LEADS_FROM_ELECTRODES, order_leads
from ecg_siglip.simulation.heart import twelve_leads
from ecg_siglip.simulation.rhythms import simulate_ecg

ALL = np.ones(12, bool)
ARM_AND_LEG = "electrodes of right arm and left leg exchanged?"
ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")


def warnings_of(signal: np.ndarray, available: np.ndarray = ALL) -> list[str]:
    centered = signal - np.median(signal, axis=1, keepdims=True)
    return electrode_warnings(centered.astype(np.float64), available, ALL)


@pytest.fixture(scope="module")
def signals(shared_ptbxl: Path) -> list[np.ndarray]:
    """Real ECGs of fold 8, which the limits were not set on."""
    data = ptbxl.load_ptbxl(shared_ptbxl, signals=False)
    records = [read_record(data.paths[row]) for row in data.fold(8)[:200]]
    return [order_leads(record.signal, record.leads).astype(np.float64) for record in records]


def attached(signal: np.ndarray, **at: str) -> np.ndarray:
    """Return the leads with some inputs at other electrodes, as in ``RA="LL"``."""
    right = -(signal[0] + signal[1]) / 3
    potential = np.vstack([right, right + signal[0], right + signal[1], signal[6:]])
    of_name = dict(zip(ELECTRODES, potential, strict=True))
    of_name["RL"] = 0.95 * of_name["LL"]
    return LEADS_FROM_ELECTRODES @ np.stack([of_name[at.get(name, name)] for name in ELECTRODES])


def test_the_leads_of_electrodes_in_their_places_are_the_leads(signals):
    np.testing.assert_allclose(attached(signals[0]), signals[0], atol=2e-3)


def test_few_real_ecgs_have_a_warning(signals):
    counts = Counter(sentence for signal in signals for sentence in warnings_of(signal))
    assert sum(counts.values()) <= 0.03 * len(signals), counts
    assert max(counts.values(), default=0) <= 0.01 * len(signals) + 1


@pytest.mark.parametrize(
    ("at", "words", "share"),
    [
        ({"RA": "LA", "LA": "RA"}, "arm electrodes", 0.85),
        ({"RA": "LL", "LL": "RA"}, "right arm and left leg", 0.83),
        ({"RA": "RL"}, "lead II is nearly flat: electrodes of right arm and right leg", 0.95),
        ({"LA": "RL"}, "lead III is nearly flat: electrodes of left arm and right leg", 0.95),
        ({"RA": "RL", "LA": "LL", "LL": "LA"}, "lead I is nearly flat", 0.95),
        ({"V1": "V2", "V2": "V1"}, "V1 and V2 seem to be exchanged", 0.4),
        ({"V2": "V3", "V3": "V2"}, "V2 and V3 seem to be exchanged", 0.4),
        ({"V1": "V6", "V6": "V1"}, "V1 and V6 seem to be exchanged", 0.9),
        ({f"V{i}": f"V{7 - i}" for i in range(1, 7)}, "in reverse order", 0.8),
        ({"LA": "LL", "LL": "LA"}, "", 0.95),
    ],
)
def test_exchanged_electrodes_are_named(signals, at, words, share):
    n_named = 0
    for signal in signals:
        warnings = warnings_of(attached(signal, **at))
        n_named += any(words in sentence for sentence in warnings) if words else not warnings
    assert n_named >= share * len(signals)


def test_a_left_anterior_block_is_no_exchange(shared_ptbxl):
    data = ptbxl.load_ptbxl(shared_ptbxl, signals=False)
    rows = np.flatnonzero(data.y_true[:, data.codes.index("LAFB")])
    assert len(rows) > 200
    records = [read_record(data.paths[row]) for row in rows]
    ordered = [order_leads(record.signal, record.leads) for record in records]
    assert sum(ARM_AND_LEG in warnings_of(signal) for signal in ordered) == 0


def test_a_simulated_left_anterior_block_is_no_exchange():
    eight = [simulate_ecg(h, 100, 10.0, np.random.default_rng(1))[0] for h in hearts("LAFB")]
    signals = [twelve_leads(leads) for leads in eight]
    assert sum(ARM_AND_LEG in warnings_of(signal) for signal in signals) == 0


def test_right_arm_and_left_leg_are_named_in_short_records(signals):
    short = [attached(signal, RA="LL", LL="RA")[:, 300:550] for signal in signals]
    assert np.mean([ARM_AND_LEG in warnings_of(signal) for signal in short]) >= 0.8
    assert not any(ARM_AND_LEG in warnings_of(signal[:, 300:550]) for signal in signals)
    assert ARM_AND_LEG not in warnings_of(short[0][:, :50])


@pytest.mark.parametrize("lead", LEADS)
def test_an_inverted_lead_is_named(signals, lead):
    signs = np.where(np.array(LEADS) == lead, -1.0, 1.0)[:, None]
    named = [warnings_of(signs * signal) for signal in signals[:60]]
    assert sum(any(f"lead {lead} " in w for w in warnings) for warnings in named) >= 54


def test_a_record_that_is_upside_down_is_named(signals):
    named = [warnings_of(-signal) == ["all leads seem to be upside down"] for signal in signals]
    assert np.mean(named) > 0.75


def test_offsets_change_no_warning(signals):
    rng = np.random.default_rng(0)
    for signal in signals[:20]:
        shifted = signal + rng.uniform(-5, 5, (12, 1))
        assert warnings_of(shifted) == warnings_of(signal)


def test_names_of_limb_leads_that_are_mixed_up_contradict_each_other(signals):
    mixed = signals[0][[1, 0, *range(2, 12)]]
    (warning,) = warnings_of(mixed)
    assert warning.startswith("limb leads contradict each other: I + III is not II (off by")
    augmented = signals[0][[0, 1, 2, 4, 3, *range(5, 12)]]
    assert "aVR is not -(I + II) / 2" in warnings_of(augmented)[0]


def test_fewer_leads_are_not_compared(signals):
    limb = signals[0].copy()
    limb[6:] = 0
    assert warnings_of(limb, np.arange(12) < 6) == []
    assert electrode_warnings(signals[0], np.arange(12) < 2, ALL) == []
    assert electrode_warnings(np.zeros((12, 1000)), ALL, ALL) == []

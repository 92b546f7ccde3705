"""Augmentation is a pure function of seed, epoch and record; each kind keeps to its settings."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from helpers import FS, limb_error
from helpers import beats as ecg

from ecg_siglip.signals import augmentation

SETTINGS: dict[str, Any] = {
    "shift_s": 1.0, "gain": 0.2, "wander_mv": 0.3, "lead_mask": 0.3, "time_mask_s": 2.0,
}  # fmt: skip
SIZE: dict[str, Any] = {"fs": FS, "n_samples": 1000}


def batch(n: int = 8) -> np.ndarray:
    return np.stack([ecg(seed=seed) for seed in range(n)])


def augmented(ids: list[int], seed: int = 3, epoch: int = 5, **settings: Any) -> np.ndarray:
    signal = np.stack([ecg(seed=i) for i in ids])
    params = augmentation.draw(seed, epoch, np.array(ids), **(settings or SETTINGS), **SIZE)
    return augmentation.apply(signal, params)


def test_a_row_depends_on_seed_epoch_and_record_alone():
    whole = augmented([10, 11, 12, 13])
    np.testing.assert_array_equal(augmented([13, 10]), whole[[3, 0]])
    np.testing.assert_array_equal(augmented([12])[0], whole[2])
    for other in (augmented([12], seed=4)[0], augmented([12], epoch=6)[0]):
        assert not np.array_equal(other, whole[2])


def test_the_drawn_numbers_never_change():
    """Frozen, so that a run can be resumed by a later version with the same result."""
    params = augmentation.draw(1, 2, np.array([38, 21837]), **SETTINGS, **SIZE)
    numbers = [params[key].ravel().tolist() for key in ("shift", "mask_start", "mask_stop")]
    assert numbers == [[57, -46], [216, 1], [346, 198]]


def test_one_augmentation_does_not_change_the_numbers_of_another():
    everything = augmentation.draw(0, 0, np.arange(9), **SETTINGS, **SIZE)
    for name, value in SETTINGS.items():
        alone = augmentation.draw(0, 0, np.arange(9), **{name: value}, **SIZE)
        for key in alone:
            np.testing.assert_array_equal(alone[key], everything[key])


def test_all_off_is_the_identity():
    params = augmentation.draw(0, 0, np.arange(8), **SIZE)
    signal = batch()
    assert params == {}
    assert augmentation.apply(signal, params) is signal


@pytest.mark.parametrize("n_on", [1, 2, 5])
def test_tensors_and_arrays_agree(n_on: int):
    torch = pytest.importorskip("torch")
    for names in combinations(SETTINGS, n_on):
        settings = {name: SETTINGS[name] for name in names}
        params = augmentation.draw(0, 1, np.arange(8), **settings, **SIZE)
        ours = augmentation.apply(batch(), params)
        tensors = {key: torch.from_numpy(value) for key, value in params.items()}
        theirs = augmentation.apply(torch.from_numpy(batch()), tensors)
        assert theirs.dtype == torch.float32
        assert ours.dtype == np.float32
        np.testing.assert_allclose(theirs.numpy(), ours, atol=1e-6)


def test_the_input_is_not_changed():
    signal = batch()
    params = augmentation.draw(0, 1, np.arange(8), **SETTINGS, **SIZE)
    augmentation.apply(signal, params)
    np.testing.assert_array_equal(signal, batch())


def test_shift_repeats_the_last_value_and_does_not_wrap():
    signal = np.broadcast_to(np.arange(1000, dtype=np.float32), (64, 12, 1000))
    params = augmentation.draw(0, 0, np.arange(64), shift_s=0.5, **SIZE)
    shift = params["shift"].ravel()
    assert shift.min() < -30
    assert shift.max() > 30
    assert np.abs(shift).max() <= 50
    for row, row_shift in zip(augmentation.apply(signal, params), shift, strict=True):
        expected = np.clip(np.arange(1000) - row_shift, 0, 999)
        np.testing.assert_array_equal(row, np.broadcast_to(expected, (12, 1000)))


def test_gain_is_one_factor_within_its_bounds():
    ratio = augmented(list(range(64)), gain=0.2) / np.stack([ecg(seed=i) for i in range(64)])
    factors = np.median(ratio, axis=(1, 2))
    np.testing.assert_allclose(
        ratio, np.broadcast_to(factors[:, None, None], ratio.shape), rtol=1e-5
    )
    assert 0.8 <= factors.min() < 0.85
    assert 1.15 < factors.max() <= 1.2


def test_wander_is_slow_bounded_and_keeps_the_limb_leads_related():
    signal = np.zeros((64, 12, 3000), np.float32)
    params = augmentation.draw(0, 0, np.arange(64), wander_mv=0.3, fs=FS, n_samples=3000)
    wander = augmentation.apply(signal, params)
    assert 0.1 < np.abs(wander).max() <= 0.3
    assert np.abs(np.diff(wander)).max() < 0.3 * 2 * np.pi * 0.5 / FS
    assert limb_error(wander) < 1e-6
    assert len({row.tobytes() for lead in wander for row in lead}) == 64 * 12


def test_lead_mask_masks_the_given_share_and_never_all_leads():
    signal = np.ones((500, 12, 10), np.float32)
    for chance in (0.1, 0.9):
        params = augmentation.draw(0, 0, np.arange(500), lead_mask=chance, fs=FS, n_samples=10)
        masked = augmentation.apply(signal, params)
        assert set(np.unique(masked)) == {0, 1}
        assert masked.any(axis=(1, 2)).all()
        assert (masked == masked[:, :, :1]).all()
        assert abs((masked == 0).mean() - chance) < 0.04


def test_fewer_leads_are_the_sets_that_devices_record():
    signal = np.ones((2000, 12, 4), np.float32)
    params = augmentation.draw(
        0, 0, np.arange(2000), fewer_leads=0.5, lead_mask=0.0, fs=FS, n_samples=4
    )
    is_kept = augmentation.apply(signal, params)[:, :, 0].astype(bool)
    assert abs(is_kept.all(axis=1).mean() - 0.5) < 0.04
    limb, chest = is_kept[:, :6], is_kept[:, 6:]
    sets = {
        "limb": limb.all(axis=1) & ~chest.any(axis=1),
        "some of the chest": limb.all(axis=1) & chest.any(axis=1) & ~chest.all(axis=1),
        "I": is_kept[:, 0] & (is_kept.sum(axis=1) == 1),
        "II": is_kept[:, 1] & (is_kept.sum(axis=1) == 1),
    }
    assert (sum(sets.values()) + is_kept.all(axis=1) == 1).all()
    assert all(abs(rows.mean() - 0.125) < 0.03 for rows in sets.values())
    # Each of V1 to V6 is kept in half of them.
    assert (abs(chest[sets["some of the chest"]].mean(axis=0) - 0.5) < 0.12).all()


def test_the_lead_mask_does_not_apply_to_records_with_fewer_leads():
    both = augmentation.draw(
        0, 0, np.arange(300), fewer_leads=1.0, lead_mask=0.9, fs=FS, n_samples=4
    )
    alone = augmentation.draw(0, 0, np.arange(300), fewer_leads=1.0, fs=FS, n_samples=4)
    np.testing.assert_array_equal(both["lead_kept"], alone["lead_kept"])


def test_time_mask_masks_one_time_span_in_all_leads():
    signal = np.ones((200, 12, 1000), np.float32)
    params = augmentation.draw(0, 0, np.arange(200), time_mask_s=2.0, **SIZE)
    is_masked = augmentation.apply(signal, params) == 0
    assert (is_masked == is_masked[:, :1]).all()
    lengths = is_masked[:, 0].sum(axis=1)
    assert lengths.min() < 20
    assert 180 < lengths.max() <= 200
    edges = np.abs(np.diff(is_masked[:, 0].astype(int), axis=1)).sum(axis=1)
    assert edges.max() <= 2


@pytest.mark.parametrize("name", ["shift_s", "time_mask_s"])
def test_augmentations_longer_than_the_signal_are_refused(name: str):
    settings: dict[str, Any] = {name: 10.0}
    with pytest.raises(ValueError, match=f"{name}=10: expected 0 or more and less than the 10 s"):
        augmentation.draw(0, 0, np.arange(2), **settings, **SIZE)

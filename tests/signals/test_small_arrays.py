"""The fast operations give what those of NumPy give."""

import numpy as np
import pytest

from ecg_siglip.signals import small_arrays


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("n_window", [1, 5, 11, 13])
def test_rows_are_convolved_one_by_one(rng, n_window):
    rows, window = rng.normal(size=(3, 40)), rng.random(n_window)
    expected = [np.convolve(row, window, "valid") for row in rows]
    np.testing.assert_array_equal(small_arrays.convolve_rows(rows, window), expected)


@pytest.mark.parametrize("n", [*range(1, 14), 24, 25])
def test_arrays_are_sorted_element_by_element_and_have_their_median(rng, n):
    arrays = rng.integers(0, 9, (n, 2, 100)).astype(float)  # with equal values
    arrays[n // 2, 1, :10] = np.inf
    np.testing.assert_array_equal(small_arrays.sort_arrays(arrays), np.sort(arrays, axis=0))
    arrays[0, 0, :3] = np.nan
    expected = np.median(arrays, axis=0)
    np.testing.assert_array_equal(small_arrays.median_of_arrays(list(arrays)), expected)


def test_few_comparisons_find_the_median():
    assert len(small_arrays._network(6)) == 12
    assert len(small_arrays._median_network(12)) < len(small_arrays._network(12))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 7, 500])
def test_rows_have_their_median(rng, n, dtype):
    rows = rng.normal(size=(12, 3, n)).astype(dtype)
    medians = small_arrays.row_medians(rows)
    assert medians.dtype == dtype
    np.testing.assert_array_equal(medians, np.median(rows, axis=-1))


def test_quantiles_leave_out_nan(rng):
    values = rng.normal(size=(40, 12))
    values[rng.random(values.shape) < 0.2] = np.nan
    shares = (0.0, 0.2, 0.75, 1.0)
    expected = np.nanquantile(values, shares, axis=1).T
    np.testing.assert_allclose(small_arrays.quantiles(values, shares), expected, rtol=1e-14)
    assert np.isnan(small_arrays.quantiles(np.full(3, np.nan), (0.5,))).all()
    assert small_arrays.quantiles(np.zeros((0, 3)), (0.5,)).shape == (0, 1)

"""How unlike the training ECGs a record is: in the embedding, its frequencies and its leads.

The distance to the nearest training record alone does not see what the encoder has learned to
ignore, such as noise and exchanged electrodes. Simple statistics of the signal do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecg_siglip.signals.statistics import frequency_statistics, lead_statistics

NOVEL = 0.99  # novelty above which a record is reported as unlike the training records
# Parts of the score, with the words for them in a warning; of equal parts the first is named.
PARTS = {
    "frequencies": "in its frequencies, rate or noise",
    "leads": "in the relations of its leads",
    "embedding": "in what the model sees in it",
}
SHRINK = 0.1  # of a correlation matrix towards independence
N_READ = 32  # records at a time; of more, the intermediate results leave the cache
LIMIT = 0.95  # quantile of the tuning fold that has the same score in each part


@dataclass(frozen=True, eq=False)
class Normal:
    """Normal distribution of statistics of the training records.

    Attributes
    ----------
    mean, scale : ndarray of shape (D,), float32
    precision_DD : ndarray of shape (D, D), float32
        Inverse of the correlation matrix, shrunk by ``SHRINK``.
    """

    mean: np.ndarray
    scale: np.ndarray
    precision_DD: np.ndarray

    @classmethod
    def fit(cls, statistics_ND: np.ndarray) -> Normal:
        """Fit the distribution to the statistics of training records (N, D)."""
        values = np.asarray(statistics_ND, np.float64)
        mean, scale = values.mean(axis=0), values.std(axis=0) + 1e-6
        z_ND = (values - mean) / scale
        correlation = z_ND.T @ z_ND / len(z_ND)
        shrunk = (1 - SHRINK) * correlation + SHRINK * np.eye(len(mean))
        precision = np.linalg.inv(shrunk)
        return cls(*(each.astype(np.float32) for each in (mean, scale, precision)))

    def distance(self, statistics_BD: np.ndarray) -> np.ndarray:
        """Compute the logarithm of the squared Mahalanobis distance of each record, (B,)."""
        z_BD = ((statistics_BD - self.mean) / self.scale).astype(np.float64)
        squared = np.sum((z_BD @ self.precision_DD.astype(np.float64)) * z_BD, axis=1)
        return np.asarray(np.log(squared.clip(1e-6)))


@dataclass(frozen=True, eq=False)
class Novelty:
    """Novelty of some records.

    Attributes
    ----------
    value : ndarray of shape (B,), float in [0, 1]
        Share of the tuning fold that is less unlike the training records.
    parts : dict of str to ndarray of shape (B,), float in [0, 1]
        The same in each part alone, by ``PARTS``.
    """

    value: np.ndarray
    parts: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class NoveltyScore:
    """Score that compares a record with the training records, in three parts.

    Attributes
    ----------
    frequencies, leads : Normal
        Of ``signals.statistics`` in the training records.
    tune_MP : ndarray of shape (n_tune, 3), float32
        Distance of each record of the tuning fold in each of ``PARTS``, logarithms.

    Notes
    -----
    Each part is scaled so that the median of the tuning fold is 0 and its 95 % quantile is 1; the
    score is the root of the sum of squares of the positive values. Distances are Mahalanobis
    distances (Lee et al. 2018, arXiv:1807.03888), and in the embedding that to the nearest training
    record (Sun et al. 2022, arXiv:2204.06507). Chosen on fold 8 of PTB-XL: docs/LOG.md.
    """

    frequencies: Normal
    leads: Normal
    tune_MP: np.ndarray

    @classmethod
    def fit(
        cls,
        train: tuple[np.ndarray, np.ndarray],
        tune: tuple[np.ndarray, np.ndarray],
        tune_distance: np.ndarray,
    ) -> NoveltyScore:
        """Fit the score.

        Parameters
        ----------
        train, tune : (ndarray of shape (n, D), ndarray of shape (n, E))
            What ``statistics_of`` returns of the training records and of the tuning fold.
        tune_distance : ndarray of shape (n_tune,)
            ``1 - cosine`` of each record of the tuning fold to its nearest training record.
        """
        frequencies, leads = map(Normal.fit, train)
        untuned = cls(frequencies, leads, np.empty((0, len(PARTS)), np.float32))
        return cls(frequencies, leads, untuned._distances(tune_distance, tune))

    def __call__(self, distance_B: np.ndarray, signals: np.ndarray, fs: float) -> Novelty:
        """Compute the novelty of records.

        Parameters
        ----------
        distance_B : ndarray of shape (B,)
            ``1 - cosine`` to the nearest training record.
        signals : ndarray of shape (B, 12, n_samples), int16, uV
            Prepared signals.
        fs : float, Hz
        """
        return self.of_statistics(distance_B, statistics_of(signals, fs))

    def of_statistics(
        self, distance_B: np.ndarray, statistics: tuple[np.ndarray, np.ndarray]
    ) -> Novelty:
        """Compute the novelty of records whose statistics are known."""
        values_BP = self._distances(distance_B, statistics)
        parts = {
            name: share_below(self.tune_MP[:, i], values_BP[:, i]) for i, name in enumerate(PARTS)
        }
        return Novelty(share_below(self._score(self.tune_MP), self._score(values_BP)), parts)

    def _distances(
        self, distance_B: np.ndarray, statistics: tuple[np.ndarray, np.ndarray]
    ) -> np.ndarray:
        """Return the distances of ``tune_MP`` for some records, (B, 3)."""
        embedding = np.log(np.maximum(distance_B, 0) + 1e-3)
        columns = (
            self.frequencies.distance(statistics[0]),
            self.leads.distance(statistics[1]),
            embedding,
        )
        return np.stack(columns, axis=1).astype(np.float32)

    def _score(self, values_BP: np.ndarray) -> np.ndarray:
        median = np.median(self.tune_MP, axis=0)
        width = np.quantile(self.tune_MP, LIMIT, axis=0) - median
        return np.linalg.norm(((values_BP - median) / np.maximum(width, 1e-6)).clip(0), axis=1)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays by name, for a file."""
        content = {"novelty.tune": self.tune_MP}
        for name in ("frequencies", "leads"):
            part = vars(getattr(self, name))
            content |= {f"novelty.{name}.{key}": value for key, value in part.items()}
        return content

    @classmethod
    def from_arrays(cls, content: Mapping[str, np.ndarray]) -> NoveltyScore | None:
        """Read what ``to_arrays`` returned; None for models of earlier versions.

        Raises
        ------
        KeyError, ValueError
            If arrays are missing or do not fit each other.
        """
        if "novelty.tune" not in content:
            return None
        tune_MP = content["novelty.tune"]
        if tune_MP.ndim != 2 or tune_MP.shape[1] != len(PARTS) or not len(tune_MP):
            raise ValueError(f"novelty of shape {tune_MP.shape}")
        parts: dict[str, Any] = {}
        for name in ("frequencies", "leads"):
            keys = ("mean", "scale", "precision_DD")
            values = {key: content[f"novelty.{name}.{key}"] for key in keys}
            n = len(values["mean"])
            if values["scale"].shape != (n,) or values["precision_DD"].shape != (n, n):
                raise ValueError(f"novelty of {name}: arrays of different sizes")
            parts[name] = Normal(**values)
        return cls(**parts, tune_MP=tune_MP)


def statistics_of(
    signals: Any, fs: float, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return frequency and lead statistics of records, a few of which are read at a time.

    Parameters
    ----------
    signals : array of shape (n, 12, n_samples), int16, uV
        An array, or rows that are read on demand.
    fs : float, Hz
    rows : ndarray of int64, optional
        Records; None: all.
    """
    rows = np.arange(len(signals)) if rows is None else rows
    parts = [
        (frequency_statistics(part, fs), lead_statistics(part))
        for start in range(0, len(rows), N_READ)
        if len(part := np.asarray(signals[rows[start : start + N_READ]]))
    ]
    first, second = (np.concatenate(each) for each in zip(*parts, strict=True))
    return first, second


def share_below(tune_M: Sequence[float] | np.ndarray, value_B: np.ndarray) -> np.ndarray:
    """Return the share of the tuning fold below each value, (B,)."""
    ordered = np.sort(tune_M)
    return np.asarray(np.searchsorted(ordered, value_B, side="left") / len(ordered))

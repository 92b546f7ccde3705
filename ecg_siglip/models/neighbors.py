"""Training records in the embedding of a model: the most similar ones, and novelty of a record.

If the nearest training record is further away than for almost every record of the tuning fold, the
model has learned from no similar record, and its prediction is not reliable.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

FILE = "neighbours.safetensors"
DISTINCTIVE = 1 << 32  # least ecg_id that names one record everywhere: hashes of names are above
NOVEL = 0.99  # novelty above which a record is reported as unlike the training records


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Embeddings of the records that a model was trained on, with their findings.

    Attributes
    ----------
    embedding_ND : ndarray of shape (N, D), float16
        Embeddings of the training records, unit norm.
    ecg_id : ndarray of shape (N,), int64
    labels_NF : ndarray of shape (N, n_findings), bool
        Findings that are known to be present in the training records, in the model's order.
    tune_distance : ndarray of shape (n_tune,), float32, sorted
        ``1 - cosine`` of each record of the tuning fold to its nearest training record.

    Notes
    -----
    Out-of-distribution detection by nearest neighbours: Sun et al. 2022, arXiv:2204.06507.
    """

    embedding_ND: np.ndarray
    ecg_id: np.ndarray
    labels_NF: np.ndarray
    tune_distance: np.ndarray

    @classmethod
    def from_embeddings(
        cls,
        train_ND: np.ndarray,
        ecg_id: np.ndarray,
        labels_NF: np.ndarray,
        tune_MD: np.ndarray,
    ) -> Neighbors:
        """Make the neighbors from embeddings of any norm.

        Parameters
        ----------
        train_ND : ndarray of shape (N, D)
            Of the training records.
        ecg_id : ndarray of shape (N,), int64
        labels_NF : ndarray of shape (N, n_findings), bool
        tune_MD : ndarray of shape (M, D)
            Of the records of the tuning fold.
        """
        untuned = cls(unit(train_ND).astype(np.float16), ecg_id, labels_NF, np.empty(0, np.float32))
        _, cosines = untuned.nearest(tune_MD, 1)
        return cls(untuned.embedding_ND, ecg_id, labels_NF, np.sort(1 - cosines[:, 0]))

    def nearest(self, embedding_BD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the most similar training records of each record.

        Parameters
        ----------
        embedding_BD : ndarray of shape (B, D)
        k : int
            How many; all training records if there are fewer.

        Returns
        -------
        rows : ndarray of shape (B, k), int64
            Positions in ``ecg_id`` and ``labels_NF``, the most similar first.
        cosines : ndarray of shape (B, k), float32
        """
        k = min(k, len(self.ecg_id))
        cosine_BN = unit(embedding_BD) @ self._bank_ND.T
        rows = np.arange(len(self.ecg_id))[None].repeat(len(cosine_BN), axis=0)
        if k < len(self.ecg_id):
            rows = np.sort(np.argpartition(-cosine_BN, k - 1, axis=1)[:, :k], axis=1)
        cosines = np.take_along_axis(cosine_BN, rows, axis=1)
        # Stable, so that equal cosines are in the order of the training records.
        order = np.argsort(-cosines, axis=1, kind="stable")
        return np.take_along_axis(rows, order, 1), np.take_along_axis(cosines, order, 1)

    def holds(self, ecg_id: np.ndarray) -> np.ndarray:
        """Return which records are training records, as far as their numbers show, (n,) bool.

        Small numbers mean different records in different data sets: they are never found.
        """
        return np.asarray(np.isin(ecg_id, self.ecg_id) & (ecg_id >= DISTINCTIVE))

    @cached_property
    def _bank_ND(self) -> np.ndarray:
        return self.embedding_ND.astype(np.float32)

    def novelty(self, embedding_BD: np.ndarray) -> np.ndarray:
        """Compute the novelty of each record, (B,) in [0, 1].

        The novelty is the share of the tuning fold that is nearer to its nearest training record:
        about 0.5 for a usual record, almost 1 for one that is unlike all training records.
        """
        _, cosines = self.nearest(embedding_BD, 1)
        return self.novelty_from_cosine(cosines[:, 0])

    def novelty_from_cosine(self, cosine_B: np.ndarray) -> np.ndarray:
        """Compute the novelty from the cosine to the nearest training record, (B,)."""
        n_nearer = np.searchsorted(self.tune_distance, 1 - cosine_B, side="left")
        return n_nearer / len(self.tune_distance)

    def save(self, folder: Path) -> None:
        """Write ``neighbours.safetensors``, with eight findings per byte."""
        from safetensors.numpy import save

        content = {
            "embedding": self.embedding_ND,
            "ecg_id": self.ecg_id.astype(np.int64),
            "labels": np.packbits(self.labels_NF, axis=1),
            "tune_distance": self.tune_distance.astype(np.float32),
        }
        (folder / FILE).write_bytes(save(content))

    @classmethod
    def load(cls, folder: Path, n_findings: int) -> Neighbors | None:
        """Read what ``save`` wrote; None if the model was saved without it.

        Raises
        ------
        ValueError
            If it is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        if not (folder / FILE).exists():
            return None
        try:
            content = load_file(folder / FILE)
            sizes = {len(content[key]) for key in ("embedding", "ecg_id", "labels")}
            if len(sizes) > 1 or not content["tune_distance"].size:
                raise ValueError(f"{sorted(sizes)} records; expected equally many")
            labels = np.unpackbits(content["labels"], axis=1, count=n_findings).astype(bool)
            if content["labels"].shape[1] != -(-n_findings // 8):
                raise ValueError(f"labels of another number of findings than {n_findings}")
            return cls(content["embedding"], content["ecg_id"], labels, content["tune_distance"])
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise ValueError(f"{folder / FILE}: damaged: {error}") from error


def unit(embedding_BD: np.ndarray) -> np.ndarray:
    """Scale vectors (n, D) to unit norm, float32; a vector of zeros is not changed."""
    embedding_BD = np.asarray(embedding_BD, np.float32)
    norm_B1 = np.linalg.norm(embedding_BD, axis=1, keepdims=True)
    return np.asarray(embedding_BD / np.maximum(norm_B1, 1e-12), np.float32)

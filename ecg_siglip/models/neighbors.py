"""The training ECGs as the model sees them: which are most like a record, and is any like it?

A record whose nearest training ECG is further away than that of almost every record of the tuning
fold is something the model has not learned: its answer is a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

FILE = "neighbours.safetensors"
NOVEL = 0.99  # share of the tuning fold that is nearer, above which a record is called unlike


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Where the records that a model learned from lie in its embedding.

    Attributes
    ----------
    embedding_ND : ndarray of shape (N, D), float16
        Of the training records, unit norm.
    ecg_id : ndarray of shape (N,), int64
    labels_NF : ndarray of shape (N, n_findings), bool
        Their findings, in the model's order.
    tune_distance : ndarray of shape (n_tune,), float32, sorted
        ``1 - cosine`` of each record of the tuning fold to its nearest training record.

    Notes
    -----
    Nearest neighbours as a measure of what is unlike: Sun et al. 2022, arXiv:2204.06507.
    """

    embedding_ND: np.ndarray
    ecg_id: np.ndarray
    labels_NF: np.ndarray
    tune_distance: np.ndarray

    @classmethod
    def of(
        cls,
        train_ND: np.ndarray,
        ecg_id: np.ndarray,
        labels_NF: np.ndarray,
        tune_MD: np.ndarray,
    ) -> Neighbors:
        """From the embeddings of training and tuning records, (N, D) and (M, D), of any length."""
        bare = cls(unit(train_ND).astype(np.float16), ecg_id, labels_NF, np.empty(0, np.float32))
        _, cosines = bare.nearest(tune_MD, 1)
        return cls(bare.embedding_ND, ecg_id, labels_NF, np.sort(1 - cosines[:, 0]))

    def nearest(self, embedding_BD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The training records most like these.

        Parameters
        ----------
        embedding_BD : ndarray of shape (B, D)
        k : int
            How many; all there are, if these are fewer.

        Returns
        -------
        rows : ndarray of shape (B, k), int64
            Of ``ecg_id`` and ``labels_NF``, the most similar first.
        cosines : ndarray of shape (B, k), float32
        """
        k = min(k, len(self.ecg_id))
        cosine_BN = unit(embedding_BD) @ self._bank_ND.T
        rows = np.arange(len(self.ecg_id))[None].repeat(len(cosine_BN), axis=0)
        if k < len(self.ecg_id):
            rows = np.sort(np.argpartition(-cosine_BN, k - 1, axis=1)[:, :k], axis=1)
        cosines = np.take_along_axis(cosine_BN, rows, axis=1)
        # Equal cosines in the order of the training records.
        order = np.argsort(-cosines, axis=1, kind="stable")
        return np.take_along_axis(rows, order, 1), np.take_along_axis(cosines, order, 1)

    @cached_property
    def _bank_ND(self) -> np.ndarray:
        return self.embedding_ND.astype(np.float32)

    def novelty(self, embedding_BD: np.ndarray) -> np.ndarray:
        """Share of the tuning fold that is nearer to its nearest training record, (B,) in [0, 1].

        Half of the fold is nearer than a usual record, almost all of it than one that is unlike
        all that was learned.
        """
        _, cosines = self.nearest(embedding_BD, 1)
        return self.novelty_at(cosines[:, 0])

    def novelty_at(self, cosine_B: np.ndarray) -> np.ndarray:
        """The same of records that have this cosine to their nearest training record."""
        n_nearer = np.searchsorted(self.tune_distance, 1 - cosine_B, side="left")
        return n_nearer / len(self.tune_distance)

    def save(self, folder: Path) -> None:
        """Write ``neighbours.safetensors``; the findings eight to a byte."""
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
        """What ``save`` wrote, or null where a model was saved without.

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
    """Vectors (n, D) at length 1, float32; a vector of zeros stays one."""
    embedding_BD = np.asarray(embedding_BD, np.float32)
    norm_B1 = np.linalg.norm(embedding_BD, axis=1, keepdims=True)
    return np.asarray(embedding_BD / np.maximum(norm_B1, 1e-12), np.float32)

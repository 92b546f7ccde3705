"""Training records in the embedding of a model: the most similar ones, and novelty of a record.

If the nearest training record is further away than for almost every record of the tuning fold, the
model has learned from no similar record, and its prediction is not reliable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ecg_siglip.models.model_files import NEIGHBORS as FILE
from ecg_siglip.models.model_files import explain_damage
from ecg_siglip.models.novelty import Novelty, NoveltyScore, share_below

Statistics = tuple[np.ndarray, np.ndarray]
# Least cosine of the sketches of one ECG. Of 7 million pairs of PTB-XL none has 0.7.
SAME_ECG = 0.93
DISTINCTIVE = 1 << 32  # least ecg_id that names one record everywhere: hashes of names are above
N_COMPARE = 4096  # sketches compared at a time
N_PAIRS = 1 << 24  # pairs of records whose cosines are in memory at a time
# Type and dimensions of the arrays in the file.
ARRAYS = {
    "embedding": ("float16", 2),
    "ecg_id": ("int64", 1),
    "labels": ("uint8", 2),
    "tune_distance": ("float32", 1),
    "sketch": ("int8", 2),
    "tune_sketch": ("int8", 2),
    "names": ("uint8", 1),
}


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
    sketch_NS, tune_sketch_MS : ndarray of shape (N, S) and (M, S), int8, optional
        Descriptions of the signals of the training records and of the tuning fold, see
        ``datasets.duplicates.sketch``, by which an ECG is recognized whatever its name.
    names : tuple of str, optional
        Names of the training records; None: ``ecg_id``.
    novelty_score : NoveltyScore, optional
        Of embedding and signal; None for models of earlier versions: of the embedding alone.
    """

    embedding_ND: np.ndarray
    ecg_id: np.ndarray
    labels_NF: np.ndarray
    tune_distance: np.ndarray
    sketch_NS: np.ndarray | None = None
    tune_sketch_MS: np.ndarray | None = None
    names: tuple[str, ...] | None = None
    novelty_score: NoveltyScore | None = None

    @classmethod
    def from_embeddings(
        cls,
        train_ND: np.ndarray,
        ecg_id: np.ndarray,
        labels_NF: np.ndarray,
        tune_MD: np.ndarray,
        sketches: tuple[np.ndarray, np.ndarray] | None = None,
        names: Sequence[str] | None = None,
        statistics: tuple[Statistics, Statistics] | None = None,
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
        sketches : (ndarray of shape (N, S), ndarray of shape (M, S)), optional
            Of the training records and of the tuning fold, unit norm.
        names : sequence of str, optional
            Of the training records.
        statistics : (Statistics, Statistics), optional
            What ``novelty.statistics_of`` returns of the training records and of the tuning fold.
        """
        untuned = cls(unit(train_ND).astype(np.float16), ecg_id, labels_NF, np.empty(0, np.float32))
        _, cosines = untuned.nearest(tune_MD, 1)
        distance = 1 - cosines[:, 0]
        return cls(
            untuned.embedding_ND,
            ecg_id,
            labels_NF,
            np.sort(distance),
            _as_int8(sketches[0]) if sketches else None,
            _as_int8(sketches[1]) if sketches else None,
            None if names is None else tuple(names),
            NoveltyScore.fit(*statistics, distance) if statistics else None,
        )

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
        n_at_once = max(1, N_PAIRS // max(1, len(self.ecg_id)))
        starts = range(0, max(1, len(embedding_BD)), n_at_once)
        parts = [self._nearest(embedding_BD[at : at + n_at_once], k) for at in starts]
        rows, cosines = (np.concatenate(each) for each in zip(*parts, strict=True))
        return rows, cosines

    def _nearest(self, embedding_BD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return ``nearest`` of a few records: the memory is that of all pairs."""
        cosine_BN = unit(embedding_BD) @ self._bank_ND.T
        if k == 1:
            rows = cosine_BN.argmax(axis=1)[:, None]
            return rows, np.take_along_axis(cosine_BN, rows, axis=1)
        rows = np.arange(len(self.ecg_id))[None].repeat(len(cosine_BN), axis=0)
        if k < len(self.ecg_id):
            rows = np.sort(np.argpartition(-cosine_BN, k - 1, axis=1)[:, :k], axis=1)
        cosines = np.take_along_axis(cosine_BN, rows, axis=1)
        # Stable, so that equal cosines are in the order of the training records.
        order = np.argsort(-cosines, axis=1, kind="stable")
        return np.take_along_axis(rows, order, 1), np.take_along_axis(cosines, order, 1)

    def holds(self, ecg_id: np.ndarray, sketch_BS: np.ndarray, tuned: bool = False) -> np.ndarray:
        """Return which records are training records, (B,) bool.

        Parameters
        ----------
        ecg_id : ndarray of shape (B,), int64
            Used for models without sketches. Small numbers mean different records in different data
            sets: they are never found.
        sketch_BS : ndarray of shape (B, S)
        tuned : bool
            Whether they are of the tuning fold, in place of training records.
        """
        known = self.tune_sketch_MS if tuned else self.sketch_NS
        if known is None:
            is_known = np.isin(ecg_id, self.ecg_id) & (ecg_id >= DISTINCTIVE)
            return np.asarray(is_known & (not tuned))
        known = unit(known)
        found = np.zeros(len(sketch_BS), bool)
        for start in range(0, len(found), N_COMPARE):
            for other in range(0, len(known), N_COMPARE):
                cosine = sketch_BS[start : start + N_COMPARE] @ known[other : other + N_COMPARE].T
                found[start : start + N_COMPARE] |= cosine.max(1) >= SAME_ECG
        return found

    def name(self, row: int) -> str:
        """Return the name of a training record as its data set has it."""
        return str(self.ecg_id[row]) if self.names is None else self.names[row]

    @cached_property
    def _bank_ND(self) -> np.ndarray:
        return self.embedding_ND.astype(np.float32)

    def novelty_from_cosine(self, cosine_B: np.ndarray) -> np.ndarray:
        """Compute the novelty in the embedding from the cosine to the nearest training record.

        It is the share of the tuning fold that is nearer to its nearest training record, (B,) in
        [0, 1].
        """
        return share_below(self.tune_distance, 1 - cosine_B)

    def novelty(self, cosine_B: np.ndarray, signals: np.ndarray, fs: float) -> Novelty:
        """Compute the novelty of records.

        Parameters
        ----------
        cosine_B : ndarray of shape (B,)
            To the nearest training record.
        signals : ndarray of shape (B, 12, n_samples), int16, uV
            Prepared signals.
        fs : float, Hz
        """
        if self.novelty_score is not None:
            return self.novelty_score(1 - cosine_B, signals, fs)
        value_B = self.novelty_from_cosine(cosine_B)
        return Novelty(value_B, {"embedding": value_B})

    def save(self, folder: Path) -> None:
        """Write ``neighbours.safetensors``, with eight findings per byte."""
        from safetensors.numpy import save

        content = {
            "embedding": self.embedding_ND,
            "ecg_id": self.ecg_id.astype(np.int64),
            "labels": np.packbits(self.labels_NF, axis=1),
            "tune_distance": self.tune_distance.astype(np.float32),
        }
        if self.sketch_NS is not None and self.tune_sketch_MS is not None:
            content |= {"sketch": self.sketch_NS, "tune_sketch": self.tune_sketch_MS}
        if self.names is not None:
            text = "\0".join(self.names).encode("utf-8", "surrogatepass")
            content["names"] = np.frombuffer(text, np.uint8)
        if self.novelty_score is not None:
            content |= self.novelty_score.to_arrays()
        (folder / FILE).write_bytes(save(content))

    @classmethod
    def load(cls, folder: Path, n_findings: int) -> Neighbors | None:
        """Read what ``save`` wrote; None if the model was saved without it.

        Raises
        ------
        ValueError
            If it is damaged.
        """
        from safetensors.numpy import load_file

        path = folder / FILE
        if not path.exists():
            return None
        with explain_damage(f"{path}: damaged"):
            if not path.is_file():
                raise ValueError("expected a file")
            content = load_file(path)
            for key, (kind, n_dims) in ARRAYS.items():
                if key in content and (content[key].dtype != kind or content[key].ndim != n_dims):
                    raise ValueError(
                        f"{key}: expected {kind} of {n_dims} dimensions, got {content[key].dtype} "
                        f"of {content[key].ndim}"
                    )
            sizes = {len(content[key]) for key in ("embedding", "ecg_id", "labels")}
            if len(sizes) > 1 or not content["tune_distance"].size:
                raise ValueError(f"{sorted(sizes)} records; expected equally many")
            for key in ("embedding", "tune_distance"):
                if not np.isfinite(content[key]).all():
                    raise ValueError(f"{key}: expected finite numbers")
            if content["labels"].shape[1] != -(-n_findings // 8):
                raise ValueError(f"labels of another number of findings than {n_findings}")
            labels = np.unpackbits(content["labels"], axis=1, count=n_findings).astype(bool)
            names = None
            if "names" in content:
                text = content["names"].tobytes().decode("utf-8", "surrogatepass")
                names = tuple(text.split("\0"))
            for each in (names, content.get("sketch")):
                if each is not None and len(each) != len(labels):
                    raise ValueError(f"{len(each)} of {len(labels)} records")
            return cls(
                content["embedding"],
                content["ecg_id"],
                labels,
                content["tune_distance"],
                content.get("sketch"),
                content.get("tune_sketch"),
                names,
                NoveltyScore.from_arrays(content),
            )


def _as_int8(sketch_NS: np.ndarray) -> np.ndarray:
    """Return vectors of unit norm as int8; their cosines stay the same within 0.01."""
    scale = np.abs(sketch_NS).max(axis=1, keepdims=True, initial=1e-12)
    return np.rint(127 * sketch_NS / scale).astype(np.int8)


def unit(embedding_BD: np.ndarray) -> np.ndarray:
    """Scale vectors (n, D) to unit norm, float32; a vector of zeros is not changed."""
    embedding_BD = np.asarray(embedding_BD, np.float32)
    norm_B1 = np.linalg.norm(embedding_BD, axis=1, keepdims=True)
    return np.asarray(embedding_BD / np.maximum(norm_B1, 1e-12), np.float32)

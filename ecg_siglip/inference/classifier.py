"""A trained model as a classifier in scikit-learn's manner, for notebooks."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ecg_siglip.inference.predictor import Predictor, probabilities
from ecg_siglip.inference.tuning import tune_fold
from ecg_siglip.metrics.decision_rules import DEFAULT_RULE
from ecg_siglip.metrics.multilabel import apply_thresholds
from ecg_siglip.metrics.operating_points import operating_thresholds
from ecg_siglip.models.artifact import push_to_hub
from ecg_siglip.readers.record import Record, read_record
from ecg_siglip.signals.leads import LEADS

Ecgs = str | Path | Record | Iterable[str | Path | Record] | np.ndarray


class EcgClassifier:
    """ECGs to findings: ``predict_proba``, ``predict``, and ``fit`` to another hospital.

    Parameters
    ----------
    predictor : Predictor
    rule : str
        Which thresholds ``predict`` decides by.
    fs : float, optional
        Sampling rate of arrays, Hz; records know theirs.

    Attributes
    ----------
    classes_ : ndarray of str, shape (n_findings,)
        Codes of the findings, in the order of all columns.

    Raises
    ------
    ValueError
        If the rule is unknown, or the model has no thresholds of it.

    Notes
    -----
    ECGs are paths, ``Record`` objects, lists of either, or an array (n_records, 12, n_samples), mV,
    leads in the order of ``leads.LEADS``, at ``fs``.

    Examples
    --------
    ::

        classifier = EcgClassifier.from_pretrained("runs/r1/model")
        classifier.predict_proba(["00001_lr", "00002_lr"])  # (2, 71)
        classifier.classes_[classifier.predict("00001_lr")[0]]
    """

    def __init__(self, predictor: Predictor, rule: str = DEFAULT_RULE, fs: float | None = None):
        known = predictor.artifact.thresholds
        if rule not in known:
            raise ValueError(f"rule={rule}: expected one of {', '.join(known)}")
        self.predictor, self.rule, self.fs = predictor, rule, fs
        self.classes_ = np.array(predictor.artifact.codes)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        rule: str = DEFAULT_RULE,
        fs: float | None = None,
        device: str = "auto",
        revision: str | None = None,
    ) -> EcgClassifier:
        """From a folder (``runs/<name>/model``) or the hub (``owner/name``, a branch, tag or commit
        by ``revision`` or as ``owner/name@revision``); errors as ``Predictor.load``."""
        return cls(Predictor.load(f"{name}@{revision}" if revision else name, device), rule, fs)

    def push_to_hub(self, repo: str, private: bool = True, revision: str | None = None) -> str:
        """Put the model on the Hugging Face hub, as it is after ``fit``.

        Parameters
        ----------
        repo : str
            ``owner/name``; made if it is not there.
        private : bool
            Of a new repository; one that is there stays as it is.
        revision : str, optional
            A branch; made if it is not there.

        Returns
        -------
        str
            Address of the commit.

        Raises
        ------
        ValueError
            If the name is none, there is no token with the right to write, or no connection.
        """
        return push_to_hub(self.predictor.artifact, repo, private, revision)

    def predict_proba(self, X: Ecgs) -> np.ndarray:
        """Calibrated probabilities, (n_records, n_findings) float64.

        Raises
        ------
        ValueError
            If a record cannot be read or used, naming it; if an array has another shape, or no
            sampling rate was given for it.
        """
        return self.predictor.probabilities(self._prepared(X))

    def predict(self, X: Ecgs) -> np.ndarray:
        """Which findings are present, (n_records, n_findings) bool; errors as above."""
        thresholds = self.predictor.artifact.thresholds[self.rule]
        return apply_thresholds(self.predict_proba(X), thresholds)

    def fit(self, X: Ecgs, y: ArrayLike) -> EcgClassifier:
        """Find calibration and thresholds anew on these records; the model's weights stay.

        Parameters
        ----------
        X : ECGs
            Of the place where the model shall answer, a few hundred or more, none of which is
            scored afterwards.
        y : array of shape (n_records, n_findings), bool

        Returns
        -------
        EcgClassifier
            This one.

        Raises
        ------
        ValueError
            As ``predict_proba``; if ``y`` has another shape or other values than 0 and 1.
        """
        truth, signals = np.asarray(y), self._prepared(X)
        wanted = (len(signals), len(self.classes_))
        if truth.shape != wanted or not np.isin(truth, (0, 1)).all():
            raise ValueError(f"y: expected 0 and 1 of shape {wanted}, got {truth.shape}")
        before = self.predictor.artifact
        y_prob = probabilities(before.model, self.predictor.text_FD, signals)  # not calibrated
        calibration, thresholds, calibrated = tune_fold(truth.astype(bool), y_prob)
        after = replace(
            before,
            calibration=calibration,
            thresholds=thresholds,
            operating=operating_thresholds(calibrated),
            fewer_leads={},  # found elsewhere: not of this place
        )
        # Another one, whole: the first may be shared.
        self.predictor = copy.copy(self.predictor)
        self.predictor.artifact = after
        return self

    def _prepared(self, X: Ecgs) -> np.ndarray:
        """As the model sees them: (n_records, 12, n_samples) int16, uV."""
        if isinstance(X, np.ndarray) and X.dtype.kind in "fiu":
            if X.ndim != 3 or X.shape[1] != len(LEADS):
                raise ValueError(f"array: expected (n_records, 12, n_samples), got {X.shape}")
            if self.fs is None:
                raise ValueError("array: expected its sampling rate, as EcgClassifier(..., fs=500)")
            found = [
                Record(str(i), signal.astype(np.float32), float(self.fs), LEADS, ())
                for i, signal in enumerate(X)
            ]
        else:
            given = [X] if isinstance(X, str | Path | Record) else list(X)
            found = [r if isinstance(r, Record) else read_record(r) for r in given]
        if not found:
            raise ValueError("no ECG: expected at least one")
        return np.stack([self.predictor.prepare(record) for record in found])

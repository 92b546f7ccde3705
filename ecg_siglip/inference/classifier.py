"""A trained model with the interface of a scikit-learn classifier, for notebooks."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ecg_siglip.core.run_folder import DEFAULT, default_model
from ecg_siglip.inference.predictor import Predictor, probabilities
from ecg_siglip.inference.tuning import tune_fold
from ecg_siglip.metrics.decision_rules import DEFAULT_RULE
from ecg_siglip.metrics.operating_points import operating_thresholds
from ecg_siglip.metrics.validation import labels
from ecg_siglip.models.artifact import push_to_hub
from ecg_siglip.readers.record import Record, read_record
from ecg_siglip.signals.leads import LEADS

Ecgs = str | Path | Record | Iterable[str | Path | Record] | np.ndarray


class EcgClassifier:
    """Classifier of ECGs: ``predict_proba``, ``predict``, and ``fit`` to another hospital.

    Parameters
    ----------
    predictor : Predictor
    rule : str
        Threshold rule of ``predict``.
    fs : float, optional
        Sampling rate of arrays, Hz; records have their own.

    Attributes
    ----------
    classes_ : ndarray of str, shape (n_findings,)
        Codes of the findings, in the order of the columns.

    Raises
    ------
    ValueError
        If the model has no thresholds of that rule.

    Notes
    -----
    ECGs are paths, ``Record`` objects, lists of either, or an array (n_records, 12, n_samples), mV,
    leads in the order of ``leads.LEADS``, at ``fs``.

    Examples
    --------
    ::

        classifier = EcgClassifier.from_pretrained("runs/r1/model")
        classifier.predict_proba(["00001_lr", "00002_lr"])  # (2, n_findings)
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
        name: str | Path = DEFAULT,
        rule: str = DEFAULT_RULE,
        fs: float | None = None,
        device: str = "auto",
        revision: str | None = None,
    ) -> EcgClassifier:
        """Load the default model, or one from a folder or the hub (errors as ``Predictor.load``).

        Parameters
        ----------
        name : str or Path
            ``runs/<name>/model``, ``owner/name`` or ``owner/name@revision`` on the hub, or
            ``default``: the model of the package, if it has one.
        rule : str
            Threshold rule of ``predict``.
        fs : float, Hz, optional
            Sampling rate of arrays.
        device : str
        revision : str, optional
            Branch, tag or commit on the hub.
        """
        if name == DEFAULT:
            expected = "from_pretrained(<folder of a model, or owner/name on the hub>)"
            name = default_model("EcgClassifier", "no model named", expected)
        return cls(Predictor.load(f"{name}@{revision}" if revision else name, device), rule, fs)

    def push_to_hub(self, repo: str, private: bool = True, revision: str | None = None) -> str:
        """Upload the model to the Hugging Face hub, as it is after ``fit``.

        Parameters
        ----------
        repo : str
            ``owner/name``; created if it does not exist.
        private : bool
            Visibility of a new repository; an existing one stays as it is.
        revision : str, optional
            A branch; created if it does not exist.

        Returns
        -------
        str
            Address of the commit.

        Raises
        ------
        ValueError
            If the name is not ``owner/name``, or there is no token with the right to write or no
            connection.
        """
        return push_to_hub(self.predictor.artifact, repo, private, revision)

    def predict_proba(self, X: Ecgs) -> np.ndarray:
        """Compute calibrated probabilities, (n_records, n_findings) float64.

        Raises
        ------
        ValueError
            If a record cannot be read or used, naming it; if an array has another shape, or no
            sampling rate was given for it.
        """
        return self.predictor.probabilities(self._prepare(X))

    def predict(self, X: Ecgs) -> np.ndarray:
        """Decide which findings are reported, (n_records, n_findings) bool; errors as above.

        The most probable consistent set of each record, see ``metrics.consistency``.
        """
        return self.predictor.decision(self.rule).present(self.predict_proba(X))

    def fit(self, X: Ecgs, y: ArrayLike) -> EcgClassifier:
        """Fit calibration and thresholds to these records; the model's weights do not change.

        Parameters
        ----------
        X : ECGs
            A few hundred or more from the hospital where the model is to be used; none of them may
            be scored afterwards.
        y : array of shape (n_records, n_findings), bool, or 0, 1 and NaN
            Labels; NaN: unknown. A finding without any known label is not calibrated.

        Returns
        -------
        EcgClassifier
            The object itself.

        Raises
        ------
        ValueError
            As ``predict_proba``; if ``y`` has another shape or other values than 0, 1 and NaN.
        """
        y_true, signals = np.asarray(y), self._prepare(X)
        if y_true.dtype == object:  # of a table with None or pandas.NA
            import pandas as pd

            y_true = np.where(pd.isna(y_true), np.nan, y_true).astype(float)
        shape = (len(signals), len(self.classes_))
        if y_true.shape != shape:
            raise ValueError(f"y: expected 0, 1 and NaN of shape {shape}, got {y_true.shape}")
        labels("y", y_true)  # before the model computes
        artifact = self.predictor.artifact
        y_prob = probabilities(artifact.model, self.predictor.text_FD, signals)  # not calibrated
        calibration, thresholds, calibrated = tune_fold(y_true, y_prob)
        fitted = replace(
            artifact,
            calibration=calibration,
            thresholds=thresholds,
            operating=operating_thresholds(calibrated, y_true),
            fewer_leads={},  # tuned on other records than these
            sources={},
        )
        # A copy: another classifier may use the same predictor.
        self.predictor = copy.copy(self.predictor)
        self.predictor.artifact = fitted
        return self

    def _prepare(self, X: Ecgs) -> np.ndarray:
        """Return the model's input for ECGs: (n_records, 12, n_samples) int16, uV."""
        if isinstance(X, np.ndarray) and X.dtype.kind in "fiu":
            if X.ndim != 3 or X.shape[1] != len(LEADS):
                raise ValueError(f"array: expected (n_records, 12, n_samples), got {X.shape}")
            if self.fs is None:
                raise ValueError("array: expected its sampling rate, as EcgClassifier(..., fs=500)")
            records = [
                Record(str(i), signal.astype(np.float32), float(self.fs), LEADS, ())
                for i, signal in enumerate(X)
            ]
        else:
            items = [X] if isinstance(X, str | Path | Record) else list(X)
            records = [r if isinstance(r, Record) else read_record(r) for r in items]
        if not records:
            raise ValueError("no ECG: expected at least one")
        return np.stack([self.predictor.prepare(record) for record in records])

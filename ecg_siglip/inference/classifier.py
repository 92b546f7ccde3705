"""A trained model with the interface of a scikit-learn classifier."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ecg_siglip.core.run_folder import DEFAULT
from ecg_siglip.inference.ecg_input import Ecgs, label_matrix
from ecg_siglip.inference.estimator import EcgEstimator
from ecg_siglip.inference.predictor import Predictor, probabilities
from ecg_siglip.inference.tuning import tune_fold
from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.decision_rules import DEFAULT_RULE
from ecg_siglip.metrics.operating_points import operating_thresholds
from ecg_siglip.metrics.validation import labels
from ecg_siglip.models.artifact import push_to_hub
from ecg_siglip.signals.leads import LEADS


class EcgClassifier(ClassifierMixin, TransformerMixin, EcgEstimator):
    """Multi-label classifier of ECGs: a trained model, calibrated to the records of ``fit``.

    Parameters
    ----------
    model : str, Path or Predictor
        ``runs/<name>/model``, ``owner/name`` or ``owner/name@revision`` on the hub, a loaded
        model, or ``default``: the model of the package, if it has one.
    rule : str
        Threshold rule of ``predict``.
    fs : float, Hz, optional
        Sampling rate of arrays; files and records have their own.
    leads : sequence of str, optional
        Leads of arrays, in their order; ``leads.LEADS`` by default.
    device : str

    Attributes
    ----------
    classes_ : ndarray of str, shape (n_findings,)
        Codes of the findings, in the order of the columns.
    n_features_in_ : int
        Number of leads.
    predictor_ : Predictor
        The model with the calibration and thresholds of ``fit``.

    Notes
    -----
    ECGs are paths, ``Record`` objects, lists or a column of either, or an array (n_records,
    n_leads, n_samples), mV, at ``fs``. Labels are a matrix (n_records, n_findings) of 0, 1 and NaN
    (unknown), a table whose columns are named after codes, or the codes of each record.

    ``fit`` changes calibration and thresholds, not the weights, and is deterministic: there is no
    ``random_state``. ``from_pretrained`` returns a classifier that is fitted already, to the tuning
    fold of the model.

    ``check_estimator`` of scikit-learn skips the checks that need a table of features. The page
    "Use scikit-learn" of the documentation lists which of them cannot apply to ECGs, and why;
    ``tests/inference/test_estimator_checks.py`` runs the others on rows that it turns into ECGs.

    Examples
    --------
    ::

        classifier = EcgClassifier.from_pretrained("runs/r1/model")
        classifier.predict_proba(["00001_lr", "00002_lr"])  # (2, n_findings)
        classifier.classes_[classifier.predict("00001_lr")[0]]
        cross_val_score(EcgClassifier("runs/r1/model"), paths, labels, cv=KFold(5))  # macro F1
    """

    def __init__(
        self,
        model: str | Path | Predictor = DEFAULT,
        rule: str = DEFAULT_RULE,
        fs: float | None = None,
        leads: Sequence[str] | None = None,
        device: str = "auto",
    ):
        self.model = model
        self.rule = rule
        self.fs = fs
        self.leads = leads
        self.device = device

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # float64, whatever the type of the samples
        tags.classifier_tags.multi_label = tags.target_tags.multi_output = True
        return tags

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | Predictor = DEFAULT,
        rule: str = DEFAULT_RULE,
        fs: float | None = None,
        device: str = "auto",
        revision: str | None = None,
        leads: Sequence[str] | None = None,
    ) -> EcgClassifier:
        """Load a model, ready to predict with the calibration and thresholds of its training.

        Parameters
        ----------
        name : str, Path or Predictor
            ``model`` of the class.
        rule, fs, device, leads
            As of the class.
        revision : str, optional
            Branch, tag or commit on the hub.

        Raises
        ------
        ValueError
            As ``Predictor.load``; if the model has no thresholds of the rule.
        """
        classifier = cls(f"{name}@{revision}" if revision else name, rule, fs, leads, device)
        predictor = classifier._load()
        classifier._check_rule(predictor)
        classifier.n_features_in_ = len(leads or LEADS)
        classifier._set(predictor)
        return classifier

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
        NotFittedError
            Before ``fit`` or ``from_pretrained``.
        """
        check_is_fitted(self)
        return push_to_hub(self.predictor_.artifact, repo, private, revision)

    def predict_proba(self, X: Ecgs) -> np.ndarray:
        """Compute calibrated probabilities, (n_records, n_findings) float64.

        Raises
        ------
        ValueError
            If a record cannot be read or used, naming it; if an array has another shape, or no
            sampling rate was given for it.
        NotFittedError
            Before ``fit`` or ``from_pretrained``.
        """
        check_is_fitted(self)
        return self.predictor_.probabilities(self.predictor_.prepare_records(self._records(X)))

    def predict(self, X: Ecgs) -> np.ndarray:
        """Decide which findings are reported, (n_records, n_findings) bool; errors as above.

        The most probable consistent set of each record, see ``metrics.consistency``.
        """
        probability = self.predict_proba(X)
        return self.predictor_.decision(self.rule).present(probability)

    def transform(self, X: Ecgs) -> np.ndarray:
        """Compute the probabilities as features: a table of them with ``set_output``."""
        return self.predict_proba(X)

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return the codes of the findings, the names of the columns of ``transform``."""
        check_is_fitted(self)
        return self.classes_.astype(object)

    def score(self, X: Ecgs, y: Any) -> float:
        """Compute the macro F1 of ``predict``: the mean over the findings with a positive label.

        Parameters
        ----------
        X : ECGs
        y : labels, as ``fit`` takes them
            Pairs of record and finding whose label is unknown do not count.

        Returns
        -------
        float
            In [0, 1]; NaN if no label is positive. See ``metrics.multilabel``.

        Raises
        ------
        ValueError
            As ``predict``; if the labels are not as ``fit`` takes them.
        """
        check_is_fitted(self)
        y_true = label_matrix(y, self.classes_.tolist())
        return multilabel.macro_f1(y_true, self.predict(X))

    def fit(self, X: Ecgs, y: ArrayLike) -> EcgClassifier:
        """Fit calibration and thresholds to these records; the model's weights do not change.

        Parameters
        ----------
        X : ECGs
            A few hundred or more from the hospital where the model is to be used; none of them may
            be scored afterwards.
        y : labels, see ``ecg_input.label_matrix``
            A matrix of shape (n_records, n_findings), bool, or 0, 1 and NaN (unknown); a table with
            a column per labelled code; or one list of codes per record, all others being absent. A
            finding without any known label is not calibrated.

        Returns
        -------
        EcgClassifier
            The object itself.

        Raises
        ------
        ValueError
            As ``predict_proba``; if ``y`` has another shape, other values than 0, 1 and NaN, or a
            code that the model does not have; if the model cannot be loaded or has no thresholds of
            the rule.
        """
        records, predictor = self._records(X, reset=True), self._load()
        self._check_rule(predictor)
        artifact = predictor.artifact
        y_true = label_matrix(y, artifact.codes)
        signals = predictor.prepare_records(records)
        shape = (len(signals), len(artifact.codes))
        if y_true.shape != shape:
            raise ValueError(f"y: expected 0, 1 and NaN of shape {shape}, got {y_true.shape}")
        labels("y", y_true)  # before the model computes
        y_prob = probabilities(artifact.model, predictor.text_FD, signals)  # not calibrated
        calibration, thresholds, calibrated = tune_fold(y_true, y_prob)
        # A copy: another classifier may use the same predictor.
        fitted = copy.copy(predictor)
        fitted.artifact = replace(
            artifact,
            calibration=calibration,
            thresholds=thresholds,
            operating=operating_thresholds(calibrated, y_true),
            fewer_leads={},  # tuned on other records than these
            sources={},
        )
        self._set(fitted)
        return self

    def _set(self, predictor: Predictor) -> None:
        """Set what ``fit`` learns."""
        self.predictor_ = predictor
        self.classes_ = np.array(predictor.artifact.codes)

    def _check_rule(self, predictor: Predictor) -> None:
        """Check that the model has thresholds of the rule."""
        known = predictor.artifact.thresholds | predictor.artifact.operating
        if self.rule not in known:
            raise ValueError(f"rule={self.rule}: expected one of {', '.join(known)}")

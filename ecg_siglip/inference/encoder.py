"""Embeddings of ECGs as features, with the interface of a scikit-learn transformer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ecg_siglip.core.run_folder import DEFAULT
from ecg_siglip.inference.ecg_input import Ecgs
from ecg_siglip.inference.estimator import EcgEstimator
from ecg_siglip.inference.predictor import Predictor


class EcgEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, EcgEstimator):
    """Transformer from ECGs to the embeddings of a trained model.

    Parameters
    ----------
    model : str, Path or Predictor
        As of ``EcgClassifier``.
    fs : float, Hz, optional
        Sampling rate of arrays; files and records have their own.
    leads : sequence of str, optional
        Leads of arrays, in their order; ``leads.LEADS`` by default.
    device : str

    Attributes
    ----------
    n_features_in_ : int
        Number of leads.
    predictor_ : Predictor
        The loaded model.

    Notes
    -----
    ``fit`` only loads the model: its weights do not change, and no label is used. ECGs are what
    ``EcgClassifier`` takes. The columns of ``set_output(transform="pandas")`` are named
    ``ecgencoder0`` and so on.

    Examples
    --------
    ::

        pipeline = make_pipeline(EcgEncoder("runs/r1/model"), LogisticRegression(max_iter=1000))
        cross_val_score(pipeline, paths, is_abnormal, cv=5)
    """

    def __init__(
        self,
        model: str | Path | Predictor = DEFAULT,
        fs: float | None = None,
        leads: Sequence[str] | None = None,
        device: str = "auto",
    ):
        self.model = model
        self.fs = fs
        self.leads = leads
        self.device = device

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # float32, whatever the type of the samples
        return tags

    def fit(self, X: Ecgs, y: object = None) -> EcgEncoder:
        """Load the model.

        Parameters
        ----------
        X : ECGs
            An array is checked; files are not read.
        y : ignored

        Raises
        ------
        ValueError
            If the model cannot be loaded; if an array has another shape, or no sampling rate.
        """
        self._records(X, reset=True)
        self.predictor_ = self._load()
        return self

    def transform(self, X: Ecgs) -> np.ndarray:
        """Embed ECGs, (n_records, n_dims) float32, see ``Predictor.encode_ecg``.

        Raises
        ------
        ValueError
            If a record cannot be read or used, naming it; if an array has another shape, or no
            sampling rate.
        NotFittedError
            Before ``fit``.
        """
        check_is_fitted(self)
        return self.predictor_.embed(self.predictor_.prepare_records(self._records(X)))

    @property
    def _n_features_out(self) -> int:
        """Number of columns, for the names of ``get_feature_names_out``."""
        return self.predictor_.n_dims

"""What the scikit-learn estimators share: loading the model, and ECGs from what they are given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from ecg_siglip.core.run_folder import DEFAULT, default_model
from ecg_siglip.inference.ecg_input import (
    Ecgs,
    array_records,
    iterate_records,
    listed_ecgs,
    signal_array,
)
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.readers.record import Record
from ecg_siglip.signals.leads import LEADS


class EcgEstimator(BaseEstimator):
    """Base of the estimators whose input are ECGs and that start from a trained model.

    Attributes
    ----------
    model : str, Path or Predictor
    fs : float, Hz, optional
    leads : sequence of str, optional
    device : str
    """

    model: str | Path | Predictor
    fs: float | None
    leads: Sequence[str] | None
    device: str

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = tags.input_tags.string = True
        return tags

    def _load(self) -> Predictor:
        """Load the model that the parameters name; errors as ``Predictor.load``."""
        if isinstance(self.model, Predictor):
            return self.model
        name = self.model
        if name == DEFAULT:
            who = type(self).__name__
            expected = "the folder of a model, or owner/name on the hub"
            name = default_model(who, "no model named", expected)
        return Predictor.load(name, self.device)

    def _records(self, X: Ecgs, reset: bool = False) -> Iterator[Record]:
        """Iterate over the records of ECGs, after a check of an array.

        `reset`: the number of leads is that of these ECGs, as in ``fit``.
        """
        items = listed_ecgs(X)
        if items is not None:
            if reset:
                self.n_features_in_ = len(LEADS)
            return iterate_records(items)
        array = self._signals(X, reset)
        assert self.fs is not None
        return array_records(array, self.fs, self.leads)

    def _signals(self, X: Any, reset: bool) -> np.ndarray:
        """Return an array of ECGs after the checks of scikit-learn."""
        array = signal_array(X, self.fs, len(self.leads or LEADS))
        # Preparation checks for NaN, and names the record.
        checked: np.ndarray = validate_data(
            self, array, allow_nd=True, ensure_all_finite=False, reset=reset
        )
        return checked

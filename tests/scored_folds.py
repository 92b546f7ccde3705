"""Labels and probabilities of a fold, for the tests of the metrics."""

import numpy as np
from scipy.special import expit


def scored_fold(n_records=300, n_findings=9, seed=0, decimals=2):
    """Draw a fold with common, rare and absent findings and, by rounding, many equal scores.

    Returns
    -------
    y_true : ndarray of shape (n_records, n_findings), bool
    y_prob : ndarray of shape (n_records, n_findings), float in [0, 1]
    """
    rng = np.random.default_rng(seed)
    prevalence = np.geomspace(0.6, 0.008, n_findings - 1)
    y_true = np.zeros((n_records, n_findings), dtype=bool)
    y_true[:, :-1] = rng.random((n_records, n_findings - 1)) < prevalence
    base = np.log(np.append(prevalence, 0.01))
    y_prob = expit(base + rng.normal(0, 1, y_true.shape) + 1.5 * y_true)
    return y_true, y_prob.round(decimals)

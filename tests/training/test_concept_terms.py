"""Terms of concepts: a concept is present in a record with any of its findings."""

import numpy as np
import pytest
import torch

from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.training.data import TrainingData
from ecg_siglip.training.targets import parse_terms


def test_a_concept_is_present_in_a_record_with_any_of_its_findings(train_config):
    settings = train_config(**{"objective.terms": "bank+concept/shared:0.3"})
    data = TrainingData(load_training_data(settings, progress=False), settings, torch.device("cpu"))
    term = parse_terms(settings.objective.terms)[1]
    rows = data.batches(0)[0]
    texts, own, named = data.texts("concept", rows, 0)
    matrix = data.targets(term, rows, own, named).matrix()
    for text, column in zip(texts, matrix.T, strict=True):
        members = next(c.members for c in data.vocabulary.concepts if c.prompts["en"] == (text,))
        columns = [data.codes.index(code) for code in members if code in data.codes]
        np.testing.assert_array_equal(column > 0, data.y_true[rows][:, columns].any(axis=1))
    assert set(np.unique(matrix)) <= {0.0, 1.0}


@pytest.mark.parametrize("terms", ["concept/present", "concept/diagonal"])
def test_a_rule_that_is_not_defined_for_concepts_is_refused(terms):
    with pytest.raises(ValueError, match="expected (concept/shared|bank/present)"):
        parse_terms(terms)

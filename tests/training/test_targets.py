"""The target matrix follows its rule, and terms of the objective are parsed."""

import math

import pytest
import torch

from ecg_siglip.training.targets import (
    MixedTargets,
    PairTargets,
    bias_from_rate,
    finding_weights,
    parse_terms,
)

#                      SR   NORM AFIB LVH
RECORDS = torch.tensor(
    [
        [1.0, 1.0, 0.0, 0.0],
        [1.0, 0.0, 0.0, 1.0],
        [0.0, 0.0, 1.0, 1.0],
        [0.0, 0.0, 0.0, 0.0],
    ]
)


def targets(rule, texts=RECORDS, weight=None):
    return PairTargets(
        rule,
        RECORDS,
        texts,
        torch.arange(len(RECORDS)),
        torch.arange(len(texts)),
        torch.ones(4) if weight is None else weight,
    )


def test_diagonal_marks_only_the_own_text():
    assert torch.equal(targets("diagonal").matrix(), torch.eye(4))


def test_shared_marks_every_pair_with_a_common_finding():
    expected = [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert targets("shared").matrix().tolist() == expected


def test_shared_ignores_excluded_findings():
    weight = torch.tensor([0.0, 0.0, 1.0, 1.0])
    expected = [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert targets("shared", weight=weight).matrix().tolist() == expected


def test_jaccard_is_shared_over_either_and_empty_sets_are_not_similar():
    matrix = targets("jaccard").matrix()
    assert matrix[0].tolist() == pytest.approx([1, 1 / 3, 0, 0])
    assert matrix[1].tolist() == pytest.approx([1 / 3, 1, 1 / 3, 0])
    assert matrix[3].tolist() == [0, 0, 0, 0]


def test_idf_jaccard_gives_rare_findings_more_weight():
    weight = torch.tensor([0.1, 1.0, 1.0, 2.0])
    matrix = targets("idf_jaccard", weight=weight).matrix()
    assert matrix[0, 1].item() == pytest.approx(0.1 / 3.1)
    assert matrix[1, 2].item() == pytest.approx(2.0 / 3.1)


def test_targets_of_the_bank_are_the_labels():
    assert torch.equal(targets("present", texts=torch.eye(4)).matrix(), RECORDS)


def test_present_needs_every_finding_of_the_text():
    texts = torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]])
    expected = [[0, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert targets("present", texts=texts).matrix().tolist() == expected


@pytest.mark.parametrize("rule", ["diagonal", "shared", "jaccard", "present"])
def test_a_chunk_has_the_columns_of_its_texts(rule):
    whole = targets(rule)
    assert torch.equal(whole.chunk(1, 3).matrix(), whole.matrix()[:, 1:3])


def test_mixed_targets_are_the_weighted_mean_of_both_matrices():
    first, second = targets("shared"), targets("diagonal")
    share = torch.tensor([1.0, 0.5, 0.25, 0.0])
    mixed = MixedTargets(first, second, share)
    expected = share[:, None] * first.matrix() + (1 - share[:, None]) * second.matrix()
    torch.testing.assert_close(mixed.matrix(), expected)
    torch.testing.assert_close(mixed.chunk(1, 3).matrix(), expected[:, 1:3])


def test_the_bias_starts_at_the_log_odds_of_the_measured_rate():
    # About 4 % of the bank's pairs are positive, and one in 256 of the diagonal's.
    assert bias_from_rate(0.0388) == pytest.approx(-3.2, abs=0.05)
    assert bias_from_rate(1 / 256) == pytest.approx(-5.5, abs=0.05)
    assert math.isfinite(bias_from_rate(0.0))
    assert math.isfinite(bias_from_rate(1.0))


def test_a_finding_of_all_records_has_no_weight_and_a_rare_one_the_most():
    labels = torch.zeros(100, 4)
    labels[:, 0], labels[:50, 1], labels[:2, 2] = 1, 1, 1
    weight = finding_weights(labels, excluded=[3])
    assert weight[0] < 1e-5
    assert weight[1].item() == pytest.approx(math.log(2))
    assert weight[2].item() == pytest.approx(math.log(50))
    assert weight[3] == 0


def test_terms_are_parsed_with_their_weights():
    terms = parse_terms("bank:1.0 + report/idf_jaccard:0.1")
    assert [(t.name, t.weight) for t in terms] == [("bank/present", 1), ("report/idf_jaccard", 0.1)]
    assert parse_terms("bank")[0].name == "bank/present"


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ("bonk", "bank, concept, finding"),
        ("report/jacquard", "idf_jaccard"),
        ("report", "diagonal, shared"),
        ("bank/diagonal", "no diagonal"),
        ("bank:-1", "above 0"),
        ("bank:much", "above 0"),
        ("", "bank, concept, finding"),
    ],
)
def test_a_wrong_term_is_refused_with_the_known_ones(terms, expected):
    with pytest.raises(ValueError, match=expected):
        parse_terms(terms)

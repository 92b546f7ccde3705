"""The target matrix follows its rule, and terms of the objective are parsed."""

import itertools
import math
from dataclasses import replace

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


def random_targets(rule, seed, unknown_texts, n_ecgs=6, n_texts=6, n_findings=4):
    """Targets with unknown labels; with `unknown_texts` text i is the report of ECG i."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(n_ecgs, n_findings, generator=generator) < 0.5).float()
    known = torch.rand(n_ecgs, n_findings, generator=generator) < 0.65
    labels = labels * known
    texts = labels if unknown_texts else torch.eye(n_findings)
    owners = torch.arange(n_ecgs) if unknown_texts else torch.full((n_findings,), -1)
    weight = torch.tensor([0.5, 1.0, 0.0, 2.0])
    text_known = known if unknown_texts else None
    return PairTargets(rule, labels, texts, torch.arange(n_ecgs), owners, weight, known, text_known)


def completions(labels, known):
    """All sets of findings that a record may have."""
    options = [[float(y)] if k else [0.0, 1.0] for y, k in zip(labels, known, strict=True)]
    return [torch.tensor(each) for each in itertools.product(*options)]


def possible_values(pairs, b, t):
    """Every value of a target for some unknown labels of its ECG and its text."""
    text_known = torch.ones_like(pairs.text_labels, dtype=torch.bool)
    text_known = text_known if pairs.text_known is None else pairs.text_known
    ecgs = completions(pairs.ecg_labels[b], pairs.ecg_known[b])
    texts = completions(pairs.text_labels[t], text_known[t])
    own = pairs.ecg_index[b] == pairs.text_index[t]
    both = [(e, e) for e in ecgs] if own else itertools.product(ecgs, texts)
    index = pairs.ecg_index[b : b + 1], pairs.text_index[t : t + 1]
    return {
        PairTargets(pairs.rule, e[None], x[None], *index, pairs.weight).matrix().item()
        for e, x in both
    }


@pytest.mark.parametrize("rule", ["present", "shared"])
@pytest.mark.parametrize("unknown_texts", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_a_target_is_known_if_no_unknown_label_could_change_it(rule, unknown_texts, seed):
    pairs = random_targets(rule, seed, unknown_texts)
    matrix, known = pairs.values_and_known()
    for b in range(len(matrix)):
        for t in range(matrix.shape[1]):
            possible = possible_values(pairs, b, t)
            if rule == "present" and unknown_texts and not pairs.text_labels[t].any():
                # A report that may name nothing at all decides no pair.
                assert known[b, t] == pairs.text_known[t].all()
                continue
            assert bool(known[b, t]) == (len(possible) == 1)
            assert matrix[b, t].item() == (possible.pop() if known[b, t] else 0)


@pytest.mark.parametrize("rule", ["jaccard", "idf_jaccard"])
@pytest.mark.parametrize("unknown_texts", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_jaccard_is_over_the_findings_that_are_known_on_both_sides(rule, unknown_texts, seed):
    pairs = random_targets(rule, seed, unknown_texts)
    weight = pairs.weight if rule == "idf_jaccard" else (pairs.weight > 0).float()
    matrix, known = pairs.values_and_known()
    for b in range(len(matrix)):
        for t in range(matrix.shape[1]):
            both = pairs.ecg_known[b].clone()
            if pairs.text_known is not None:
                both &= pairs.text_known[t]
            ecg, text = (x[both] for x in (pairs.ecg_labels[b], pairs.text_labels[t]))
            shared, either = (
                (f(ecg, text) * weight[both]).sum() for f in (torch.minimum, torch.maximum)
            )
            if either > 0:
                assert known[b, t]
                assert matrix[b, t].item() == pytest.approx((shared / either).item())
            else:
                assert bool(known[b, t]) == (possible_values(pairs, b, t) == {0.0})
                assert matrix[b, t] == 0


def test_the_diagonal_needs_no_label():
    pairs = random_targets("diagonal", 0, unknown_texts=True)
    matrix, known = pairs.values_and_known()
    assert known is None
    assert torch.equal(matrix, torch.eye(6))


@pytest.mark.parametrize("rule", ["diagonal", "shared", "jaccard", "idf_jaccard", "present"])
def test_all_labels_known_is_the_matrix_without_planes(rule):
    plain = targets(rule, weight=torch.tensor([0.3, 0.0, 1.0, 2.0]))
    all_known = torch.ones_like(RECORDS, dtype=torch.bool)
    masked = replace(plain, ecg_known=all_known, text_known=all_known)
    matrix, known = masked.values_and_known()
    torch.testing.assert_close(matrix, plain.matrix())
    assert known is None or known.all()


@pytest.mark.parametrize("rule", ["diagonal", "shared", "jaccard", "present"])
def test_a_chunk_of_targets_knows_what_the_whole_knows(rule):
    whole = random_targets(rule, 1, unknown_texts=True)
    for pairs in (whole, MixedTargets(whole, whole, torch.full((6,), 0.5))):
        matrix, known = pairs.values_and_known()
        part, part_known = pairs.chunk(1, 4).values_and_known()
        torch.testing.assert_close(part, matrix[:, 1:4])
        assert known is part_known or torch.equal(part_known, known[:, 1:4])


def test_a_mixed_target_is_known_if_both_are():
    first = random_targets("shared", 1, unknown_texts=True)
    second = replace(first, ecg_labels=first.ecg_labels.flip(0), ecg_known=first.ecg_known.flip(0))
    share = torch.linspace(0, 1, 6)
    matrix, known = MixedTargets(first, second, share).values_and_known()
    (a, a_known), (b, b_known) = first.values_and_known(), second.values_and_known()
    assert torch.equal(known, a_known & b_known)
    expected = (share[:, None] * a + (1 - share[:, None]) * b) * known
    torch.testing.assert_close(matrix, expected)


def test_soft_labels_leave_a_target_open_unless_it_must_be_0():
    labels, known = torch.tensor([[0.2, 0.9, 0.0]]), torch.tensor([[True, True, False]])
    texts = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]])
    index = torch.zeros(1, dtype=torch.int64), torch.full((4,), -1)
    pairs = PairTargets("present", labels, texts, *index, torch.ones(3), known)
    matrix, is_known = pairs.values_and_known()
    assert is_known.tolist() == [[True, True, False, False]]
    torch.testing.assert_close(matrix, torch.tensor([[0.2, 0.1, 0.0, 0.0]]))


def test_the_weight_of_a_finding_is_that_of_the_records_where_it_is_known():
    labels, known = torch.zeros(100, 2), torch.ones(100, 2, dtype=torch.bool)
    labels[:10] = 1
    known[50:, 1] = False
    weight = finding_weights(labels, [], known)
    assert weight.tolist() == pytest.approx([math.log(10), math.log(5)])
    assert torch.equal(
        finding_weights(labels, [], torch.ones_like(known)), finding_weights(labels, [])
    )

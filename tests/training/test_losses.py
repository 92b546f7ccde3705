"""The target matrix is what its rule says; the fast forms of the loss equal the plain one."""

import math

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from ecg_siglip.training.losses import pair_loss, sigmoid_pair_loss
from ecg_siglip.training.targets import (
    LOSSES,
    TARGETS,
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


def batch(n_ecgs=7, n_texts=11, n_findings=5, dim=6, rule="jaccard"):
    generator = torch.Generator().manual_seed(3)

    def draw(n):
        return torch.randn(n, dim, generator=generator, dtype=torch.float64)

    ecg, text = (
        functional.normalize(draw(n_ecgs), dim=1),
        functional.normalize(draw(n_texts), dim=1),
    )
    labels = (torch.rand(n_ecgs + n_texts, n_findings, generator=generator) < 0.4).float()
    pairs = PairTargets(
        rule,
        labels[:n_ecgs],
        labels[n_ecgs:],
        torch.arange(n_ecgs),
        torch.arange(n_texts),
        torch.rand(n_findings, generator=generator) + 0.1,
    )
    leaves = [
        ecg.float(),
        text.float(),
        torch.tensor(math.log(10.0)),
        torch.tensor(-1.0),
    ]
    return [leaf.clone().requires_grad_() for leaf in leaves], pairs


def test_diagonal_marks_only_the_own_text():
    assert torch.equal(targets("diagonal").matrix(), torch.eye(4))


def test_shared_marks_every_pair_with_a_common_finding():
    expected = [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert targets("shared").matrix().tolist() == expected


def test_shared_does_not_look_at_excluded_findings():
    weight = torch.tensor([0.0, 0.0, 1.0, 1.0])
    expected = [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert targets("shared", weight=weight).matrix().tolist() == expected


def test_jaccard_is_shared_over_either_and_empty_sets_are_not_alike():
    matrix = targets("jaccard").matrix()
    assert matrix[0].tolist() == pytest.approx([1, 1 / 3, 0, 0])
    assert matrix[1].tolist() == pytest.approx([1 / 3, 1, 1 / 3, 0])
    assert matrix[3].tolist() == [0, 0, 0, 0]


def test_idf_jaccard_weighs_rare_findings_more():
    weight = torch.tensor([0.1, 1.0, 1.0, 2.0])
    matrix = targets("idf_jaccard", weight=weight).matrix()
    assert matrix[0, 1].item() == pytest.approx(0.1 / 3.1)
    assert matrix[1, 2].item() == pytest.approx(2.0 / 3.1)


def test_bank_targets_are_the_labels_themselves():
    assert torch.equal(targets("present", texts=torch.eye(4)).matrix(), RECORDS)


def test_present_asks_for_every_finding_of_the_text():
    texts = torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]])
    expected = [[0, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert targets("present", texts=texts).matrix().tolist() == expected


@pytest.mark.parametrize("rule", TARGETS)
@pytest.mark.parametrize("n_chunk", [None, 1, 4, 5, 11, 100])
def test_chunks_give_the_same_loss_and_gradient_whatever_is_left_over(rule, n_chunk):
    whole, pairs = batch(rule=rule)
    parts, _ = batch(rule=rule)
    loss = sigmoid_pair_loss(*whole, pairs)
    chunked = pair_loss(*parts, pairs, n_chunk=n_chunk)
    loss.backward()
    chunked.backward()
    torch.testing.assert_close(chunked, loss, rtol=1e-6, atol=1e-6)
    for a, b in zip(parts, whole, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", TARGETS)
def test_the_gradient_written_by_hand_is_that_of_the_value(rule):
    leaves, pairs = batch(n_ecgs=4, n_texts=5, rule=rule)
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    assert torch.autograd.gradcheck(lambda *x: pair_loss(*x, pairs, n_chunk=2), exact)


def test_a_loss_that_is_weighed_passes_its_weight_to_the_gradient():
    whole, pairs = batch()
    parts, _ = batch()
    (0.3 * sigmoid_pair_loss(*whole, pairs)).backward()
    (0.3 * pair_loss(*parts, pairs, n_chunk=3)).backward()
    for a, b in zip(parts, whole, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-6)


def test_chunks_never_hold_the_whole_matrix():
    (ecg, text, scale, bias), pairs = batch(n_ecgs=64, n_texts=512)
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    with Watch():
        sigmoid_pair_loss(ecg, text, scale, bias, pairs).backward()
        whole, largest = largest, 0
        pair_loss(ecg, text, scale, bias, pairs, n_chunk=32).backward()
    assert whole == 64 * 512
    assert largest < 64 * 512 / 8


def test_sigmoid_loss_is_the_sum_over_pairs_written_out():
    (ecg, text, scale, bias), pairs = batch()
    total, matrix = 0.0, pairs.matrix()
    cosines = (ecg @ text.T).tolist()
    for b in range(len(ecg)):
        for t in range(len(text)):
            logit = 10 * cosines[b][t] - 1.0
            wanted = float(matrix[b, t])
            total += wanted * math.log1p(math.exp(-logit))
            total += (1 - wanted) * math.log1p(math.exp(logit))
    assert pair_loss(ecg, text, scale, bias, pairs).item() == pytest.approx(total, rel=1e-5)


def test_softmax_loss_on_the_diagonal_is_clips():
    (ecg, text, scale, bias), pairs = batch(n_ecgs=6, n_texts=6, rule="diagonal")
    logits = 10 * ecg @ text.T
    own = torch.arange(6)
    clip = (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2
    loss = pair_loss(ecg, text, scale, bias, pairs, loss="softmax")
    assert loss.item() / 6 == pytest.approx(clip.item(), rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_no_positive_at_all_still_has_a_finite_loss_and_gradient(loss):
    leaves, pairs = batch()
    silent = PairTargets(
        "shared",
        torch.zeros_like(pairs.ecg_labels),
        torch.zeros_like(pairs.text_labels),
        pairs.ecg_index,
        pairs.text_index,
        pairs.weight,
    )
    value = pair_loss(*leaves, silent, loss=loss)
    value.backward()
    assert torch.isfinite(value)
    assert all(torch.isfinite(leaf.grad).all() for leaf in leaves if leaf.grad is not None)


def test_the_bias_starts_at_the_log_odds_of_the_measured_rate():
    # Design: bank -3.2, diagonal at batch 256 -5.5.
    assert bias_from_rate(0.0388) == pytest.approx(-3.2, abs=0.05)
    assert bias_from_rate(1 / 256) == pytest.approx(-5.5, abs=0.05)
    assert math.isfinite(bias_from_rate(0.0))
    assert math.isfinite(bias_from_rate(1.0))


def test_a_finding_that_all_share_weighs_nothing_and_a_rare_one_most():
    labels = torch.zeros(100, 4)
    labels[:, 0], labels[:50, 1], labels[:2, 2] = 1, 1, 1
    weight = finding_weights(labels, excluded=[3])
    assert weight[0] < 1e-5
    assert weight[1].item() == pytest.approx(math.log(2))
    assert weight[2].item() == pytest.approx(math.log(50))
    assert weight[3] == 0


def test_terms_are_read_with_their_weights():
    terms = parse_terms("bank:1.0 + report/idf_jaccard:0.1")
    assert [(t.name, t.weight) for t in terms] == [("bank/present", 1), ("report/idf_jaccard", 0.1)]
    assert parse_terms("bank")[0].name == "bank/present"


@pytest.mark.parametrize(
    ("terms", "named"),
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
def test_a_wrong_term_is_refused_with_what_is_known(terms, named):
    with pytest.raises(ValueError, match=named):
        parse_terms(terms)

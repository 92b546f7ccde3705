"""The fast forms of the pair loss equal the plain one, in value and gradient."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from ecg_siglip.training.losses import pair_loss, sigmoid_pair_loss
from ecg_siglip.training.targets import LOSSES, TARGETS, MixedTargets, PairTargets


def batch(n_ecgs=7, n_texts=11, n_findings=5, dim=6, rule="jaccard", unknown=0.0):
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
    if unknown:
        known = torch.rand(labels.shape, generator=generator) >= unknown
        pairs = replace(
            pairs,
            ecg_labels=pairs.ecg_labels * known[:n_ecgs],
            text_labels=pairs.text_labels * known[n_ecgs:],
            ecg_known=known[:n_ecgs],
            text_known=known[n_ecgs:],
        )
    leaves = [
        ecg.float(),
        text.float(),
        torch.tensor(math.log(10.0)),
        torch.tensor(-1.0),
    ]
    return [leaf.clone().requires_grad_() for leaf in leaves], pairs


@pytest.mark.parametrize("rule", TARGETS)
@pytest.mark.parametrize("n_chunk", [None, 1, 4, 5, 11, 100])
@pytest.mark.parametrize("unknown", [0.0, 0.3])
def test_chunks_of_any_size_give_the_same_loss_and_gradient(rule, n_chunk, unknown):
    whole, pairs = batch(rule=rule, unknown=unknown)
    parts, _ = batch(rule=rule, unknown=unknown)
    loss = sigmoid_pair_loss(*whole, pairs)
    chunked = pair_loss(*parts, pairs, n_chunk=n_chunk)
    loss.backward()
    chunked.backward()
    torch.testing.assert_close(chunked, loss, rtol=1e-6, atol=1e-6)
    for a, b in zip(parts, whole, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", TARGETS)
@pytest.mark.parametrize("unknown", [0.0, 0.4])
def test_the_gradient_written_by_hand_is_that_of_the_value(rule, unknown):
    leaves, pairs = batch(n_ecgs=4, n_texts=5, rule=rule, unknown=unknown)
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    assert torch.autograd.gradcheck(lambda *x: pair_loss(*x, pairs, n_chunk=2), exact)


def test_the_weight_of_a_loss_is_passed_to_the_gradient():
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
            target = float(matrix[b, t])
            total += target * math.log1p(math.exp(-logit))
            total += (1 - target) * math.log1p(math.exp(logit))
    assert pair_loss(ecg, text, scale, bias, pairs).item() == pytest.approx(total, rel=1e-5)


def test_softmax_loss_on_the_diagonal_is_the_one_of_clip():
    (ecg, text, scale, bias), pairs = batch(n_ecgs=6, n_texts=6, rule="diagonal")
    logits = 10 * ecg @ text.T
    own = torch.arange(6)
    clip = (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2
    loss = pair_loss(ecg, text, scale, bias, pairs, loss="softmax")
    assert loss.item() / 6 == pytest.approx(clip.item(), rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_without_positives_has_a_finite_loss_and_gradient(loss):
    leaves, pairs = batch()
    without_positives = PairTargets(
        "shared",
        torch.zeros_like(pairs.ecg_labels),
        torch.zeros_like(pairs.text_labels),
        pairs.ecg_index,
        pairs.text_index,
        pairs.weight,
    )
    value = pair_loss(*leaves, without_positives, loss=loss)
    value.backward()
    assert torch.isfinite(value)
    assert all(torch.isfinite(leaf.grad).all() for leaf in leaves if leaf.grad is not None)


def known_pairs(pairs):
    """The pairs whose target is known, as (ECG, text, target)."""
    matrix, known = pairs.values_and_known()
    return [(b, t, float(matrix[b, t])) for b, t in known.nonzero().tolist()]


def mixed(pairs):
    """The targets of the batch mixed with those of the batch in reverse order."""
    order = torch.arange(len(pairs.ecg_labels)).flip(0)
    second = replace(
        pairs,
        ecg_labels=pairs.ecg_labels[order],
        ecg_known=pairs.ecg_known[order],
        ecg_index=pairs.ecg_index[order],
    )
    return MixedTargets(pairs, second, torch.linspace(0.1, 0.9, len(order)))


RULES_WITH_UNKNOWN = [rule for rule in TARGETS if rule != "diagonal"]


@pytest.mark.parametrize("rule", RULES_WITH_UNKNOWN)
@pytest.mark.parametrize("mixup", [False, True])
def test_the_loss_is_the_sum_over_the_known_pairs_alone(rule, mixup):
    leaves, pairs = batch(rule=rule, unknown=0.4)
    targets = mixed(pairs) if mixup else pairs
    chosen = known_pairs(targets)
    assert 0 < len(chosen) < 7 * 11
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    ecg, text, scale, bias = exact
    total = torch.zeros((), dtype=torch.float64)
    for b, t, target in chosen:
        logit = scale.exp() * ecg[b] @ text[t] + bias
        total = total + functional.softplus(logit) - target * logit
    expected = torch.autograd.grad(total, exact)
    for loss in (pair_loss(*exact, targets, n_chunk=4), sigmoid_pair_loss(*exact, targets)):
        torch.testing.assert_close(loss, total, rtol=1e-7, atol=0)  # targets are float32
        for ours, one in zip(torch.autograd.grad(loss, exact), expected, strict=True):
            torch.testing.assert_close(ours, one, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("rule", TARGETS)
@pytest.mark.parametrize("loss", LOSSES)
def test_labels_that_are_all_known_give_the_loss_of_no_mask(rule, loss):
    leaves, pairs = batch(rule=rule)
    known = replace(
        pairs,
        ecg_known=torch.ones_like(pairs.ecg_labels, dtype=torch.bool),
        text_known=torch.ones_like(pairs.text_labels, dtype=torch.bool),
    )
    torch.testing.assert_close(pair_loss(*leaves, known, loss), pair_loss(*leaves, pairs, loss))


def test_unknown_pairs_leave_the_denominators_of_the_softmax():
    leaves, pairs = batch(rule="shared", unknown=0.4)
    matrix, known = pairs.values_and_known()
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    logits, total = exact[2].exp() * exact[0] @ exact[1].T, 0.0
    for scores, target, mask in ((logits, matrix, known), (logits.T, matrix.T, known.T)):
        for row, y, is_known in zip(scores, target.double(), mask, strict=True):
            if y.sum() > 0:
                probability = row[is_known].log_softmax(0)
                total = total - (y[is_known] / y.sum()) @ probability * 7 / (2 * len(scores))
    loss = pair_loss(*exact, pairs, "softmax")
    torch.testing.assert_close(loss, total)
    expected = torch.autograd.grad(total, exact[:3])
    for ours, one in zip(torch.autograd.grad(loss, exact[:3]), expected, strict=True):
        torch.testing.assert_close(ours, one)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_without_a_known_pair_has_no_loss_and_no_gradient(loss):
    leaves, pairs = batch(rule="shared")
    unknown = replace(
        pairs,
        ecg_labels=torch.zeros_like(pairs.ecg_labels),
        ecg_known=torch.zeros_like(pairs.ecg_labels, dtype=torch.bool),
        text_labels=torch.ones_like(pairs.text_labels),
    )
    value = pair_loss(*leaves, unknown, loss=loss)
    value.backward()
    assert value.item() == 0
    assert all((leaf.grad == 0).all() for leaf in leaves if leaf.grad is not None)

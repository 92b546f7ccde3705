"""Loss of ECG-text pairs, on one device and across several.

Every pair of an ECG and a text is a binary classification of its own (SigLIP, Zhai et al. 2023,
arXiv:2303.15343). ``targets.PairTargets`` holds the targets, ``pair_loss`` compares the logits with
them. A pair whose target is unknown contributes to neither loss nor gradient.

Shape letters: B ECGs, T texts, D embedding, F findings.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional

from ecg_siglip.core.distributed import widest_float
from ecg_siglip.training.targets import MixedTargets, PairTargets

# Pairs whose logits exist at one time: as many as fit a CPU's cache, or keep a GPU busy.
PAIRS_AT_ONCE = {"cpu": 1 << 20, "cuda": 1 << 24}


def pair_loss(
    ecg_BD: Tensor,
    text_TD: Tensor,
    log_scale: Tensor,
    bias: Tensor,
    targets: PairTargets | MixedTargets,
    loss: str = "sigmoid",
    n_chunk: int | None = None,
) -> Tensor:
    """Compute the loss of all ECG-text pairs of a batch, summed over the pairs: a scalar, float32.

    Divide by the number of ECGs of the whole batch for the mean of SigLIP (equation 1), also where
    targets are unknown: a known pair has the same weight in every batch.

    Parameters
    ----------
    ecg_BD, text_TD : Tensor of shape (B, D) and (T, D), float32, unit norm
    log_scale, bias : scalar Tensor
        ``logit = exp(log_scale) * cosine + bias``.
    targets : PairTargets or MixedTargets
    loss : {"sigmoid", "softmax"}
    n_chunk : int, optional
        Texts whose logits exist at one time; None: see ``texts_at_once``.
    """
    if loss == "softmax":
        return softmax_pair_loss(ecg_BD, text_TD, log_scale, *targets.values_and_known())
    n_texts = n_chunk or texts_at_once(ecg_BD)
    total: Tensor = _FusedPairLoss.apply(ecg_BD, text_TD, log_scale, bias, targets, n_texts)
    return total


def texts_at_once(ecg_BD: Tensor) -> int:
    """Return the default number of texts per chunk: enough to keep the device busy."""
    n_pairs = PAIRS_AT_ONCE.get(ecg_BD.device.type, PAIRS_AT_ONCE["cpu"])
    return max(1, n_pairs // max(1, len(ecg_BD)))


class _FusedPairLoss(torch.autograd.Function):
    """``sigmoid_pair_loss`` computed chunk by chunk over the texts, with its gradient.

    The forward pass stores the gradient itself, which is as large as the embeddings. Logits and
    targets of a chunk are freed before those of the next are computed.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx,
        ecg_BD: Tensor,
        text_TD: Tensor,
        log_scale: Tensor,
        bias: Tensor,
        targets: PairTargets | MixedTargets,
        n_chunk: int,
    ) -> Tensor:
        sums = _Sums(ecg_BD, log_scale, bias, n_chunk)
        text_grad_TD = torch.zeros_like(text_TD)
        sums.add(text_TD, text_grad_TD, targets)
        ctx.save_for_backward(*sums.gradients(text_grad_TD))
        return sums.total.to(ecg_BD.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        return (*(grad * saved for saved in ctx.saved_tensors), None, None)


class _Sums:
    """Running sums of the pair loss and its gradients over blocks of texts."""

    def __init__(self, ecg_BD: Tensor, log_scale: Tensor, bias: Tensor, n_chunk: int):
        self.ecg_BD, self.bias, self.n_chunk = ecg_BD, bias, n_chunk
        self.scale = log_scale.exp()
        self.scaled_BD = self.scale * ecg_BD
        self.ecg_grad_BD = torch.zeros_like(ecg_BD)
        # Sums over up to a billion pairs: in float32, results would depend on the chunk size.
        self.total, self.bias_grad = ecg_BD.new_zeros(2, dtype=widest_float(ecg_BD.device))

    def add(
        self, text_TD: Tensor, text_grad_TD: Tensor, targets: PairTargets | MixedTargets
    ) -> None:
        """Add the pairs with a block of texts; their gradient is added to ``text_grad_TD``."""
        for start in range(0, len(text_TD), self.n_chunk):
            stop = min(start + self.n_chunk, len(text_TD))
            text_CD = text_TD[start:stop]
            logits_BC = torch.addmm(self.bias, self.scaled_BD, text_CD.T)
            targets_BC, known_BC = targets.chunk(start, stop).values_and_known()
            targets_BC = targets_BC.to(logits_BC.dtype)
            # The cross-entropy, log(1 + e^z) - y z, in the fewest passes over the chunk. A target
            # that is unknown is 0.
            softplus_BC = functional.softplus(logits_BC)
            if known_BC is not None:
                softplus_BC.mul_(known_BC)
            self.total = self.total + softplus_BC.sum()
            self.total = self.total - torch.dot(logits_BC.view(-1), targets_BC.view(-1))
            residual_BC = logits_BC.sigmoid_().sub_(targets_BC)
            if known_BC is not None:
                residual_BC.mul_(known_BC)
            self.ecg_grad_BD.addmm_(residual_BC, text_CD)
            text_grad_TD[start:stop].addmm_(residual_BC.T, self.scaled_BD)
            self.bias_grad = self.bias_grad + residual_BC.sum()

    def gradients(self, text_grad_TD: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the gradients of ECGs, texts, log_scale and bias."""
        ecg_grad_BD = self.scale * self.ecg_grad_BD
        scale_grad = (self.ecg_BD * ecg_grad_BD).sum()
        return ecg_grad_BD, text_grad_TD, scale_grad, self.bias_grad.to(self.bias.dtype)


def sigmoid_pair_loss(
    ecg_BD: Tensor,
    text_TD: Tensor,
    log_scale: Tensor,
    bias: Tensor,
    targets: PairTargets | MixedTargets,
) -> Tensor:
    """Compute the sum of the binary cross-entropies of all known pairs (SigLIP, equation 1).

    This is the readable reference, on the whole matrix; ``pair_loss`` must equal it.
    """
    logits_BT = log_scale.exp() * ecg_BD @ text_TD.T + bias
    targets_BT, known_BT = targets.values_and_known()
    weight_BT = None if known_BT is None else known_BT.to(logits_BT.dtype)
    return functional.binary_cross_entropy_with_logits(
        logits_BT, targets_BT.to(logits_BT.dtype), weight_BT, reduction="sum"
    )


def softmax_pair_loss(
    ecg_BD: Tensor,
    text_TD: Tensor,
    log_scale: Tensor,
    targets_BT: Tensor,
    known_BT: Tensor | None = None,
) -> Tensor:
    """Compute CLIP's symmetric softmax loss: the mean of both directions, times B.

    Notes
    -----
    Radford et al. 2021 (arXiv:2103.00020) for the diagonal. If a row or column has several
    positives, they share its probability equally (UniCL, arXiv:2204.03610); one without any
    positive does not contribute to the loss. Pairs whose target is unknown leave the denominators.
    """
    logits_BT = log_scale.exp() * ecg_BD @ text_TD.T
    if known_BT is not None:
        # Not -inf: the softmax of a row without any known pair would be NaN.
        logits_BT = logits_BT.masked_fill(~known_BT, torch.finfo(logits_BT.dtype).min / 2)

    def direction(logits: Tensor, targets: Tensor) -> Tensor:
        share = targets / targets.sum(1, keepdim=True).clamp(min=1e-12)
        return -(share * logits.log_softmax(1)).sum(1).mean()

    both = direction(logits_BT, targets_BT) + direction(logits_BT.T, targets_BT.T)
    return 0.5 * both * len(ecg_BD)


class _Gather(torch.autograd.Function):
    """Rows of all processes; in the backward pass, each process gets its rows' summed gradient."""

    @staticmethod
    def forward(ctx, rows: Tensor, sizes: list[int]) -> Tensor:  # type: ignore[override]
        ctx.sizes = sizes
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        grad = grad.contiguous()
        dist.all_reduce(grad)
        start = sum(ctx.sizes[: dist.get_rank()])
        return grad[start : start + ctx.sizes[dist.get_rank()]], None


def gather_rows(rows: Tensor, sizes: list[int]) -> Tensor:
    """Gather the rows of all processes, in the order of their ranks, with gradient.

    Parameters
    ----------
    rows : Tensor of shape (sizes[rank], D)
    sizes : list of int
        Number of rows per process; they may differ.

    Notes
    -----
    Each process computes its own ECG rows against all texts. The gradient of a text is therefore
    spread over the processes; the backward pass sums it and returns to each process its part. A
    gather without that sum has the same loss, but wrong gradients.
    """
    return rows if len(sizes) == 1 else _Gather.apply(rows, sizes)


def ring_pair_loss(
    ecg_BD: Tensor,
    text_TD: Tensor,
    log_scale: Tensor,
    bias: Tensor,
    targets: PairTargets | MixedTargets,
    sizes: list[int],
    n_chunk: int | None = None,
) -> Tensor:
    """Compute this process's share of the pair loss, with texts passed on in a ring of processes.

    Parameters
    ----------
    ecg_BD : Tensor of shape (B, D), float32, unit norm
        The ECGs of this process.
    text_TD : Tensor of shape (sizes[rank], D), float32, unit norm
        The texts of this process.
    log_scale, bias : scalar Tensor
    targets : PairTargets or MixedTargets
        Targets of the ECGs of this process and the texts of all processes, in the order of the
        ranks.
    sizes : list of int
        Number of texts per process; they may differ.
    n_chunk : int, optional
        As in ``pair_loss``.

    Notes
    -----
    The chunked loss of the SigLIP paper (section 3.1): each process receives the texts of the
    others one block at a time, so that no process holds all texts. The gradient of a block is
    passed on after the block, and is back at the block's owner after a full round. The shares add
    up to the loss, and so do the gradients, if every process multiplies its share by the same
    number before ``backward``.
    """
    n_texts = n_chunk or texts_at_once(ecg_BD)
    share: Tensor = _RingPairLoss.apply(ecg_BD, text_TD, log_scale, bias, targets, sizes, n_texts)
    return share


class _RingPairLoss(torch.autograd.Function):
    """``ring_pair_loss``; the forward pass makes the full round and computes the gradients."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx,
        ecg_BD: Tensor,
        text_TD: Tensor,
        log_scale: Tensor,
        bias: Tensor,
        targets: PairTargets | MixedTargets,
        sizes: list[int],
        n_chunk: int,
    ) -> Tensor:
        rank, n_ranks = dist.get_rank(), dist.get_world_size()
        sums = _Sums(ecg_BD, log_scale, bias, n_chunk)
        block_TD, grad_TD = text_TD.contiguous(), torch.zeros_like(text_TD)
        for step in range(n_ranks):
            owner, next_owner = (rank - step) % n_ranks, (rank - step - 1) % n_ranks
            next_TD = text_TD.new_empty(sizes[next_owner], text_TD.shape[1])
            # The next block arrives while this one is computed; after the last there is none.
            messages = _pass_on(block_TD, next_TD) if step + 1 < n_ranks else []
            start = sum(sizes[:owner])
            sums.add(block_TD, grad_TD, targets.chunk(start, start + sizes[owner]))
            next_grad_TD = torch.empty_like(next_TD)
            messages += _pass_on(grad_TD, next_grad_TD)
            for message in messages:
                message.wait()
            block_TD, grad_TD = next_TD, next_grad_TD
        ctx.save_for_backward(*sums.gradients(grad_TD))
        return sums.total.to(ecg_BD.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        return (*(grad * saved for saved in ctx.saved_tensors), None, None, None)


def _pass_on(rows: Tensor, received: Tensor) -> list[dist.Work]:
    """Send rows to the next process and receive those of the previous one, if there are any."""
    rank, n_ranks = dist.get_rank(), dist.get_world_size()
    messages = []
    if len(rows):
        messages.append(dist.P2POp(dist.isend, rows, (rank + 1) % n_ranks))
    if len(received):
        messages.append(dist.P2POp(dist.irecv, received, (rank - 1) % n_ranks))
    return dist.batch_isend_irecv(messages) if messages else []

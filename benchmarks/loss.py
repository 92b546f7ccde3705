"""The pair loss: time and memory of the fused form against the whole matrix.

    python benchmarks/loss.py                 # all sizes that the machine can hold
    python benchmarks/loss.py FORM RULE N     # one, as JSON
    python benchmarks/loss.py gradients RULE N   # how far those of both forms are apart

Peers: ``whole`` is our own plain form; ``siglip`` is computed as transformers' SiglipModel does it,
which knows the diagonal only.
"""

from __future__ import annotations

import json
import sys

import measure
import torch
from torch.nn import functional

from ecg_siglip.training.losses import pair_loss, sigmoid_pair_loss
from ecg_siglip.training.targets import PairTargets

WIDTH, N_FINDINGS = 256, 71
SIZES = (2048, 8192, 32768)
RULES = ("diagonal", "shared", "jaccard", "bank")


def siglip_loss(ecg, text, log_scale, bias):
    """Sum over texts of the mean log-likelihood, as transformers' modeling_siglip computes it."""
    logits = text @ ecg.T * log_scale.exp() + bias
    eye = torch.eye(len(logits), device=logits.device)
    likelihood = functional.logsigmoid((2 * eye - 1) * logits)
    return -likelihood.sum(dim=-1).sum()


def problem(rule: str, n: int):
    """Leaves and targets of n ECGs and n texts (bank: 71 texts)."""
    device, generator = measure.device(), torch.Generator().manual_seed(0)
    n_texts = N_FINDINGS if rule == "bank" else n

    def embeddings(count: int) -> torch.Tensor:
        drawn = functional.normalize(torch.randn(count, WIDTH, generator=generator), dim=1)
        return drawn.to(device).requires_grad_()

    labels = (torch.rand(n, N_FINDINGS, generator=generator) < 0.04).float().to(device)
    texts = torch.eye(N_FINDINGS, device=device) if rule == "bank" else labels
    index = torch.arange(n, device=device)
    own = torch.full((n_texts,), -1, device=device) if rule == "bank" else index
    weight = torch.ones(N_FINDINGS, device=device)
    kind = "present" if rule == "bank" else rule
    scalars = [torch.tensor(x, device=device, requires_grad=True) for x in (2.3, -3.0)]
    leaves = [embeddings(n), embeddings(n_texts), *scalars]
    return leaves, PairTargets(kind, labels, texts, index, own, weight)


def work(form: str, rule: str, n: int):
    """One value and gradient, to be called again and again; the leaves."""
    leaves, targets = problem(rule, n)
    forms = {
        "fused": lambda: pair_loss(*leaves, targets),
        "whole": lambda: sigmoid_pair_loss(*leaves, targets),
        "siglip": lambda: siglip_loss(*leaves),
    }

    def once():
        for leaf in leaves:
            leaf.grad = None
        value = forms[form]()
        value.backward()
        return value.detach()

    return once, leaves


def largest_difference(rule: str, n: int) -> float:
    """Of the gradients of both forms, relative to the largest gradient of each leaf."""
    fused, ours = work("fused", rule, n)
    whole, theirs = work("whole", rule, n)
    fused(), whole()
    return max(
        ((a.grad - b.grad).abs().max() / b.grad.abs().max()).item()
        for a, b in zip(ours, theirs, strict=True)
    )


def main() -> None:
    if sys.argv[1:2] == ["gradients"]:
        print(json.dumps({"differ": largest_difference(sys.argv[2], int(sys.argv[3]))}))
        return
    if len(sys.argv) == 4:
        form, rule, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
        once, _ = work(form, rule, n)
        n_bytes = measure.peak_bytes(once)
        print(json.dumps({"bytes": n_bytes, "seconds": measure.seconds(once, 3)}))
        return
    rows = []
    for n in SIZES:
        for rule in RULES:
            peers = ["whole", *(["siglip"] if rule == "diagonal" else [])]
            fused = measure.apart("loss.py", "fused", rule, n)
            row = {"rule": rule, "n": n, "fused": fused}
            row |= {peer: measure.apart("loss.py", peer, rule, n) for peer in peers}
            if n == SIZES[0]:
                row["gradient_difference"] = largest_difference(rule, n)
            rows.append(row)
            print(json.dumps(row), flush=True)
    measure.keep("loss", rows)


if __name__ == "__main__":
    main()

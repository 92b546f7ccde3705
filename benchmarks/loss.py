"""Measure time and memory of the fused pair loss against the whole matrix.

    python benchmarks/loss.py                 # all sizes that fit into the memory of the machine
    python benchmarks/loss.py FORM RULE N     # one, as JSON
    python benchmarks/loss.py gradients RULE N   # difference between those of both forms

Peers: ``whole`` is our own plain form; ``siglip`` is computed as by transformers' SiglipModel,
which has the diagonal only.
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
    """Return the sum over texts of the mean log-likelihood, as in transformers' modeling_siglip."""
    logits = text @ ecg.T * log_scale.exp() + bias
    eye = torch.eye(len(logits), device=logits.device)
    likelihood = functional.logsigmoid((2 * eye - 1) * logits)
    return -likelihood.sum(dim=-1).sum()


def make_problem(rule: str, n: int):
    """Return leaves and targets of n ECGs and n texts (bank: 71 texts)."""
    device, generator = measure.device(), torch.Generator().manual_seed(0)
    n_texts = N_FINDINGS if rule == "bank" else n

    def embeddings(count: int) -> torch.Tensor:
        random = functional.normalize(torch.randn(count, WIDTH, generator=generator), dim=1)
        return random.to(device).requires_grad_()

    labels = (torch.rand(n, N_FINDINGS, generator=generator) < 0.04).float().to(device)
    texts = torch.eye(N_FINDINGS, device=device) if rule == "bank" else labels
    index = torch.arange(n, device=device)
    own = torch.full((n_texts,), -1, device=device) if rule == "bank" else index
    weight = torch.ones(N_FINDINGS, device=device)
    kind = "present" if rule == "bank" else rule
    scalars = [torch.tensor(x, device=device, requires_grad=True) for x in (2.3, -3.0)]
    leaves = [embeddings(n), embeddings(n_texts), *scalars]
    return leaves, PairTargets(kind, labels, texts, index, own, weight)


def make_step(form: str, rule: str, n: int):
    """Return a function that computes value and gradient once, and its leaves."""
    leaves, targets = make_problem(rule, n)
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
    """Return the largest difference between the gradients of both forms.

    It is relative to the largest gradient of each leaf.
    """
    fused, fused_leaves = make_step("fused", rule, n)
    whole, whole_leaves = make_step("whole", rule, n)
    fused(), whole()
    return max(
        ((a.grad - b.grad).abs().max() / b.grad.abs().max()).item()
        for a, b in zip(fused_leaves, whole_leaves, strict=True)
    )


def main() -> None:
    if sys.argv[1:2] == ["gradients"]:
        print(json.dumps({"differ": largest_difference(sys.argv[2], int(sys.argv[3]))}))
        return
    if len(sys.argv) == 4:
        form, rule, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
        once, _ = make_step(form, rule, n)
        n_bytes = measure.peak_bytes(once)
        print(json.dumps({"bytes": n_bytes, "seconds": measure.seconds(once, 3)}))
        return
    rows = []
    for n in SIZES:
        for rule in RULES:
            peers = ["whole", *(["siglip"] if rule == "diagonal" else [])]
            fused = measure.run_separately("loss.py", "fused", rule, n)
            row = {"rule": rule, "n": n, "fused": fused}
            row |= {peer: measure.run_separately("loss.py", peer, rule, n) for peer in peers}
            if n == SIZES[0]:
                row["gradient_difference"] = largest_difference(rule, n)
            rows.append(row)
            print(json.dumps(row), flush=True)
    measure.save("loss", rows)


if __name__ == "__main__":
    main()

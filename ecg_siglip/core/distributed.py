"""Several processes, one a device, as torchrun starts them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Distributed:
    """This process among those that torchrun started; alone, rank 0 of 1."""

    rank: int = 0
    n: int = 1

    @classmethod
    def join(cls, device: str) -> Distributed:
        if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
            return cls()
        on_gpu = pick_device(device).type == "cuda"
        if on_gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        if not dist.is_initialized():
            # The first rank may build the waveform cache while the others wait.
            dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(hours=2))
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def wait(self) -> None:
        if self.n > 1:
            dist.barrier()

    def leave(self) -> None:
        """Wait for the others and part."""
        if self.n > 1:
            dist.barrier()
            dist.destroy_process_group()

    def parts(self, batch: np.ndarray) -> list[np.ndarray]:
        """The batch split over the ranks, as evenly as it goes."""
        return np.array_split(batch, self.n)

    def add_up(self, model: torch.nn.Module, loss: Tensor) -> Tensor:
        """Sum gradients (in place) and loss over the ranks; each brings its own records' part."""
        if self.n == 1:
            return loss
        learning = [p for p in model.parameters() if p.requires_grad]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in learning]
        flat = torch.cat([loss.reshape(1), *(grad.ravel() for grad in grads)])
        dist.all_reduce(flat)
        for p, grad in zip(learning, flat[1:].split([p.numel() for p in learning]), strict=True):
            p.grad = grad.view_as(p).clone()
        return flat[0]

    def share(self, n_items: int, batch_size: int) -> slice:
        """The items that this rank takes: whole batches, the same ones as one process makes."""
        n_batches = -(-n_items // batch_size)
        first, last = (n_batches * r // self.n for r in (self.rank, self.rank + 1))
        return slice(first * batch_size, min(last * batch_size, n_items))

    def gathered(self, mine: bytes) -> list[bytes]:
        """What every rank brings, in their order, on every rank."""
        if self.n == 1:
            return [mine]
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        sizes = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(self.n)]
        dist.all_gather(sizes, torch.tensor([len(mine)], device=device))
        longest = max(int(size) for size in sizes)
        padded = np.zeros(longest, np.uint8)
        padded[: len(mine)] = np.frombuffer(mine, np.uint8)
        parts = [torch.zeros(longest, dtype=torch.uint8, device=device) for _ in range(self.n)]
        dist.all_gather(parts, torch.from_numpy(padded).to(device))
        return [
            part[: int(size)].cpu().numpy().tobytes()
            for part, size in zip(parts, sizes, strict=True)
        ]


def pick_device(name: str) -> torch.device:
    """``auto`` is the GPU of this process where there is one, else the CPU.

    Raises
    ------
    ValueError
        If a GPU is asked for and PyTorch sees none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device=cuda: PyTorch sees no CUDA device; expected one, or device=cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    # TensorFloat-32 rounds to 1e-3: an answer would depend on the device and the batch size.
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda", torch.cuda.current_device())

"""Processes that share the work, one per device, as torchrun starts them."""

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
    """Place of this process among those that torchrun started.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    n : int
        Number of processes; 1 without torchrun.
    """

    rank: int = 0
    n: int = 1

    @classmethod
    def join(cls, device: str) -> Distributed:
        """Join the process group that torchrun prepared, if it started this process.

        Parameters
        ----------
        device : {"auto", "cpu", "cuda", "mps"}
            NCCL connects processes on GPUs, gloo those on CPUs.

        Raises
        ------
        ValueError
            If this machine has more processes than GPUs, or for several processes with ``mps``.
        """
        if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
            return cls()
        kind = pick_device(device).type
        if kind == "mps" and _n_processes() > 1:
            raise ValueError("device=mps: expected one process, or device=cpu for several")
        on_gpu = kind == "cuda"
        if on_gpu:
            local, n_gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
            if local >= n_gpus:
                raise ValueError(
                    f"process {local + 1} of this machine, but PyTorch sees {n_gpus} CUDA "
                    "device(s); expected one per process, or device=cpu"
                )
            torch.cuda.set_device(local)
        if not dist.is_initialized():
            # The first rank may build the waveform cache while the others wait.
            dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(hours=2))
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes have come to this point."""
        if self.n > 1:
            dist.barrier()

    def close(self) -> None:
        """Wait for the other processes and leave the process group."""
        if self.n > 1:
            dist.barrier()
            dist.destroy_process_group()

    def parts(self, batch: np.ndarray) -> list[np.ndarray]:
        """Split a batch into one part per process, as evenly as possible."""
        return np.array_split(batch, self.n)

    def all_reduce_gradients(self, model: torch.nn.Module, loss: Tensor) -> Tensor:
        """Sum gradients and loss over the processes.

        Parameters
        ----------
        model : torch.nn.Module
            Its gradients, of this process's share of the loss, are replaced by their sums.
        loss : scalar Tensor
            This process's share of the loss.

        Returns
        -------
        scalar Tensor
            The loss of the whole batch.
        """
        if self.n == 1:
            return loss
        trainable = [p for p in model.parameters() if p.requires_grad]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in trainable]
        flat = torch.cat([loss.reshape(1), *(grad.ravel() for grad in grads)])
        dist.all_reduce(flat)
        for p, grad in zip(trainable, flat[1:].split([p.numel() for p in trainable]), strict=True):
            p.grad = grad.view_as(p).clone()
        return flat[0]

    def share(self, n_items: int, batch_size: int) -> slice:
        """Return the items of this process: whole batches, the same as one process would make."""
        n_batches = -(-n_items // batch_size)
        first, last = (n_batches * r // self.n for r in (self.rank, self.rank + 1))
        return slice(first * batch_size, min(last * batch_size, n_items))

    def all_gather_bytes(self, content: bytes) -> list[bytes]:
        """Return the content of every process, in the order of the ranks, on every process."""
        if self.n == 1:
            return [content]
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        sizes = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(self.n)]
        dist.all_gather(sizes, torch.tensor([len(content)], device=device))
        longest = max(int(size) for size in sizes)
        padded = np.zeros(longest, np.uint8)
        padded[: len(content)] = np.frombuffer(content, np.uint8)
        parts = [torch.zeros(longest, dtype=torch.uint8, device=device) for _ in range(self.n)]
        dist.all_gather(parts, torch.from_numpy(padded).to(device))
        return [
            part[: int(size)].cpu().numpy().tobytes()
            for part, size in zip(parts, sizes, strict=True)
        ]


def pick_device(name: str) -> torch.device:
    """Return the device by name; ``auto`` is the GPU of this process if there is one, else the CPU.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda", "mps"}
        mps: the GPU of a Mac, which only a process alone can use.

    Raises
    ------
    ValueError
        If ``cuda`` or ``mps`` is given and PyTorch finds no such GPU.
    """
    has_cuda, has_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "cuda" and not has_cuda:
        raise ValueError("device=cuda: PyTorch sees no CUDA device; expected one, or device=cpu")
    if name == "mps" and not has_mps:
        raise ValueError("device=mps: PyTorch sees no GPU of a Mac; expected one, or device=cpu")
    if name == "mps" or (name == "auto" and has_mps and not has_cuda and _n_processes() == 1):
        return torch.device("mps")
    if name == "cpu" or not has_cuda:
        return torch.device("cpu")
    # TensorFloat-32 rounds to 1e-3: results would depend on the device and the batch size.
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda", torch.cuda.current_device())


def widest_float(device: torch.device) -> torch.dtype:
    """Return float64, or float32 for a device without it (mps)."""
    return torch.float32 if device.type == "mps" else torch.float64


def _n_processes() -> int:
    """Return the number of processes that torchrun started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))

"""Several processes predict what one predicts, to the last bit, and exchange what they should."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import torch.distributed as dist

from ecg_siglip.core import distributed
from ecg_siglip.core.distributed import Distributed, pick_device

ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


def run(n_processes: int, name: str, *overrides: str) -> subprocess.CompletedProcess:
    start = [sys.executable]
    if n_processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={n_processes}"]
    command = [*start, "-m", f"ecg_siglip.{name}", *overrides]
    return subprocess.run(command, env=ONE_THREAD, capture_output=True, text=True)


@pytest.mark.parametrize("n_items", [0, 1, 7, 8, 40])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_processes_share_whole_batches_and_leave_nothing_out(n_items, n):
    shares = [range(n_items)[Distributed(rank, n).share(n_items, 4)] for rank in range(n)]
    assert [i for share in shares for i in share] == list(range(n_items))
    assert all(share.start % 4 == 0 for share in shares if len(share))


def test_the_parts_of_a_batch_are_its_rows_in_order():
    parts = Distributed(1, 3).parts(np.arange(8))
    assert [part.tolist() for part in parts] == [[0, 1, 2], [3, 4, 5], [6, 7]]


def test_more_processes_than_gpus_are_an_error(monkeypatch):
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed, "pick_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match=r"process 2 .* sees 1 CUDA device.*or device=cpu"):
        Distributed.join("auto")


def test_a_process_alone_exchanges_nothing():
    alone = Distributed()
    assert alone.is_first
    assert alone.all_gather_bytes(b"content") == [b"content"]
    model = torch.nn.Linear(1, 1)
    loss = model(torch.ones(1, 1)).sum()
    loss.backward()
    assert alone.all_reduce_gradients(model, loss.detach()) == loss
    assert model.weight.grad.item() == 1.0
    alone.wait()
    alone.close()


def test_without_torchrun_a_process_is_alone(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert Distributed.join("cpu") == Distributed(0, 1)


def one_of_three(rank, folder):
    """Write what one of three processes gets from the others."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "3", "LOCAL_RANK": str(rank)}
    meet = f"file://{folder}/meet"
    dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=3)
    distributed = Distributed.join("cpu")
    contents = [part.decode() for part in distributed.all_gather_bytes(b"x" * rank)]
    model = torch.nn.Linear(1, 1, bias=False)
    model.frozen = torch.nn.Parameter(torch.zeros(1), requires_grad=False)
    model.without_gradient = torch.nn.Parameter(torch.zeros(2))
    if rank:  # the first process contributes a loss of 0 without gradient
        (model.weight.sum() * rank).backward()
    loss = distributed.all_reduce_gradients(model, torch.tensor(float(rank)))
    gradients = model.weight.grad, model.frozen.grad, model.without_gradient.grad
    torch.save((distributed.rank, distributed.n, contents, loss, gradients), f"{folder}/{rank}.pt")
    distributed.close()
    assert not dist.is_initialized()


@pytest.mark.slow
def test_three_processes_sum_gradients_and_gather_bytes_of_any_length(tmp_path):
    torch.multiprocessing.spawn(one_of_three, args=(tmp_path,), nprocs=3)
    for i in range(3):
        rank, n, contents, loss, gradients = torch.load(tmp_path / f"{i}.pt", weights_only=True)
        assert (rank, n) == (i, 3)
        assert contents == ["", "x", "xx"]
        assert loss == 3.0
        weight, frozen, without_gradient = gradients
        assert weight.item() == 3.0
        assert frozen is None
        assert without_gradient.tolist() == [0.0, 0.0]


def test_a_missing_gpu_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == "cpu"
    with pytest.raises(ValueError, match="no CUDA device"):
        pick_device("cuda")


@pytest.mark.slow
def test_three_processes_evaluate_and_predict_like_one(trained, simulated, tmp_path):
    tables, outputs, stored = [], [], []
    damaged = tmp_path / "damaged.hea"
    damaged.write_text("no header")
    paths = [p.with_suffix("") for p in sorted((simulated / "records100/00000").glob("*.hea"))[:7]]
    paths.insert(3, damaged.with_suffix(""))
    for n in (1, 3):
        root = tmp_path / str(n)
        root.mkdir()
        (root / trained.name).mkdir()
        for part in ("model", "config.yaml"):
            (root / trained.name / part).symlink_to(trained / part)
        trained_run = [f"run.root={root}", f"run.name={trained.name}"]
        done = run(
            n,
            "evaluate",
            *trained_run,
            "report=false",
            "n_bootstrap=0",
            "batch_size=4",
            "device=cpu",
        )
        assert done.returncode == 0, done.stderr
        table = root / trained.name / "evaluate" / "fold10" / "predictions.parquet"
        tables.append(pd.read_parquet(table))
        records = f"records=[{','.join(map(str, paths))}]"
        done = run(n, "predict", *trained_run, records, "batch_size=2", "device=cpu")
        assert done.returncode != 0, "one record is damaged"
        assert "predict: record damaged" in done.stderr
        outputs.append(done.stdout)
        job = [f"out={root / 'p.jsonl'}", "block_size=2", "n_workers=1", "device=cpu"]
        done = run(n, "predict", *trained_run, records, *job)
        assert "predict: 7 predicted, 1 unreadable" in done.stderr
        stored.append((root / "p.jsonl").read_bytes())
    assert stored[0] == stored[1]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert outputs[0] == outputs[1]
    assert len(outputs[0].splitlines()) == 7

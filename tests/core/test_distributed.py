"""Several processes answer what one answers, to the last bit."""

import os
import subprocess
import sys

import pandas as pd
import pytest

from ecg_siglip.core.distributed import Distributed

ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


def run(n_processes: int, verb: str, *overrides: str) -> subprocess.CompletedProcess:
    start = [sys.executable]
    if n_processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={n_processes}"]
    command = [*start, "-m", f"ecg_siglip.{verb}", *overrides]
    return subprocess.run(command, env=ONE_THREAD, capture_output=True, text=True)


@pytest.mark.parametrize("n_items", [0, 1, 7, 8, 40])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_ranks_share_whole_batches_and_leave_nothing_out(n_items, n):
    shares = [range(n_items)[Distributed(rank, n).share(n_items, 4)] for rank in range(n)]
    assert [i for share in shares for i in share] == list(range(n_items))
    assert all(share.start % 4 == 0 for share in shares if len(share))


def test_alone_nothing_is_sent():
    assert Distributed().gathered(b"mine") == [b"mine"]


@pytest.mark.slow
def test_three_processes_evaluate_and_predict_like_one(trained, simulated, tmp_path):
    tables, answers = [], []
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
        named = [f"run.root={root}", f"run.name={trained.name}"]
        done = run(n, "evaluate", *named, "report=false", "n_bootstrap=0", "batch_size=4")
        assert done.returncode == 0, done.stderr
        table = root / trained.name / "evaluate" / "fold10" / "predictions.parquet"
        tables.append(pd.read_parquet(table))
        records = f"records=[{','.join(map(str, paths))}]"
        done = run(n, "predict", *named, records, "batch_size=2")
        assert done.returncode != 0, "one record is damaged"
        assert "predict: record damaged" in done.stderr
        answers.append(done.stdout)
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert answers[0] == answers[1]
    assert len(answers[0].splitlines()) == 7

"""Signals are augmented per record and epoch; reading ahead does not change them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch


def test_signals_are_in_millivolts_and_augmented_per_record(make_data):
    data = make_data(**{"augment.gain": 0.3, "augment.shift_s": 1.0, "augment.lead_mask": 0.2})
    rows = data.train_rows[:4]
    plain = data.reader.signals(rows, None)
    assert plain.numpy() == pytest.approx(data.reader.mapped[rows] / 1000, abs=1e-6)
    together = data.reader.signals(rows, 7)
    assert not torch.equal(together, plain)
    assert torch.equal(data.reader.signals(rows[2:3], 7), together[2:3])
    assert not torch.equal(data.reader.signals(rows, 8), together)


def test_signals_read_ahead_equal_signals_read_now(make_data):
    data = make_data(**{"augment.gain": 0.3, "augment.shift_s": 1.0})
    first, second = data.batches(0)[:2]
    expected = [data.reader.signals(first, 0), data.reader.signals(second, 0)]
    data.reader.read_ahead(first, 0)
    data.reader.read_ahead(second, 0)
    assert torch.equal(data.reader.signals(second, 0), expected[1])
    assert torch.equal(data.reader.signals(first, 0), expected[0])
    # They are used once, and only for their epoch.
    assert data.reader.ahead == {}
    data.reader.read_ahead(first, 1)
    assert torch.equal(data.reader.signals(first, 0), expected[0])


def test_an_error_of_reading_ahead_is_raised_when_the_batch_is_used(make_data):
    data = make_data()
    rows = np.array([10**9])
    data.reader.read_ahead(rows, 0)
    with pytest.raises(IndexError):
        data.reader.signals(rows, 0)


LARGE = """
import resource, sys
import numpy as np, torch
from ecg_siglip import config
from ecg_siglip.datasets import records
from ecg_siglip.training.data import TrainingData
from ecg_siglip.vocabulary import ptbxl

n, path = 200_000, sys.argv[1]
with open(path, "wb") as file:
    file.truncate(n * 12 * 1000 * 2)  # a file of holes: 4.8 GB that take no space on disk
signals = np.memmap(path, np.int16, "r", shape=(n, 12, 1000))
codes = ptbxl().codes
y_true = np.zeros((n, len(codes)), bool)
y_true[:, 0] = True
nothing = np.zeros(0)
loaded = records.LabelledRecords(
    np.arange(n), np.arange(n), np.repeat(np.arange(1, 11), n // 10), codes, y_true, nothing,
    [""] * n, [], signals, 100.0, "large", 0, y_true[:, 0], y_true[:, 0],
)
settings = config.TrainConfig()
settings.optim.batch_size = 512
data = TrainingData(loaded, settings, torch.device("cpu"))
batches = data.batches(0)
data.reader.signals(batches[0], 0)
status = open("/proc/self/status").read()
used = 1024 * int(status.split("VmData:")[1].split()[0])
resource.setrlimit(resource.RLIMIT_DATA, (used + (768 << 20),) * 2)
for batch, coming in zip(batches[1:9], batches[2:10]):
    data.read_ahead(coming, 0)
    assert data.reader.signals(batch, 0).shape == (len(batch), 12, 1000)
try:
    np.array(signals)
except MemoryError:
    print("the whole set would not have fit")
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_batches_of_a_set_larger_than_memory_are_read_from_disk(tmp_path):
    command = [sys.executable, "-c", LARGE, str(tmp_path / "signals.npy")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the whole set would not have fit\n"

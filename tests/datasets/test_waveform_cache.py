"""Waveform cache: equal to the files, built once, verified, safe if a build is interrupted."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import write_ptbxl_record

from ecg_siglip.datasets import ptbxl
from ecg_siglip.datasets.waveform_cache import file_stamp

CHECKOUT = Path(__file__).resolve().parents[2]
SPEC = {
    "to_fs": 100,
    "duration_s": 10.0,
    "low_hz": None,
    "high_hz": None,
    "allow_short": False,
    "allow_flat": False,
}


@pytest.fixture
def long_root(root):
    """The same six files under 198 ecg_ids: four chunks, which take seconds to read."""
    table = pd.read_csv(root / "ptbxl_database.csv")
    table = pd.concat([table] * 33, ignore_index=True)
    table["ecg_id"] = range(1, 199)
    table.to_csv(root / "ptbxl_database.csv", index=False)
    return root


def load(root, **settings):
    return ptbxl.load_ptbxl(
        root, **({"waveform": SPEC, "n_workers": 1, "progress": False} | settings)
    )


def caches(root):
    return sorted(path for path in (root / "cache").glob("*") if not path.name.startswith(".lock"))


def digital(path):
    return np.fromfile(f"{path}.dat", "<i2").reshape(-1, 12).T


def assert_equals_files(data):
    expected = {path: digital(path) for path in set(data.paths)}
    for path, got in zip(data.paths, data.signals, strict=True):
        np.testing.assert_array_equal(got, expected[path], err_msg=str(path))


def test_several_processes_build_one_array(long_root):
    assert_equals_files(load(long_root, n_workers=2))


def test_other_settings_lead_to_another_cache(root):
    plain = load(root)
    filtered = load(root, waveform=SPEC | {"low_hz": 0.5})
    short = load(root, waveform=SPEC | {"duration_s": 5.0})
    assert len(caches(root)) == 3
    assert short.signals.shape == (6, 12, 500)
    assert not np.array_equal(plain.signals, filtered.signals)


def test_a_second_call_maps_the_existing_files(root):
    load(root)
    before = {path: path.stat().st_mtime_ns for path in (root / "cache").rglob("*")}
    load(root, waveform=SPEC | {"to_fs": 100.0, "duration_s": 10})
    assert {path: path.stat().st_mtime_ns for path in (root / "cache").rglob("*")} == before


def test_an_existing_cache_is_opened_without_writing(root):
    load(root)
    before = (root / "cache").stat().st_mtime_ns
    load(root)
    assert (root / "cache").stat().st_mtime_ns == before


def test_a_changed_file_is_read_again(root):
    old = np.array(load(root).signals)
    changed = digital(root / "records100/00000/00003_lr") + 1
    write_ptbxl_record(root / "records100/00000/00003_lr", changed)
    new = load(root).signals
    np.testing.assert_array_equal(new[2], changed)
    np.testing.assert_array_equal(np.delete(new, 2, 0), np.delete(old, 2, 0))


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_record_that_cannot_be_prepared_is_named(long_root, n_workers):
    write_ptbxl_record(long_root / "records100/00000/00007_lr", np.zeros((12, 300)))
    with pytest.raises(ValueError, match=r"ecg_id 4: record 00007_lr: ") as caught:
        load(long_root, n_workers=n_workers)
    assert "\n" not in str(caught.value)
    assert caches(long_root) == []


def test_a_sampling_rate_other_than_that_of_the_folder_is_refused(root):
    header = root / "records100/00000/00005_lr.hea"
    header.write_text(header.read_text().replace(" 12 100 ", " 12 250 "))
    with pytest.raises(ValueError, match=r"ecg_id 5: record 00005_lr: expected 100 Hz, got 250 Hz"):
        load(root)


def damage(path, what):
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    if what == "truncated":
        path.write_bytes(data[:-1])  # of the index: a line feed
    elif what == "flipped":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    else:
        path.unlink()


@pytest.mark.parametrize("what", ["truncated", "flipped", "absent"])
@pytest.mark.parametrize("name", ["signals.i16", "index.json"])
def test_a_corrupt_cache_is_refused(root, name, what):
    load(root)
    damage(caches(root)[0] / name, what)
    with pytest.raises(ValueError, match=f"corrupt cache .*{name}: .*delete the folder") as caught:
        load(root)
    assert "\n" not in str(caught.value)


CODE = """
import json, sys
from ecg_siglip.datasets import ptbxl
if __name__ == "__main__":
    root, n_workers, spec = sys.argv[1:]
    ptbxl.load_ptbxl(root, n_workers=int(n_workers), waveform=json.loads(spec))
"""


def start(root, n_workers):
    """Start `load_ptbxl` in another process."""
    script = root / "script.py"
    script.write_text(CODE)
    return subprocess.Popen(
        [sys.executable, str(script), str(root), str(n_workers), json.dumps(SPEC)],
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, timeout_s=60):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux to find children")
def test_a_killed_build_leaves_no_valid_cache(long_root):
    process = start(long_root, n_workers=2)
    wait_for(
        lambda: any(
            path.stat().st_size for path in (long_root / "cache").glob(".*.tmp/signals.i16")
        )
    )
    part = np.memmap(next((long_root / "cache").glob(".*.tmp/signals.i16")), mode="r")
    wait_for(lambda: part[:1000].any() or part[-1000:].any())
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [path.suffix for path in caches(long_root)] == [".tmp"]
    wait_for(lambda: not any(Path(f"/proc/{child}/cwd").exists() for child in listed))
    assert_equals_files(load(long_root))
    assert [path.suffix for path in caches(long_root)] == [""]


def test_two_processes_at_once_build_one_cache(long_root):
    processes = [start(long_root, n_workers=1) for _ in range(2)]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert len(caches(long_root)) == 1
    assert_equals_files(load(long_root))


def test_a_full_disk_is_an_error_before_the_build(root):
    with pytest.raises(ValueError, match=r"disk full: the cache needs .* data.cache_dir"):
        load(root, waveform=SPEC | {"duration_s": 1e10})
    assert caches(root) == []


def test_a_disk_that_fills_up_leaves_no_cache(root):
    # A limit on the size of files fails like a full disk, without mounting one.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(ValueError, match=r"disk full: the cache needs 0 MB"):
            load(root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caches(root) == []


def test_a_cache_folder_that_cannot_be_written_is_an_error_that_names_the_setting(root):
    with pytest.raises(ValueError, match=r"cannot write the cache in .*data.cache_dir="):
        load(root, cache_dir=root / "ptbxl_database.csv" / "cache")


def test_the_stamp_of_a_record_depends_on_both_files(root):
    record = root / "records100/00000/00001_lr"
    stamp = file_stamp(record)
    Path(f"{record}.hea").write_text(Path(f"{record}.hea").read_text() + "# comment\n")
    assert file_stamp(record) != stamp
    Path(f"{record}.dat").unlink()
    assert file_stamp(record) is None

"""PTB-XL on disk: the published counts on its own metadata, the cache on small and real roots."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecg_siglip import config
from ecg_siglip.datasets import ptbxl
from ecg_siglip.datasets.download import sha256_of

CHECKOUT = Path(__file__).resolve().parents[2]
SPEC = {
    "to_fs": 100,
    "duration_s": 10.0,
    "low_hz": None,
    "high_hz": None,
    "allow_short": False,
    "allow_flat": False,
}
LEADS = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")


def write_record(path, digital):
    """Samples of shape (12, n_samples), uV, in PTB-XL's own form."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digital = digital.astype("<i2")
    lines = [f"{path.name} 12 100 {digital.shape[1]}"]
    for lead, row in zip(LEADS, digital, strict=True):
        checksum = int(row.sum(dtype=np.int64)) % 65536
        lines.append(f"{path.name}.dat 16 1000.0(0)/mV 16 0 {row[0]} {checksum} 0 {lead}")
    Path(f"{path}.hea").write_text("\n".join(lines) + "\n")
    Path(f"{path}.dat").write_bytes(digital.T.tobytes())


def write_table(root, table):
    table.to_csv(root / "ptbxl_database.csv", index=False)


def read_table(root):
    return pd.read_csv(root / "ptbxl_database.csv")


@pytest.fixture
def root(tmp_path):
    """Six records of noise with the height of an ECG; ecg_ids with a gap, out of order."""
    root, rng = tmp_path / "root", np.random.default_rng(0)
    rows = []
    for number, ecg_id in enumerate([1, 2, 3, 7, 5, 6]):
        name = f"records100/00000/{ecg_id:05d}_lr"
        write_record(root / name, rng.integers(-900, 900, (12, 1000)))
        rows.append(
            {
                "ecg_id": ecg_id,
                "patient_id": 100.0 + number // 2,
                "report": "sinusrhythmus",
                "scp_codes": "{'NORM': 100.0, 'LVOLT': 0.0, 'SR': 0.0}",
                "strat_fold": 1 + number // 2,
                "filename_lr": name,
                "filename_hr": name.replace("100", "500").replace("_lr", "_hr"),
            }
        )
    write_table(root, pd.DataFrame(rows))
    (root / "scp_statements.csv").write_text(",description\n")
    return root


@pytest.fixture
def long_root(root):
    """The same six files under 198 ecg_ids: four chunks, and seconds to read them."""
    table = read_table(root)
    table = pd.concat([table] * 33, ignore_index=True)
    table["ecg_id"] = range(1, 199)
    write_table(root, table)
    return root


def load(root, **settings):
    return ptbxl.load_ptbxl(
        root, **({"waveform": SPEC, "n_workers": 1, "progress": False} | settings)
    )


def caches(root):
    return sorted(path for path in (root / "cache").glob("*") if path.name != ".lock")


def digital(path):
    return np.fromfile(f"{path}.dat", "<i2").reshape(-1, 12).T


def assert_equals_files(data):
    expected = {path: digital(path) for path in set(data.paths)}
    for path, got in zip(data.paths, data.signals, strict=True):
        np.testing.assert_array_equal(got, expected[path], err_msg=str(path))


# --- the published counts


@pytest.fixture(scope="module")
def all_records(shared_metadata):
    return ptbxl.load_ptbxl(shared_metadata, signals=False)


def test_official_folds(all_records):
    data = all_records
    assert len(data) == 21_799
    sizes = [len(data.fold(*range(1, 9))), len(data.fold(9)), len(data.fold(10))]
    assert sizes == [17_418, 2_183, 2_198]
    assert (np.diff(data.ecg_id) > 0).all()
    folds = pd.Series(data.strat_fold).groupby(data.patient_id).nunique()
    assert folds.max() == 1
    assert data.signals is None
    assert data.n_missing == 0


@pytest.mark.parametrize(
    ("task", "n_findings", "n_labelled"),
    [
        ("all", 71, 2_198),
        ("diagnostic", 44, 2_158),
        ("subdiagnostic", 23, 2_158),
        ("superdiagnostic", 5, 2_158),
        ("form", 19, 880),
        ("rhythm", 12, 2_098),
    ],
)
def test_tasks(shared_metadata, task, n_findings, n_labelled):
    data = ptbxl.load_ptbxl(shared_metadata, task=task, signals=False)
    assert data.y_true.shape == data.likelihood.shape == (21_799, n_findings)
    assert len(data.codes) == len(set(data.codes)) == n_findings
    assert int(data.y_true[data.fold(10)].any(1).sum()) == n_labelled
    assert data.y_true.any(0).all()


def test_likelihood_0_means_present(all_records):
    data, column = all_records, all_records.codes.index
    assert data.y_true[0, column("LVOLT")]
    assert data.likelihood[0, column("LVOLT")] == 0
    assert data.y_true[0, column("NORM")]
    assert data.likelihood[0, column("NORM")] == 100
    assert not data.y_true[0, column("AFIB")]
    assert np.isnan(data.likelihood[0, column("AFIB")])
    np.testing.assert_array_equal(data.y_true, ~np.isnan(data.likelihood))
    assert set(np.unique(data.likelihood[data.y_true])) >= {0, 15, 35, 50, 80, 100}


def test_metadata_keeps_every_column(shared_metadata):
    table = ptbxl.read_metadata(shared_metadata)
    assert table.shape == (21_799, 27)
    assert table.index.name == "ecg_id"
    assert table["scp_codes"][1] == {"NORM": 100.0, "LVOLT": 0.0, "SR": 0.0}
    assert table["report"].map(type).eq(str).all()


# --- signals


def test_signals_are_the_samples_of_the_files(root):
    data = load(root)
    assert data.signals.shape == (6, 12, 1000)
    assert data.signals.dtype == np.int16
    assert not data.signals.flags.writeable
    assert data.fs == 100
    assert data.ecg_id.tolist() == [1, 2, 3, 7, 5, 6]
    assert_equals_files(data)
    assert data.fold(3, 1).tolist() == [0, 1, 4, 5]
    with pytest.raises(ValueError, match=r"no record of fold 10: the data has folds \[1, 2, 3\]"):
        data.fold(1, 10)


@pytest.mark.parametrize("fs", [100, 500])
def test_real_records_equal_wfdb(shared_ptbxl, tmp_path, fs):
    import wfdb

    table = read_table(shared_ptbxl)
    name = ptbxl.FILENAMES[fs]
    table = table[[(shared_ptbxl / f"{file}.hea").is_file() for file in table[name]]]
    table = table.iloc[:: len(table) // 40][:40]
    write_table(tmp_path, table)
    folder = f"records{fs}"
    (tmp_path / folder).symlink_to(shared_ptbxl / folder)
    spec = SPEC | {"to_fs": fs}
    data = load(tmp_path, fs=fs, waveform=spec, cache_dir=tmp_path / "elsewhere")
    assert len(data) == 40
    assert data.fs == fs
    for path, got in zip(data.paths, data.signals, strict=True):
        expected = wfdb.rdrecord(str(path), physical=False).d_signal.T
        np.testing.assert_array_equal(got, expected, err_msg=str(path))


def test_several_processes_make_one_array(long_root):
    assert_equals_files(load(long_root, n_workers=2))


def test_another_spec_is_another_cache(root):
    plain = load(root)
    filtered = load(root, waveform=SPEC | {"low_hz": 0.5})
    short = load(root, waveform=SPEC | {"duration_s": 5.0})
    assert len(caches(root)) == 3
    assert short.signals.shape == (6, 12, 500)
    assert not np.array_equal(plain.signals, filtered.signals)


def test_a_second_call_maps_the_same_files(root):
    load(root)
    before = {path: path.stat().st_mtime_ns for path in (root / "cache").rglob("*")}
    load(root, waveform=SPEC | {"to_fs": 100.0, "duration_s": 10})
    assert {path: path.stat().st_mtime_ns for path in (root / "cache").rglob("*")} == before


def test_a_cache_that_is_there_needs_no_right_to_write(root):
    load(root)
    (root / "cache" / ".lock").unlink()
    load(root)
    assert not (root / "cache" / ".lock").exists()


def test_a_changed_file_is_read_again(root):
    old = np.array(load(root).signals)
    changed = digital(root / "records100/00000/00003_lr") + 1
    write_record(root / "records100/00000/00003_lr", changed)
    new = load(root).signals
    np.testing.assert_array_equal(new[2], changed)
    np.testing.assert_array_equal(np.delete(new, 2, 0), np.delete(old, 2, 0))


# --- what must not go on silently


def test_absent_records_are_counted(root, capsys):
    (root / "records100/00000/00002_lr.dat").unlink()
    (root / "records100/00000/00007_lr.hea").unlink()
    with pytest.raises(ValueError, match=r"2 of 6 records listed are absent .*00002_lr.*allow"):
        load(root)
    data = load(root, allow_missing=True)
    assert "2 of 6 records listed are absent" in capsys.readouterr().err
    assert data.n_missing == 2
    assert data.ecg_id.tolist() == [1, 3, 5, 6]
    assert len(data.y_true) == len(data.reports) == len(data.paths) == len(data.signals) == 4
    np.testing.assert_array_equal(data.signals[2], digital(data.paths[2]))
    with pytest.raises(ValueError, match=r"6 of 6 .* none is left"):
        load(root, fs=500, allow_missing=True)


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_record_that_cannot_be_prepared_is_named(long_root, n_workers):
    write_record(long_root / "records100/00000/00007_lr", np.zeros((12, 300)))
    with pytest.raises(ValueError, match=r"ecg_id 4: record 00007_lr: ") as caught:
        load(long_root, n_workers=n_workers)
    assert "\n" not in str(caught.value)
    assert caches(long_root) == []


def test_another_sampling_rate_than_the_folder_says_is_refused(root):
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
    """`load` in a process of its own."""
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
def test_killed_in_the_middle_leaves_nothing_valid(long_root):
    process = start(long_root, n_workers=2)
    wait_for(lambda: list((long_root / "cache").glob(".*.tmp/signals.i16")))
    part = np.memmap(next((long_root / "cache").glob(".*.tmp/signals.i16")), mode="r")
    wait_for(lambda: part[:1000].any() or part[-1000:].any())
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [path.suffix for path in caches(long_root)] == [".tmp"]
    wait_for(lambda: not any(Path(f"/proc/{child}/cwd").exists() for child in listed))
    assert_equals_files(load(long_root))
    assert [path.suffix for path in caches(long_root)] == [""]


def test_two_processes_at_once_do_no_harm(long_root):
    processes = [start(long_root, n_workers=1) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert len(caches(long_root)) == 1
    assert_equals_files(load(long_root))


def test_a_full_disk_is_told_before_the_work(root):
    with pytest.raises(ValueError, match=r"disk full: the cache needs .* data.cache_dir"):
        load(root, waveform=SPEC | {"duration_s": 1e10})
    assert caches(root) == []


def test_a_disk_that_fills_up_leaves_nothing(root):
    # The system refuses to let a file grow: as close to a full disk as one gets without a mount.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(ValueError, match=r"disk full: the cache needs 0 MB"):
            load(root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caches(root) == []


def test_a_cache_folder_that_cannot_be_written(root):
    with pytest.raises(ValueError, match=r"cannot write the cache in .*data.cache_dir="):
        load(root, cache_dir=root / "ptbxl_database.csv" / "cache")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("scp_codes", "{'NORM': 100.0", r"ecg_id 3: expected scp_codes like"),
        ("scp_codes", "['NORM']", r"ecg_id 3: expected scp_codes like"),
        ("scp_codes", "{'NORM': 'high'}", r"ecg_id 3: expected scp_codes like"),
        ("scp_codes", "{'NROM': 100.0}", r"ecg_id 3: unknown SCP-ECG code 'NROM'"),
        ("strat_fold", 11, r"ecg_id 3: expected a strat_fold of 1 to 10"),
        ("strat_fold", 2.5, r"ecg_id 3 .*expected an integer strat_fold, got 2.5"),
        ("strat_fold", 1, "patient_id 101 lie in several folds"),
        ("patient_id", None, r"ecg_id 3 .*expected an integer patient_id, got nan"),
        ("ecg_id", 1, "ecg_id 1 occurs more than once"),
        ("filename_lr", None, r"ecg_id 3: expected a file in filename_lr, got nan"),
    ],
)
def test_a_wrong_row_is_named(root, column, value, message):
    table = read_table(root).astype({column: object})
    table.loc[2, column] = value
    write_table(root, table)
    with pytest.raises(ValueError, match=message) as caught:
        load(root)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_none(root, tmp_path):
    with pytest.raises(ValueError, match=r"is missing: download .*simulate"):
        load(tmp_path)
    write_table(root, read_table(root).drop(columns=["report", "strat_fold"]))
    with pytest.raises(ValueError, match=r"missing: report, strat_fold"):
        load(root)
    for content in (b"", b"ecg_id\n1,2,3\n1\n1,2,3,4,5", bytes(range(256))):
        (root / "ptbxl_database.csv").write_bytes(content)
        with pytest.raises(ValueError, match=r"ptbxl_database.csv"):
            load(root)
    with pytest.raises(ValueError, match=r"data.fs=250: PTB-XL has 100 and 500 Hz"):
        load(root, fs=250)


# --- the verb


def test_the_verb_downloads_checks_and_caches(root, tmp_path):
    files = [path for path in root.rglob("*") if path.is_file()]
    sums = [f"{sha256_of(path)} {path.relative_to(root)}\n" for path in files]
    (root / "SHA256SUMS.txt").write_text("".join(sums))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        env = os.environ | {"PYTHONPATH": str(CHECKOUT)}
        run = partial(subprocess.run, capture_output=True, text=True, cwd=tmp_path, env=env)
        command = [sys.executable, "-m", "ecg_siglip.ptbxl", "data.root=copy"]
        command += [f"url=http://127.0.0.1:{server.server_port}"]
        done = run(command)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert f"downloaded {len(files)} files" in done.stdout
    assert "6 records" in done.stdout
    assert "1: 2  2: 2  3: 2" in done.stdout
    assert len(caches(tmp_path / "copy")) == 1
    failed = run([*command, "data.fs=500", "download=false"])
    assert failed.returncode == 1
    assert failed.stderr.startswith("ptbxl: 6 of 6 records listed are absent in copy")
    assert failed.stderr.count("\n") == 1


def test_the_settings_of_the_verb_are_those_of_prepare():
    spec = ptbxl.waveform_spec(config.WaveformConfig())
    assert spec == SPEC

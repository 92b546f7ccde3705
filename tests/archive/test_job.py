"""Jobs: what is interrupted and repeated gives the same bytes; what differs is refused by name."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from helpers import configured

from ecg_siglip import config
from ecg_siglip.archive import job as job_module
from ecg_siglip.archive.engine import Block
from ecg_siglip.archive.fhir import ModelIdentity
from ecg_siglip.archive.job import cut_blocks, run_job
from ecg_siglip.archive.output_choice import open_output
from ecg_siglip.archive.rows import error_row
from ecg_siglip.predict import predict
from ecg_siglip.vocabulary import ptbxl

MODEL = ModelIdentity("r1", "0.3.0", "a", ptbxl(), ("AFIB",))
PATHS = [f"r{i}" for i in range(10)]
NOW = {"schema_version": 1, "model": "a", "n_records": 10, "records": "b", "settings": {"s": 1}}


class Interrupted(Exception):
    """As a killed process: nothing after it runs."""


class Engine:
    """Yields a row per record, and stops after some blocks."""

    def __init__(self, n_blocks=99):
        self.n_blocks = n_blocks
        self.done = []

    def run(self, blocks):
        for block in blocks:
            if len(self.done) == self.n_blocks:
                raise Interrupted
            self.done.append(block.index)
            yield block.index, [error_row(path, f"{path}: no reason") for path in block.paths]


def output_of(out, form=None):
    return open_output(config.PredictConfig(out=str(out), format=form), MODEL)


def run(out, engine, now=NOW, **options):
    output = output_of(out, options.pop("form", None))
    with output.hold(0.0):
        return run_job(PATHS, now, {}, 3, engine, output, **options)


def content(out):
    """Return the bytes of all files of a result, but of the job's description."""
    files = sorted(out.glob("part-*")) if out.is_dir() else [out]
    return [path.read_bytes() for path in files]


def test_blocks_cover_all_records_one_time():
    blocks = list(cut_blocks(PATHS, 3, {1}))
    assert [block.index for block in blocks] == [0, 2, 3]
    assert blocks[-1] == Block(3, ("r9",))


@pytest.mark.parametrize("name", ["p.parquet", "p.csv", "p.jsonl", "parts/"])
def test_an_interrupted_job_continues_and_gives_the_same_bytes(name, tmp_path):
    whole, parts = tmp_path / "whole" / name, tmp_path / "parts" / name
    counts, was_complete = run(f"{whole}{'/' * name.endswith('/')}", Engine())
    assert (counts, was_complete) == ({"unreadable": 10}, False)
    done = []
    for _ in range(2):
        engine = Engine(1)
        with pytest.raises(Interrupted):
            run(f"{parts}{'/' * name.endswith('/')}", engine)
        assert not parts.is_file()
        done += engine.done
    engine = Engine()
    counts, _ = run(f"{parts}{'/' * name.endswith('/')}", engine)
    assert (counts, done + engine.done) == ({"unreadable": 10}, [0, 1, 2, 3])
    assert content(parts) == content(whole)
    names = {"p.parquet": 2, "p.csv": 2, "p.jsonl": 2, "parts/": 1}[name]
    assert len(list(parts.parent.iterdir())) == names  # no hidden folder stays


@pytest.mark.parametrize("name", ["p.csv", "parts"])
def test_a_complete_job_does_nothing_and_overwrite_begins_again(name, tmp_path):
    out = tmp_path / name
    run(out, Engine())
    engine = Engine()
    assert run(out, engine) == ({"unreadable": 10}, True)
    assert engine.done == []
    run(out, engine, NOW | {"model": "other"}, overwrite=True)
    assert engine.done == [0, 1, 2, 3]


@pytest.mark.parametrize("moment", ["finish", "write_job", "tidy"])
def test_an_interruption_at_the_end_loses_nothing(moment, tmp_path, monkeypatch):
    whole, out = tmp_path / "whole.csv", tmp_path / "p.csv"
    run(whole, Engine())
    output = output_of(out)

    def stop(*_):
        raise Interrupted

    if moment != "write_job":
        monkeypatch.setattr(type(output), moment, stop)
    else:
        write = type(output).write_job
        monkeypatch.setattr(
            type(output), moment, lambda o, job: stop() if job["complete"] else write(o, job)
        )
    with pytest.raises(Interrupted):
        run(out, Engine())
    monkeypatch.undo()
    engine = Engine()
    counts, was_complete = run(out, engine)
    assert (counts, was_complete, engine.done) == ({"unreadable": 10}, moment == "tidy", [])
    assert out.read_bytes() == whole.read_bytes()
    assert len(list(tmp_path.iterdir())) == 4


def test_another_model_setting_or_list_is_refused_by_name(tmp_path):
    out = tmp_path / "p.csv"
    with pytest.raises(Interrupted):
        run(out, Engine(1))
    for change, error in (
        ({"model": "x"}, "the model"),
        ({"settings": {"s": 2}}, r"s \(was 1, now 2\)"),
        ({"records": "x"}, "10 others or in another order"),
        ({"records": "x", "n_records": 11}, r"the records \(were 10, now 11\)"),
    ):
        with pytest.raises(ValueError, match=f"{error}.*overwrite=true"):
            run(out, Engine(), NOW | change)
    run(out, Engine())


def test_what_predict_did_not_write_is_not_replaced(tmp_path):
    (tmp_path / "p.csv").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").write_text("mine")
    for out, error in (
        ("p.csv", "was not made by predict"),
        ("folder", "holds other files"),
        ("p.xls", "expected a name that ends"),
        ("https://x/p.csv", "expected a file, a folder, a database"),
    ):
        with pytest.raises(ValueError, match=error):
            run(tmp_path / out if "://" not in out else out, Engine())
    with pytest.raises(ValueError, match="format=csv"):
        run(tmp_path / "p.parquet", Engine(), form="csv")
    assert (tmp_path / "p.csv").read_text() == "mine"


def test_every_setting_is_either_free_or_compared():
    names = job_module.setting_names(config.PredictConfig)
    assert set(config.PredictConfig.FREE) <= set(names)
    for name in ("measurements", "threshold_rule", "read.fs", "rows", "block_size", "format"):
        assert name in names and name not in config.PredictConfig.FREE


@pytest.fixture
def archive(simulated, tmp_path):
    """A folder with 40 records, one of which is damaged, and a document."""
    folder = tmp_path / "archive"
    folder.mkdir()
    for path in sorted(simulated.glob("records100/*/*"))[:80]:
        (folder / path.name).hardlink_to(path)
    (folder / "damaged.hea").write_text("damaged\n")
    (folder / "report.pdf").write_bytes(b"%PDF-1.7")
    return folder


def settings_of(trained, archive, out, **changes):
    base = {"run.name": trained.name, "run.root": str(trained.parent), "device": "cpu"}
    base |= {"records": [str(archive)], "out": str(out), "measurements": False, "block_size": 4}
    return configured(config.PredictConfig, base | {"n_workers": 0} | changes)


def test_predict_stores_rows_and_reports_what_it_did(trained, archive, tmp_path, capsys):
    code = predict(settings_of(trained, archive, tmp_path / "p.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text("utf-8").splitlines()]
    stdout, stderr = capsys.readouterr()
    assert (code, stdout) == (3, "")
    assert stderr.splitlines()[-1] == (
        "predict: 40 predicted, 1 unreadable, 1 skipped: 1 PDF document"
    )
    assert [line["status"] for line in lines].count("predicted") == 40
    assert "record damaged" in next(x for x in lines if x["status"] == "unreadable")["reason"]
    job = json.loads((tmp_path / "p.jsonl.job.json").read_text("utf-8"))
    assert job["complete"] and job["counts"] == {"predicted": 40, "unreadable": 1}
    assert job["skipped"] == {"a PDF document": 1}
    # The printed lines are the same.
    predict(replace(settings_of(trained, archive, "", batch_size=4), out=None))
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    stored = [line for line in lines if line["status"] == "predicted"]
    for one in stored:
        assert (one.pop("schema_version"), one.pop("status"), one.pop("reason")) == (
            1, "predicted", None,
        )  # fmt: skip
    assert printed == stored


@pytest.mark.slow
def test_a_job_killed_five_times_gives_the_bytes_of_an_undisturbed_one(trained, archive, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    predict(settings_of(trained, archive, whole))
    command = [sys.executable, "-m", "ecg_siglip.predict", f"records=[{archive}]", f"out={out}"]
    command += [f"run.root={trained.parent}", f"run.name={trained.name}", "device=cpu"]
    command += ["measurements=false", "block_size=4", "n_workers=2"]
    rng, codes = random.Random(0), []
    for _ in range(5):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        before = len(list(out.glob("part-*")))
        while process.poll() is None and len(list(out.glob("part-*"))) == before:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.01))
        process.kill()
        codes.append(process.wait())
    assert codes.count(-signal.SIGKILL) > 1, codes
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert content(out) == content(whole)
    assert not [path for path in out.iterdir() if path.name.startswith(".")]

"""Weights & Biases offline: its file has the run, which may be uploaded later."""

import json
import struct
from pathlib import Path

import pytest

from ecg_siglip.training.wandb_tracker import WandbTracker

pytest.importorskip("wandb", reason="needs the extra [wandb]")


def records(folder: Path):
    """Return the records of the file of a session: a log of LevelDB after 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    [path] = folder.glob("*.wandb")
    content, i, part, found = path.read_bytes(), 7, b"", []
    while i + 7 <= len(content):
        left = 32768 - i % 32768
        if left < 7:
            i += left
            continue
        _, n, kind = struct.unpack("<IHB", content[i : i + 7])
        part, i = part + content[i + 7 : i + 7 + n], i + 7 + n
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(part)
            found, part = [*found, record], b""
    return found


def items(record, kind):
    content = getattr(record, kind)
    pairs = content.item if kind == "history" else content.update
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in pairs}


def test_sessions_of_a_run_have_one_id_and_all_its_numbers(tmp_path, monkeypatch, capfd):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # without a key
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    run = tmp_path / "bank_s0"
    run.mkdir()
    (run / "config.yaml").write_text("seed: 0\n")
    (run / "model").mkdir()
    (run / "model" / "README.md").write_text("card")

    first = WandbTracker(run)
    first.start({"optim.lr": "0.002"}, {"data": "150 records"})
    first.add(run / "config.yaml")
    first.log({"loss": 0.5, "macro_auroc": 0.75}, 1)
    first.close("failed")
    second = WandbTracker(run, first.id)
    second.log({"loss": 0.25, "macro_auroc": 0.875}, 2)
    second.log({"tune/ece": 0.0625})
    second.add(run / "model")
    second.close("finished")

    sessions = [records(folder) for folder in sorted(run.glob("wandb/offline-run-*"))]
    both = [record for session in sessions for record in session]
    kinds = [record.WhichOneof("record_type") for record in both]
    runs = [record.run for record in both if record.HasField("run")]
    assert [each.run_id for each in runs] == [first.id] * 2
    assert {(each.display_name, each.project) for each in runs} == {("bank_s0", "ecg_siglip")}
    assert not any(each.git.commit or each.git.remote_url for each in runs)
    history = [items(record, "history") for record in both if record.HasField("history")]
    assert [(row["epoch"], row["loss"]) for row in history] == [(1, 0.5), (2, 0.25)]
    config = [items(record, "config") for record in both if record.HasField("config")]
    assert config[0]["optim.lr"] == "0.002" and config[0]["data"] == "150 records"
    summaries = [items(record, "summary") for record in both if record.HasField("summary")]
    assert {"tune/ece": 0.0625} in summaries
    files = [file.path for record in both for file in record.files.files]
    assert {"run/config.yaml", "run/model/README.md"} <= set(files)
    assert kinds.count("exit") == 2
    assert "prompt" not in capfd.readouterr().err

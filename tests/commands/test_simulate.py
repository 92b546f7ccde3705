"""`simulate` writes a data set that the loaders read."""

import sys

import pandas as pd
import pytest

from ecg_siglip import simulate


def test_it_writes_the_requested_records(tmp_path, monkeypatch, capsys):
    root = tmp_path / "data"
    arguments = [f"data.root={root}", "n_records=12", "records500=true", "n_workers=1"]
    monkeypatch.setattr(sys, "argv", ["simulate", *arguments])
    simulate.main()
    assert f"wrote 12 records to {root}" in capsys.readouterr().out
    assert len(pd.read_csv(root / "ptbxl_database.csv")) == 12
    assert len(list(root.glob("records500/*/*.dat"))) == 12


@pytest.mark.parametrize("layout", ["ptbxl", "table"])
def test_the_same_command_again_leaves_the_data_as_they_are(tmp_path, monkeypatch, capsys, layout):
    pytest.importorskip("pydicom", reason="needs the extra [formats]")
    arguments = [f"layout={layout}", f"data.root={tmp_path / 'd'}", "n_records=12", "n_workers=1"]
    monkeypatch.setattr(sys, "argv", ["simulate", *arguments])
    simulate.main()
    before = (tmp_path / "d" / "simulation.json").stat().st_ino
    simulate.main()
    assert "complete: 12 records" in capsys.readouterr().out
    assert (tmp_path / "d" / "simulation.json").stat().st_ino == before
    monkeypatch.setattr(sys, "argv", ["simulate", *arguments, "seed=1"])
    with pytest.raises(SystemExit):
        simulate.main()
    assert "is not empty" in capsys.readouterr().err


def test_a_folder_in_use_is_an_error_on_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "notes").write_text("mine")
    monkeypatch.setattr(sys, "argv", ["simulate", f"data.root={tmp_path}", "n_records=12"])
    with pytest.raises(SystemExit) as stop:
        simulate.main()
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith(f"simulate: {tmp_path} is not empty")


def test_a_hospital_is_written_with_its_table_and_vocabulary(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pydicom", reason="needs the extra [formats]")
    root = tmp_path / "data"
    arguments = ["layout=table", f"data.root={root}", "n_records=12", "n_workers=1"]
    monkeypatch.setattr(sys, "argv", ["simulate", *arguments])
    simulate.main()
    assert f"wrote 12 records, {root / 'ecgs.csv'}" in capsys.readouterr().out
    assert len(pd.read_csv(root / "ecgs.csv")) == 12
    assert {path.name for path in root.iterdir()} == {
        "ecgs", "ecgs.csv", "codes.csv", "findings.yaml", "simulation.json",
    }  # fmt: skip


def test_records500_is_for_the_layout_of_ptbxl(tmp_path, monkeypatch, capsys):
    arguments = ["layout=table", f"data.root={tmp_path / 'd'}", "records500=true"]
    monkeypatch.setattr(sys, "argv", ["simulate", *arguments])
    with pytest.raises(SystemExit):
        simulate.main()
    assert "records500=true: expected with layout=ptbxl only" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["layout=table", "difficulty=realistic"], "expected with layout=ptbxl only"),
        (["balance=0.5"], "balance=0.5: expected with difficulty=realistic only"),
    ],
)
def test_a_setting_without_effect_is_an_error(tmp_path, monkeypatch, capsys, arguments, expected):
    monkeypatch.setattr(sys, "argv", ["simulate", f"data.root={tmp_path / 'd'}", *arguments])
    with pytest.raises(SystemExit):
        simulate.main()
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "d").exists()

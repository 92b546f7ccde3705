"""Inputs: every way to name records gives the same records, each one time, in order."""

import io
import sqlite3

import pandas as pd
import pytest
from helpers import rewritten

from ecg_siglip.archive.inputs import find_inputs
from ecg_siglip.datasets import ptbxl

NAMES = ("a, b", "c 'd' \"e\"", "f[1]", "Ä ö", "g")


@pytest.fixture(scope="module")
def folder(simulated, tmp_path_factory):
    """Five records whose names have commas, spaces, quotes, brackets and umlauts."""
    record = simulated / ptbxl.read_metadata(simulated)["filename_lr"].iloc[0]
    folder = tmp_path_factory.mktemp("records")
    for name in NAMES:
        rewritten(record, folder, "x")
        for suffix in (".hea", ".dat"):
            text = (folder / f"x{suffix}").read_bytes().replace(b"x.dat", f"{name}.dat".encode())
            (folder / f"{name}{suffix}").write_bytes(text)
            (folder / f"x{suffix}").unlink()
    return folder


@pytest.fixture
def headers(folder):
    return sorted(map(str, folder.glob("*.hea")))


def found(*records, **options):
    inputs = find_inputs([str(each) for each in records], **options)
    return inputs.paths


def test_files_folders_and_patterns_name_the_same_records(folder, headers):
    assert len(headers) == len(NAMES)
    assert found(folder) == headers
    assert sorted(found(*headers)) == headers
    for pattern in ("*", "*.hea", "*.dat", "**/*", "[!z]*"):
        assert sorted(found(folder / pattern)) == headers, pattern
    # A file of that name comes before the pattern.
    assert found(folder / "f[1].hea") == [str(folder / "f[1].hea")]


def test_a_record_is_there_one_time_however_often_it_is_named(folder, headers, monkeypatch):
    monkeypatch.chdir(folder)
    inputs = find_inputs([str(folder), "g", "g.hea", "./g.dat", str(folder / "*")])
    assert (inputs.paths, inputs.n_repeated) == (headers, 3 + len(headers))
    assert found("g.dat", folder)[0] == "g.dat"


def test_lists_tables_databases_and_stdin(folder, headers, tmp_path, monkeypatch):
    (tmp_path / "list.txt").write_text("\ufeff" + "\r\n".join(["", *headers, ""]), "utf-8")
    frame = pd.DataFrame({"n": range(len(headers)), "path": headers})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    frame.to_parquet(tmp_path / "t.parquet")
    for name in ("list.txt", "t.csv", "t.tsv", "t.parquet"):
        assert found(f"@{tmp_path / name}") == headers, name
    renamed = frame.rename(columns={"path": "Where"})
    renamed.to_csv(tmp_path / "u.csv", index=False)
    with pytest.raises(ValueError, match=r"none of the columns .* records_column=n\|Where"):
        found(f"@{tmp_path / 'u.csv'}")
    assert found(f"@{tmp_path / 'u.csv'}", column="Where") == headers
    with pytest.raises(ValueError, match="no column Wo"):
        found(f"@{tmp_path / 'u.csv'}", column="Wo")
    for separator in ("\n", "\0"):
        content = io.TextIOWrapper(io.BytesIO(separator.join(headers).encode()))
        monkeypatch.setattr("sys.stdin", content)
        assert found("-") == headers
    pytest.importorskip("sqlalchemy", reason="needs the extra [sql]")
    with sqlite3.connect(tmp_path / "d.db") as connection:
        frame.to_sql("ecg", connection)
    address = f"@sqlite:///{tmp_path / 'd.db'}"
    assert found(address, query="SELECT path FROM ecg ORDER BY n") == headers
    with pytest.raises(ValueError, match=r"records=@sqlite.*records_query="):
        found(address)


def test_what_names_no_record_stops_before_the_work(tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "notes.pdf").write_bytes(b"%PDF-1.7")
    for records, error in (
        ([], "no record named"),
        ([f"{tmp_path}/*.xml"], "no file matches"),
        ([f"@{tmp_path}/nothing.txt"], "no such file"),
        ([f"@{tmp_path}/empty.txt"], "names no record"),
        ([f"{tmp_path}/*.pdf"], "no record there, but 1 PDF document"),
    ):
        with pytest.raises(ValueError, match=error):
            find_inputs(records)


def test_what_a_pattern_matches_besides_records_is_counted(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "b.gdf").write_bytes(b"GDF 2.20")
    (tmp_path / "c.pdf").write_bytes(b"%PDF-1.7")
    skipped = find_inputs([f"{tmp_path}/*"]).skipped
    assert (skipped.kinds(True), skipped.kinds(False)) == ("1 GDF recording", "1 PDF document")
    assert skipped.counts == find_inputs([str(tmp_path)]).skipped.counts


def test_what_the_job_writes_is_no_input(folder, headers):
    for out in ("p.parquet", "parts"):
        written = folder / (out if "." in out else f"{out}/p.parquet")
        written.parent.mkdir(exist_ok=True)
        pd.DataFrame({lead: [0.0] for lead in ("I", "II")}).to_parquet(written)
        assert found(folder, out=str(folder / out)) == headers
        written.unlink()

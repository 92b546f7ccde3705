"""The setting ``out``: which output it chooses, and the same rows in each of them."""

import json
import uuid

import pandas as pd
import pytest
import writers

from ecg_siglip import config
from ecg_siglip.archive import fhir, outputs, remote, remote_output, sql_output
from ecg_siglip.archive.output_choice import choose_form, open_output
from ecg_siglip.predict import predict
from ecg_siglip.vocabulary import ptbxl

MODEL = fhir.ModelIdentity("r1", "0.3.0", "ab" * 32, ptbxl(), ("AFIB", "SR"))


@pytest.mark.parametrize(
    ("out", "form", "kind"),
    [
        ("rows.parquet", None, outputs.FileOutput),
        ("file:///archive/rows.ndjson", "fhir", outputs.FileOutput),
        ("rows/", "fhir", outputs.FolderOutput),
        ("memory://rows/", None, remote_output.RemoteOutput),
        ("s3://bucket/rows", "jsonl", remote_output.RemoteOutput),
        ("sqlite:///rows.db", None, sql_output.SqlOutput),
    ],
)
def test_what_out_names(out, form, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = config.PredictConfig(out=out, format=form)
    assert isinstance(open_output(settings, MODEL), kind)


@pytest.mark.parametrize(
    ("out", "form", "message"),
    [
        ("rows.ndjson", None, "expected format=fhir"),
        ("rows.csv", "fhir", r"ends with \.csv; expected the same"),
        ("rows.txt", None, r"expected a name that ends with \.parquet"),
        ("sqlite:///rows.db", "csv", "expected no format for a database"),
        ("s3://bucket/rows.parquet", None, "expected a remote folder of parts"),
        ("sftp://me:secret@host/rows/", None, r"me:\*\*\*@.*has a password"),
        ("https://host/rows/", None, "expected a file, a folder, a database or"),
        ("github://a/b/", None, "expected a file, a folder, a database or"),
    ],
)
def test_a_wrong_output_is_one_line(out, form, message):
    with pytest.raises(ValueError, match=message) as caught:
        choose_form(out, form)
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_fhir_has_no_windows():
    settings = config.PredictConfig(out="rows/", format="fhir", rows="window")
    with pytest.raises(ValueError, match="expected rows=record"):
        open_output(settings, MODEL)


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> list[str]:
    """Return five records, one of them unreadable."""
    folder = tmp_path_factory.mktemp("records")
    paths = [str(writers.write_wfdb(folder, writers.ecg() + i, name=f"r{i}")) for i in range(4)]
    (folder / "broken.xml").write_bytes(b"<broken")
    return [*paths, str(folder / "broken.xml")]


def run(trained, records: list[str], out: str, **changed) -> int:
    settings = config.PredictConfig(
        model=str(trained / "model"), records=records, out=out, block_size=2, n_workers=0,
        device="cpu", **changed,
    )  # fmt: skip
    return predict(settings)


@pytest.fixture(scope="module")
def expected(trained, records, tmp_path_factory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("expected") / "rows.parquet"
    assert run(trained, records, str(path)) == 3
    return pd.read_parquet(path)


def test_a_database_has_the_same_rows(trained, records, expected, tmp_path):
    sqlalchemy = pytest.importorskip("sqlalchemy")
    address = f"sqlite:///{tmp_path}/rows.db"
    for _ in range(2):  # the second time there is nothing left to do
        assert run(trained, records, address, out_table="ecgs") == 3
    query = "SELECT * FROM ecgs ORDER BY block, number"
    with sqlalchemy.create_engine(address).connect() as connection:
        rows = pd.read_sql_query(sqlalchemy.text(query), connection)
    assert rows.record.tolist() == expected.record.tolist() == records
    assert rows.probability_afib.dropna().tolist() == expected["probability/AFIB"].dropna().tolist()
    assert rows.status.tolist() == expected.status.tolist()


def test_a_remote_folder_has_the_same_rows_and_is_continued(trained, records, expected):
    fsspec = pytest.importorskip("fsspec")
    folder = f"memory://{uuid.uuid4().hex}"
    assert run(trained, records, f"{folder}/") == 3
    names_there = remote.list_names(folder)
    assert names_there == ["_job.json", *(f"part-{i:06d}.parquet" for i in range(3))]

    def parts() -> list[bytes]:
        return [remote.read_bytes(f"{folder}/{name}") for name in names_there[1:]]

    first = parts()
    fsspec.filesystem("memory").rm(f"{folder}/{names_there[2]}")
    assert run(trained, records, f"{folder}/") == 3
    assert parts() == first
    frames = []
    for name in names_there[1:]:
        with remote.local_copy(f"{folder}/{name}") as path:
            frames.append(pd.read_parquet(path))
    pd.testing.assert_frame_equal(pd.concat(frames, ignore_index=True), expected)
    with pytest.raises(ValueError, match="was begun with something else: the records"):
        run(trained, records[:2], f"{folder}/")
    assert run(trained, records[:2], f"{folder}/", overwrite=True) == 0
    assert remote.list_names(folder) == names_there[:2]


def names(rows: pd.DataFrame) -> pd.Series:
    return rows.record.str.rpartition("/")[2].str.removesuffix(".hea")


def test_remote_records_have_the_rows_of_local_ones(trained, records, expected, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    folder = f"memory://{uuid.uuid4().hex}"
    system = fsspec.filesystem("memory")
    for record in records:
        for suffix in (".hea", ".dat") if record.endswith(".hea") else ("",):
            path = record.removesuffix(".hea") + suffix
            system.put_file(path, f"{folder}/{path.rpartition('/')[2]}")
    (tmp_path / "list.txt").write_text(f"{folder}/r0.hea\n{folder}/r1\n")
    system.put_file(str(tmp_path / "list.txt"), f"{folder}/list.lst")
    for i, source in enumerate((folder, f"@{folder}/list.lst", f"{folder}/r[01].hea")):
        out = tmp_path / f"{i}.parquet"
        assert run(trained, [source], str(out)) == (3 if i == 0 else 0)
        rows = pd.read_parquet(out)
        columns = [column for column in rows if column not in ("record", "reason")]
        same = [expected[columns][names(expected) == name] for name in names(rows)]
        pd.testing.assert_frame_equal(
            rows[columns], pd.concat(same, ignore_index=True), check_dtype=False
        )
        assert rows.record.str.startswith(folder).all()


def test_fhir_lines_are_continued_and_counted(trained, records, tmp_path):
    out = tmp_path / "rows.ndjson"
    assert run(trained, records, str(out), format="fhir", measurements=False) == 3
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["resourceType"] for line in lines] == ["Bundle"] * 4 + ["OperationOutcome"]
    bundles = pytest.importorskip("fhir.resources.R4B.bundle")
    for line in lines[:4]:
        bundles.Bundle.model_validate_json(json.dumps(line))
    report = lines[0]["entry"][-1]["resource"]
    assert report["identifier"][0]["value"] == records[0]
    assert json.loads((tmp_path / "rows.ndjson.job.json").read_text())["counts"] == {
        "predicted": 4, "unreadable": 1
    }  # fmt: skip

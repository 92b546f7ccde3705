"""A table of ECGs: labels, folds, reader settings; and one line for whatever is wrong in it."""

import os
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecg_siglip.config import WaveformConfig
from ecg_siglip.datasets import ptbxl
from ecg_siglip.datasets.table import load_table, parse_table
from ecg_siglip.signals.leads import LEADS
from ecg_siglip.vocabulary import vocabulary_file
from ecg_siglip.vocabulary.code_mapping import CodeMeaning
from ecg_siglip.vocabulary.entry import Entry
from ecg_siglip.vocabulary.vocabulary import Vocabulary
from tests import writers
from tests.helpers import SHARED

CODES = ("AFIB", "IMI", "LAO/LAE", "NORM")
VOCABULARY = Vocabulary(
    "four", "en", tuple(Entry(code, code, {"en": (code,), "ja": (code,)}) for code in CODES)
)


def _parse(folder: Path, text: str, name: str = "ecgs.csv", **options):
    path = folder / name
    path.write_bytes(text.encode())
    return parse_table(str(path), VOCABULARY, **options)


def test_findings_are_present_and_all_others_absent(tmp_path):
    data = _parse(tmp_path, 'path,findings\na,AFIB;LAO/LAE\nb,"[""IMI""]"\nc,\n')
    assert data.y_true.astype(int).tolist() == [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert data.known.all()


def test_unknown_findings_are_not_absent(tmp_path):
    data = _parse(tmp_path, "path,findings,unknown\na,AFIB,IMI;NORM\nb,,*\nc,NORM,\n")
    assert data.known.astype(int).tolist() == [[1, 0, 1, 0], [0] * 4, [1] * 4]


def test_columns_of_codes_leave_open_what_is_empty(tmp_path):
    data = _parse(tmp_path, "path,AFIB,LAO/LAE\na,1,0\nb,,1.0\nc,false,TRUE\n")
    assert data.y_true.astype(int).tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]]
    assert data.known.astype(int).tolist() == [[1, 0, 1, 0], [0, 0, 1, 0], [1, 0, 1, 0]]


def test_a_table_without_labels_is_unlabelled(tmp_path):
    data = _parse(tmp_path, "path,report\na,sinus rhythm\nb,\n")
    assert not data.known.any() and data.reports == ["sinus rhythm", ""]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_other_separators_and_a_byte_order_mark(tmp_path, separator):
    rows = ["path,patient_id,findings", "a,7,AFIB", "b,8,NORM"]
    text = "\ufeff" + "\r\n".join(rows).replace(",", separator)
    data = _parse(tmp_path, text)
    assert data.paths == ["a", "b"] and data.y_true.sum() == 2 and data.patients == ["7", "8"]


def test_a_table_as_spreadsheets_export_it(tmp_path):
    """Separators in names and at the end, empty rows, line breaks, a first line sep=;."""
    text = (
        'sep=;\r\n path ;"Age, years,\r\nat test, rounded";findings;report;weight;;\r\n'
        'a;61;"AFIB;LAO/LAE";"line 1\r\nline 2";0,5;;\r\n;;;;;;\r\n\r\n'
        'b;62;NORM;"a ""no"" twice";1;;\r\n;;;;;;\r\n'
    )
    data = _parse(tmp_path, "\ufeff" + text)
    assert data.paths == ["a", "b"] and data.y_true.sum(1).tolist() == [2, 1]
    assert data.reports == ["line 1\r\nline 2", 'a "no" twice']
    assert data.weight.tolist() == [0.5, 1] and data.table.row_numbers.tolist() == [2, 5]
    assert data.table.ignored == ["Age, years,\r\nat test, rounded"]


def test_columns_without_a_name_are_ignored(tmp_path):
    data = _parse(tmp_path, ",path,,findings\n0,a,,AFIB\n1,b,,\n")
    assert data.table.ignored == ["column 1 (without a name)"] and data.paths == ["a", "b"]


def test_spaces_and_accents_of_codes_and_paths_are_plain(tmp_path):
    text = "path,findings,patient_id\n a\u00a0,AFIB\u00a0; LAO/LAE , 7\nb,IMI\u3000,7 \n"
    data = _parse(tmp_path, text)
    assert data.paths == ["a", "b"] and data.patients == ["7", "7"]
    assert data.y_true.sum(1).tolist() == [2, 1]
    umlaut = Vocabulary("v", "en", (Entry("ÄRZTE", "x", {"en": ("x",)}),))
    for head, cell in (("findings", "A\u0308RZTE"), ("A\u0308RZTE", "1")):
        (tmp_path / "t.csv").write_text(f"path,{head}\na,{cell}\n", "utf-8")
        assert parse_table(str(tmp_path / "t.csv"), umlaut).y_true.all()


def test_a_column_with_a_similar_name_is_named_before_training(tmp_path, capsys):
    folder = _folder(tmp_path)
    (folder / "t.csv").write_text("path,Findings,ward,X01\nmuse.xml,AFIB,3,1\n")
    waveform = ptbxl.waveform_spec(WaveformConfig())
    load_table(str(folder / "t.csv"), VOCABULARY, waveform=waveform)
    error = capsys.readouterr().err
    assert "columns not used: Findings (did you mean findings?), X01 (1 and 0: a code" in error
    assert "ward" not in error


def test_typed_columns_of_parquet(tmp_path):
    frame = pd.DataFrame(
        {
            "path": ["a", "b", "c"],
            "record": [11, 5, 7],
            "findings": [["AFIB", "IMI"], [], ["NORM"]],
            "patient_id": [1.0, 2.0, 2.0],
            "fold": [1, 9, 9],
            "fs": [500.0, np.nan, 250.0],
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    data = parse_table(str(tmp_path / "t.parquet"), VOCABULARY)
    assert data.ecg_id.tolist() == [11, 5, 7] and data.strat_fold.tolist() == [1, 9, 9]
    assert data.y_true.sum(1).tolist() == [2, 0, 1] and data.patient_id.tolist() == [1, 2, 2]
    assert data.read == [{"fs": 500.0}, {}, {"fs": 250.0}]


def test_numbers_of_zeros_and_ones_in_parquet(tmp_path):
    frame = pd.DataFrame(
        {"path": ["a", "b", "c"], "AFIB": [1, np.nan, 0], "IMI": [True, False, True]}
    )
    frame.to_parquet(tmp_path / "t.parquet")
    data = parse_table(str(tmp_path / "t.parquet"), VOCABULARY)
    assert data.y_true[:, :2].astype(int).tolist() == [[1, 1], [0, 0], [0, 1]]
    assert data.known[:, :2].astype(int).tolist() == [[1, 1], [0, 1], [1, 1]]


def test_long_numbers_missing_items_and_an_index_of_parquet(tmp_path):
    big = 10**17
    frame = pd.DataFrame(
        {
            "findings": [["AFIB", None], [], None],
            "patient_id": pd.array([big + 1, big + 2, big + 3], dtype="Int64"),
            "record": [2**62 + 1, 2**62 + 2, 2**62 + 3],
            "leads": [["I", "II"], None, ["V1"]],
        },
        index=pd.Index([b"a", b"b", b"c"], name="path"),
    )
    frame.to_parquet(tmp_path / "t.parquet")
    data = parse_table(str(tmp_path / "t.parquet"), VOCABULARY)
    assert data.paths == ["a", "b", "c"] and data.y_true.sum() == 1
    assert data.patients == [str(big + i) for i in (1, 2, 3)]
    assert data.record == [str(2**62 + i) for i in (1, 2, 3)]
    assert data.read == [{"leads": ["I", "II"]}, {}, {"leads": ["V1"]}]
    frame.assign(patient_id=[[1], [2], [3]]).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="column patient_id: expected single values, got lists"):
        parse_table(str(tmp_path / "t.parquet"), VOCABULARY)


def test_long_numbers_with_missing_cells_of_a_query(tmp_path):
    pytest.importorskip("sqlalchemy")
    with sqlite3.connect(tmp_path / "t.db") as connection:
        connection.execute("CREATE TABLE ecg (path TEXT, patient_id INTEGER, fs INTEGER)")
        rows = [("a", 10**17 + 1, None), ("b", 10**17 + 2, 500)]
        connection.executemany("INSERT INTO ecg VALUES (?, ?, ?)", rows)
    query = "SELECT * FROM ecg"
    data = parse_table(f"sqlite:///{tmp_path / 't.db'}", VOCABULARY, query=query)
    assert data.patients == [str(10**17 + 1), str(10**17 + 2)] and data.read == [{}, {"fs": 500.0}]


def test_a_query_of_sqlite(tmp_path):
    sqlalchemy = pytest.importorskip("sqlalchemy")
    address = f"sqlite:///{tmp_path / 'ecgs.db'}"
    frame = pd.DataFrame({"file": ["a", "b"], "dx": ["AFIB;IMI", None], "pid": [3, 4]})
    with sqlalchemy.create_engine(address).connect() as connection:
        frame.to_sql("ecg", connection)
        connection.commit()
    query = "SELECT file AS path, dx AS findings, pid AS patient_id FROM ecg"
    data = parse_table(address, VOCABULARY, query=query)
    assert data.paths == ["a", "b"] and data.y_true.sum(1).tolist() == [2, 0]
    assert data.patient_id.tolist() == [3, 4]


def test_an_address_in_the_environment(tmp_path, monkeypatch):
    sqlalchemy = pytest.importorskip("sqlalchemy")
    address = f"sqlite:///{tmp_path / 'ecgs.db'}"
    with sqlalchemy.create_engine(address).connect() as connection:
        pd.DataFrame({"path": ["a"]}).to_sql("ecg", connection)
        connection.commit()
    monkeypatch.setenv("ECG_DATABASE", address)
    assert len(parse_table("env:ECG_DATABASE", VOCABULARY, query="SELECT path FROM ecg")) == 1


@pytest.mark.skipif("ECG_SIGLIP_POSTGRESQL" not in os.environ, reason="no PostgreSQL server")
def test_a_query_of_postgresql():
    import sqlalchemy

    address = os.environ["ECG_SIGLIP_POSTGRESQL"]
    with sqlalchemy.create_engine(address).connect() as connection:
        frame = pd.DataFrame({"path": ["a", "b"], "findings": ["AFIB", "IMI;NORM"], "fold": [1, 2]})
        frame.to_sql("ecg", connection, if_exists="replace")
        connection.commit()
    data = parse_table("env:ECG_SIGLIP_POSTGRESQL", VOCABULARY, query="SELECT * FROM ecg")
    assert data.y_true.sum(1).tolist() == [1, 2] and data.strat_fold.tolist() == [1, 2]


def test_codes_of_another_language_are_mapped(tmp_path):
    mapping = [
        CodeMeaning("VHF", ("AFIB",)),
        CodeMeaning("Infarkt", ("IMI", "LAO/LAE"), "broader"),
        CodeMeaning("nie", ("NORM",)),
        CodeMeaning("egal", ()),
    ]
    data = _parse(tmp_path, "path,findings\na,VHF;egal\nb,Infarkt\nc,\n", mapping=mapping)
    labels = np.where(data.known, data.y_true.astype(int), -1)
    # `nie` is never stated, so nothing is known about NORM.
    assert labels.tolist() == [[1, 0, 0, -1], [0, -1, -1, -1], [0, 0, 0, -1]]


def test_a_code_that_is_not_in_the_mapping_is_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"code X is not in the mapping \(data.codes\) .*add it there"
    ):
        _parse(tmp_path, "path,findings\na,X\n", mapping=[CodeMeaning("VHF", ("AFIB",))])


def test_records_without_integer_names_have_stable_ids(tmp_path):
    one = _parse(tmp_path, "path\nx/a.xml\nx/b.xml\n")
    two = _parse(tmp_path, "path\nx/b.xml\nx/c.xml\nx/a.xml\n")
    assert one.ecg_id.tolist() == two.ecg_id[[2, 0]].tolist() and one.ecg_id.min() > 0


def test_findings_of_a_task(tmp_path):
    text = "path,findings,unknown\na,IMI,\nb,SR,IMI\nc,,\n"
    path = tmp_path / "t.csv"
    path.write_text(text)
    data = parse_table(str(path), vocabulary_file.ptbxl(), "superdiagnostic")
    labels = np.where(data.known, data.y_true.astype(int), -1)
    # NORM, MI, STTC, CD, HYP: one unknown member leaves the class open, unless another is present.
    assert labels.tolist() == [[0, 1, 0, 0, 0], [0, -1, 0, 0, 0], [0] * 5]


def test_columns_that_mean_nothing_here_are_listed(tmp_path):
    assert _parse(tmp_path, "path,findings,height\na,,180\n").table.ignored == ["height"]


HEAD = "path,findings,patient_id,fold\n"
WRONG = {
    "empty file": ("", "expected a header row"),
    "header only": ("path,findings\n", "has no row"),
    "no path": ("file,findings\na,AFIB\n", "no column path .*; has file, findings"),
    "path misspelt": ("Path,findings\na,AFIB\n", "no column path .*; rename Path to path"),
    "doubled column": ("path,findings,findings\na,,\n", "column findings occurs more than once"),
    "empty path": ("path,findings\na,\n,AFIB\n", "row 3, column path: is empty"),
    "doubled path": ("path\na\nb\na\n", "row 4, column path: a is also in row 2"),
    "doubled path in other words": ("path\na/b\n ./a//b \n", "row 3, column path: ./a//b is also"),
    "rounded patient": (
        "path,patient_id\na,7\nb,1.23457E+11\n", "row 3, column patient_id: .*rounded by a"
    ),
    "full-width separators": ("path,findings\na,AFIB；IMI\n", "codes are separated by ;"),
    "no header": ("\npath\na\n", "names of the columns in line 1, got none"),
    "doubled record": ("path,record\na,1\nb,1\n", "row 3, column record: 1 is also in row 2"),
    "empty record": ("path,record\na,1\nb,\n", "row 3, column record: is empty"),
    "unknown code": (
        "path,findings\na,AFIB\nb,AFIBB\n",
        "row 3, column findings: code AFIBB is not in the vocabulary .*did you mean AFIB",
    ),
    "commas between codes": (
        'path,findings\na,"AFIB,IMI"\n',
        "row 2, column findings: code AFIB,IMI is not in the vocabulary",
    ),
    "unknown code in unknown": ("path,unknown\na,XYZ\n", "row 2, column unknown: code XYZ"),
    "not a JSON list": ("path,findings\na,[AFIB\n", "row 2, column findings: expected codes as"),
    "JSON of numbers": ("path,findings\na,[1]\n", "row 2, column findings: expected codes as"),
    "present and unknown": (
        "path,findings,unknown\na,AFIB;IMI,IMI\n",
        "row 2, column unknown: IMI is unknown, but IMI is present",
    ),
    "present and all unknown": ("path,findings,unknown\na,IMI,*\n", "but IMI is present"),
    "code twice": (
        "path,findings,AFIB\na,,0\nb,AFIB,1\n",
        "row 3, column findings: AFIB also has a column of its own",
    ),
    "label of 2": ("path,AFIB\na,1\nb,2\n", "row 3, column AFIB: expected 1, 0 or an empty cell"),
    "label as a word": ("path,AFIB\na,maybe\n", "row 2, column AFIB: expected 1, 0 .* got maybe"),
    "fold 0": (HEAD + "a,,1,0\n", "row 2, column fold: expected a fold of 1 to 10, got 0"),
    "fold 11": (HEAD + "a,,1,11\n", "row 2, column fold: expected a fold of 1 to 10, got 11"),
    "half a fold": (HEAD + "a,,1,1.5\n", "row 2, column fold: expected a fold of 1 to 10"),
    "fold as a word": (HEAD + "a,,1,train\n", "row 2, column fold: .*got train"),
    "fold missing": (HEAD + "a,,1,1\nb,,2,\n", "row 3, column fold: is empty; expected a fold in"),
    "patient in two folds": (
        HEAD + "a,,7,1\nb,,8,2\nc,,7,2\n",
        "row 4, column fold: patient 7 has fold 2 here and 1 in row 2",
    ),
    "patient missing": (HEAD + "a,,7,1\nb,,,2\n", "row 3, column patient_id: is empty"),
    "sampling rate as a word": ("path,fs\na,fast\n", "row 2, column fs: expected a sampling rate"),
    "sampling rate of 0": ("path,fs\na,500\nb,0\n", "row 3, column fs: .* got 0"),
    "units": ("path,units\na,mv\n", "row 2, column units: expected nV, uV, mV, V, got mv"),
    "gain": ("path,gain\na,-1\n", "row 2, column gain: expected counts per mV"),
    "leads": ('path,leads\na,"I,,V1"\n', "row 2, column leads: expected names of leads"),
    "negative weight": ("path,weight\na,-1\n", "row 2, column weight: expected a weight"),
    "weight is no number": ("path,weight\na,nan\n", "row 2, column weight: expected a weight"),
    "language": ("path,language\na,fr\n", "row 2, column language: expected en, ja, got fr"),
    "too many cells": ("path,findings\na,AFIB\nb,IMI,x,y\n", "row 3: has 4 cells, expected 2"),
    "too few cells": ("path,findings,fs\na,IMI,\n\nb,IMI\n", "row 4: has 2 cells, expected 3"),
    "open quote": ('path,findings\na,"AFIB\n', "row 2: is no row of cells: .*is a quote missing"),
    "quotes in a cell": (
        'path,report\na,x\nb,"a "q" b"\n', "row 3: is no row of cells: .*is written twice"
    ),
    "after empty rows": (
        'path,report,AFIB\n\na,"two\nlines",1\n,,\n  ,,\nb,x,2\n', "row 6, column AFIB: expected 1"
    ),
    "not UTF-8": (b"path,findings\nM\xfcller,AFIB\n", "line 2, after 'M': expected UTF-8 text"),
    "not UTF-8 in the header": (b"path,Gr\xfc\xdfe\na,b\n", "expected UTF-8 text"),
    "UTF-16": ("path\na\n".encode("utf-16"), "expected UTF-8 text.*not as Unicode text"),
    "Shift-JIS": ("path,findings\n心電図.xml,AFIB\n".encode("shift-jis"), "line 2.*expected UTF-8"),
    "binary": (b"\x00\x01\x02\x03", "expected text, got binary data"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_table_is_one_line(tmp_path, case):
    content, message = WRONG[case]
    path = tmp_path / "ecgs.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message) as caught:
        parse_table(str(path), VOCABULARY)
    assert "\n" not in str(caught.value) and "ecgs.csv" in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["ecgs.csv"]


SOURCES = {
    "missing": ("nothing.csv", None, "data.table=.*nothing.csv does not exist"),
    "a folder": (".", None, "is a folder"),
    "a workbook": ("a.xlsx", None, "expected a file with the suffix .*save the table as CSV"),
    "no Parquet": ("a.parquet", None, "cannot be read as Parquet"),
    "a query of a file": ("a.csv", "SELECT", "only a database has queries"),
    "no query": ("sqlite:///a.csv", None, "expected .data.query=.SELECT"),
    "no database": ("sqlite:///none.db", "SELECT 1", "none.db does not exist"),
    "no such driver": ("mysql+nodriver://h/d", "SELECT 1", "driver|plugin"),
    "an open password": ("postgresql://u:secret@h/d", "SELECT 1", "env:NAME"),
    "no variable": ("env:NO_SUCH_VARIABLE", "SELECT 1", "no variable NO_SUCH_VARIABLE"),
    "no address": ("sqlite:/a://", "SELECT 1", "address of a database|does not exist"),
    "an address of a file": ("s3://ecg/t.parquet", None, "expected a file on this machine"),
    "no such table": ("sqlite:///empty.db", "SELECT path FROM ecg", "no such table: ecg"),
    "wrong SQL": ("sqlite:///empty.db", "SELEKT", "syntax error"),
}  # fmt: skip


@pytest.mark.parametrize("case", SOURCES)
def test_a_wrong_source_is_one_line(tmp_path, case, monkeypatch):
    pytest.importorskip("sqlalchemy")
    monkeypatch.chdir(tmp_path)
    for name in ("a.xlsx", "a.parquet", "a.csv", "empty.db"):
        (tmp_path / name).write_bytes(b"" if name == "empty.db" else b"path\na\n")
    source, query, message = SOURCES[case]
    with pytest.raises(ValueError, match=message) as caught:
        parse_table(source, VOCABULARY, query=query)
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)
    assert not (tmp_path / "none.db").exists()


def _folder(tmp_path: Path) -> Path:
    """Write three files of different formats, one without its rate, and one that is no ECG."""
    uv = writers.ecg()
    (tmp_path / "muse.xml").write_bytes(writers.muse(uv))
    (tmp_path / "ecg.npy").write_bytes(writers.npy(uv))
    (tmp_path / "ecg.csv").write_bytes(writers.csv(uv))
    (tmp_path / "broken.dcm").write_bytes(b"no ECG at all")
    return tmp_path


def _load(path: Path, **options):
    waveform = ptbxl.waveform_spec(WaveformConfig())
    return load_table(str(path), VOCABULARY, waveform=waveform, progress=False, **options)


TABLE = (
    f"path,findings,fs,units,leads\nmuse.xml,AFIB,,,\necg.npy,NORM,500,uV,{';'.join(LEADS)}\n"
    "ecg.csv,IMI,,,\nbroken.dcm,IMI,,,\nabsent.xml,,,,\n"
)


def test_files_in_any_format_with_settings_per_row(tmp_path):
    (_folder(tmp_path) / "t.csv").write_text(TABLE)
    data = _load(tmp_path / "t.csv", allow_missing=True, allow_unreadable=True)
    assert len(data) == 3 and data.n_missing == 2 and data.signals.shape == (3, 12, 1000)
    assert [path.name for path in data.paths] == ["muse.xml", "ecg.npy", "ecg.csv"]
    difference = np.abs(data.signals[1].astype(int) - data.signals[2].astype(int))
    assert difference.max() <= 1
    assert data.y_true.argmax(1).tolist() == [0, 3, 1]
    listed = next((tmp_path / "cache").glob("*.unreadable.txt")).read_text()
    assert listed.startswith("broken.dcm: record broken")


def test_the_version_does_not_depend_on_files_that_are_missing(tmp_path):
    (_folder(tmp_path) / "t.csv").write_text(TABLE)
    options = {"allow_missing": True, "allow_unreadable": True}
    first = _load(tmp_path / "t.csv", **options).version
    (tmp_path / "absent.xml").write_bytes(writers.muse(writers.ecg()))
    assert _load(tmp_path / "t.csv", **options).version == first
    (tmp_path / "t.csv").write_text(TABLE.replace("NORM", "IMI"))
    assert _load(tmp_path / "t.csv", **options).version != first


def test_missing_and_unreadable_files_are_refused_by_default(tmp_path):
    (_folder(tmp_path) / "t.csv").write_text(TABLE)
    with pytest.raises(ValueError, match=r"row 6, column path: 1 of 5 .*: absent.xml; set data"):
        _load(tmp_path / "t.csv")
    with pytest.raises(ValueError, match=r"row 5, column path: broken.dcm: .*allow_unreadable"):
        _load(tmp_path / "t.csv", allow_missing=True)
    _load(tmp_path / "t.csv", allow_missing=True, allow_unreadable=True)
    with pytest.raises(ValueError, match=r"row 5, column path: broken.dcm: "):  # also from a cache
        _load(tmp_path / "t.csv", allow_missing=True)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real ECGs in {SHARED}")
def test_a_table_of_ptbxl_has_the_same_records(tmp_path):
    root = SHARED / "ptbxl_more"
    metadata = ptbxl.read_metadata(root)
    pd.DataFrame(
        {
            "record": metadata.index,
            "path": metadata["filename_lr"],
            "findings": [";".join(codes) for codes in metadata["scp_codes"]],
            "patient_id": metadata["patient_id"],
            "fold": metadata["strat_fold"],
            "report": metadata["report"],
        }
    ).to_csv(tmp_path / "t.csv", index=False)
    waveform = ptbxl.waveform_spec(WaveformConfig())
    expected = ptbxl.load_ptbxl(root, waveform=waveform, cache_dir=tmp_path / "c", progress=False)
    data = load_table(
        str(tmp_path / "t.csv"), vocabulary_file.ptbxl(), root=root, waveform=waveform,
        progress=False,
    )  # fmt: skip
    for name in ("ecg_id", "patient_id", "strat_fold", "y_true", "signals", "autogenerated"):
        assert np.array_equal(getattr(data, name), getattr(expected, name)), name
    assert data.reports == expected.reports and data.known is None

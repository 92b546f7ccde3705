"""A check finds every kind of mistake in a table, in its labels and in its files, and counts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecg_siglip import config
from ecg_siglip.datasets.checking import DataCheck, check_data
from ecg_siglip.datasets.file_issues import by_pattern
from ecg_siglip.datasets.label_checks import Expected, co_occurrence, label_facts, label_issues
from ecg_siglip.datasets.records import LabelledRecords
from ecg_siglip.datasets.table_problems import N_EXAMPLES
from tests import writers
from tests.helpers import beats, configured

CODES = ("AFIB", "SR", "LVH", "NORM")


def _check(folder: Path, text: str, files: bool = False, **settings) -> DataCheck:
    (folder / "t.csv").write_text(text)
    base = {"data.kind": "table", "data.table": str(folder / "t.csv"), "files": files}
    return check_data(configured(config.CheckConfig, base | settings), progress=False)


def _issue(check: DataCheck, kind: str):
    found = [issue for issue in check.issues if issue.kind.startswith(kind)]
    assert found, [issue.kind for issue in check.issues]
    return found[0]


def _kinds(check: DataCheck) -> set[str]:
    return {issue.kind for issue in check.issues}


WRONG_CELLS = {
    "wrong label": ("path,AFIB\na,1\nb,2\nc,x\n", 2, "row 3, column AFIB: expected 1, 0 or"),
    "wrong list": ("path,findings\na,[AFIB\nb,[1]\n", 2, "row 2, column findings: expected codes"),
    "code in two columns": ("path,findings,AFIB\na,AFIB,1\nb,AFIB,0\n", 2, "also has a column"),
    "present and unknown": ("path,findings,unknown\na,SR,SR\nb,SR,*\n", 2, "SR is unknown, but"),
    "empty cell": ("path,findings\n,SR\na,SR\n,SR\n", 2, "row 2, column path: is empty"),
    "doubled path": ("path\na\nb\na\nb\n", 2, "row 4, column path: a is also in row 2"),
    "doubled record": ("path,record\na,1\nb,1\nc,2\n", 1, "1 is also in row 2"),
    "wrong fold": ("path,fold\na,0\nb,1\nc,no\n", 2, "row 2, column fold: expected a fold"),
    "empty fold": ("path,fold\na,1\nb,\nc,\n", 2, "row 3, column fold: is empty"),
    "patient in several folds": (
        "path,patient_id,fold\na,1,1\nb,1,2\nc,2,3\nd,1,3\n",
        2,
        "row 3, column fold: patient 1 has fold 2 here and 1 in row 2",
    ),
    "wrong fs": ("path,fs\na,fast\nb,500\nc,0\n", 2, "row 2, column fs: expected a sampling"),
    "wrong units": ("path,units\na,mv\nb,uV\n", 1, "expected nV, uV, mV, V, got mv"),
    "wrong gain": ("path,gain\na,-1\n", 1, "expected counts per mV"),
    "wrong leads": ('path,leads\na,"I,,V1"\n', 1, "expected names of leads"),
    "wrong weight": ("path,weight\na,-1\n", 1, "expected a weight"),
    "wrong language": ("path,language\na,xx\nb,en\n", 1, "row 2, column language"),
}


@pytest.mark.parametrize("kind", WRONG_CELLS)
def test_every_wrong_cell_is_found(tmp_path, kind):
    text, n, message = WRONG_CELLS[kind]
    issue = _issue(_check(tmp_path, text), kind)
    assert (issue.level, issue.n) == ("error", n) and message in issue.message
    assert len(issue.examples) == n and {"row", "column", "message"} == {*issue.examples[0]}


def test_many_wrong_cells_are_counted_and_the_first_are_listed(tmp_path):
    rows = "".join(f"p{i},{i},text {i}\n" for i in range(11, 300))
    check = _check(tmp_path, f"path,fold,findings\n{rows}")
    issue = _issue(check, "wrong fold")
    assert issue.n == 289 and [each["row"] for each in issue.examples] == [*range(2, 22)]
    codes = _issue(check, "code without")
    assert codes.n == 289 and len(codes.examples) == N_EXAMPLES and "285 more" in codes.message


def test_codes_without_an_entry_are_counted_with_similar_codes(tmp_path):
    text = 'path,findings\na,AFIBB;SR\nb,AFIBB\nc,sr\nd,"SR,LVH"\ne,SR\n'
    issue = _issue(_check(tmp_path, text), "code without a vocabulary entry")
    assert issue.n == 3 and issue.level == "error"
    by_code = {each["code"]: each for each in issue.examples}
    assert by_code["AFIBB"]["n"] == 2 and by_code["AFIBB"]["row"] == 2
    assert "did you mean AFIB" in by_code["AFIBB"]["message"]
    assert by_code["sr"]["message"].endswith("did you mean SR?")
    assert "separated by ;" in by_code["SR,LVH"]["message"]


def test_several_kinds_of_mistakes_are_found_together(tmp_path):
    text = "path,findings,fold,fs\na,AFIBB,0,x\na,SR,1,500\n"
    found = {"code without a vocabulary entry", "wrong fold", "wrong fs", "doubled path"}
    assert found <= _kinds(_check(tmp_path, text))


@pytest.mark.parametrize(
    ("column", "hint"),
    [
        ("PatientID", "patient_id"),
        ("Patient ID", "patient_id"),
        ("sampling_rate", "fs"),
        ("Fold", "fold"),
        ("diagnosis", "findings"),
        ("afib", "AFIB"),
        ("reprot", "report"),
    ],
)
def test_an_unused_column_is_named_with_what_it_may_mean(tmp_path, column, hint):
    check = _check(tmp_path, f"path,{column},ward\na,1,x\n")
    issue = _issue(check, "columns that are ignored")
    assert issue.message.startswith(f"{column} (did you mean {hint}?)") and "ward" in issue.message
    assert check.facts["sources"][0]["ignored_columns"] == [column, "ward"]


def test_a_placeholder_for_patients_is_named(tmp_path):
    rows = "".join(f"e{i},{'unknown' if i % 2 else i}\n" for i in range(200))
    issue = _issue(_check(tmp_path, f"path,patient_id\n{rows}"), "one patient with many records")
    assert issue.n == 100 and "the patient of e1 has 100 of 200 records" in issue.message


def test_a_table_without_patients_and_with_empty_reports(tmp_path):
    check = _check(tmp_path, "path,report\na,text\nb,\n")
    assert {"no column patient_id", "empty reports", "no labels"} <= _kinds(check)
    assert check.facts["records"]["n_with_report"] == 1


def _labelled(y_true, known=None, patients=None, folds=None) -> LabelledRecords:
    n = len(y_true)
    numbers = np.arange(n)
    return LabelledRecords(
        ecg_id=numbers,
        patient_id=numbers if patients is None else np.array(patients),
        strat_fold=numbers % 10 + 1 if folds is None else np.array(folds),
        codes=CODES,
        y_true=np.array(y_true, bool),
        likelihood=np.zeros((n, 4), np.float32),
        reports=[""] * n,
        paths=[],
        signals=None,
        fs=100,
        version="",
        n_missing=0,
        autogenerated=np.zeros(n, bool),
        validated=np.zeros(n, bool),
        known=known,
    )


def _labels(data: LabelledRecords, exclusive=()):
    pairs = np.zeros((4, 4), bool)
    for a, b in exclusive:
        pairs[a, b] = pairs[b, a] = True
    expected = Expected(CODES, CODES, pairs)
    facts = label_facts(data, expected, 9, [*range(1, 9)])
    names = [f"record{i}" for i in range(len(data))]
    return facts, {each.kind: each for each in label_issues(data, names, facts, expected, 9)}


def test_counts_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    y = rng.random((500, 4)) < [0.5, 0.2, 0.05, 0.01]
    known = rng.random((500, 4)) < 0.8
    y &= known
    patients, folds = rng.integers(0, 200, 500), rng.integers(1, 11, 500)
    facts, _ = _labels(_labelled(y, known, patients, folds))
    for f, each in enumerate(facts["findings"]):
        assert each["n_positive"] == sum(y[:, f]) and each["n_known"] == sum(known[:, f])
        assert each["prevalence"] == pytest.approx(sum(y[:, f]) / sum(known[:, f]), abs=1e-6)
        tuned = {
            p for p, fold, has in zip(patients, folds, y[:, f], strict=True) if fold == 9 and has
        }
        assert each["n_patients_tune"] == len(tuned)
        assert each["by_fold"] == [int(y[folds == fold, f].sum()) for fold in range(1, 11)]
    assert facts["records"]["n_unlabelled"] == sum(~known.any(1))
    together = [[int((y[:, a] & y[:, b]).sum()) for b in range(4)] for a in range(4)]
    assert co_occurrence(y).tolist() == together == facts["co_occurrence"]["n"]
    assert facts["pairs"][0]["n"] == max(together[a][b] for a in range(4) for b in range(a))


def test_findings_that_cannot_be_learned_are_named():
    y = np.zeros((100, 4), bool)
    y[:, 1] = True  # always
    y[:3, 2] = True  # seldom
    _, issues = _labels(_labelled(y))
    assert issues["findings always present"].message.startswith("SR (100)")
    assert issues["findings never present"].examples == [{"code": "AFIB"}, {"code": "NORM"}]
    assert "LVH (3)" in issues["findings with fewer than 5 patients in training"].message
    assert "LVH (0)" in issues["findings with fewer than 5 patients for tuning"].message
    assert "records without a finding" not in issues


def test_many_records_of_few_patients_are_few():
    y = np.zeros((100, 4), bool)
    y[:50, 0] = y[50:, 1] = True
    patients = np.r_[np.zeros(50), np.arange(1, 51)].astype(int)
    _, issues = _labels(_labelled(y, patients=patients))
    assert "AFIB (1)" in issues["findings with fewer than 5 patients in training"].message


def test_contradicting_labels_are_found():
    y = np.zeros((40, 4), bool)
    y[:, 1] = True
    y[:3, 0] = True
    y[5, 2] = True
    _, issues = _labels(_labelled(y), exclusive=[(0, 1)])
    both = issues["findings that exclude each other"]
    assert both.n == 3 and "AFIB and SR (3 records)" in both.message
    assert both.examples[0]["path"] == "record0"


def test_folds_without_records_are_errors():
    y = np.ones((20, 4), bool)
    _, issues = _labels(_labelled(y, folds=[1] * 20))
    assert issues["no record for tuning"].level == "error"
    assert "no record for training" not in issues


def _ecg(seed: int) -> np.ndarray:
    """Return an ECG in uV, unlike that of another seed."""
    rng = np.random.default_rng(seed)
    uv = np.roll(beats(5000, 500, seed), rng.integers(500), axis=1) * 600
    uv *= 1 + 0.5 * np.sin(np.arange(5000) * rng.uniform(5e-4, 0.02))
    return (np.rint(uv / 2) * 2).astype(np.int16)


def _in_mv(signal: np.ndarray) -> bytes:
    table = pd.DataFrame(signal.T, columns=list(writers.LEADS))
    return b"# fs: 500 Hz\n# units: mV\n" + table.to_csv(index=False).encode()


@pytest.fixture(scope="module")
def hospital(tmp_path_factory) -> DataCheck:
    """A check of twenty files with mistakes."""
    folder = tmp_path_factory.mktemp("hospital")
    for i in range(12):
        content = (writers.muse, writers.dicom, writers.csv)[i % 3](_ecg(i))
        (folder / f"{i}{('.xml', '.dcm', '.csv')[i % 3]}").write_bytes(content)
    flat = _ecg(12)
    flat[7] = 0
    (folder / "flat.xml").write_bytes(writers.muse(flat))
    (folder / "short.xml").write_bytes(writers.muse(_ecg(13)[:, :2000]))
    (folder / "copy.csv").write_bytes(writers.csv(_ecg(0)))
    (folder / "broken.xml").write_bytes(b"<html>no ECG</html>")
    (folder / "weak.csv").write_bytes(_in_mv(_ecg(14) / 9000))
    (folder / "factor").mkdir()
    for i in range(4):
        (folder / f"factor/{i}.csv").write_bytes(_in_mv(_ecg(20 + i).astype(float)))
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))
    names += ["absent.xml", "9.XML", "factor\\0.csv", "other/1.xml", "factor", "Factor/0.csv"]
    rows = [f"{name},{'SR' if i % 2 else 'AFIB'},{i}\n" for i, name in enumerate(names)]
    text = "path,findings,patient_id\n" + "".join(rows)
    return _check(folder, text, files=True, **{"data.n_workers": 1})


FILES = {
    "missing": "absent.xml in row 23: no such file",
    "missing, other case": "9.XML in row 24: there is 9.xml",
    "missing, backslash": "the path has \\ where / is expected",
    "missing, no folder": "other/1.xml in row 26: no folder",
    "missing, a folder": "is a folder; expected the file of one ECG",
    "missing, other case of a folder": "/Factor: there is factor",
    "unreadable": "broken.xml in row 14: ",
    "flat lead": "flat lead V2",
    "too short": "4 s of signal, expected 10 s",
    "wrong units": "4 of 4 files in",
    "wrong units, meaning": "about 1000 times too large: uV read as mV? units=uV",
    "amplitude": "weak.csv (0.0",
    "copy": "copy.csv",
    "flat leads": "V2 (1)",
}


@pytest.mark.parametrize("case", FILES)
def test_every_problem_of_files_is_found(hospital, case):
    assert any(FILES[case] in issue.message for issue in hospital.issues), hospital.issues


def test_files_are_counted(hospital):
    files = hospital.facts["files"]
    assert files["n_opened"] == 27 and files["n_missing"] == 6 and files["n_unreadable"] == 1
    assert files["n_unusable"] == 6 and files["n_usable"] == 14 and files["n_copies"] == 1
    assert files["formats"] == {"text table": 10, "XML": 6, "DICOM": 4}
    assert files["fs"] == {"500": 20} and files["duration_s"] == {"10.0": 19, "4.0": 1}
    assert files["flat_leads"] == {"V2": 1} and files["missing_leads"] == {}
    assert sum(files["amplitude_histogram"]["n"]) == 20
    kinds = {issue.kind: issue.level for issue in hospital.issues}
    assert kinds["missing file"] == kinds["unusable record"] == "error"


def test_errors_come_first(hospital):
    levels = [issue.level for issue in hospital.issues]
    assert levels == sorted(levels) and hospital.n_errors == levels.count("error")


def test_what_training_leaves_out_is_a_warning(tmp_path):
    (tmp_path / "a.xml").write_bytes(writers.muse(_ecg(0)))
    (tmp_path / "b.xml").write_bytes(b"no ECG")
    text = "path,findings\na.xml,SR\nb.xml,SR\nc.xml,SR\n"
    allowed = {"data.allow_missing": True, "data.allow_unreadable": True}
    check = _check(tmp_path, text, files=True, **allowed)
    levels = {each.kind: each.level for each in check.issues}
    assert levels["missing file"] == levels["unreadable file"] == "warning"


def test_rows_have_settings_of_their_own(tmp_path):
    (tmp_path / "a.npy").write_bytes(writers.npy(_ecg(0)))
    text = f"path,findings,fs,units,leads\na.npy,SR,500,uV,{';'.join(writers.LEADS)}\n"
    check = _check(tmp_path, text, files=True)
    assert check.facts["files"]["n_usable"] == 1
    bare = _check(tmp_path, "path,findings\na.npy,SR\n", files=True)
    assert bare.facts["files"]["n_unreadable"] == 1
    assert "data.read." in _issue(bare, "unreadable file").message


def test_clipped_files_have_the_same_largest_value(tmp_path):
    for i in range(6):
        (tmp_path / f"{i}.csv").write_bytes(_in_mv(np.clip(_ecg(i) / 1000, -0.5, 0.5)))
    text = "path,findings\n" + "".join(f"{i}.csv,SR\n" for i in range(6))
    issue = _issue(_check(tmp_path, text, files=True), "same largest value")
    assert issue.n == 6 and "0.5 mV: clipped" in issue.message


def test_several_sources(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.xml").write_bytes(writers.muse(_ecg(0)))
        rows = f"path,findings,patient_id,fold\n{name}.xml,SR,7,{1 if name == 'a' else 2}\n"
        (tmp_path / f"{name}.csv").write_text(rows)
    sources = [
        {"name": name, "kind": "table", "table": str(tmp_path / f"{name}.csv"), "patients": "p"}
        for name in ("a", "b")
    ]
    settings = configured(config.CheckConfig, {"data.sources": sources})
    check = check_data(settings, progress=False)
    assert _issue(check, "patient in several folds").level == "error"
    assert _issue(check, "ECGs in two data sets").n == 1
    sources[1]["table"] = str(tmp_path / "none.csv")
    settings = configured(config.CheckConfig, {"data.sources": sources})
    assert "does not exist" in _issue(check_data(settings, False), "data set cannot").message


def test_a_simulated_ptbxl(simulated):
    base = {"data.kind": "ptbxl", "data.root": str(simulated), "data.n_workers": 1}
    check = check_data(configured(config.CheckConfig, base), progress=False)
    assert not check.n_errors and check.facts["files"]["formats"].keys() == {"WFDB"}
    assert check.facts["files"]["n_usable"] == check.facts["records"]["n_records"]
    wrong = check_data(configured(config.CheckConfig, base | {"data.fs": 500}), progress=False)
    assert wrong.facts["files"]["n_missing"] == wrong.facts["files"]["n_opened"]


def test_texts_that_differ_in_numbers_are_grouped():
    texts = [(0, "record a1: 5 s of signal"), (3, "record b2: 7.5 s of signal"), (5, "no ECG")]
    assert by_pattern(texts) == [("record a1: 5 s of signal", [0, 3]), ("no ECG", [5])]

"""Excel workbooks: the page with the ECG, no formulas, no bombs."""

import datetime
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from writers import FS, assert_refused, ecg, prepared_uv, write, xlsx

from ecg_siglip.readers import isolated
from ecg_siglip.readers.file_format import is_record
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS

openpyxl = pytest.importorskip("openpyxl", reason="needs the extra [formats]")
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def book(*pages: list[list[object]]) -> bytes:
    """Write a workbook with these rows in its pages."""
    content, file = openpyxl.Workbook(), io.BytesIO()
    content.remove(content.active)
    for rows in pages:
        page = content.create_sheet()
        for row in rows:
            page.append(row)
    content.save(file)
    return file.getvalue()


def with_part(content: bytes, name: str, part: bytes) -> bytes:
    """Replace a part of a workbook."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for each in old.namelist():
            new.writestr(each, part if each == name else old.read(each))
    return file.getvalue()


def cells(xml: str) -> bytes:
    """Write a workbook whose page has these rows as XML."""
    page = f'<worksheet xmlns="{MAIN}"><sheetData>{xml}</sheetData></worksheet>'
    return with_part(book([["I", "II"]]), "xl/worksheets/sheet1.xml", page.encode())


def test_a_page_with_statements_names_and_units(tmp_path: Path):
    rows = [["Sampling rate", "500 Hz"], [], list(LEADS), ["uV"] * 12, *ecg(700).T.tolist()]
    path = write(tmp_path, book([["Notes"]], rows, [["I", "II"], [1, 2]]), "xlsx")
    record = read_record(path)
    assert record.fs == 500
    np.testing.assert_allclose(record.signal, ecg(700) / 1000, atol=1e-6)
    assert is_record(path)


def test_numbers_that_are_text_with_decimal_commas(tmp_path: Path):
    rows = [[f"{value / 1000:.3f}".replace(".", ",") for value in row] for row in ecg(200).T]
    record = read_record(write(tmp_path, book([list(LEADS), *rows])), fs=FS, units="mV")
    np.testing.assert_allclose(record.signal, ecg(200) / 1000, atol=1e-6)


def test_times_of_day(tmp_path: Path):
    start = datetime.datetime(2023, 5, 1, 10)
    rows = [
        [start + datetime.timedelta(milliseconds=2 * i), *row]
        for i, row in enumerate(ecg(200).T.tolist())
    ]
    record = read_record(write(tmp_path, book([["Time", *LEADS], *rows])), units="uV")
    assert record.fs == 500


def test_empty_cells_are_missing_samples(tmp_path: Path):
    rows = ecg(200).T.tolist()
    rows[7][3] = rows[8][11] = None
    record = read_record(write(tmp_path, book([list(LEADS), *rows])), fs=FS, units="uV")
    assert np.isnan(record.signal).sum() == 2
    assert np.isnan(record.signal[3, 7]) and np.isnan(record.signal[11, 8])


def test_formulas_are_not_evaluated(tmp_path: Path):
    rows = [list(LEADS), *ecg(200).T.tolist()]
    rows[5][0] = "=1+1"
    record = read_record(write(tmp_path, book(rows)), fs=FS, units="uV")
    assert np.isnan(record.signal[0, 4])  # no value was stored


def test_workbooks_that_are_large_when_unpacked_are_refused(tmp_path: Path):
    content = with_part(xlsx(ecg(10)), "xl/styles.xml", bytes(1 << 28))
    assert_refused(write(tmp_path, content), "damaged")


def test_workbooks_that_take_long_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(isolated.HELPER, "limit_s", 1.0)
    nested = "<a>" * 5_000_000
    assert_refused(write(tmp_path, cells(nested)), "took too long: it is damaged or too large")


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        # Cells and rows far away stand for all before them.
        ('<row r="1"><c r="A1"><v>1</v></c></row><row r="9999999999"/>', "no table with leads"),
        ("".join(f'<row r="{i}"><c r="XFD{i}"><v>1</v></c></row>' for i in range(1, 60)), "leads"),
        ('<row r="1"><c r="A1" t="s"><v>99</v></c></row>', "Excel workbook"),
        ('<row r="1"><c r="A1"><v>1</v>', "Excel workbook: damaged"),
    ],
)
def test_malformed_pages_are_refused(tmp_path: Path, xml: str, message: str):
    assert_refused(write(tmp_path, cells(xml)), message)


def test_rows_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(isolated.HELPER, "limit_s", 2.0)
    rows = "".join(
        f'<row r="{i}"><c r="A{i}"><v>1</v></c><c r="B{i}"><v>2</v></c></row>' for i in range(2, 60)
    )
    head = '<row r="1"><c r="A1" t="str"><v>I</v></c><c r="B1" t="str"><v>II</v></c></row>'
    content = cells(head + rows + '<row r="99999999999"/>')
    assert_refused(write(tmp_path, content), "took too long")


def test_entities_are_refused(tmp_path: Path):
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>'
    content = with_part(xlsx(ecg(10)), "xl/workbook.xml", bomb)
    assert_refused(write(tmp_path, content), "invalid XML")


def test_other_workbooks_of_a_folder_are_no_records(tmp_path: Path):
    path = write(tmp_path, book([["id", "age"], [1, 56], [2, 65]]), "xlsx")
    assert not is_record(path)
    assert_refused(path, "no table with leads in the pages")
    path.write_bytes(xlsx(ecg(10))[:200])
    assert not is_record(path)


def test_the_same_page_again(tmp_path: Path):
    record = read_record(write(tmp_path, xlsx(ecg())))
    np.testing.assert_array_equal(prepared_uv(record), ecg())

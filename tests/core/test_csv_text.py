"""Text tables: separator, rows as a spreadsheet numbers them, and what is no table."""

import pytest

from ecg_siglip.core.csv_text import check_cells, csv_form, csv_rows


def _rows(tmp_path, text: str, expected: str = ""):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    form = csv_form(path, "t.csv", expected)
    return form, [(row.number, row.cells) for row in csv_rows(path, "t.csv", form)]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_gives_the_most_columns(tmp_path, separator):
    form, rows = _rows(tmp_path, separator.join(["a", '"b,c;d\t|"']) + f"\n1{separator}2\n")
    assert form.separator == separator and form.header == ["a", "b,c;d\t|"]
    assert rows == [(2, ["1", "2"])]


def test_of_two_separators_the_one_that_gives_an_expected_column_is_right(tmp_path):
    assert _rows(tmp_path, "path\tx,y\n1\t2,3\n", "path")[0].header == ["path", "x,y"]


def test_rows_are_numbered_as_a_spreadsheet_does(tmp_path):
    text = '\ufeffsep=;\r\n"a\r\nb";c\r\n\r\n"1\r\n2";x\r\n;;\r\n  ;\r\n3;y;\r\n'
    form, rows = _rows(tmp_path, text)
    assert form.header == ["a\r\nb", "c"] and form.n_before == 1
    assert rows == [(3, ["1\r\n2", "x"]), (6, ["3", "y", ""])]


WRONG = {
    "empty": (b"", "names of the columns in line 1, got none"),
    "an empty line first": (b"\na,b\n", "names of the columns in line 1, got none"),
    "binary": (b"\x00\x01", "expected text, got binary data"),
    "cp1252": ("a\nx\nMüller\n".encode("cp1252"), "line 3, after 'M': expected UTF-8 text"),
    "UTF-16": ("a\nx\n".encode("utf-16"), "not as Unicode text"),
    "open quote": (b'a,b\n1,2\n3,"4\n', "row 3: is no row of cells: .*is a quote missing"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_table_is_one_line(tmp_path, case):
    content, message = WRONG[case]
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        list(csv_rows(path, "t.csv", csv_form(path, "t.csv")))
    assert "\n" not in str(caught.value)


def test_a_row_with_more_cells_than_columns_is_an_error(tmp_path):
    form, rows = _rows(tmp_path, "a;b\n1;2;;\n3;4;5\n")
    check_cells(*rows[0], form, "t.csv")
    with pytest.raises(ValueError, match=r"t.csv: row 3: has 3 cells, expected 2; .*a semicolon"):
        check_cells(*rows[1], form, "t.csv")

"""The codes of a table with counts and names; every wrong table is one line with its place."""

import json

import pandas as pd
import pytest

from ecg_siglip.datasets.code_counts import read_codes, read_names


def write(tmp_path, text, name="ecgs.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def summary(codes):
    return [(each.code, each.n_present, each.n_unknown) for each in codes]


def test_codes_are_counted_the_most_frequent_first(tmp_path):
    table = write(tmp_path, "path,findings,unknown\na,A;B,\nb,B,C\nc,,A\nd,B;C,A\n")
    codes, read = read_codes(table)
    assert summary(codes) == [("B", 3, 0), ("A", 1, 2), ("C", 1, 1)]
    assert len(read) == 4
    assert [each.name for each in codes] == ["B", "A", "C"]


def test_lists_are_read_as_well(tmp_path):
    table = tmp_path / "t.parquet"
    pd.DataFrame({"path": ["a", "b"], "findings": [["A"], ["A", "B"]]}).to_parquet(table)
    assert summary(read_codes(str(table))[0]) == [("A", 2, 0), ("B", 1, 0)]
    text = json.dumps(["A", "B"]).replace('"', '""')
    assert summary(read_codes(write(tmp_path, f'path,findings\na,"{text}"\n'))[0])[0][0] == "A"


def test_columns_named_after_codes(tmp_path):
    table = write(tmp_path, "path,AF,LBBB,age\na,1,0,50\nb,,1,60\nc,1,0,70\n")
    codes, _ = read_codes(table, columns=["AF", "LBBB"])
    assert summary(codes) == [("AF", 2, 1), ("LBBB", 1, 0)]


def test_names_give_the_order_and_codes_that_no_record_has(tmp_path):
    table = write(tmp_path, "path,findings\na,B;X\nb,B\n")
    content = "\ufeffCode;Name;Group\nA;心房細動;r\nB; 左脚  ブロック ;c\nC;;\n"
    names = write(tmp_path, content, "names.csv")
    codes, _ = read_codes(table, names=names)
    assert summary(codes) == [("A", 0, 0), ("B", 2, 0), ("C", 0, 0), ("X", 1, 0)]
    assert [each.name for each in codes] == ["心房細動", "左脚 ブロック", "C", "X"]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("path,finding\na,A\n", [], "ecgs.csv: no column findings with codes; .* of finding$"),
        ("path,AF\na,1\n", ["LBBB"], "no column LBBB; it has path, AF"),
        ("path,AF\na,x\n", ["AF"], "row 2, column AF: expected 1, 0 or an empty cell"),
        ("path,findings\na,A\n", ["findings"], "columns: findings is not named after a code"),
        ("path,findings\na,\n", [], "ecgs.csv: no code in any row"),
        ("path,findings\na,A\nb,A=B\n", [], "row 3, column findings: A=B cannot be a code, .*'='"),
        ('path,findings\na,A\nb,"A,B"\n', [], "row 3, column findings: A,B cannot be a code"),
        ("path,findings\na," + "A" * 65 + "\n", [], "65 characters, 64 at most"),
        ("path,findings\na,[A\n", [], r"expected codes as A;B or \[\"A\", \"B\"\]"),
        ("path,findings,unknown\na,A;B,A\n", [], "row 2, column unknown: A is unknown, but A is"),
        ("file,findings\na,A\n", [], "no column path"),
        (
            "path,findings\n" + "".join(f"{i},C{i}\n" for i in range(2001)),
            [],
            "2001 different",
        ),
    ],
)
def test_a_wrong_table_is_one_line_with_its_place(tmp_path, text, columns, message):
    with pytest.raises(ValueError, match=message) as error:
        read_codes(write(tmp_path, text), columns=columns)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"code,text\nA,x\n", "expected the columns code and name, got code, text"),
        (b"", "expected a header row"),
        (
            b"code,name\nA,flutter, atypical\n",
            "row 2: has 3 cells, expected 2; a cell with a comma",
        ),
        (b"code;name;\nfold;x;\n", "row 2: fold cannot be a code: it has another meaning"),
        (b"code,name\nA,x\nA,y\n", "names.csv: row 3: code A occurs twice"),
        (b"code,name\n,x\n", "row 2: no code"),
        (b"code,name\nA|B,x\n", r"row 2: A\|B cannot be a code"),
        (b"code,name\nA,\xff\n", "expected UTF-8 text"),
        (b"code,name\nA," + b"x" * 400 + b"\n", "row 2: the name of A is too long"),
        (b"code,name\nA,x\x07\n", "row 2: the name of A has a control character"),
    ],
)
def test_a_wrong_file_of_names_is_one_line_with_its_place(tmp_path, content, message):
    path = tmp_path / "names.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_names(path)


def test_a_missing_file_of_names_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"names=.*absent.csv: there is no such file"):
        read_names(tmp_path / "absent.csv")

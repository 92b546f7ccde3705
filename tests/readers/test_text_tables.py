"""Text tables of any layout: the same numbers as written, or an error that names the line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import SHARED
from writers import FS, assert_refused, csv, ecg, tsv, write

from ecg_siglip.readers import text_tables
from ecg_siglip.readers.file_format import is_record
from ecg_siglip.readers.folders import find_records
from ecg_siglip.readers.record import read_record
from ecg_siglip.readers.table_layout import is_number
from ecg_siglip.signals.leads import LEADS, lead_name

CASES = SHARED / "cases" / "tables"
GIVEN = {"fs": FS, "units": "mV"}
MV = ecg(300) / 1000
NAMES = ",".join(LEADS) + "\n"


def body(
    mv: np.ndarray = MV, delimiter: str = ",", before: Callable[[int], str] | None = None
) -> str:
    """Return rows of a table; ``before`` gives the first cell of each."""
    rows = [[f"{value:.3f}" for value in row] for row in mv.T]
    if before is not None:
        rows = [[before(i), *row] for i, row in enumerate(rows)]
    return "\n".join(map(delimiter.join, rows)) + "\n"


TABLE = NAMES + body()
LAYOUTS = {
    "plain": TABLE,
    "crlf": TABLE.replace("\n", "\r\n"),
    "cr": TABLE.replace("\n", "\r"),
    "doubled line ends": TABLE.replace("\n", "\r\r\n"),
    "empty lines": "\n\n" + NAMES + "\n" + body() + "\n\n",
    "a delimiter at the end of each line": TABLE.replace("\n", ",\n"),
    "a delimiter at the end of each row": NAMES + body().replace("\n", ",\n"),
    "a delimiter at the end of the names": NAMES.replace("\n", ",\n") + body(),
    "quotes": '"' + TABLE.strip().replace(",", '","').replace("\n", '"\n"') + '"\n',
    "decimal commas in quotes": NAMES
    + '"' + body().strip().replace(",", '","').replace(".", ",").replace("\n", '"\n"') + '"\n',
    "semicolons": TABLE.replace(",", ";").replace(".", ","),
    "tabs": TABLE.replace(",", "\t").replace(".", ","),
    "blanks": TABLE.replace(",", "   "),
    "blanks and decimal commas": TABLE.replace(",", " ").replace(".", ","),
    "bars": TABLE.replace(",", "|"),
    "a table of Markdown": "".join(
        f"| {line.replace(',', ' | ')} |\n" for line in TABLE.strip().split("\n")
    ),
    "numpy.savetxt": "# " + NAMES.replace(",", " ") + body(delimiter=" "),
    "numbers of rows": "," + NAMES + body(before=str),
    "numbers of rows from 1": "sample #," + NAMES + body(before=lambda i: str(i + 1)),
    "numbers of rows without a name": NAMES.replace(",", " ") + body(delimiter=" ", before=str),
    "remarks": "note," + NAMES + body(before=lambda i: "N" if i % 50 == 0 else ""),
    "one lead per row": "\n".join(
        ",".join([lead, *map(str, row)]) for lead, row in zip(LEADS, MV, strict=True)
    ),
    "one lead per row, with columns numbered": "lead," + ",".join(map(str, range(300))) + "\n"
    + "\n".join(",".join([lead, *map(str, row)]) for lead, row in zip(LEADS, MV, strict=True)),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_any_layout(tmp_path: Path, layout: str, encoding: str):
    path = write(tmp_path, LAYOUTS[layout].encode(encoding), "csv")
    record = read_record(path, **GIVEN)
    assert list(map(lead_name, record.leads)) == list(LEADS)
    np.testing.assert_allclose(record.signal, MV, atol=1e-6)
    assert find_records(tmp_path) == [str(path)]


def seconds(i: int) -> str:
    return f"{i / FS:.3f}"


TIMES: dict[str, Callable[[int], str]] = {
    "time (s)": seconds,
    "Time_ms": lambda i: str(2 * i),
    "t [us]": lambda i: str(2000 * i),
    "timestamp_ns": lambda i: str(1682935200_000_000_000 + 2_000_000 * i),
    "Unix timestamp": lambda i: f"{1682935200 + i / FS:.3f}",
    "time": seconds,
    "Zeit": lambda i: f"01.05.2023 23:59:{59.5 + i / FS:06.3f}"
    if i < 250
    else f"02.05.2023 00:00:{(i - 250) / FS:06.3f}",
    "DateTime": lambda i: f"2023-05-01T10:00:{i / FS:06.3f}Z",
    "clock": lambda i: f"'0:{i / FS:06.3f}'",
    "time of day": lambda i: f"11:59:{59.5 + i / FS:06.3f} AM"
    if i < 250
    else f"12:00:{(i - 250) / FS:06.3f} PM",
}  # fmt: skip


@pytest.mark.parametrize("name", TIMES)
def test_columns_of_time_of_any_kind(tmp_path: Path, name: str):
    content = name + "," + NAMES + body(before=TIMES[name])
    record = read_record(write(tmp_path, content.encode()), units="mV")
    assert record.fs == FS
    np.testing.assert_allclose(record.signal, MV, atol=1e-6)


@pytest.mark.parametrize("fs", [100, 250, 1000])
def test_the_sampling_rate_is_that_of_the_time_column(tmp_path: Path, fs: int):
    uv = ecg(3 * fs, fs)
    table = pd.DataFrame(uv.T, columns=[f"{lead} [uV]" for lead in LEADS])
    table.insert(0, "Time (s)", np.round(np.arange(3 * fs) / fs, 3))
    record = read_record(write(tmp_path, table.to_csv(index=False, sep=";").encode(), "csv"))
    assert record.fs == fs
    np.testing.assert_array_equal(record.signal, (uv / 1000).astype(np.float32))


WORDS = [
    *(
        "",
        " ",
        "-",
        "--",
        "---",
        ".",
        "*",
        "?",
        "NaN",
        "nan",
        "NULL",
        "None",
        "nil",
        "missing",
        "nd",
    ),
    *("NA", "N/A", "#N/A", "n.a.", "OFF", "off", "Lead off", "LEADS_OFF", "#DIV/0!", "#VALUE!"),
]


@pytest.mark.parametrize("word", WORDS)
def test_missing_samples(tmp_path: Path, word: str):
    mv = MV.copy()
    mv[3, 5:9] = np.nan
    record = read_record(write(tmp_path, (NAMES + body(mv).replace("nan", word)).encode()), **GIVEN)
    np.testing.assert_allclose(record.signal, mv, atol=1e-6)


@pytest.mark.parametrize("word", [word for word in WORDS if word.strip()])
@pytest.mark.parametrize(("n_rows", "n_leads"), [(1, 3), (60, 3), (60, 12), (450, 12)])
def test_invalid_samples_at_the_beginning_are_no_names(
    tmp_path: Path, word: str, n_rows: int, n_leads: int
):
    mv = ecg(600) / 1000
    mv[:n_leads, :n_rows] = np.nan
    record = read_record(write(tmp_path, (NAMES + body(mv).replace("nan", word)).encode()), **GIVEN)
    assert record.leads == LEADS
    np.testing.assert_allclose(record.signal, mv, atol=1e-6)


def test_rows_without_cells_at_the_beginning(tmp_path: Path):
    mv = MV.copy()
    mv[:, :20] = np.nan
    record = read_record(write(tmp_path, (NAMES + body(mv).replace("nan", "")).encode()), **GIVEN)
    np.testing.assert_allclose(record.signal, mv, atol=1e-6)
    # One is an empty row of a spreadsheet, and a rule of Markdown is no row.
    for rule, delimiter in ((",,,,,,,,,,,", ","), ("|".join(["---"] * 12), "|")):
        content = NAMES.replace(",", delimiter) + rule + "\n" + body(delimiter=delimiter)
        record = read_record(write(tmp_path, content.encode()), **GIVEN)
        np.testing.assert_allclose(record.signal, MV, atol=1e-6)


@pytest.mark.parametrize("n_rows", [2, 60])
@pytest.mark.parametrize("n_leads", [7, 12])
def test_other_words_at_the_beginning_are_refused(tmp_path: Path, n_rows: int, n_leads: int):
    mv = MV.copy()
    mv[:n_leads, :n_rows] = np.nan
    content = NAMES + body(mv).replace("nan", "overflow")
    assert_refused(write(tmp_path, content.encode()), "column I: not a number: 'overflow'", **GIVEN)


@pytest.mark.parametrize("sign", "\u2212\u2013\uff0d")
@pytest.mark.parametrize(
    "layout", ["plain", "semicolons", "blanks", "numbers of rows", "one lead per row"]
)
def test_other_minus_signs(tmp_path: Path, sign: str, layout: str):
    content = LAYOUTS[layout].replace("-", sign)
    record = read_record(write(tmp_path, content.encode(), "csv"), **GIVEN)
    assert list(map(lead_name, record.leads)) == list(LEADS)
    np.testing.assert_allclose(record.signal, MV, atol=1e-6)


def with_thousands(sign: str, delimiter: str = ";") -> str:
    """Return a table of whole numbers up to 6000 with a sign between thousands."""
    rows = [[f"{10 * int(value):,}".replace(",", sign) for value in row] for row in ecg(300).T]
    return "\n".join(map(delimiter.join, [LEADS, *rows]))


@pytest.mark.parametrize("delimiter", ";\t|")
@pytest.mark.parametrize("sign", ".,")
def test_signs_between_thousands_are_refused(tmp_path: Path, sign: str, delimiter: str):
    stated = {"fs": FS, "units": "uV"}
    lines = with_thousands(sign, delimiter).split("\n")
    tables = {
        "columns": "\n".join(lines),
        "a column": "\n".join(line.split(delimiter)[1] for line in lines),
        "rows": "\n".join(
            map(delimiter.join, np.array([line.split(delimiter) for line in lines]).T)
        ),
    }
    for content in tables.values():
        assert_refused(write(tmp_path, content.encode()), "may be between thousands", **stated)


def test_a_sign_between_thousands_in_one_lead_only(tmp_path: Path):
    rows = "".join(f"{1000 + i:,};{i}\n".replace(",", ".") for i in range(300))
    path = write(tmp_path, ("I;II\n" + rows).encode())
    assert_refused(path, "may be between thousands", fs=FS, units="uV")
    # Milliseconds next to an amplifier with an offset.
    path.write_bytes(
        ("time [ms];I\n" + "".join(f"{2 * i};1.{600 + i}\n" for i in range(300))).encode()
    )
    assert read_record(path, units="mV").signal[0, -1] == pytest.approx(1.899)


@pytest.mark.parametrize("sign", "'\u00a0\u202f ")
def test_other_signs_between_thousands_are_refused(tmp_path: Path, sign: str):
    path = write(tmp_path, with_thousands(sign).encode())
    assert_refused(path, "line 2, column I: not a number", fs=FS, units="uV")


@pytest.mark.parametrize("form", ["{:.3f}", "{:g}", "{}"])
@pytest.mark.parametrize("scale", [1, 3, 100])
def test_decimals_in_threes_are_decimals(tmp_path: Path, form: str, scale: int):
    rows = [[form.format(round(scale * value, 3)) for value in row] for row in MV.T]
    content = NAMES + "\n".join(map(",".join, rows))
    record = read_record(write(tmp_path, content.encode()), **GIVEN)
    np.testing.assert_allclose(record.signal, scale * MV, atol=1e-3)


@pytest.mark.parametrize("name", ["record", "patient_id", "ecg_id"])
@pytest.mark.parametrize("values", [("a", "b"), (1, 2)])
def test_several_records_below_each_other_are_refused(tmp_path: Path, name: str, values: tuple):
    rows = pd.DataFrame(MV.T, columns=list(LEADS))
    tables = [rows.assign(**{name: value}) for value in values]
    path = write(tmp_path, pd.concat(tables).to_csv(index=False).encode())
    assert_refused(path, f"column {name} has several values", **GIVEN)
    path.write_bytes(tables[0].to_csv(index=False).encode())
    read_record(path, **GIVEN)
    path.write_bytes(rows.assign(**{name: range(300)}).to_csv(index=False).encode())
    read_record(path, **GIVEN)


@pytest.mark.parametrize("start", [0, 1])
def test_numbers_of_columns_are_names(tmp_path: Path, start: int):
    table = pd.DataFrame(MV.T, columns=range(start, 12 + start))
    for index in (True, False):
        path = write(tmp_path, table.to_csv(index=index).encode(), "csv")
        assert_refused(path, "does not name its 12 leads", **GIVEN)
        record = read_record(path, **GIVEN, leads=list(LEADS))
        np.testing.assert_allclose(record.signal, MV, atol=1e-6)


@pytest.mark.parametrize("name", ["II (mV)", "MLII_mV"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_a_table_of_a_single_lead(tmp_path: Path, name: str, decimal: str):
    table = pd.DataFrame({name: ecg()[1] / 1000})
    content = b"# fs: 500\n" + table.to_csv(index=False, sep=";", decimal=decimal).encode()
    record = read_record(write(tmp_path, content, "csv"))
    assert find_records(tmp_path) == [str(tmp_path / "rec.csv")]
    assert lead_name(record.leads[0]) == "II"
    np.testing.assert_allclose(record.signal[0], ecg()[1] / 1000, atol=1e-6)


def test_an_empty_line_in_a_single_column_is_a_missing_sample(tmp_path: Path):
    record = read_record(write(tmp_path, b"II\n1.5\n\n2.5\n3.5\n\n"), **GIVEN)
    np.testing.assert_array_equal(record.signal[0], [1.5, np.nan, 2.5, 3.5])


def test_whole_numbers_with_a_comma_are_two_columns(tmp_path: Path):
    uv = ecg()[:2]
    content = "I,II\n" + "\n".join(f"{one},{other}" for one, other in uv.T)
    record = read_record(write(tmp_path, content.encode()), fs=FS, units="uV")
    np.testing.assert_allclose(record.signal, uv / 1000, atol=1e-6)


@pytest.mark.parametrize(
    ("rate", "lead", "unit"),
    [
        (("Sample Rate", "512 hertz"), ("Lead", "Lead I"), ("Unit", "µV")),
        (("Messrate", '"511,422\u00a0Hertz"'), ("Ableitung", "Ableitung I"), ("Einheit", "µV")),
        (("Messrate", "511,422 Hertz"), ("Ableitung", "Ableitung I"), ("Einheit", "µV")),
        (("サンプルレート", "512ヘルツ"), ("誘導", "I誘導"), ("単位", "µV")),
        (("采样率", "512 赫兹"), ("导联", "I 导联"), ("单位", "µV")),
        (("샘플링", "512헤르츠"), ("유도", "유도 I"), ("단위", "µV")),
        (("Samplingshastighed", "512 hertz"), ("Bar", "Bar I"), ("Baz", "µV")),
    ],
)
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_watch_exports_of_any_language(tmp_path: Path, rate, lead, unit, decimal: str, end: str):
    uv = ecg(1000, 512)[0] / 7
    lines = ["Name", '1,"Jan 8, 2002"', "A,2024-01-01 10:00:00 +0100", "B,", '"C","Watch6,7"']
    lines += [",".join(rate), "", "", ",".join(lead), ",".join(unit), "", ""]
    lines += [f"{value:.3f}".replace(".", decimal) for value in uv]
    path = write(tmp_path, end.join(lines).encode(), "csv")
    record = read_record(path)
    assert record.leads == ("I",)
    assert record.fs == pytest.approx(511.422 if "511" in rate[1] else 512)
    np.testing.assert_allclose(record.signal[0], uv / 1000, atol=1e-6)
    assert is_record(path)
    assert not record.comments  # the lines above the numbers name the person


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize(
    ("has_names", "has_header"), [(False, False), (True, False), (False, True)]
)
def test_numbers_of_rows_of_leads_are_no_samples(
    tmp_path: Path, start: int, has_names: bool, has_header: bool
):
    rows = [[f"{i}", *map(str, row)] for i, row in enumerate(MV, start)]
    rows = [[lead, *row] if has_names else row for lead, row in zip(LEADS, rows, strict=True)]
    if has_header:
        rows.insert(0, ["", *map(str, range(MV.shape[1]))])
    path = write(tmp_path, "\n".join(map(",".join, rows)).encode(), "csv")
    record = read_record(path, **GIVEN, leads=list(LEADS))
    np.testing.assert_allclose(record.signal, MV, atol=1e-6)


def test_a_number_before_the_samples_of_each_lead_is_refused(tmp_path: Path):
    def rows(*before: object) -> bytes:
        lines = [[lead, *before, *row] for lead, row in zip(LEADS, MV, strict=True)]
        return "\n".join(",".join(map(str, line)) for line in lines).encode()

    path = write(tmp_path, rows(200), "csv")
    assert_refused(path, "all rows of leads begin with 200", **GIVEN)
    # A pause before the record.
    record = read_record(write(tmp_path, rows(-3, -3, -3), "csv"), **GIVEN)
    np.testing.assert_allclose(record.signal[:, 3:], MV, atol=1e-6)


LEAD_ROWS = pd.DataFrame(MV, index=list(LEADS))
STATED = LEAD_ROWS.reset_index(names="lead").assign(fs=FS, units="mV").set_index("lead")
FORMS = {
    "of pandas": LEAD_ROWS.to_csv(),
    "of pandas with semicolons": LEAD_ROWS.to_csv(sep=";", decimal=","),
    "with numbers": LEAD_ROWS.reset_index().to_csv(),
    "with numbers alone": LEAD_ROWS.reset_index().to_csv(header=False),
    "with times above": LEAD_ROWS.set_axis(np.arange(300) / FS, axis=1).to_csv(),
    "with a row of times": pd.concat(
        [LEAD_ROWS, pd.DataFrame([np.arange(300) / FS], index=["time_s"])]
    ).to_csv(),
    "with numbered samples": LEAD_ROWS.add_prefix("s").to_csv(),
    "of one record": LEAD_ROWS.assign(record="r1").set_index("record", append=True).to_csv(),
    "with rate and unit": STATED.set_index(["fs", "units"], append=True).add_prefix("s").to_csv(),
    "with the lead last": STATED.reset_index().set_index(["units", "fs", "lead"]).to_csv(),
    "with one name for samples": "lead,unit,fs,samples\n"
    + STATED.set_index(["units", "fs"], append=True).to_csv(header=False),
    "with units": LEAD_ROWS.assign(unit="mV").set_index("unit", append=True).to_csv(header=False),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_rows_of_leads(tmp_path: Path, form: str):
    path = write(tmp_path, FORMS[form].encode(), "csv")
    record = read_record(path, **({} if "rate and unit" in form else GIVEN))
    assert (record.fs, record.leads) == (FS, LEADS)
    np.testing.assert_allclose(record.signal, MV, atol=1e-6)
    assert find_records(tmp_path) == [str(path)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (LEAD_ROWS.assign(fs=[250, *[500] * 11]).set_index("fs", append=True), "fs has several"),
        (LEAD_ROWS.assign(id=[*"ab"] * 6).set_index("id", append=True), "column id has several"),
        (
            LEAD_ROWS.assign(unit="mV", gain=200).set_index(["unit", "gain"], append=True),
            "a gain of 200 and the unit mV",
        ),
    ],
)
def test_rows_of_leads_that_contradict_each_other(tmp_path: Path, rows, message: str):
    assert_refused(
        write(tmp_path, rows.rename_axis(["lead", *rows.index.names[1:]]).to_csv().encode()),
        message,
    )


@pytest.mark.parametrize("has_time", [True, False])
@pytest.mark.parametrize("n_leads", [1, 2, 3])
def test_settings_of_labchart_are_no_samples(tmp_path: Path, n_leads: int, has_time: bool):
    mv = ecg()[:n_leads] / 1000
    settings = {
        "Interval=": ["0.002 s"], "ExcelDateTime=": ["4.4e+04", "11/26/2020"],
        "TimeFormat=": ["StartOfBlock"], "DateFormat=": [""], "ChannelTitle=": LEADS[:n_leads],
        "Range=": ["10.0 mV"] * n_leads, "UnitName=": ["mV"] * n_leads,
        "TopValue=": ["5.0"] * n_leads, "BottomValue=": ["-5.0"] * n_leads,
    }  # fmt: skip
    lines = ["\t".join([key, *values]) for key, values in settings.items()]
    for i, row in enumerate(mv.T):
        lines.append("\t".join(map(str, [f"{i / 500:.3f}", *row] if has_time else row)))
    path = write(tmp_path, "\r\n".join(lines).encode(), "txt")
    given = {} if has_time else {"leads": list(LEADS[:n_leads])}
    record = read_record(path, **given)
    assert (record.leads, record.fs) == (LEADS[:n_leads], 500)
    np.testing.assert_allclose(record.signal, mv, atol=1e-6)


def labchart(mv: np.ndarray, interval: str = "0.002 s") -> str:
    """Return a block of an export of LabChart."""
    head = [f"Interval=\t{interval}", "ExcelDateTime=\t4.4e+04\t11/26/2020", "DateFormat=\t"]
    head += ["ChannelTitle=\t" + "\t".join(LEADS), "UnitName=\t" + "\t".join(["mV"] * 12)]
    rows = ["\t".join(map(str, [f"{i / FS:.3f}", *row])) for i, row in enumerate(mv.T)]
    return "\n".join([*head, *rows, ""])


@pytest.mark.parametrize("lengths", [(100, 200), (1, 299), (297, 3), (100, 100, 100)])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_several_blocks_of_labchart_are_refused(tmp_path: Path, lengths: tuple[int], end: str):
    parts = np.split(MV, np.cumsum(lengths)[:-1], axis=1)
    content = "".join(map(labchart, parts)).replace("\n", end)
    assert_refused(write(tmp_path, content.encode(), "txt"), f"{len(lengths)} blocks of LabChart")


def test_remarks_of_labchart_are_no_cells(tmp_path: Path):
    content = labchart(MV).replace("\n0.200\t", "\n0.200\t", 1).split("\n")
    content[100] += "\t#* electrode moved"
    record = read_record(write(tmp_path, "\n".join(content).encode(), "txt"))
    np.testing.assert_allclose(record.signal, MV, atol=1e-6)


def test_the_number_of_samples_above_them_is_no_sample(tmp_path: Path):
    content = "sec\tI\tII\n\t300\t300\n" + body(MV[:2], "\t", seconds)
    record = read_record(write(tmp_path, content.encode(), "txt"), units="mV")
    np.testing.assert_allclose(record.signal, MV[:2], atol=1e-6)


@pytest.mark.parametrize("row", ["Calibration,1,mV", "LSB,1,mV", "Range,5,mV"])
def test_the_unit_of_one_number_is_not_that_of_a_column(tmp_path: Path, row: str):
    content = f"fs,500\n{row}\nI,II,V1\n" + body(MV[:3])
    assert_refused(
        write(tmp_path, content.encode(), "csv"), "states no units", leads=["-", "-", "V1"]
    )


def test_lines_of_any_kind_above_the_table(tmp_path: Path):
    head = "Patient: Doe, John\nHeart rate: 72 bpm\nFilter: 0.05-150 Hz\nRate: 500 Hz\nUnit: mV\n\n"
    record = read_record(write(tmp_path, (head + TABLE).encode()))
    np.testing.assert_allclose(record.signal, MV, atol=1e-6)
    with_units = NAMES + ",".join(["[mV]"] * 11 + ["[uV]"]) + "\n" + body()
    record = read_record(write(tmp_path, with_units.encode()), fs=FS)
    np.testing.assert_allclose(record.signal[11], MV[11] / 1000, atol=1e-9)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("1.5", True), ("-1,5", True), ("", True), ("1e-3", True), ("II", False), ("1.234,5", False)],
)
def test_cells_that_are_numbers(cell: str, expected: bool):
    assert is_number(cell) == expected


def test_a_last_row_that_is_cut_off_is_left_out_with_a_warning(tmp_path: Path):
    record = read_record(write(tmp_path, (TABLE + "1,2,3").encode()), **GIVEN)
    np.testing.assert_allclose(record.signal, MV, atol=1e-6)
    assert "cut off" in record.warnings[0]


def with_row(row: str) -> str:
    """Return a table with another row in line 102."""
    return NAMES + body(MV[:, :100]) + row + "\n" + body(MV[:, 100:])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (with_row("1,2,abc,4,5,6,7,8,9,10,11,12"), "line 102, column III: not a number: 'abc'"),
        ("\n\n" + with_row("1,2,abc,4,5,6,7,8,9,10,11,12"), "line 104, column III"),
        (with_row("1,2,3"), "line 102: expected 12 columns as in the other rows, got 3"),
        (with_row("1,2,3,4,5,6,7,8,9,10,11,12,13"), "line 102: expected 12 columns"),
        (with_row("1.5;2,5,3,4,5,6,7,8,9,10,11,12"), "line 102, column I: not a number"),
        ("I;II\n" + body(MV[:2], ";") + body(MV[:2], ";").replace(".", ","), "expected one kind"),
        ("I;II\n" + "1,234;-1,500\n12,345;100\n" * 30, "may be between thousands"),
        (NAMES + body() + "end of file\n", "line 302: expected 12 columns"),
        ("fs: 500\nSampling rate: 250 Hz\n" + TABLE, "500 Hz and 250 Hz"),
        ("Unit: mV\n" + TABLE.replace("V6", "V6 (uV)"), "contradicts the file's unit mV"),
        ("# fs: fast\n" + TABLE, "expected a sampling rate in Hz"),
        ("# fs: 250\n" + tsv(ecg()).decode(), "goes at 500 Hz, but the file states 250"),
        (tsv(ecg()).decode().replace("9998,0", "99980,0"), "gap of 90 s"),
        ("I,II\nx,y\nz,a\n", "no table of numbers"),
        (pd.DataFrame(ecg().T).to_csv(index=False), "does not name its 12 leads"),
        (pd.DataFrame(ecg()[:3].T).to_csv(index=False), "numbers the columns"),
        ("hello world", "no table of numbers"),
        ("," * 5000 + "\n1,2\n", "no table of numbers"),
        ("I,II,\n" + "1,2,3\n" * 50, "no name"),
        ("com.samsung.health.ecg,1,1\ndatauuid,start_time\na,2024\n", "Samsung Health"),
        ('I,II\n1,"1\n' + "1,2\n" * 1000, "characters, expected at most"),
    ],
)  # fmt: skip
def test_malformed_tables_are_refused(tmp_path: Path, content: str, message: str):
    assert_refused(write(tmp_path, content.encode()), message, units="mV")


def test_tables_with_too_many_cells_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(text_tables, "MAX_CELLS", 32_768)
    assert_refused(write(tmp_path, csv(ecg())), "more than 32768 cells")
    monkeypatch.setattr(text_tables, "MAX_TEXT_BYTES", 1 << 16)
    assert_refused(write(tmp_path, csv(ecg())), "expected at most 65536")


@pytest.mark.parametrize(
    "content",
    [
        "id,age,sex,height\n1,56,M,180\n2,65,F,170\n3,45,M,175\n",
        'ecg_id,patient_id,report\n1,15709,"sinus, ok"\n2,13243,x\n3,1,y\n',
        "0,1,0,1\n1,0,0,1\n0,0,1,1\n",
        "time,heart rate\n10:00:00,72\n10:00:01,73\n",
        "All, about it\nand more, of it\nthird, line\n",
        "com.samsung.health.ecg,1,1\ndatauuid,mean_heart_rate\nabc,72\n",
        "12 leads\n500 Hz\n",
    ],
)
def test_other_tables_of_a_folder_are_no_records(tmp_path: Path, content: str):
    assert not is_record(write(tmp_path, content.encode(), "csv"))


@pytest.mark.parametrize("names", ["I,II", "time,ecg", "t,ecg [uV]", "0.25,0.5"])
def test_tables_of_an_ecg_are_records(tmp_path: Path, names: str):
    rows = "".join(f"{i / 100},{i % 7}\n" for i in range(200))
    assert is_record(write(tmp_path, f"{names}\n{rows}".encode(), "csv"))


def test_a_table_with_contradictions_is_a_record_that_is_refused(tmp_path: Path):
    path = write(tmp_path, ("fs: 500\nfs: 250\n" + TABLE).encode(), "csv")
    assert is_record(path)
    assert_refused(path, "500 Hz and 250 Hz")


@pytest.mark.skipif(not CASES.is_dir(), reason=f"needs {CASES}")
@pytest.mark.parametrize(
    ("name", "fs", "given"),
    [
        *[("apple_en.csv", 512, {}), ("apple_de.csv", 512, {}), ("atm_seconds.csv", 500, {})],
        *[("spaces.txt", 500, GIVEN), ("transposed.csv", 500, GIVEN), ("iec_C.csv", 500, GIVEN)],
        ("hefei_like.txt", 500, {"fs": FS, "gain": 205.0}),
        ("dfajtai_RHYTHM_head.csv", 1000, {"units": "uV", "leads": LEADS}),
        ("polar_h10.txt", 130, {"leads": ["II"]}),
    ],
)  # fmt: skip
def test_real_tables(name: str, fs: float, given: dict):
    record = read_record(CASES / name, **given)
    assert record.fs == fs
    assert set(map(lead_name, record.leads)) <= set(LEADS)
    assert not record.warnings
    assert 0.05 < np.abs(record.signal).max() < 5


@pytest.mark.skipif(not CASES.is_dir(), reason=f"needs {CASES}")
def test_tables_of_one_ecg_have_its_samples(shared_ptbxl: Path):
    wfdb = read_record(shared_ptbxl / "records500" / "00000" / "00001_hr")
    for name, given in (("spaces.txt", GIVEN), ("transposed.csv", GIVEN), ("atm_seconds.csv", {})):
        signal = read_record(CASES / name, **given).signal
        np.testing.assert_allclose(signal, wfdb.signal[:, : signal.shape[1]], atol=5.1e-4)

"""What files of each format state about a recording: cleaned, bounded, and without names."""

from pathlib import Path

import pytest
from helpers import SHARED
from hypothesis import given, settings
from hypothesis import strategies as st
from writers import EXAM, FS, GIVEN, NAME, PATIENT, WRITERS, ecg, write

from ecg_siglip.core.files import UNPRINTABLE
from ecg_siglip.readers.identity import (
    MAX_STATEMENT,
    MAX_STATEMENTS,
    MAX_TEXT,
    DeviceResults,
    Identity,
    age_in,
    clean_text,
    device_results,
    hertz,
    moment,
    number_in,
    sex_in,
    unless_malformed,
)
from ecg_siglip.readers.identity import (
    NAME as HIDDEN,
)
from ecg_siglip.readers.record import open_record, read_record

DAY, AT = "2020-01-31", "2020-01-31T09:59:30"
FILTERS = {"high_pass": "0.05 Hz", "low_pass": "150 Hz", "notch": "50 Hz"}
# What the writers state in each format, apart from patient and sex.
STATED: dict[str, dict[str, str]] = {
    "edf": {"recorded_at": f"{DAY}T00:00:00", "record_id": EXAM, "model": "ECG-1", **FILTERS},
    "dcm": {"recorded_at": f"{AT}.5+01:00", "record_id": EXAM, "age": "69 years",
            "manufacturer": "ACME", "model": "ECG-1", "software": "1.2", "serial_number": "S1",
            **FILTERS},
    "aecg.xml": {"recorded_at": f"{AT}.5+01:00", "record_id": EXAM, "age": "69 years",
                 "manufacturer": "ACME", "model": "ECG-1", "software": "1.2",
                 "serial_number": "S1", **FILTERS},
    "muse.xml": {"recorded_at": AT, "record_id": EXAM, "age": "69 years", "model": "ECG-1",
                 "software": "1.2", "serial_number": "S1", **FILTERS},
    "cardiosoft.xml": {"recorded_at": AT, "record_id": EXAM, "age": "69 years", "model": "ECG-1",
                       "software": "1.2", "low_pass": "150 Hz", "notch": "50 Hz"},
    "sierra.xml": {"recorded_at": AT, "age": "69 years", "manufacturer": "ACME", "model": "ECG-1",
                   "software": "1.2", "serial_number": "S1", "high_pass": "0.05 Hz",
                   "low_pass": "150 Hz"},
    "mortara.xml": {"recorded_at": AT, "age": "69 years", "model": "ECG-1", "low_pass": "150 Hz"},
    "scp": {"recorded_at": AT, "age": "69 years", "high_pass": "0.05 Hz", "low_pass": "150 Hz"},
    "mwf": {"recorded_at": AT},
    "ecg": {"recorded_at": AT, "age": "69 years"},
}  # fmt: skip
WITH_PR = ("dcm", "aecg.xml", "muse.xml", "cardiosoft.xml", "sierra.xml")
WITH_STATEMENT = (*WITH_PR, "mortara.xml")


@pytest.mark.parametrize("kind", STATED)
def test_each_format_states_what_was_written(tmp_path: Path, kind: str):
    record = read_record(write(tmp_path, WRITERS[kind](ecg(), FS), kind))
    assert record.identity == Identity(patient_id=PATIENT, sex="female", **STATED[kind])
    measured = [(each.name, each.value, each.unit) for each in record.device.measurements]
    assert measured == ([("pr", 161.0, "ms")] if kind in WITH_PR else [])
    assert record.device.statements == (("Sinus rhythm",) if kind in WITH_STATEMENT else ())
    assert not record.device.confirmed


@pytest.mark.parametrize("kind", sorted(set(WRITERS) - set(STATED) - {"groups.dcm", "json"}))
def test_formats_without_a_place_for_it_state_nothing(tmp_path: Path, kind: str):
    record = read_record(write(tmp_path, WRITERS[kind](ecg(), FS), kind), **GIVEN.get(kind, {}))
    assert (record.identity, record.device) == (Identity(), DeviceResults())


@pytest.mark.parametrize("kind", WRITERS)
def test_no_name_and_no_date_of_birth_is_read(tmp_path: Path, kind: str):
    record = read_record(write(tmp_path, WRITERS[kind](ecg(), FS), kind), **GIVEN.get(kind, {}))
    text = f"{record.identity} {record.device} {record.warnings}"
    assert NAME not in text
    assert "1950" not in text
    hidden = str(record.identity.without_ids())
    assert not any(each in hidden for each in (PATIENT, EXAM, "69", "female", "S1"))


def test_a_record_that_is_read_in_pieces_has_its_identity(tmp_path: Path):
    path = write(tmp_path, WRITERS["dcm"](ecg(), FS), "dcm")
    piece = open_record(path).piece(100, 600)
    assert piece.identity.patient_id == PATIENT
    assert piece.device.statements == ("Sinus rhythm",)


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("20200131095930", "", AT),
        ("20200131095930.1200+0100", "", f"{AT}.12+01:00"),
        ("20200131", "+0100", DAY),  # a day has no time zone
        ("2020-01-31 09:59:30", "-0430", f"{AT}-04:30"),
        ("2020-01-31T09:59:30Z", "", f"{AT}Z"),
        ("2020/01/31 09:59", "", "2020-01-31T09:59"),
        ("2020-01-31 09:59:30 +01", "", f"{AT}+01:00"),
        ("21800502145300", "", "2180-05-02T14:53:00"),  # data sets shift dates
        *((text, "", "") for text in (
            "", "20200230", "20201301000000", "20200131250000", "0199-01-01", "19000101",
            "1970-01-01T00:00:00", "00000000", "31.01.2020", "yesterday", "9" * 500, "２０２０0131",
            "2020-0131",
        )),
        ("20200131095930", "+99:99", AT),
    ],
)  # fmt: skip
def test_moments_are_iso_8601_or_left_out(text: str, zone: str, expected: str):
    assert moment(text, zone) == expected


def test_placeholders_are_no_values():
    for text in ("", "0", "00000000", "---", "?", "X", "xxx", "Unknown", "ANONYMOUS", "anonymized",
                 "N/A", "none", "unbekannt", " \0 ", "_", None):  # fmt: skip
        assert clean_text(text) == "", text
    assert clean_text("0007") == "0007"
    assert clean_text("Xavier") == "Xavier"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=st.text(max_size=2000), number=st.one_of(st.text(max_size=20), st.floats()))
def test_any_text_is_bounded_and_on_one_line(text: str, number: object):
    identity = Identity(text, recorded_at=moment(text), notch=hertz(number), age=age_in(text))
    device = device_results([("rate", number), ("qt", text)], [text] * 2, [text], True)
    for value in (*vars(identity).values(), *device.statements):
        assert not UNPRINTABLE.search(value)
        assert len(value) <= MAX_STATEMENT + 12 * len(HIDDEN)
    assert all(len(value) <= MAX_TEXT for value in vars(identity).values())
    assert all(1 <= each.value <= 5000 for each in device.measurements)
    assert sex_in(text) in ("", "male", "female", "other")
    assert number_in(text) is None or isinstance(number_in(text), float)
    assert DeviceResults.from_dict(device.to_dict()) == device


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("Confirmed by: Doe, Jane (7) on 1/2/2020", f"Confirmed by {HIDDEN}"),
        ("Electronically signed by DR J DOE", f"Electronically signed by {HIDDEN}"),
        ("Befundet von Frau Muster", f"Befundet von {HIDDEN}"),
        ("Technician: jd", f"Technician: {HIDDEN}"),
        ("Compared with ECG of Erika Mustermann", f"Compared with ECG of {HIDDEN} {HIDDEN}"),
        ("Sinus rhythm", "Sinus rhythm"),
        ("Unconfirmed diagnosis", "Unconfirmed diagnosis"),
        ("QRS widened by rate", "QRS widened by rate"),
    ],
)
def test_names_in_statements_are_replaced(statement: str, expected: str):
    assert device_results((), [statement], ["Mustermann^Erika", "X"]).statements == (expected,)


def test_impossible_measurements_are_left_out():
    measured = [("rate", "0"), ("pr", 29999), ("qrs", "nan"), ("qt", "Indeterminate"),
                ("p_axis", 999), ("qrs_axis", -61), ("qrs_axis", 5), ("t_axis", "1,5")]  # fmt: skip
    results = device_results(measured)
    assert [(each.name, each.value) for each in results.measurements] == [
        ("qrs_axis", -61.0), ("t_axis", 1.5)
    ]  # fmt: skip
    assert results.measurements[0].label == "QRS axis"


def test_many_statements_are_counted():
    statements = device_results((), map(str, range(10, 10 + MAX_STATEMENTS + 5))).statements
    assert len(statements) == MAX_STATEMENTS + 1
    assert statements[-1] == "... and 5 more statements"


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [("042Y", "", "42 years"), ("006M", "", "6 months"), (300, "", "over 89 years"),
     ("56.0", "", "56 years"), ("3", "WEEKS", "3 weeks"), ("-1", "", ""), ("200", "", ""),
     ("abc", "", ""), ("5", "parsecs", ""), (None, "", "")],
)  # fmt: skip
def test_ages_have_their_unit(text: object, unit: str, expected: str):
    assert age_in(text, unit) == expected


def test_an_error_of_a_library_leaves_the_default():
    assert unless_malformed(lambda: 1 // 0, 5) == 5


def test_missing_values_come_from_the_other_identity():
    one, other = Identity("a", recorded_at=DAY), Identity("b", age="1 years")
    assert one.with_missing(other) == Identity("a", age="1 years", recorded_at=DAY)


@pytest.mark.skipif(not (SHARED / "cases").is_dir(), reason="needs shared/cases")
@pytest.mark.parametrize(
    ("name", "recorded_at", "pr", "n_statements"),
    [
        ("dicom/padding0.dcm", "2013-01-25T10:59:19", 161, 2),
        ("dicom/ecgtoolkit_Example.dcm", "2002-11-22T09:10:00", 148, 0),
        ("scp/Example.scp", "2002-11-22T09:10:00", 148, 0),  # the ECG that this DICOM is made of
        ("philips/129DYPRG.XML", "2011-12-01T07:27:34", 151, 4),
        ("philips/ad4d_orig.xml", "2008-12-23T19:44:46", 144, 2),
        ("xml/muse_leading_nl.xml", "", None, 2),
        ("xml/aecg_us.xml", "2002-01-01T00:00:00", None, 0),
        ("edf/holter3.edf", "2020-01-01T12:00:00", None, 0),
        ("wfdb/40689238.hea", "2180-05-02T14:53:00", None, 0),
        ("wfdb/iso_date.hea", "2020-01-02T10:00:00", None, 0),
        ("wfdb/year199.hea", "", None, 0),
        ("tables/apple_de.csv", "2025-03-01T10:15:00+01:00", None, 1),
    ],
)
def test_real_files(name: str, recorded_at: str, pr: float | None, n_statements: int):
    record = read_record(SHARED / "cases" / name)
    assert record.identity.recorded_at == recorded_at
    assert {each.name: each.value for each in record.device.measurements}.get("pr") == pr
    assert len(record.device.statements) == n_statements
    assert record.device.confirmed == (name == "philips/ad4d_orig.xml")


SCRAMBLED: dict[str, tuple[tuple[bytes, bytes], ...]] = {
    "dcm": ((b"069Y", b"abcd"), (b"DS\x04\x000.05", b"DS\x04\x00abcd"), (b"161 ", b"x61 "),
            (PATIENT.encode(), b"M\xfc\x1b[31")),
    "muse.xml": ((b"01-31-2020", b"99-99-2020"), (PATIENT.encode(), 5000 * b"\xfc")),
    "mortara.xml": ((b"20200131095930", b"abc"), (b'AGE="69"', b'AGE="x"')),
    "mwf": ((b"\x01\x1f\x09\x3b\x1e", b"\x01\x1f\x63\x63\x63"),),  # the time
    "edf": ((b"31-JAN-2020", b"31-XXX-2020"), (b"HP:0.05Hz", b"HP:0.0.Hz")),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "at"), [(k, i) for k, v in SCRAMBLED.items() for i in range(len(v))]
)
def test_a_malformed_value_leaves_the_ecg_and_the_other_values(tmp_path: Path, kind: str, at: int):
    old, new = SCRAMBLED[kind][at]
    content = WRITERS[kind](ecg(), FS)
    if old not in content:
        pytest.fail(f"{old!r} is not in the file")
    record = read_record(write(tmp_path, content.replace(old, new), kind))
    assert record.identity.sex == "female"
    assert not record.warnings
    assert all(len(each) <= MAX_TEXT for each in vars(record.identity).values())
    assert not UNPRINTABLE.search("".join(vars(record.identity).values()))

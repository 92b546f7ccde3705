"""HL7 aECG: the same signal as written and as ecgdatakit reads it, or an error."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import SHARED
from writers import FS, aecg, assert_refused, ecg, write

from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS, lead_name, order_leads

CASES = SHARED / "cases" / "xml"
SET = re.compile(r"<component><sequenceSet>.*?</sequenceSet></component>")


def changed(old: str, new: str, count: int = -1) -> bytes:
    content = aecg(ecg()).decode()
    assert old in content
    return content.replace(old, new, count).encode()


def read_uv(path: Path, **stated: object) -> np.ndarray:
    record = read_record(path, **stated)
    return 1000 * order_leads(record.signal, record.leads)


def set_per_lead(starts: list[str]) -> bytes:
    """Return an aECG with a set of sequences for each lead, which begins at a time of its own."""
    parts = [
        SET.search(aecg(row[None], leads=(lead,)).decode())[0].replace("20200101", start)
        for row, lead, start in zip(ecg(), LEADS, starts, strict=True)
    ]
    return SET.sub("".join(parts), aecg(ecg()).decode(), count=1).encode()


@pytest.mark.parametrize("name", ["us", "nV", "comma", "set_per_lead"])
def test_the_cases_are_one_record(name: str):
    if not CASES.is_dir():
        pytest.skip(f"needs {CASES}")
    record = read_record(CASES / f"aecg_{name}.xml")
    reference = read_record(CASES / "aecg_us.xml")
    assert record.signal.shape == (12, 5000)
    assert record.fs == 500
    np.testing.assert_allclose(record.signal, reference.signal, atol=1e-6)


@pytest.mark.parametrize("fs", [100, 257.5, 500, 1000])
def test_amplitude_rate_and_leads_as_ecgdatakit_reads_them(tmp_path: Path, fs: float):
    from ecgdatakit.parsing.parsers.hl7_aecg import HL7aECGParser

    path = write(tmp_path, aecg(ecg(), fs), "xml")
    record, other = read_record(path), HL7aECGParser().parse(path)
    assert [lead_name(name) for name in record.leads] == [lead.label for lead in other.leads]
    for row, lead in zip(record.signal, other.leads, strict=True):
        np.testing.assert_allclose(1000 * row, lead.to_physical().samples, atol=1e-3)
    assert record.fs == pytest.approx(fs, rel=1e-5)
    assert round(record.fs) == pytest.approx(other.leads[0].sampling_rate, abs=1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: changed('value="0.002" unit="s"', 'value="2000" unit="us"'),
        lambda: changed('value="0.002" unit="s"', 'value="2" unit="ms"'),
        lambda: changed('value="0.002" unit="s"', 'value="2000" unit="µs"'),
        lambda: changed(' xsi:type="SLIST_PQ"', ""),
        lambda: changed("urn:hl7-org:v3", "urn:other"),
        lambda: changed('<code code="RHYTHM"/>', ""),
        lambda: changed("TIME_ABSOLUTE", "TIME_RELATIVE"),
        lambda: changed('<head value="20200101"/>', ""),
        lambda: changed('<head value="20200101"/>', '<head value="0" unit="s"/>'),
        lambda: changed("MDC_ECG_LEAD", "MINDRAY_ECG_LEAD"),
        lambda: changed("</digits>", "\n</digits><boundary/>"),
        lambda: changed('<origin value="0" unit="uV"/>', ""),
        lambda: set_per_lead(["20200101120000.000"] * 12),
        lambda: set_per_lead(["20200101120000.000"] * 6 + ["20200101120000.002+0100"] * 6),
    ],
)  # fmt: skip
def test_variants_are_the_same_signal(tmp_path: Path, make: Callable):
    np.testing.assert_allclose(read_uv(write(tmp_path, make())), ecg(), atol=1e-3)


def test_counts_without_scale_need_their_size(tmp_path: Path):
    content = changed('<scale value="1" unit="uV"/>', "").replace(b"SLIST_PQ", b"SLIST_INT")
    content = content.replace(b'<origin value="100" unit="uV"/>', b"")
    assert_refused(write(tmp_path, content), "read.gain")
    expected = ecg() / 2
    expected[0] -= 50
    np.testing.assert_allclose(read_uv(tmp_path / "rec.bin", gain=2000), expected, atol=1e-3)
    content = changed(' unit="uV"', "")
    np.testing.assert_allclose(read_uv(write(tmp_path, content), units="uV"), ecg(), atol=1e-3)


def test_a_lead_without_samples_is_named(tmp_path: Path):
    content = re.sub(
        r'(LEAD_V6"/><value) .*?</value>', r'\1 nullFlavor="NA"/>', aecg(ecg()).decode()
    )
    record = read_record(write(tmp_path, content.encode()))
    assert len(record.leads) == 11
    assert record.warnings == ("MDC_ECG_LEAD_V6 has no samples",) or len(record.warnings) == 2


def test_several_recordings_are_named(tmp_path: Path):
    series = re.search(r"<component><series>.*</series></component>", aecg(ecg()).decode())[0]
    second = SET.search(aecg(-ecg()).decode())[0]
    content = aecg(ecg()).decode().replace(series, series + SET.sub(second, series, count=1))
    record = read_record(write(tmp_path, content.encode()))
    assert record.warnings == (
        "2 recordings of the same leads in the file, of which the first is read",
    )
    np.testing.assert_allclose(read_uv(tmp_path / "rec.bin"), ecg(), atol=1e-3)


def test_leads_of_different_length_or_time_are_a_print_layout(tmp_path: Path):
    uv = ecg()
    digits, short = (" ".join(map(str, row)) for row in (uv[5], uv[5, :1250]))
    path = write(tmp_path, changed(digits, short, 1))
    assert_refused(path, "leads of 1250 to 5000 samples", "print layout")
    starts = [f"202001011200{2.5 * (i // 3):06.3f}" for i in range(12)]
    assert_refused(write(tmp_path, set_per_lead(starts)), "print layout")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: changed('value="0.002"', 'value="0"'), "increment"),
        (lambda: changed('value="0.002" unit="s"', 'value="0.002"'), "got 0.002 no unit"),
        (lambda: changed('<increment value="0.002" unit="s"/>', ""), "increment"),
        (lambda: changed("TIME_ABSOLUTE", "OTHER"), "finite numbers|sequence of time"),
        (lambda: changed('"100" unit="uV"', '"1" unit="mV"'), "one unit, got two"),
        (lambda: changed('<scale value="1"', '<scale value="0"'), "scale of lead"),
        (lambda: changed('<scale value="1"', '<scale value="x"'), "a number as scale, got x"),
        (lambda: changed('<scale value="1" unit="uV"/>', ""), "an origin but no scale"),
        (lambda: changed('code="RHYTHM"', 'code="REPRESENTATIVE_BEAT"'), "only representative"),
        (lambda: b"<AnnotatedECG/>", "a series of type RHYTHM with leads, got none"),
        (lambda: changed('<code code="MDC_ECG_LEAD_I"/>', ""), "a sequence has no code"),
    ],
)  # fmt: skip
def test_malformed_files_are_refused(tmp_path: Path, make: Callable, message: str):
    with pytest.raises(ValueError, match=message) as error:
        read_record(write(tmp_path, make()))
    assert len(str(error.value)) < 250


def test_two_rates_in_one_set_are_refused(tmp_path: Path):
    time = re.search(r'<component><sequence><code code="TIME.*?</component>', aecg(ecg()).decode())[
        0
    ]
    content = changed(time, time + time.replace("0.002", "0.004"), 1)
    assert_refused(write(tmp_path, content), "expected one sequence of time", "250 Hz and 500 Hz")
    np.testing.assert_allclose(
        read_uv(write(tmp_path, changed(time, time + time, 1))), ecg(), atol=1e-3
    )
    assert FS == 500

"""GE MUSE: the same signal as written and as ecgdatakit reads it, or an error."""

import base64
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import SHARED
from writers import assert_refused, ecg, muse, write

from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS, order_leads

CASES = SHARED / "cases" / "xml"
UNITS = "<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits>"
LEAD_DATA = re.compile(r"<LeadData>.*?</LeadData>", re.S)


def changed(old: str, new: str, count: int = -1) -> bytes:
    content = muse(ecg()).decode()
    assert old in content
    return content.replace(old, new, count).encode()


def stated(field: str, value: int, leads: str = "") -> bytes:
    """Return an export that states a field of the leads whose names begin as given."""
    return changed(f"<LeadID>{leads}", f"<{field}>{value}</{field}><LeadID>{leads}")


def renamed(old: str, new: str) -> str:
    """Return the data of a lead under another name."""
    found = [lead for lead in LEAD_DATA.findall(muse(ecg()).decode()) if f"<LeadID>{old}<" in lead]
    return found[0].replace(f"<LeadID>{old}<", f"<LeadID>{new}<")


def test_the_leads_that_muse_does_not_store_are_computed(tmp_path: Path):
    record = read_record(write(tmp_path, muse(ecg()), "xml"))
    assert record.leads == ("I", "II", *LEADS[6:], "III", "aVR", "aVL", "aVF")
    assert record.comments == ("Sinus rhythm",)


@pytest.mark.parametrize("name", ["leading_nl", "declared16_is8", "v3_longer"])
def test_the_cases_as_ecgdatakit_reads_them(name: str):
    if not CASES.is_dir():
        pytest.skip(f"needs {CASES}")
    from ecgdatakit.parsing.parsers.ge_muse_xml import GEMuseXMLParser

    record = read_record(CASES / f"muse_{name}.xml")
    # The library does not read an encoding that is declared wrongly: it gets the same record.
    other = GEMuseXMLParser().parse(CASES / "muse_leading_nl.xml")
    assert {lead.sampling_rate for lead in other.leads} == {record.fs}
    signal = dict(zip(record.leads, record.signal, strict=True))
    for lead in other.leads:
        expected = lead.to_physical().samples[: record.signal.shape[1]] / 1000
        np.testing.assert_allclose(signal[lead.label], expected, atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: changed(">2.0<", ">2,0<"),
        lambda: changed(UNITS, "<LeadAmplitudeUnits>uV</LeadAmplitudeUnits>"),
        lambda: changed(">2.0<", ">0.002<").replace(b"MICROVOLTS", b"MILLIVOLTS"),
        lambda: changed("<SampleExponent>0<", "<SampleExponent>1<").replace(b">500<", b">50<"),
        lambda: changed("<SampleExponent>0</SampleExponent>", ""),
        lambda: changed("<LeadSampleSize>2</LeadSampleSize>", ""),
        lambda: b"\n" + muse(ecg()),
        lambda: changed("ISO-8859-1", "utf-16"),
        lambda: muse(ecg()).decode().encode("utf-16"),
        lambda: changed("Sinus rhythm", "Müller").decode().encode("cp1252"),
        lambda: changed("restecg.dtd", "http://127.0.0.1:1/restecg.dtd"),
        lambda: changed("</LeadData>", "<HighPassFilter>x</HighPassFilter></LeadData>"),
        lambda: stated("LeadOffsetFirstSample", 0),
        lambda: changed("<LeadID>V1<", "<LeadID>V1 <"),
    ],
)  # fmt: skip
def test_variants_are_the_same_signal(tmp_path: Path, make: Callable):
    record = read_record(write(tmp_path, make()))
    assert record.fs == 500
    np.testing.assert_allclose(1000 * order_leads(record.signal, record.leads), ecg(), atol=1e-3)


def test_further_leads_are_kept_and_stored_limb_leads_used(tmp_path: Path):
    extra = renamed("V1", "V3R") + renamed("V2", "V4R") + renamed("V3", "V7") + renamed("V4", "III")
    content = changed("</LeadData></Waveform>", f"</LeadData>{extra}</Waveform>")
    record = read_record(write(tmp_path, content))
    assert len(record.leads) == 15
    assert {"V3R", "V4R", "V7"} < set(record.leads)
    third, v4 = record.signal[record.leads.index("III")], record.signal[record.leads.index("V4")]
    np.testing.assert_array_equal(third, v4)


def test_counts_without_unit_or_step_need_them(tmp_path: Path):
    path = write(tmp_path, changed(UNITS, ""))
    assert_refused(path, "read.units")
    record = read_record(path, units="uV")
    np.testing.assert_allclose(1000 * order_leads(record.signal, record.leads), ecg(), atol=1e-3)
    step = "<LeadAmplitudeUnitsPerBit>2.0</LeadAmplitudeUnitsPerBit>"
    path = write(tmp_path, changed(step, ""))
    assert_refused(path, "read.gain")
    record = read_record(path, gain=500)
    np.testing.assert_allclose(1000 * order_leads(record.signal, record.leads), ecg(), atol=1e-3)


def test_checksums_are_verified_where_they_are_stated(tmp_path: Path):
    def with_checksums(offset: int) -> bytes:
        def add(found: re.Match) -> str:
            data = base64.b64decode("".join(found[1].split()))
            return f"<LeadDataCRC32>{zlib.crc32(data) + offset}</LeadDataCRC32>{found[0]}"

        return re.sub(r"<WaveFormData>(.*?)</", add, muse(ecg()).decode(), flags=re.S).encode()

    assert read_record(write(tmp_path, with_checksums(0))).warnings == ()
    warning = read_record(write(tmp_path, with_checksums(-1))).warnings[0]
    assert warning == "the checksum is not that of the samples of I, II, V1, V2, V3, V4, V5, V6"


def test_several_rhythms_are_named(tmp_path: Path):
    waveform = muse(ecg()).decode().split("<Waveform>")[2].replace("</RestingECG>", "")
    content = changed("</RestingECG>", f"<Waveform>{waveform}</RestingECG>")
    assert read_record(write(tmp_path, content)).warnings == (
        "2 recordings of the same leads in the file, of which the first is read",
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: muse(ecg(), kind="Median"), "type Rhythm, got median: export"),
        (lambda: b"<RestingECG/>", "type Rhythm, got none"),
        (lambda: changed(">5000<", ">4999<"), "expected 4999 samples"),
        (lambda: stated("LeadByteCountTotal", 9), "expected 9 bytes"),
        (lambda: changed("<SampleBase>500", "<SampleBase>x"), "a number as SampleBase, got x"),
        (lambda: changed("<SampleBase>500</SampleBase>", ""), "as SampleBase, got nothing"),
        (lambda: changed("<SampleExponent>0", "<SampleExponent>1e9"), "expected a sampling rate"),
        (lambda: changed("MICROVOLTS", "BANANAS"), "uV, mV or V, got BANANAS"),
        (lambda: changed("MICROVOLTS", "MILLIVOLTS", 1), "in one unit and from one time"),
        (lambda: changed(">2.0<", ">0<"), "LeadAmplitudeUnitsPerBit other than 0"),
        (lambda: changed("<LeadSampleSize>2", "<LeadSampleSize>4"), "samples of 2 bytes, got 4"),
        (lambda: stated("LeadOffsetFirstSample", 900, "V"), "print layout"),
    ],
)  # fmt: skip
def test_malformed_files_are_refused(tmp_path: Path, make: Callable, message: str):
    assert_refused(write(tmp_path, make()), message)

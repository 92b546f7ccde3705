"""XML by its root: ECGs are read, all else is named as what it is; no entity is expanded."""

from pathlib import Path

import numpy as np
import pytest
from helpers import SHARED
from writers import aecg, assert_refused, cardiosoft, ecg, write

from ecg_siglip.readers.folders import find_records
from ecg_siglip.readers.record import read_record
from ecg_siglip.readers.xml_formats import OTHER_ROOTS
from ecg_siglip.signals.leads import LEADS

CASES = SHARED / "cases" / "xml"


def test_entities_are_refused(tmp_path: Path):
    laughs = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9))
    head = f'<!DOCTYPE AnnotatedECG [<!ENTITY l0 "lol">{laughs}]>'
    assert_refused(write(tmp_path, aecg(ecg(), head=head)), "expected no entities")
    head = '<!DOCTYPE AnnotatedECG [<!ENTITY secret SYSTEM "file:///etc/hostname">]>'
    assert_refused(write(tmp_path, aecg(ecg(), head=head)), "expected no entities")
    head = '<!DOCTYPE AnnotatedECG [<!ENTITY % all SYSTEM "other.dtd"> %all;]>'
    assert_refused(write(tmp_path, aecg(ecg(), head=head)), "expected no entities")
    for head in ('<!DOCTYPE AnnotatedECG SYSTEM "other.dtd">', "<!-- a <comment> -->"):
        assert read_record(write(tmp_path, aecg(ecg(), head=head))).leads[0].endswith("LEAD_I")
    assert_refused(write(tmp_path, b"<a>" * 100_000), "XML: damaged")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<HealthData/>", ["Apple Health", "electrocardiograms"]),
        (b"<plist/>", ["property list"]),
        (b'<ClinicalDocument xmlns="urn:hl7-org:v3"/>', ["CDA", "export the ECG"]),
        (b'<Observation xmlns="http://hl7.org/fhir"/>', ["FHIR"]),
        (b"<NativeDicomModel/>", ["give the DICOM file"]),
        (b"<examdescript/>", ["Schiller"]),
        (b"<gpx/>", ["sports watch"]),
        (b"<" + b"a" * 1000 + b"/>", ["expected AnnotatedECG or RestingECG"]),
        (b"<ECG/>", ["Mortara ELI", "1 to 64 CHANNEL, got 0"]),
        (b"<CardiologyXML/>", ["GE CardioSoft", "expected samples"]),
    ],
)
def test_other_xml_is_named(tmp_path: Path, content: bytes, words: list[str]):
    path = write(tmp_path, content)
    assert_refused(path, *words)
    with pytest.raises(ValueError, match="XML") as error:
        read_record(path)
    assert len(str(error.value)) < 200


def test_only_ecgs_are_found_in_a_folder(tmp_path: Path):
    for i, root in enumerate(OTHER_ROOTS):
        (tmp_path / f"{i}.xml").write_text(f"<{root}/>")
    (tmp_path / "wide.xml").write_bytes(aecg(ecg()).decode().encode("utf-16"))
    assert find_records(tmp_path) == [str(tmp_path / "wide.xml")]


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_cardiosoft_export_is_the_signal_as_written(tmp_path: Path, wrapped: bool):
    content = cardiosoft(ecg())
    if wrapped:
        content = content.replace(b"<StripData>", b"<Strip><StripData>")
        content = content.replace(b"</StripData>", b"</StripData></Strip>")
    record = read_record(write(tmp_path, content))
    assert record.fs == 500
    assert record.leads == LEADS
    np.testing.assert_allclose(1000 * record.signal, ecg(), atol=1e-3)


def test_a_full_disclosure_is_read_if_there_is_no_strip(tmp_path: Path):
    samples = ",".join(map(str, ecg().T.ravel()))
    content = (
        "<CardiologyXML><FullDisclosure><SampleRate>500</SampleRate><Resolution units='uVperLsb'>1"
        f"</Resolution><LeadOrder>{','.join(LEADS)}</LeadOrder><FullDisclosureData>{samples},"
        "</FullDisclosureData></FullDisclosure></CardiologyXML>"
    )
    record = read_record(write(tmp_path, content.encode()))
    np.testing.assert_allclose(1000 * record.signal, ecg(), atol=1e-3)
    content = content.replace("<FullDisclosureData>", "<FullDisclosureData>1,")
    assert_refused(write(tmp_path, content.encode()), "60001 samples are not a whole number")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Total>5000<", "Total>4999<", "expected 4999 samples of lead I, got 5000"),
        ('"uVperLsb">0.5<', '"uVperLsb">0<', "Resolution above 0"),
        ('"uVperLsb">0.5<', '"">0.5<', "no units"),
        ('units="Hz">500<', 'units="Hz">x<', "a number as SampleRate, got x"),
        ('<Resolution units="uVperLsb">0.5</Resolution>', "", "read.gain"),
    ],
)
def test_a_malformed_cardiosoft_export_is_refused(tmp_path: Path, old: str, new: str, message: str):
    content = cardiosoft(ecg()).decode()
    assert old in content
    assert_refused(write(tmp_path, content.replace(old, new).encode()), message)


@pytest.mark.parametrize("name", ["mortara", "cardiosoft"])
def test_stubs_are_named(name: str):
    if not CASES.is_dir():
        pytest.skip(f"needs {CASES}")
    words = {"mortara": "Mortara ELI: CHANNEL I", "cardiosoft": "GE CardioSoft: expected samples"}
    with pytest.raises(ValueError, match=words[name]):
        read_record(CASES / f"{name}.xml")


def test_a_full_disclosure_that_names_fewer_leads_than_it_has_is_refused(tmp_path: Path):
    samples = ",".join(map(str, ecg().T.ravel()))
    content = (
        "<CardiologyXML><FullDisclosure><SampleRate>500</SampleRate><NumberOfChannels>12"
        f"</NumberOfChannels><LeadOrder>{','.join(LEADS[:8])}</LeadOrder><FullDisclosureData>"
        f"{samples}</FullDisclosureData></FullDisclosure></CardiologyXML>"
    )
    assert_refused(write(tmp_path, content.encode()), "names 8 leads, and states 12")

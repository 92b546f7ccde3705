"""HL7 aECG and GE MUSE: the same signal as written, or an error; no entity is expanded."""

from collections.abc import Callable
from pathlib import Path

import pytest
from writers import aecg, assert_refused, ecg, muse, write

from ecg_siglip.readers import xml_formats
from ecg_siglip.readers.channels import MAX_PARSED_BYTES
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS


def replaced(content: bytes, old: str, new: str) -> bytes:
    assert old.encode() in content
    return content.replace(old.encode(), new.encode(), 1)


def test_the_leads_that_muse_does_not_store_are_computed(tmp_path: Path):
    record = read_record(write(tmp_path, muse(ecg()), "xml"))
    assert record.leads == ("I", "II", *LEADS[6:], "III", "aVR", "aVL", "aVF")
    assert record.comments == ("Sinus rhythm",)


def test_leads_of_different_length_are_a_print_layout(tmp_path: Path):
    uv = ecg()
    digits, short = (" ".join(map(str, row)) for row in (uv[5], uv[5, :1250]))
    path = write(tmp_path, replaced(aecg(uv), digits, short))
    assert_refused(path, "leads of 1250 to 5000 samples", "print layout")


def test_entities_and_oversized_files_are_refused(tmp_path: Path):
    laughs = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9))
    head = f'<!DOCTYPE AnnotatedECG [<!ENTITY l0 "lol">{laughs}]>'
    assert_refused(write(tmp_path, aecg(ecg(), head=head)), "EntitiesForbidden")
    head = '<!DOCTYPE AnnotatedECG [<!ENTITY secret SYSTEM "file:///etc/hostname">]>'
    assert_refused(write(tmp_path, aecg(ecg(), head=head)), "EntitiesForbidden")
    assert_refused(write(tmp_path, b"<a>" * (xml_formats.MAX_XML_TAGS + 1)), "tags of XML")
    assert_refused(write(tmp_path, b"<a>" + bytes(MAX_PARSED_BYTES)), "MiB")
    head = f'<!DOCTYPE AnnotatedECG [<!ATTLIST component x CDATA "{"lol" * 1000}">]>'
    assert_refused(write(tmp_path, aecg(ecg(), head=head)), "defines attributes of <component>")
    for head in ('<!DOCTYPE AnnotatedECG SYSTEM "other.dtd">', "<!-- a <comment> -->"):
        assert read_record(write(tmp_path, aecg(ecg(), head=head))).leads[0].endswith("LEAD_I")
    assert_refused(write(tmp_path, b"<a>" * 100_000), "malformed XML")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: muse(ecg(), kind="Median"), "type Rhythm"),
        (lambda: replaced(muse(ecg()), ">5000<", ">4999<"), "expected 4999 samples"),
        (lambda: replaced(muse(ecg()), "<SampleBase>500", "<SampleBase>x"), "could not convert"),
        (lambda: muse(ecg()).replace(b"MICROVOLTS", b"BANANAS"), "uV, mV or V, got BANANAS"),
        (lambda: replaced(muse(ecg()), "MICROVOLTS", "MILLIVOLTS"), "in one unit, got two"),
        (lambda: replaced(aecg(ecg()), 'value="0.002"', 'value="0"'), "increment"),
        (lambda: replaced(aecg(ecg()), '"100" unit="uV"', '"1" unit="mV"'), "one unit, got two"),
        (lambda: b"<page><body/></page>", "expected AnnotatedECG or RestingECG, got <page>"),
    ],
)  # fmt: skip
def test_malformed_files_are_refused(tmp_path: Path, make: Callable, message: str):
    assert_refused(write(tmp_path, make()), message)

"""Read ECGs in XML: HL7 aECG, GE MUSE, GE CardioSoft, Philips Sierra and Mortara ELI.

Any other XML is refused by the name of its root, with what would help.
"""

from __future__ import annotations

import re
from typing import Any

from ecg_siglip.core.files import one_line
from ecg_siglip.readers import aecg_format, device_formats, muse_format
from ecg_siglip.readers.channels import Channel, Stated, join_groups
from ecg_siglip.readers.identity import DeviceResults, Identity, unless_malformed
from ecg_siglip.readers.xml_document import parse_number, parse_samples, parse_xml, root_name
from ecg_siglip.readers.xml_identity import cardiosoft_identity, cardiosoft_results

EXPORT = "export the ECG as DICOM, HL7 aECG, SCP-ECG or GE MUSE XML"
# Roots of other XML in lower case: what the file is, and what would help. HTML and SVG are in
# ``other_formats``.
OTHER_KINDS = (
    ("plist kml gpx trainingcenterdatabase rss feed schema",
     "a property list, a schema, news, or a track of a sports watch", "it contains no ECG"),
    ("healthdata", "the list of an Apple Health export",
     "its ECGs are the CSV files in the folder electrocardiograms of that export"),
    ("clinicaldocument ihedocumentlist", "an HL7 CDA document or a list of them", EXPORT),
    ("observation bundle diagnosticreport", "a FHIR resource", EXPORT),
    ("nativedicommodel file-format data-set", "DICOM written as XML", "give the DICOM file itself"),
    ("schillerxml schilleredi com.xiriuz.sema.xml.schilleredi.schilleredi examdescript",
     "an export of Schiller", EXPORT),
    ("nihonkohden", "an export of Nihon Kohden", f"{EXPORT} or MFER"),
    ("sapphire", "an export of GE (Sapphire)", EXPORT),
    ("workbook", "a spreadsheet of Excel 2003", "save it as CSV or XLSX"),
)  # fmt: skip
OTHER_ROOTS = {root: kind for roots, *kind in OTHER_KINDS for root in roots.split()}


def read_xml(content: bytes) -> Stated:
    """Read an ECG in XML.

    Parameters
    ----------
    content : bytes
        Without definitions of entities. The root is
        ``AnnotatedECG`` (HL7 aECG), ``RestingECG`` (GE MUSE), ``CardiologyXML`` (GE CardioSoft),
        ``restingecgdata`` (Philips Sierra) or ``ECG`` (Mortara ELI).

    Returns
    -------
    Stated
        Comments: statements of the device.

    Raises
    ------
    ValueError
        If it is XML of another kind, defines entities, or lacks parts of a signal; and as the
        reader of the kind.
    """
    root = parse_xml(content)
    kind = root.tag.lower()
    if kind in XML_READERS:
        name, reader = XML_READERS[kind]
        try:
            return reader(root)
        except ValueError as error:
            raise ValueError(f"{name}: {one_line(error)}") from error
    if kind in OTHER_ROOTS:
        what, help_ = OTHER_ROOTS[kind]
        raise ValueError(f"{what} (<{root.tag}>), which is not read: {help_}")
    raise ValueError(
        f"<{root.tag[:40]}> is not known, expected AnnotatedECG or RestingECG, CardiologyXML, "
        "restingecgdata or ECG"
    )


def is_ecg_xml(head: bytes) -> bool:
    """Return whether the beginning of an XML document is that of an ECG."""
    return root_name(head) in XML_READERS


def read_cardiosoft(root: Any) -> Stated:
    """Read the strips of a GE CardioSoft export, or its full disclosure if it has no strip.

    Parameters
    ----------
    root : xml.etree.ElementTree.Element

    Raises
    ------
    ValueError
        If it has neither, rate or resolution are no numbers, or a lead is not as long as stated.
    """
    strips = [*root.findall("StripData"), *root.findall("Strip/StripData")]
    groups = [_cardiosoft_strip(strip) for strip in strips]
    groups += [] if any(groups) else map(_full_disclosure, root.findall("FullDisclosure"))
    if not any(groups):
        raise ValueError("expected samples (WaveformData), got none")
    return Stated(
        join_groups([group for group in groups if group]),
        identity=unless_malformed(lambda: cardiosoft_identity(root), Identity()),
        device=unless_malformed(lambda: cardiosoft_results(root), DeviceResults()),
    )


def _cardiosoft_strip(strip: Any) -> list[Channel]:
    """Return the channels of a strip: text with the counts of each lead."""
    stated = strip.findtext("ChannelSampleCountTotal")
    channels = []
    for waveform in strip.findall("WaveformData"):
        name = (waveform.get("lead") or "").strip()
        channels.append(_cardiosoft_channel(strip, name, parse_samples(waveform.text, name)))
        n_samples = len(channels[-1].samples)
        if stated is not None and parse_number(stated, "ChannelSampleCountTotal") != n_samples:
            raise ValueError(f"expected {stated[:20]} samples of lead {name}, got {n_samples}")
    return channels


def _full_disclosure(disclosure: Any) -> list[Channel]:
    """Return the channels of the whole of an exercise test: one sample of each lead in turn."""
    names = [name.strip() for name in (disclosure.findtext("LeadOrder") or "").split(",")]
    for field in ("NumberOfChannels", "NumberOfLeads"):
        n_stated = disclosure.findtext(f".//{field}")
        if n_stated and parse_number(n_stated, field) != len(names):
            raise ValueError(f"the file names {len(names)} leads, and states {n_stated[:20]}")
    samples = parse_samples(disclosure.findtext("FullDisclosureData"), "of the full disclosure")
    if len(samples) % len(names):
        raise ValueError(f"{len(samples)} samples are not a whole number for {len(names)} leads")
    rows = samples.reshape(-1, len(names)).T
    return [
        _cardiosoft_channel(disclosure, name, row) for name, row in zip(names, rows, strict=True)
    ]


def _cardiosoft_channel(strip: Any, name: str, counts: Any) -> Channel:
    """Return a channel of counts with the rate and the resolution of its strip."""
    fs = parse_number(strip.findtext("SampleRate"), "SampleRate")
    resolution = strip.find("Resolution")
    if resolution is None:
        return Channel(name, counts, "", fs)
    step = parse_number(resolution.text, "Resolution")
    if not step > 0:
        raise ValueError(f"expected a Resolution above 0, got {step:g}")
    unit = re.sub(r"\s*(?:per|/)\s*(?:lsb|bit)\Z", "", resolution.get("units") or "", flags=re.I)
    return Channel(name, counts * step, unit, fs)


XML_READERS = {
    "annotatedecg": ("HL7 aECG", aecg_format.read_aecg),
    "restingecg": ("GE MUSE", muse_format.read_muse),
    "cardiologyxml": ("GE CardioSoft", read_cardiosoft),
    "restingecgdata": ("Philips Sierra", device_formats.read_sierra),
    "ecg": ("Mortara ELI", device_formats.read_mortara),
}

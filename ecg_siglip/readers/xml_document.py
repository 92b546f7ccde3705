"""Parse XML files of devices: any encoding, no entities."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import numpy as np

from ecg_siglip.readers.channels import import_reader
from ecg_siglip.readers.text_encoding import decode

# Encodings of one byte or more per character in which ASCII is ASCII.
ASCII_BASED = re.compile(
    r"utf-?8|(?:us-)?ascii|latin-?1|iso[-_]?8859[-_]\d{1,2}|windows-\d{3,4}|cp(?:125|93|94|95)\d|"
    r"shift_?jis|euc[-_](?:jp|kr)|gb2312|gbk|gb18030|big5|koi8-[ru]",
    re.I,
)
DECLARED = re.compile(rb"\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]{1,40})[\"']")
# Characters that XML forbids and devices write in names; a number with one is refused.
CONTROLS = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
# Those of them that are one byte in UTF-8.
CONTROL_BYTES = bytes([*range(0x9), 0xB, 0xC, *range(0xE, 0x20)])
MAX_PARTS = 100  # between "!" in which a definition is looked for
# What may precede the root, and its name.
ROOT = re.compile(
    r"(?>\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^\[>]*(?:\[.*?\]\s*)?>)*+<(?:[\w.-]+:)?([\w.-]+)", re.S
)


def decode_xml(content: bytes) -> str:
    """Return the text of an XML document without its declaration.

    Parameters
    ----------
    content : bytes
        In the declared encoding, if that is one in which ASCII is ASCII and the bytes are valid in
        it, or in one of ``text_encoding``.

    Returns
    -------
    str
        Without blanks around it; characters that cannot be decoded and control characters are
        replaced by U+FFFD.
    """
    declared = DECLARED.match(content)
    encoding = declared[1].decode() if declared else ""
    try:
        if ASCII_BASED.fullmatch(encoding):
            # The same, in a tenth of the time that some encodings take.
            text = content.decode("ascii" if content.isascii() else encoding)
        else:
            text = decode(content)
    except (LookupError, UnicodeDecodeError):
        text = decode(content)
    text = text.lstrip("\ufeff\0 \t\r\n").rstrip("\0\x1a \t\r\n")
    text = re.sub(r"\A<\?xml\s[^>]{0,300}\?>", "", text)
    return CONTROLS.sub("\ufffd", text) if _has_controls(text) else text


def _has_controls(text: str) -> bool:
    """Return whether a text has ``CONTROLS``, in a tenth of the time of a search."""
    try:
        content = text.encode()
    except UnicodeEncodeError:  # half of a pair
        return True
    has_others = "\ufffe" in text or "\uffff" in text
    return has_others or len(content.translate(None, CONTROL_BYTES)) < len(content)


def has_definitions(content: bytes) -> bool:
    """Return whether an XML document may define entities or default values.

    With these, a small document can stand for a large one. UTF-16 is not searched and may.
    """
    if b"\0" in content:
        return True
    # A single character is found in a fraction of the time of a word, and this one is rare.
    parts = content.split(b"!", MAX_PARTS)
    if len(parts) > MAX_PARTS:
        return b"<!ENTITY" in content or b"<!ATTLIST" in content
    return any(
        before.endswith(b"<") and after.startswith((b"ENTITY", b"ATTLIST"))
        for before, after in itertools.pairwise(parts)
    )


def root_name(head: bytes) -> str:
    """Return the name of the root in lower case, without namespace; "" if it is not found.

    Parameters
    ----------
    head : bytes
        The beginning of a document.
    """
    root = ROOT.match(decode_xml(head))
    return root[1].lower() if root else ""


def parse_xml(content: bytes) -> Any:
    """Return the root of an XML document; the names of its elements are without namespace.

    Parameters
    ----------
    content : bytes
        Without definitions of entities.

    Returns
    -------
    xml.etree.ElementTree.Element

    Raises
    ------
    ValueError
        If it defines entities or is malformed.

    Notes
    -----
    An external document type is neither read nor needed.
    """
    defused = import_reader("defusedxml.ElementTree")
    try:
        root = defused.fromstring(decode_xml(content))
    except import_reader("defusedxml").EntitiesForbidden as error:
        raise ValueError(f"defines the entity {error.name!r}; expected no entities") from error
    for element in root.iter():
        element.tag = str(element.tag).rpartition("}")[2]
    return root


def parse_number(text: str | None, field: str) -> float:
    """Return the finite number in a field, with a decimal point, or a comma as in ``4,88``.

    Raises
    ------
    ValueError
        If the field is missing or contains anything else.
    """
    stated = (text or "").strip()
    if re.fullmatch(r"-?\d+,\d{1,2}", stated):
        stated = stated.replace(",", ".")
    try:
        number = float(stated)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"expected a number as {field}, got {stated[:40] or 'nothing'}")
    return number


def parse_samples(text: str | None, name: str) -> np.ndarray:
    """Return the numbers in a text, float64.

    Parameters
    ----------
    text : str
        Numbers with blanks, commas or semicolons between them.
    name : str
        Of the lead, for messages.

    Raises
    ------
    ValueError
        If there are none, one is not finite, or commas may be decimal commas.
    """
    text = text or ""
    if "," in text or ";" in text:
        if "," in text and (";" in text or re.search(r"[^\s,]\s+[^\s,]", text)):
            raise ValueError(
                f"the samples of lead {name} have commas and other delimiters, which can mean "
                "decimal commas; expected one delimiter and decimal points"
            )
        text = re.sub(r"[,;]\s*\Z", "", text)
        if re.search(r"\A\s*[,;]|[,;]\s*[,;]", text):
            raise ValueError(f"the samples of lead {name}: expected one between two commas")
        text = text.replace(",", " ").replace(";", " ")
    try:
        samples = np.array(text.split(), np.float64)
    except ValueError as error:
        raise ValueError(f"the samples of lead {name}: {str(error)[:80]}") from error
    if not len(samples) or not np.isfinite(samples).all():
        raise ValueError(f"the samples of lead {name}: expected finite numbers, got others or none")
    return samples

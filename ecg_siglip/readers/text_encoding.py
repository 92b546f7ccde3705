"""Decode the text of a file in the encodings that devices and spreadsheets write."""

from __future__ import annotations

import codecs
import re

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# UTF-16 without a byte order mark: every second byte of plain text is zero.
UTF_16 = ((rb"(?:[\t\n\r -~]\0){8}", "utf-16-le"), (rb"(?:\0[\t\n\r -~]){8}", "utf-16-be"))
# Bytes that open a character of two bytes. Those of Shift-JIS are rare in European text (dashes
# and quotation marks of cp1252); in GB 18030 both bytes are in the upper half.
SHIFT_JIS = re.compile(rb"[\x81-\x9f\xe0-\xfc][\x40-\x7e\x80-\xfc]|[\xa1-\xdf]")
SHIFT_JIS_LEAD = re.compile(rb"[\x81-\x9f]")
GB_PAIRS = re.compile(rb"(?:[\xa1-\xfe]{2})+")
HIGH = re.compile(rb"[\x80-\xff]+")
SAMPLE_BYTES = 1 << 16  # enough to recognize an encoding


def decode(content: bytes) -> str:
    """Decode a text, whichever encoding it has.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    str
        Without a byte order mark, and without the zeros or the end-of-file mark (``\\x1a``) with
        which some devices fill their files.

    Notes
    -----
    UTF-8 and UTF-16, with or without byte order mark; otherwise Shift-JIS or GB 18030 where the
    pairs of bytes fit, and cp1252, whose first half is ASCII and which reads any byte.
    """
    encoding, skipped = encoding_of(content)
    text = content[skipped:].decode(encoding, "replace")
    return text.rstrip("\0\x1a")


def encoding_of(content: bytes) -> tuple[str, int]:
    """Return the encoding of a text and the number of bytes of its byte order mark."""
    for mark, encoding in BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return encoding, len(mark)
    for pattern, encoding in UTF_16:
        if re.match(pattern, content):
            return encoding, 0
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        # The beginning of a file may end within a character.
        if error.reason == "unexpected end of data" and error.end == len(content):
            return "utf-8", 0
        return _legacy_encoding(content[error.start :]), 0
    return "utf-8", 0


def _legacy_encoding(content: bytes) -> str:
    """Return the encoding of a text that is no Unicode."""
    sample = b" ".join(HIGH.findall(content[:SAMPLE_BYTES]))
    # A run of bytes above ASCII with an even length is a word in GB 18030; a European text has
    # single letters with accents.
    runs = sample.split(b" ")
    if all(map(GB_PAIRS.fullmatch, runs)) and _decodes(content, "gb18030"):
        return "gb18030"
    leads = [pair[0:1] for pair in SHIFT_JIS.findall(content[:SAMPLE_BYTES])]
    n_japanese = sum(SHIFT_JIS_LEAD.match(lead) is not None for lead in leads)
    if 2 * n_japanese > len(leads) and _decodes(content, "shift_jis"):
        return "shift_jis"
    return "cp1252"


def _decodes(content: bytes, encoding: str) -> bool:
    """Return whether the beginning of a text is valid in an encoding."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(content[:SAMPLE_BYTES])
    except UnicodeDecodeError:
        return False
    return True

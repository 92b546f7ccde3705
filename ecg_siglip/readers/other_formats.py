"""Formats that are not read, by the beginning of a file: what it is, and what would help.

A table of patterns and words. ``file_format`` consults it before it takes a file for a text table
or for XML, so that no pattern may match an ECG in one of these.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

PICTURE = (
    "which holds no samples: the waveform file is needed, for example DICOM, SCP-ECG, HL7 or MUSE "
    "XML, EDF or CSV, as the electrocardiograph or the archive exports it"
)
TABLE = "save the table with the samples as CSV"
UNPACK = "unpack it and give the files in it"
EXPORT = "export it as EDF or CSV"
NO_CODE = "which can run code and is never loaded: save the samples as .npy, .npz or CSV"
NO_ECG = "which is no ECG"
MARKS_ONLY = "which holds marks and no samples: give the record itself"


class Other(NamedTuple):
    """A kind of file that is not read.

    Attributes
    ----------
    name : str
        With its article, as in "a PDF document"; its plural ends in s.
    advice : str
        Why it is not read, or what would help.
    is_ecg : bool
        It is, or may be, an ECG: that it is not read must not pass unnoticed.
    """

    name: str
    advice: str
    is_ecg: bool = False

    def __str__(self) -> str:
        """Return what the file is and what would help, as the error of a record."""
        is_clause = self.advice.startswith("which")
        return f"{self.name}{', ' if is_clause else ': '}{self.advice}"


def count_of(name: str, n: int) -> str:
    """Return a number of files of a kind in words.

    Examples
    --------
    >>> count_of("a PDF document", 1200)
    '1,200 PDF documents'
    >>> count_of("a file of unknown content", 2)
    '2 files of unknown content'
    """
    noun, *rest = re.split(r"(?= (?:of|without|to) )", name.partition(" ")[2], maxsplit=1)
    return f"{n:,} {noun}{'' if n == 1 else 's'}{''.join(rest)}"


# One of the files in a ZIP archive, up to its name.
PART = rb"PK\x03\x04(?:.{0,4000}PK\x03\x04)?.{26}"
# Pattern at the beginning of the content, name with its article, advice.
DOCUMENTS = (
    (rb"(?:\xef\xbb\xbf)?.{0,1024}?%PDF-", "a PDF document", PICTURE),
    (rb"%!PS|\xc5\xd0\xd3\xc6|.{0,4}%!PS-Adobe", "a PostScript document", PICTURE),
    (rb"\{\\rtf", "an RTF document", TABLE),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document", TABLE),
    (PART + rb"word/", "a Word document", TABLE),
    (PART + rb"ppt/", "a PowerPoint document", TABLE),
    (PART + rb"\[Content_Types\]", "an Office document", TABLE),
    (rb"PK\x03\x04.{26}mimetype", "an OpenDocument file", TABLE),
    (rb"(?:\xef\xbb\xbf)?\s*<\?xml.{0,200}mso-application", "an Office XML document", TABLE),
    (
        rb"(?i)(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--.{0,1000}?-->\s*)?"
        rb"<(?:!doctype\s+html|html\b)",
        "an HTML page",
        "export the recording itself, or save the table with the samples as CSV",
    ),
)
PICTURES = (
    (rb"\x89PNG\r\n\x1a\n", "a PNG picture", PICTURE),
    (rb"\xff\xd8\xff", "a JPEG picture", PICTURE),
    (rb"II[*+]\x00|MM\x00[*+]", "a TIFF picture", PICTURE),
    (rb"GIF8[79]a", "a GIF picture", PICTURE),
    (rb"BM.{4}\x00{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\x00{3}", "a BMP picture", PICTURE),
    (rb"RIFF.{4}WEBP", "a WebP picture", PICTURE),
    (rb".{4}ftyp(?:hei[cmsx]|hev[cmx]|mif1|msf1)", "a HEIC picture", PICTURE),
    (
        rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--.{0,1000}?-->\s*)?"
        rb"(?:<!DOCTYPE svg[^>]{0,300}>\s*)?<svg\b",
        "an SVG picture",
        PICTURE,
    ),
)
MEDIA = (
    (rb"RIFF.{4}WAVE|RF64", "a WAV audio file", EXPORT),
    (rb"ID3[\x02-\x04]", "an MP3 audio file", NO_ECG),
    (rb"fLaC|OggS\x00|FORM.{4}AIF[FC]", "an audio file", NO_ECG),
    (rb".{4}ftyp|.{4}(?:moov|mdat)", "an MP4 video", NO_ECG),
    (rb"RIFF.{4}AVI |\x1a\x45\xdf\xa3|\x00\x00\x01\xba|FLV\x01", "a video", NO_ECG),
)
ARCHIVES = (
    (rb"PK\x03\x04.{26}[^/]{0,200}/(?:\.format_version|data\.pkl|version)", "a PyTorch file",
     NO_CODE),
    (rb"PK\x03\x04|PK\x05\x06|PK\x07\x08", "a ZIP archive", UNPACK),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (rb"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (rb".{257}ustar", "a TAR archive", UNPACK),
)  # fmt: skip
# One file each, which may be an ECG.
COMPRESSED = (
    (rb"\x28\xb5\x2f\xfd", "a Zstandard compressed file", UNPACK),
    (rb"BZh[1-9]\x31\x41\x59\x26\x53\x59", "a bzip2 compressed file", UNPACK),
    (rb"\xfd7zXZ\x00", "an xz compressed file", UNPACK),
    (rb"\x1f[\x9d\xa0]", "a compress (.Z) file", UNPACK),
    (rb"\x1f\x8b", "a damaged gzip file", "copy or compress it again"),
)
PROGRAMS = (
    (rb"\x7fELF", "a program", NO_ECG),
    (rb"\xcf\xfa\xed\xfe|\xfe\xed\xfa[\xce\xcf]|\xca\xfe\xba\xbe", "a program", NO_ECG),
    (rb"MZ.{58}.{2}\x00\x00", "a Windows program", NO_ECG),
    (rb"#![ ]*/|@echo off", "a script", NO_ECG),
)
DATA = (
    (rb"\x80(?:[\x04\x05]\x95|[\x02\x03][()\]}cGKMNX\x88-\x8c])", "a Python pickle", NO_CODE),
    (rb"SQLite format 3\x00", "an SQLite database", TABLE),
    (rb"CDF[\x01\x02\x05]", "a NetCDF file", TABLE),
    (rb"RD[AX][23]\n|[AX]\n\x00\x00\x00[\x02\x03]", "an R data file", TABLE),
    (rb"ORC[\x08-\x12]|Obj\x01", "an ORC or Avro file", "save the table as Parquet or CSV"),
    (rb".{344}n[i+][123]\x00", "a NIfTI image", NO_ECG),
    (rb"\x00\x05\x16[\x00\x07]", "a macOS resource file", NO_ECG),
)
# Recordings of physiological signals, which may be ECGs. Markers as in the files themselves and in
# the list of BioSig.
RECORDINGS = (
    (rb"GDF [0-9]", "a GDF recording", EXPORT),
    (rb"CFWB\x01\x00\x00\x00", "a LabChart (CFWB) recording", EXPORT),
    (rb".{2}\(C\) CED 87", "a Spike2 recording", EXPORT),
    (rb"CEDFILE", "a CED Signal recording", EXPORT),
    (rb"TDSm", "a LabVIEW (TDMS) recording", EXPORT),
    (rb"XDF:", "an XDF recording", EXPORT),
    (rb"SXDF", "an OpenXDF recording", EXPORT),
    (rb"ABF[ 2]", "an Axon recording", EXPORT),
    (rb"POLY SAMPLE FILE", "a TMSi Poly5 recording", EXPORT),
    (rb"FileId=TMSi PortiLab", "a TMSi log", EXPORT),
    (rb"Embla (?:data|results|raw) file", "an Embla recording", EXPORT),
    (rb"EBS\x94\x0a\x13\x1a\x0d", "an EBS recording", EXPORT),
    (rb"(?:EEG|QI|DAE)-\d{3,4}[A-D]? ", "a Nihon Kohden recording", EXPORT),
    (rb"\* MICROMED", "a Micromed recording", EXPORT),
    (rb"EEP V[23]\.|RIFF.{4}CNT ", "an EEProbe recording", EXPORT),
    (rb"Version 3\.0\x00", "a Neuroscan recording", EXPORT),
    (rb"(?:\xef\xbb\xbf)?Brain ?Vision (?:Data Exchange|V-Amp)", "a BrainVision header", EXPORT),
    (rb"GALILEO EEG TRACE", "a Galileo recording", EXPORT),
    (rb"MEG4|\x00\x00\x00\x64\x00\x00\x00\x1f\x00\x00\x00\x14", "an MEG recording", EXPORT),
    (rb"BCI2000V", "a BCI2000 recording", EXPORT),
    (rb"\x02\x27\x91\xc6|\xac\x27\x91\xd6", "an Intan recording", EXPORT),
    (rb"IAvSFo", "a SIGIF recording", EXPORT),
    (rb"\|CF,", "a FAMOS recording", EXPORT),
    (rb"FileFormat = BNI-1", "a Nicolet recording", EXPORT),
    (rb"\[FileInfo\]\s", "a Persyst header", EXPORT),
    (rb"#BIOSIG ", "a BioSig dump", EXPORT),
)
# Annotations of recordings.
ANNOTATIONS = "an annotation file"
MARKS = ((rb"ANN  1\.0", "an ISHNE annotation file", MARKS_ONLY),)
# By the suffix, where the content has no mark.
SUFFIXES = {
    **dict.fromkeys(
        (".atr", ".qrs", ".ari", ".man", ".aux", ".xws", ".ann", ".epi", ".st", ".wabp", ".wqrs",
         ".gqrs", ".apn", ".hes", ".pu", ".pu0", ".pu1", ".pwave", ".marker"),
        Other(ANNOTATIONS, MARKS_ONLY),
    ),
    ".acq": Other("an AcqKnowledge recording", EXPORT, True),
    ".adicht": Other("a LabChart recording", EXPORT, True),
    ".adidat": Other("a LabChart recording", EXPORT, True),
    ".smr": Other("a Spike2 recording", EXPORT, True),
    ".smrx": Other("a Spike2 recording", EXPORT, True),
    ".vhdr": Other("a BrainVision header", EXPORT, True),
    ".eeg": Other("an EEG recording", EXPORT, True),
    ".cnt": Other("an EEG recording", EXPORT, True),
    ".nat": Other("a GE MARS recording", EXPORT, True),
}  # fmt: skip
# Suffixes of files that are ECGs if they are anything: one of unknown content is a damaged one.
ECG_SUFFIXES = (
    ".ecg", ".ekg", ".scp", ".edf", ".bdf", ".rec", ".dcm", ".mwf", ".mfer", ".mfr", ".hol",
    ".holter", ".rhy", ".aecg", ".npy", ".npz", ".parquet", ".dat", ".mat",
)  # fmt: skip
KINDS = tuple(
    (re.compile(pattern, re.DOTALL), Other(name, advice, is_ecg))
    for group, is_ecg in (
        (RECORDINGS, True), (COMPRESSED, True), (MARKS, False), (DOCUMENTS, False),
        (PICTURES, False), (MEDIA, False), (ARCHIVES, False), (PROGRAMS, False), (DATA, False),
    )
    for pattern, name, advice in group
)  # fmt: skip


def identify(head: bytes, name: str = "") -> Other | None:
    """Return what a file is that is not read, by its beginning and, if need be, its name.

    Parameters
    ----------
    head : bytes
        Beginning of the content, 4096 bytes or less.
    name : str
        Name of the file.

    Returns
    -------
    Other
        None if neither content nor name are known.
    """
    for pattern, kind in KINDS:
        if pattern.match(head):
            return kind
    return SUFFIXES.get(os.path.splitext(name)[1].lower())

"""Find the records in folders, and count by kind what is no record or cannot be reached."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ecg_siglip.core.files import shown
from ecg_siglip.readers.file_format import (
    GENERAL,
    UNKNOWN,
    describe_other,
    detect_format,
    is_record,
    read_head,
)
from ecg_siglip.readers.hdf5_format import exam_paths
from ecg_siglip.readers.limits import HEAD_BYTES, check_regular
from ecg_siglip.readers.other_formats import ANNOTATIONS, ECG_SUFFIXES, Other, count_of
from ecg_siglip.readers.text_tables import has_columns

MAX_HEADER_BYTES = 1 << 20
N_EXAMPLES = 3
N_KINDS = 8  # in a message
# What cannot be reached or is never opened.
UNREADABLE_FOLDER = Other("an unreadable folder", "", True)
UNREADABLE_FILE = Other("an unreadable file", "", True)
BROKEN_LINK = Other("a broken link", "", True)
REPEATED_LINK = Other("a link to a folder that is searched already or contains this one", "")
SPECIAL = Other("a special file", "")
# Files that belong to records, are usual next to them, or are of no known kind.
PART = Other("a part of a record", "")
OTHER = Other("an other file", "")
EMPTY = Other("an empty file", "")
DAMAGED = Other("a damaged file", "copy or export it again", True)
TEXT = Other("a text file", "")
TABLE = Other("a table without names of leads", "")
NUMBERS = Other(
    "a table of numbers without names of leads",
    "name it in records=[...] with what it does not state: read.leads, read.fs, read.units",
    True,
)
ARRAY = Other("an array without names of leads", NUMBERS.advice, True)
XML = Other("an other XML file", "")
JSON = Other("an other JSON file", "")
XML_ECG = Other("an ECG of an unknown kind of XML", "", True)
JSON_ECG = Other("an ECG of an unknown kind of JSON", "", True)
COMMON_NAMES = re.compile(
    r"(?:readme|licen[cs]e|copying|notice|changes|changelog|authors|citation|index)(?:\.\w+)?|"
    r"(?:records|annotators|(?:sha|md5)\d*sums?)(?:[-_]\w+)?(?:\.\w+)?|wfdbcal|dockerfile|makefile|"
    r"thumbs\.db|desktop\.ini|\..*|"
    r".*\.(?:md|rst|py|pyc|m|r|sh|bat|ipynb|css|js|ts|ya?ml|toml|ini|cfg|conf|log|bib|tex|c|h|cpp|"
    r"hpp|java|tmp|bak|pt|pth|ckpt|safetensors|onnx)",
    re.IGNORECASE,
)
# An empty file with one of these suffixes was to become a table or a document with an ECG.
ZIPPED = (".xlsx", ".npz")
TABLE_SUFFIXES = (".csv", ".tsv", ".xml", ".json", ".xlsx", ".h5", ".hdf5")
ECG_ROOT = re.compile(rb"<(?:\w+:)?\w*(?:ecg|ekg|cardio|holter|waveform)", re.IGNORECASE)
ECG_KEY = re.compile(
    rb'"valueSampledData"|"[\w ]*(?:ecg|ekg|wave|volt|sample|lead|signal)[\w ]*"\s*:\s*\[\s*'
    rb"(?:[-+\d.eE]+\s*,\s*){8}",
    re.IGNORECASE,
)
# Text below the names of columns and notes, in a file that is long enough for an ECG.
NUMERIC = re.compile(rb'[-+\d\s.,;:eE"]*\d[-+\d\s.,;:eE"]*')
APPLE_DOUBLE = b"\x00\x05\x16"
# A segment of a WFDB record has a number after the name of another.
SEGMENT = re.compile(r"_(?:\d+|layout)\Z")


@dataclass
class Skipped:
    """What was found next to records, counted by kind, with some names of each kind.

    Attributes
    ----------
    counts : Counter of Other
    examples : mapping of Other to list of str
        At most ``N_EXAMPLES`` paths within the folder.
    """

    counts: Counter[Other] = field(default_factory=Counter)
    examples: dict[Other, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: Other, path: str, reason: str = "") -> None:
        """Count a file or folder."""
        self.counts[kind] += 1
        if kind is not OTHER and self.counts[kind] <= N_EXAMPLES:
            self.examples[kind].append(f"{shown(path, 60)}{reason and f': {reason}'}")

    def update(self, other: Skipped) -> None:
        """Add what was found elsewhere."""
        self.counts.update(other.counts)
        for kind, examples in other.examples.items():
            self.examples[kind] = [*self.examples[kind], *examples][:N_EXAMPLES]

    def n(self, is_ecg: bool) -> int:
        """Return the number of files and folders that may be or contain ECGs, or that are none."""
        return sum(n for kind, n in self.counts.items() if kind.is_ecg == is_ecg)

    def in_words(self, is_ecg: bool) -> str:
        """Return the kinds with their numbers, the most frequent first, on one line.

        Examples
        --------
        >>> skipped = Skipped()
        >>> for name in ("a.gdf", "b.gdf"):
        ...     skipped.add(Other("a GDF recording", "export it as EDF", True), name)
        >>> skipped.in_words(is_ecg=True)
        '2 GDF recordings (a.gdf, b.gdf): export it as EDF'
        """
        counts = [item for item in self.counts.items() if item[0].is_ecg == is_ecg]
        counts.sort(key=lambda item: (item[0] == OTHER, -item[1]))
        texts = []
        for kind, n in counts[:N_KINDS]:
            examples = self.examples.get(kind, [])
            names = ", ".join([*examples, *["..."] * (n > N_EXAMPLES)])
            has_advice = kind.is_ecg and kind.advice and kind.name != UNKNOWN.name
            advice = f": {kind.advice}" if has_advice else ""
            texts.append(count_of(kind.name, n) + (f" ({names})" if examples else "") + advice)
        if n_further := sum(n for _, n in counts[N_KINDS:]):
            texts.append(f"{n_further:,} of {len(counts) - N_KINDS} further kinds")
        return "; ".join(texts)

    def kinds(self, is_ecg: bool) -> str:
        """Return the kinds with their numbers, the most frequent first, in short."""
        counts = [item for item in self.counts.items() if item[0].is_ecg == is_ecg]
        counts.sort(key=lambda item: (item[0] == OTHER, -item[1]))
        return ", ".join(count_of(kind.name, n) for kind, n in counts)


@dataclass(frozen=True)
class Found:
    """Records that were named or found in folders.

    Attributes
    ----------
    paths : list of str
        Of a WFDB record in a folder its header. Bytes of a name that are not UTF-8 are the
        characters U+DC80 to U+DCFF, from which ``os.fsencode`` makes the bytes again.
    skipped : Skipped
        What else the folders contain.
    """

    paths: list[str]
    skipped: Skipped


def find_records(folder: str | Path) -> list[str]:
    """Find every record in a folder and its subfolders.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    list of str, sorted folder by folder
        See ``Found``. A table is a record if a column has the name of a lead or all cells of its
        first row are numbers; an XML file, if ``read_record`` knows its kind. Links to folders are
        followed after all other folders, and no folder is searched twice.
    """
    return list(_iterate_records(str(folder), Skipped()))


def expand_paths(paths: Sequence[str], leads_given: bool = True) -> Found:
    """Replace folders in a list of paths by the records in them (``find_records``).

    Parameters
    ----------
    paths : sequence of str
        Records and folders.
    leads_given : bool
        Tables and arrays of nothing but numbers can be read, because the caller states their leads.
        Otherwise those in folders are counted, as other tables without names of leads.

    Returns
    -------
    Found

    Raises
    ------
    ValueError
        If the list is empty.
    """
    if not paths:
        raise ValueError("no record named: expected records=[path/to/record, ...]")
    expanded: list[str] = []
    skipped = Skipped()
    for path in paths:
        # A folder without records stays in the list, so that reading it raises an error.
        records = list(_iterate_records(path, skipped, leads_given)) if os.path.isdir(path) else []
        expanded += records or exam_paths(path)
    return Found(expanded, skipped)


def choose_records(paths: Sequence[str], skipped: Skipped, leads_given: bool = True) -> list[str]:
    """Return the records among files, as in a folder that contains just these; count the others.

    Parameters
    ----------
    paths : sequence of str
        No folders; those of one folder in succession.
    skipped : Skipped
        What is no record is added to it.
    leads_given : bool
        See ``expand_paths``.
    """
    chosen: list[str] = []
    for folder, files in itertools.groupby(paths, os.path.dirname):
        names = {os.path.basename(path) for path in files}
        search = _Folder(folder or os.curdir)
        for entry in search.entries:
            if entry.name not in names:
                continue
            path = os.path.join(folder, entry.name)
            if (kind := search.kind_of(entry, leads_given)) is None:
                chosen += exam_paths(path)
            elif kind is not PART:
                skipped.add(kind, path)
            elif (header := search.header_of(entry.name)) and header not in names:
                chosen.append(os.path.join(folder, header))
    return chosen


def named_files(header: str | Path) -> tuple[set[str], bool]:
    """Return the files that a WFDB header names, and whether these are the headers of segments.

    Parameters
    ----------
    header : str or Path

    Returns
    -------
    names : set of str
        In lower case; empty if the header cannot be read.
    has_segments : bool
    """
    try:
        check_regular(header)
        with open(header, "rb") as file:
            text = os.fsdecode(file.read(MAX_HEADER_BYTES)).lower()
    except (OSError, ValueError):
        return set(), False
    lines = [line.split() for line in text.splitlines() if line.strip() and line.strip()[0] != "#"]
    names = {fields[0] for fields in lines[1:]}
    if lines and re.search(r"./\d+\Z", lines[0][0]):
        return {f"{name}.hea" for name in names}, True
    return names, False


def _iterate_records(root: str, skipped: Skipped, leads_given: bool = True) -> Iterator[str]:
    """Yield the records of a folder; count everything else."""
    # Strings, not Path: for a hundred thousand records those take more memory than a model.
    # A link to a folder around this one would lead to everything else on the disk.
    seen = set()
    for around in Path(os.path.realpath(root)).parents:
        with contextlib.suppress(OSError):
            seen.add(_identity(around))
    # Links follow at the end, so that a folder within the tree has its own name, not a link's.
    starts = [root]
    for start in starts:
        # No recursion: a tree may be deeper than Python's stack.
        stack = [_open_folder(start, root, seen, skipped)]
        while stack:
            folder = stack[-1]
            entry = next(folder.entries, None) if folder else None
            if folder is None or entry is None:
                stack.pop()
            elif _is_folder(entry):
                if entry.is_symlink():
                    starts.append(entry.path)
                else:
                    stack.append(_open_folder(entry.path, root, seen, skipped))
            elif (kind := folder.kind_of(entry, leads_given)) is None:
                yield from exam_paths(entry.path)
            elif kind is not PART:
                skipped.add(kind, _within(entry.path, root))


def _identity(path: str | Path) -> tuple[int, int]:
    """Return the device and the number of a folder, the same by whatever path."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _within(path: str, root: str) -> str:
    """Return a path within the folder that is searched."""
    return path[len(root) :].lstrip(os.sep) or path


def _open_folder(
    path: str, root: str, seen: set[tuple[int, int]], skipped: Skipped
) -> _Folder | None:
    """List a folder; count it as skipped if it cannot be read or was listed before."""
    try:
        identity = _identity(path)
        if identity in seen:
            skipped.add(REPEATED_LINK, _within(path, root))
            return None
        seen.add(identity)
        return _Folder(path)
    except OSError as error:
        if path != root:  # the error of the folder itself is that of the record of its name
            skipped.add(UNREADABLE_FOLDER, _within(path, root), error.strerror or str(error))
        return None


class _Folder:
    """One folder during a search: its entries, and which files belong to WFDB records.

    Parameters
    ----------
    path : str

    Raises
    ------
    OSError
        If it cannot be read.
    """

    def __init__(self, path: str):
        with os.scandir(path) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
        self.path, self.entries = path, iter(entries)
        self._headers = [entry.name for entry in entries if _split(entry.name)[1] == ".hea"]
        self._stems = {_split(name)[0] for name in self._headers}
        self._has_segments = any(map(SEGMENT.search, self._stems))
        self._parts: set[str] | None = None

    def kind_of(self, entry: os.DirEntry[str], leads_given: bool = True) -> Other | None:
        """Return what an entry is that is no folder; None if it is a record."""
        stem, suffix = _split(entry.name)
        try:
            n_bytes = check_regular(entry.path).st_size
            if suffix in (".dat", ".mat") and stem in self._stems:
                return PART
            is_header = suffix == ".hea"
            head = b"" if is_header and stem[:2] != "._" else read_head(entry.path)
        except ValueError:
            return SPECIAL
        except OSError:
            is_broken = entry.is_symlink() and not os.path.exists(entry.path)
            return BROKEN_LINK if is_broken else UNREADABLE_FILE
        if is_header and not head.startswith(APPLE_DOUBLE):
            is_segment = self._has_segments and f"{stem}.hea" in self._named_files()
            return PART if is_segment else None
        if is_record(entry.path, head):
            return None if leads_given else _kind_without_names(head)
        if head.startswith(b"PK") and suffix in ZIPPED and not zipfile.is_zipfile(entry.path):
            return DAMAGED
        if n_bytes == 0:
            kind = EMPTY if suffix in TABLE_SUFFIXES or suffix in ECG_SUFFIXES else OTHER
        else:
            kind = self._kind_of_other(entry.name, head)
        # A file with the suffix of a format that is read, and other content, is a damaged record.
        inner = _split(stem)[1] if suffix == ".gz" else suffix
        is_ecg = kind.is_ecg or inner in ECG_SUFFIXES or kind is EMPTY
        return kind if kind in (PART, OTHER) else kind._replace(is_ecg=is_ecg)

    def header_of(self, name: str) -> str | None:
        """Return the header of the WFDB record that a file of samples belongs to; None if none."""
        stem = _split(name)[0]
        return next((header for header in self._headers if _split(header)[0] == stem), None)

    def _kind_of_other(self, name: str, head: bytes) -> Other:
        """Return what a file is that is neither empty nor a record."""
        if head.startswith(APPLE_DOUBLE) or COMMON_NAMES.fullmatch(name):
            return OTHER
        kind = describe_other(head, name)
        is_certain = kind.name not in (UNKNOWN.name, ANNOTATIONS)
        if not is_certain and _split(name)[0] in self._stems:
            return OTHER
        if not is_certain and name.lower() in self._named_files():
            return PART
        content = detect_format(head)[0]
        if is_certain or content not in GENERAL:
            return kind
        if content == "XML":
            return XML_ECG if ECG_ROOT.search(head.replace(b"\0", b"")) else XML
        if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
            return JSON_ECG if ECG_KEY.search(head) else JSON
        if NUMERIC.fullmatch(head[HEAD_BYTES // 2 :]):
            return NUMBERS
        return TABLE if has_columns(head) else TEXT

    def _named_files(self) -> set[str]:
        """Return the files and segments that the headers name, in lower case."""
        # Only on demand: a folder of plain records is searched without opening its headers.
        if self._parts is None:
            self._parts, masters = set(), set()
            for header in self._headers:
                names, has_segments = named_files(os.path.join(self.path, header))
                self._parts |= names
                masters |= {header.lower()} if has_segments else set()
            # Headers that name each other as segments are records, and errors.
            self._parts -= masters
        return self._parts


def _kind_without_names(head: bytes) -> Other | None:
    """Return what a file is that can only be read if its leads are given; None for others."""
    content = detect_format(head)[0]
    if content == "table" and NUMERIC.fullmatch(head.removeprefix(b"\xef\xbb\xbf")):
        return NUMBERS
    return ARRAY if content == "NumPy" else None


def _split(name: str) -> tuple[str, str]:
    """Return the stem and the suffix of a name, in lower case."""
    return os.path.splitext(name.lower())

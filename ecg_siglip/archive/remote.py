"""Files in object stores and on other machines, through fsspec: `s3://`, `gs://`, `sftp://` etc.

The readers take local files. A remote record is copied into a temporary folder while it is read:
its file, and of a WFDB record also those that its header names. Results are written as a whole or
not at all: an object store shows an object once it is complete, and elsewhere a file gets its name
when it is complete.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from ecg_siglip.core.files import make_folder, one_line, shown, write_file
from ecg_siglip.readers.folders import OTHER, PART, SEGMENT, Found, Skipped, named_files
from ecg_siglip.readers.limits import MAX_BYTES
from ecg_siglip.readers.other_formats import ECG_SUFFIXES, Other

# Where a new object replaces the old one at once; of other places a file is renamed at the end.
OBJECT_STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")
READ_ONLY = ("http", "https")
SCHEMES = (*OBJECT_STORES, *READ_ONLY, "sftp", "ssh", "hdfs", "webhdfs", "smb")
ADDRESS = re.compile(r"([a-z][a-z0-9+.\-]+)://", re.IGNORECASE)
MAX_RECORD_BYTES = 4 * MAX_BYTES  # of all files of a WFDB record
MAX_SEGMENTS = 1000
NO_FILES = {"~", "~.hea", "-"}  # a gap between segments; standard input
WFDB_HEADER, WFDB_SIGNALS = ".hea", (".dat", ".mat")
RECORD_SUFFIXES = frozenset(
    (WFDB_HEADER, ".xml", ".json", ".csv", ".tsv", ".xlsx", ".h5", ".hdf5", *ECG_SUFFIXES)
)
NO_ECG = Other("a file without the suffix of an ECG format", "")


def is_remote(path: str) -> bool:
    """Return whether a path is an address that fsspec opens.

    Examples
    --------
    >>> is_remote("s3://bucket/ecgs"), is_remote("sqlite:///x.db"), is_remote("C:/ecgs")
    (True, False, False)
    """
    match = ADDRESS.match(path)
    return match is not None and match[1].lower() in SCHEMES


def local_path(path: str) -> str:
    """Return a path without a leading ``file://``."""
    return path[len("file://") :] if path.lower().startswith("file://") else path


def check_password(url: str) -> None:
    """Check that an address has no password: it would be in every row.

    Raises
    ------
    ValueError
        If it has one.
    """
    if is_remote(url) and without_password(url) != shown(url, 300) and "@" in url:
        raise ValueError(
            f"{without_password(url)}: has a password; expected it in the configuration of the "
            "service (keys of SSH, ~/.aws, environment variables)"
        )


def join(folder: str, name: str) -> str:
    """Return the address of a file in a folder."""
    return f"{folder.rstrip('/')}/{name}"


def without_password(url: str) -> str:
    """Return an address for messages: no password, and no signature of a signed URL.

    Examples
    --------
    >>> without_password("sftp://me:secret@host/a.xml"), without_password("https://h/a?sig=1")
    ('sftp://me:***@host/a.xml', 'https://h/a?***')
    """
    hidden = re.sub(r"(?<=://)([^/@:]*):[^/@]*@", r"\1:***@", url)
    return shown(re.sub(r"(?<=\?).*", "***", hidden) if hidden.startswith("http") else hidden, 300)


def find_records(url: str) -> Found:
    """Find the records in a remote folder, or those whose names match a pattern with ``*``.

    Parameters
    ----------
    url : str

    Returns
    -------
    Found
        Of a WFDB record its header. Of a folder, files are taken for records by their suffix,
        because opening every one would take as long as reading it: a file that turns out to be no
        ECG is an error when it is read. All others are counted.

    Raises
    ------
    ValueError
        If there is no such folder, or a package is missing.
    OSError
        If it cannot be reached.
    """
    system, path = _open(url)
    with _errors_name(url):
        is_pattern = any(sign in path for sign in "*?[")
        paths = sorted(system.glob(path) if is_pattern else system.find(path))
    if not paths:
        raise ValueError(f"{without_password(url)}: no file there; expected records")
    scheme = url[: url.index("://") + 3]
    urls = [_with_scheme(system, scheme, each) for each in paths]
    if not is_pattern and urls == [url]:
        return Found(urls, Skipped())
    folders: dict[str, set[str]] = {}
    for each in urls:
        stem, suffix = posixpath.splitext(each)
        if suffix.lower() == WFDB_HEADER:
            folders.setdefault(posixpath.dirname(each), set()).add(stem)
    segments = {
        segment
        for folder, stems in folders.items()
        if any(map(SEGMENT.search, stems))
        for segment in _segments(folder, stems)
    }
    records, skipped = [], Skipped()
    for each in urls:
        kind = _kind_of(each, folders.get(posixpath.dirname(each), set()), segments)
        if kind is None:
            records.append(each)
        elif kind is not PART:
            skipped.add(kind, without_password(each.removeprefix(url).lstrip("/")))
    return Found(records, skipped)


def is_folder(url: str) -> bool:
    """Return whether an address is a pattern or a folder with files.

    Raises
    ------
    ValueError, OSError
        As ``find_records``.
    """
    system, path = _open(url)
    if any(sign in path for sign in "*?[") or url.endswith("/"):
        return True
    if posixpath.splitext(path)[1].lower() in RECORD_SUFFIXES:
        return False
    with _errors_name(url):
        return bool(system.isdir(path))


@contextlib.contextmanager
def local_copy(url: str) -> Iterator[Path]:
    """Yield a temporary local copy of a record, a table or a list.

    Parameters
    ----------
    url : str
        Of a WFDB record with or without the suffix of its header.

    Raises
    ------
    FileNotFoundError, OSError
        If it cannot be reached.
    ValueError
        If it is larger than ``MAX_BYTES`` (a WFDB record: ``MAX_RECORD_BYTES``), or a package is
        missing.
    """
    system, path = _open(url)
    with tempfile.TemporaryDirectory(prefix="ecg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with _errors_name(url):
            header = _header_of(system, path)
            if header is not None:
                copied = _copy_wfdb(system, header, folder)
            else:
                copied, _ = _copy(system, path, folder, MAX_BYTES)
        yield copied


@contextlib.contextmanager
def as_local(path: str) -> Iterator[Path]:
    """Yield the path of a record on this machine: of a remote one a temporary copy."""
    if is_remote(path):
        with local_copy(path) as copied:
            yield copied
    else:
        yield Path(local_path(path))


def read_bytes(url: str) -> bytes:
    """Return the content of a remote file (errors as ``local_copy``)."""
    with local_copy(url) as path:
        return path.read_bytes()


def write_whole(url: str, content: bytes) -> None:
    """Write a file, local or remote, completely or not at all.

    Raises
    ------
    OSError
        If it cannot be written.
    ValueError
        If nothing can be written there, or a package is missing.
    """
    if not is_remote(url):
        make_folder(Path(local_path(url)).parent)
        write_file(Path(local_path(url)), content)
        return
    system, path = _open(url)
    if url.lower().startswith(READ_ONLY):
        raise ValueError(f"{without_password(url)}: cannot be written; expected s3://, gs:// ...")
    with _errors_name(url):
        if url.lower().startswith(OBJECT_STORES):
            system.pipe_file(path, content)
            return
        system.makedirs(posixpath.dirname(path), exist_ok=True)
        partial = f"{posixpath.dirname(path)}/.{PurePosixPath(path).name}.{secrets.token_hex(6)}"
        try:
            system.pipe_file(partial, content)
            system.mv(partial, path)
        except BaseException:
            with contextlib.suppress(Exception):
                system.rm_file(partial)
            raise


def remove(url: str) -> None:
    """Remove a remote file, if there is one.

    Raises
    ------
    OSError
        If it cannot be removed.
    """
    system, path = _open(url)
    with _errors_name(url), contextlib.suppress(FileNotFoundError):
        system.rm_file(path)


def list_names(folder: str) -> list[str]:
    """Return the names of the files in a folder, local or remote; none if there is no folder.

    Raises
    ------
    OSError
        If it cannot be reached.
    """
    if not is_remote(folder):
        path = Path(local_path(folder))
        return sorted(each.name for each in path.iterdir()) if path.is_dir() else []
    system, path_there = _open(folder)
    with _errors_name(folder):
        system.invalidate_cache(path_there)
        if not system.exists(path_there):
            return []
        return sorted(PurePosixPath(each).name for each in system.ls(path_there, detail=False))


def _open(url: str) -> tuple[Any, str]:
    """Return the file system of an address and the path in it."""
    name = without_password(url)
    if not is_remote(url) or "::" in url:
        expected = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise ValueError(f"{name}: expected a path, or an address that begins with {expected}")
    try:
        import fsspec
    except ImportError:
        raise ValueError(
            f"{name}: remote paths need the package fsspec: pip install 'ecg_siglip[remote]'"
        ) from None
    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise ValueError(f"{name}: {one_line(error)}") from None
    except Exception as error:
        raise OSError(f"{name}: cannot be reached: {one_line(error)}") from None
    return system, path


@contextlib.contextmanager
def _errors_name(url: str) -> Iterator[None]:
    """Turn the errors of a file system into one line that begins with the address."""
    name = without_password(url)
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}: no such file") from None
    except ValueError as error:
        raise ValueError(f"{name}: {one_line(error)}") from None
    except Exception as error:  # each library has its own
        raise OSError(f"{name}: {one_line(error)}") from None


def _with_scheme(system: Any, scheme: str, path: str) -> str:
    """Return the address of a path in a file system."""
    if "://" in path:
        return path
    if scheme.lower() in ("memory://", "s3://", "s3a://", "gs://", "gcs://"):
        return f"{scheme}{path.lstrip('/')}"
    return str(system.unstrip_protocol(path))


def _segments(folder: str, stems: set[str]) -> set[str]:
    """Return the headers that other headers of a folder name as their segments."""
    segments = set()
    for stem in stems:
        with local_copy_of_header(f"{stem}{WFDB_HEADER}") as header:
            names, has_segments = named_files(header)
            segments |= {join(folder, name) for name in names} if has_segments else set()
    return segments


@contextlib.contextmanager
def local_copy_of_header(url: str) -> Iterator[Path]:
    """Yield a temporary local copy of a header without its signals."""
    system, path = _open(url)
    with tempfile.TemporaryDirectory(prefix="ecg-", ignore_cleanup_errors=True) as name:
        with _errors_name(url):
            copied, _ = _copy(system, path, Path(name), MAX_BYTES)
        yield copied


def _kind_of(url: str, stems: set[str], segments: set[str]) -> Other | None:
    """Return what a file is by its name; None if it is taken for a record."""
    stem, suffix = posixpath.splitext(url)
    if suffix.lower() == WFDB_HEADER:
        return PART if url.lower() in {each.lower() for each in segments} else None
    if suffix.lower() in WFDB_SIGNALS and stem in stems:
        return PART
    inner = posixpath.splitext(stem)[1] if suffix.lower() == ".gz" else suffix
    if inner.lower() in RECORD_SUFFIXES:
        return None
    return OTHER if stem in stems else NO_ECG


def _copy(system: Any, path: str, folder: Path, n_bytes_left: int) -> tuple[Path, int]:
    """Copy a file into a folder; return its path and its number of bytes."""
    target = folder / PurePosixPath(path).name
    n = 0
    with system.open(path, "rb") as source, open(target, "wb") as copy:
        size = getattr(source, "size", None)
        if size is not None and size > n_bytes_left:
            raise ValueError(f"{size:,} bytes, expected at most {n_bytes_left:,}")
        while block := source.read(1 << 22):
            n += len(block)
            if n > n_bytes_left:
                raise ValueError(f"more than {n_bytes_left:,} bytes")
            copy.write(block)
    return target, n


def _copy_wfdb(system: Any, header: str, folder: Path) -> Path:
    """Copy a WFDB record: its header and the files and segments that it names."""
    copied, n_bytes = _copy(system, header, folder, MAX_BYTES)
    waiting, seen = [copied], {copied.name.lower()}
    while waiting:
        part = waiting.pop()
        names, has_segments = named_files(part)
        as_written = {word.lower(): word for word in os.fsdecode(part.read_bytes()).split()}
        for name in sorted(names - seen - NO_FILES):
            seen.add(name)
            if len(seen) > MAX_SEGMENTS or "/" in name or "\\" in name:
                raise ValueError(f"the header names {shown(name)}, expected a file next to it")
            stem = name.removesuffix(WFDB_HEADER) if has_segments else name
            path = posixpath.join(posixpath.dirname(header), as_written.get(stem, stem))
            path += WFDB_HEADER * has_segments
            with contextlib.suppress(FileNotFoundError):  # the error of the reader names it
                copy, n = _copy(system, path, folder, MAX_RECORD_BYTES - n_bytes)
                n_bytes += n
                waiting += [copy] if has_segments else []
    return copied


def _header_of(system: Any, path: str) -> str | None:
    """Return the header of a WFDB record; None if the path is a record of another format."""
    base, suffix = posixpath.splitext(path)
    if suffix.lower() == WFDB_HEADER:
        return path
    if suffix.lower() in RECORD_SUFFIXES and suffix.lower() not in WFDB_SIGNALS:
        return None
    header = (base if suffix.lower() in WFDB_SIGNALS else path) + WFDB_HEADER
    return header if system.exists(header) else None

"""Download PTB-XL by HTTPS: in parallel, resumable, each file verified by its SHA-256.

The server must have PhysioNet's layout, where ``SHA256SUMS.txt`` at the top lists every file. The
content of the files is not checked otherwise.
"""

from __future__ import annotations

import concurrent.futures
import errno
import ipaddress
import os
import re
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

import requests
from tqdm import tqdm

from ecg_siglip.core.files import flush, hold, make_folder, sha256_of, write_file
from ecg_siglip.datasets.records import first_of

SUMS = "SHA256SUMS.txt"
VERIFIED = ".verified"
METADATA = ("ptbxl_database.csv", "scp_statements.csv")
OTHERS = ("LICENSE.txt",)
FOLDERS = {100: "records100/", 500: "records500/"}
BACKOFF_S = 0.5  # pause before the second try, s; doubles with every further try
MAX_BACKOFF_S = 30.0
N_BLOCK = 1 << 14  # bytes written at once; a try that fails loses less than one block


def download(
    root: str | os.PathLike[str],
    *,
    url: str,
    fs: int,
    n_downloads: int = 8,
    timeout_s: float = 30.0,
    n_retries: int = 5,
    wait_s: float = 0.0,
    progress: bool = True,
    verify: bool = False,
) -> int:
    """Download the metadata and the records of one sampling rate, and verify them.

    Files that are already there with the right checksum are kept. A file appears under its own name
    only when it is complete and verified; until then it is named ``<name>.part``, and the next call
    resumes it.

    Parameters
    ----------
    root : path
        Folder to write to; created if needed.
    url : str
        Folder on the server that contains ``SHA256SUMS.txt``; https, or http on this machine.
    fs : {100, 500}, Hz
        Which of ``records100/`` and ``records500/``.
    n_downloads : int
        Files downloaded at the same time.
    timeout_s : float, s
        A connection without data for longer is closed and retried.
    n_retries : int
        Tries per file.
    wait_s : float, s
        How long to wait for another process that downloads to the folder.
    progress : bool
        Show a bar on stderr if that is a terminal.
    verify : bool
        Compute the SHA-256 of every file again. By default a file is not read again if its size
        and modification time are those of its last verification.

    Returns
    -------
    int
        Number of files downloaded (without ``SHA256SUMS.txt``).

    Raises
    ------
    ValueError
        If the address is not https, a file is not on the server (with its address), cannot be
        downloaded in `n_retries` tries, or repeatedly arrives with another checksum; if
        ``SHA256SUMS.txt`` does not list PTB-XL or lists a path outside of `root`; if `root` has the
        metadata of another data set; if the disk is full or cannot be written to; if another
        process downloads to the folder.
    """
    root, url = Path(root), url.rstrip("/")
    _check_address(url)
    try:
        with hold(root, wait_s, inside=True):
            listing, sums = _download_sums(url, timeout_s, n_retries)
            verified = _VerifiedFiles(root, trusted=not verify)
            _check_metadata(root, url, sums, verified)
            write_file(root / SUMS, listing)
            required = _required(sums, fs)
            client = _Client(root, url, timeout_s, n_retries)
            return _download_all(client, verified, required, n_downloads, progress)
    except OSError as error:
        raise _disk_error(error, root) from error


def verify_files(root: str | os.PathLike[str], fs: int) -> int:
    """Compute the SHA-256 of every file that is on disk, without a connection.

    Parameters
    ----------
    root : path
        Folder with ``SHA256SUMS.txt``, as ``download`` stores it.
    fs : {100, 500}, Hz

    Returns
    -------
    int
        Number of files; those that are not on disk do not count.

    Raises
    ------
    ValueError
        If there is no ``SHA256SUMS.txt``, or if files differ from it, naming them.
    """
    root = Path(root)
    if not (root / SUMS).is_file():
        raise ValueError(
            f"{root / SUMS}: is missing, so that no file can be verified; expected download=true"
        )
    sums = parse_sums((root / SUMS).read_bytes(), str(root / SUMS))
    verified = _VerifiedFiles(root, trusted=False)
    present = {n: sha256 for n, sha256 in _required(sums, fs).items() if (root / n).exists()}
    wrong = [name for name, sha256 in present.items() if not verified.is_right(name, sha256)]
    verified.save()
    if wrong:
        raise ValueError(
            f"{root}: {len(wrong)} of {len(present)} files differ from {SUMS}: {first_of(wrong)}; "
            "run with download=true to download them again"
        )
    return len(present)


def _required(sums: dict[str, str], fs: int) -> dict[str, str]:
    """Return the hashes of the metadata and of the records of one sampling rate."""
    return {
        name: sha256
        for name, sha256 in sums.items()
        if name in METADATA or name in OTHERS or name.startswith(FOLDERS[fs])
    }


def _download_sums(url: str, timeout_s: float, n_retries: int) -> tuple[bytes, dict[str, str]]:
    """Return ``SHA256SUMS.txt`` of the server, as bytes and parsed."""
    with tempfile.TemporaryDirectory() as scratch:
        _Client(Path(scratch), url, timeout_s, n_retries).download(SUMS, None)
        listing = (Path(scratch) / SUMS).read_bytes()
    sums = parse_sums(listing, f"{url}/{SUMS}")
    if absent := [name for name in METADATA if name not in sums]:
        raise ValueError(
            f"{url}/{SUMS}: expected PTB-XL, but it does not list {absent[0]}: set url to the "
            "folder of PTB-XL"
        )
    return listing, sums


def _check_metadata(root: Path, url: str, sums: dict[str, str], verified: _VerifiedFiles) -> None:
    """Refuse a folder with the metadata of another data set, which would be overwritten."""
    for name in METADATA:
        if (root / name).exists() and not verified.is_right(name, sums[name]):
            raise ValueError(
                f"{root / name} is not the file of {url}: download to another folder with "
                "data.root=..., delete the file if it is damaged, or use the existing files with "
                "download=false"
            )


def _disk_error(error: OSError, root: Path) -> ValueError:
    """Return an error that explains what failed on the disk and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return ValueError(
            f"disk full: {error.filename or root}: free some space and run the same command again; "
            "complete files are kept"
        )
    return ValueError(
        f"cannot write to {error.filename or root}: {error.strerror or error}: set data.root=... "
        "to a folder that can be written"
    )


def parse_sums(listing: bytes, where: str) -> dict[str, str]:
    """Parse ``SHA256SUMS.txt`` to a dictionary from relative path to SHA-256 in hexadecimal.

    Parameters
    ----------
    listing : bytes
        The content of the file.
    where : str
        Its address, for messages.

    Raises
    ------
    ValueError
        If a line is not a checksum and a path, or the path is outside of the folder.
    """
    sums: dict[str, str] = {}
    for number, line in enumerate(listing.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"([0-9a-fA-F]{64}) [ *]?(\S.*)", line.rstrip())
        if not match:
            raise ValueError(
                f"{where}: line {number}: expected `SHA-256 path`, got {line!r:.80}: check url"
            )
        name = match[2].removeprefix("./")
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or not parts or re.search(r"[\\:\0\t]", name):
            raise ValueError(
                f"{where}: line {number}: a path outside of the folder: {name!r:.80}: check url"
            )
        sums[name] = match[1].lower()
    return sums


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if not parts.hostname or (
        parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname))
    ):
        raise ValueError(f"expected an https address, got {url}: check url")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _RetryableError(Exception):
    """A failure of one try after which another may succeed."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _Client:
    """Downloads single files; safe to use from several threads."""

    def __init__(self, root: Path, url: str, timeout_s: float, n_retries: int) -> None:
        self.root, self.url, self.timeout_s, self.n_retries = root, url, timeout_s, n_retries
        self.stop = threading.Event()
        self._local = threading.local()

    def download(self, name: str, sha256: str | None) -> None:
        """Download one file; without a checksum to verify it by, always from the start."""
        path = self.root / name
        part = path.with_name(f"{path.name}.part")
        make_folder(path.parent)
        if sha256 is None:
            part.unlink(missing_ok=True)
        reason, wait_s = "", 0.0
        for attempt in range(self.n_retries):
            backoff_s = BACKOFF_S * 2 ** (attempt - 1) if attempt else 0.0
            if self.stop.wait(min(max(backoff_s, wait_s), MAX_BACKOFF_S)):
                return
            try:
                self._transfer(name, part)
                if sha256 is not None and (got := sha256_of(part)) != sha256:
                    part.unlink()
                    raise _RetryableError(f"expected SHA-256 {sha256}, got {got}")
            except _RetryableError as error:
                reason, wait_s = str(error), error.wait_s
            else:
                flush(part)
                os.replace(part, path)
                return
        raise ValueError(
            f"{self.url}/{name}: not downloaded in {self.n_retries} tries: {reason}: run the same "
            "command again to resume"
        )

    def _transfer(self, name: str, part: Path) -> None:
        """Append the rest of the file to its part; start over if the server cannot resume."""
        url = f"{self.url}/{quote(name)}"
        have = part.stat().st_size if part.exists() else 0
        # A compressed transfer would make byte ranges and lengths those of the compressed form.
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        try:
            with self._session().get(
                url, headers=headers, stream=True, timeout=self.timeout_s
            ) as response:
                for hop in (*response.history, response):
                    _check_address(hop.url)
                code = response.status_code
                if code == 416:
                    return  # nothing is left to send; the checksum shows whether that is right
                if code >= 500 or code in (408, 425, 429):
                    raise _RetryableError(f"HTTP {code}", _retry_after(response))
                if code not in (200, 206):
                    raise ValueError(f"{url}: HTTP {code} {response.reason}: check url")
                resumed = code == 206
                if resumed and not response.headers.get("Content-Range", "").startswith(
                    f"bytes {have}-"
                ):
                    part.unlink(missing_ok=True)
                    raise _RetryableError("the server sent another range than requested")
                with open(part, "ab" if resumed else "wb") as file:
                    for block in response.iter_content(N_BLOCK):
                        file.write(block)
                        if self.stop.is_set():
                            raise _RetryableError("stopped")
        except requests.RequestException as error:  # an OSError too, but not one of the disk
            raise _RetryableError(f"{type(error).__name__}: {error}") from error

    def _session(self) -> requests.Session:
        """Return the session of this thread, kept open since most of PTB-XL's files are small."""
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            # Requests to this machine must not go through a proxy.
            self._local.session.trust_env = not _is_loopback(urlsplit(self.url).hostname or "")
        return self._local.session


def _download_all(
    client: _Client,
    verified: _VerifiedFiles,
    required: dict[str, str],
    n_downloads: int,
    progress: bool,
) -> int:
    """Download what is missing of the required files; return how many were downloaded."""

    def ensure(name: str) -> bool:
        """Download a file unless it is there; return whether it was downloaded."""
        if client.stop.is_set() or verified.is_right(name, required[name]):
            return False
        client.download(name, required[name])
        verified.add(name, required[name])
        return True

    bar = tqdm(total=len(required), desc="files", unit="file", disable=None if progress else True)
    n_downloaded = 0
    with bar, concurrent.futures.ThreadPoolExecutor(n_downloads) as pool:
        try:
            for future in concurrent.futures.as_completed(
                pool.submit(ensure, name) for name in required
            ):
                n_downloaded += future.result()
                bar.update()
        except BaseException:
            client.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            verified.save()
    return n_downloaded


class _VerifiedFiles:
    """Size and modification time of each verified file, so that each file is hashed once.

    A line of ``.verified`` has the name of a file, a tab, its SHA-256, size (bytes), modification
    time (ns) and when it was verified (UTC).

    Parameters
    ----------
    root : Path
    trusted : bool
        Whether files that were verified before are not read again.
    """

    def __init__(self, root: Path, trusted: bool = True) -> None:
        self.root, self.path, self.trusted = root, root / VERIFIED, trusted
        self.stamps: dict[str, str] = {}
        if self.path.is_file():
            for line in self.path.read_text(errors="replace").splitlines():
                name, tab, stamp = line.rpartition("\t")
                if tab:
                    self.stamps[name] = stamp

    def _stamp(self, name: str, sha256: str) -> str | None:
        try:
            stat = os.stat(self.root / name)
        except FileNotFoundError:
            return None
        return f"{sha256} {stat.st_size} {stat.st_mtime_ns}"

    def is_right(self, name: str, sha256: str) -> bool:
        """Return whether a file is there with this checksum."""
        stamp = self._stamp(name, sha256)
        if stamp is None:
            return False
        if self.trusted and self.stamps.get(name, "").split()[:3] == stamp.split():
            return True
        if sha256_of(self.root / name) != sha256:
            self.stamps.pop(name, None)
            return False
        self._note(name, stamp)
        return True

    def add(self, name: str, sha256: str) -> None:
        """Record that a file was just verified."""
        stamp = self._stamp(name, sha256)
        assert stamp is not None
        self._note(name, stamp)

    def _note(self, name: str, stamp: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.stamps[name] = f"{stamp} {now}"

    def save(self) -> None:
        """Write ``.verified``."""
        lines = (f"{name}\t{stamp}\n" for name, stamp in self.stamps.items())
        write_file(self.path, "".join(lines))


def _retry_after(response: requests.Response) -> float:
    """Return the pause that the server requests, s; 0 if it gives none in seconds."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else 0.0

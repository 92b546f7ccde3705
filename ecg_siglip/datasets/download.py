"""Files of a published data set by HTTPS: in parallel, resumable, each held to its SHA-256.

Knows PhysioNet's layout, where ``SHA256SUMS.txt`` at the top lists every file, and which of
PTB-XL's files belong together; it does not look into them.
"""

from __future__ import annotations

import concurrent.futures
import errno
import hashlib
import ipaddress
import os
import re
import tempfile
import threading
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

import requests
from tqdm import tqdm

from ecg_siglip.core.files import write_file

SUMS = "SHA256SUMS.txt"
VERIFIED = ".verified"
METADATA = ("ptbxl_database.csv", "scp_statements.csv")
OTHERS = ("LICENSE.txt",)
FOLDERS = {100: "records100/", 500: "records500/"}
BACKOFF_S = 0.5  # pause before the second try, s; doubles with every further one
MAX_BACKOFF_S = 30.0
N_BLOCK = 1 << 14  # bytes written at once; a try that ends loses less than one


def download(
    root: str | os.PathLike[str],
    *,
    url: str,
    fs: int,
    n_downloads: int = 8,
    timeout_s: float = 30.0,
    n_retries: int = 5,
    progress: bool = True,
) -> int:
    """Bring the metadata and the records of one sampling rate to disk, whole and verified.

    What is already there with the right checksum stays. A file appears under its own name only
    when it is complete and right; until then it is called ``<name>.part``, and the next call goes
    on from there.

    Parameters
    ----------
    root : path
        Folder to write to; made if needed.
    url : str
        Folder on the server that holds ``SHA256SUMS.txt``; https, or http on this machine.
    fs : {100, 500}, Hz
        Which of ``records100/`` and ``records500/``.
    n_downloads : int
        Files fetched at the same time.
    timeout_s : float, s
        A connection silent for longer is given up and tried again.
    n_retries : int
        Tries for each file.
    progress : bool
        Show a bar on stderr if that is a terminal.

    Returns
    -------
    int
        Files fetched (not counting ``SHA256SUMS.txt``).

    Raises
    ------
    ValueError
        If the address is not https, a file is not there (names the address), cannot be fetched in
        `n_retries` tries, or keeps arriving with another checksum; if ``SHA256SUMS.txt`` lists no
        PTB-XL or a path outside of `root`; if `root` holds the metadata of another data set; if
        the disk is full or cannot be written to.
    """
    root, url = Path(root), url.rstrip("/")
    _check_address(url)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            _Client(Path(scratch), url, timeout_s, n_retries).fetch(SUMS, None)
            listing = (Path(scratch) / SUMS).read_bytes()
        sums = parse_sums(listing, f"{url}/{SUMS}")
        if absent := [name for name in METADATA if name not in sums]:
            raise ValueError(f"{url}/{SUMS}: expected PTB-XL, but it does not list {absent[0]}")
        verified = _Verified(root)
        for name in METADATA:
            if (root / name).exists() and not verified.is_right(name, sums[name]):
                raise ValueError(
                    f"{root / name} is not the file of {url}: download to another folder, or "
                    "delete it if it is broken; to use what is there say download=false"
                )
        root.mkdir(parents=True, exist_ok=True)
        (root / SUMS).write_bytes(listing)
        wanted = {
            name: sha256
            for name, sha256 in sums.items()
            if name in METADATA or name in OTHERS or name.startswith(FOLDERS[fs])
        }
        client = _Client(root, url, timeout_s, n_retries)
        return _fetch_all(client, verified, wanted, n_downloads, progress)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ValueError(
                f"disk full: {error.filename or root}: make room and say the same again; what is "
                "complete stays"
            ) from error
        raise ValueError(
            f"cannot write to {error.filename or root}: {error.strerror or error}"
        ) from error


def parse_sums(listing: bytes, where: str) -> dict[str, str]:
    """``SHA256SUMS.txt`` as a dictionary from relative path to SHA-256 in hexadecimal.

    Parameters
    ----------
    listing : bytes
        The content of the file.
    where : str
        Its address, for messages.

    Raises
    ------
    ValueError
        If a line is not a checksum and a path, or the path leads out of the folder.
    """
    sums: dict[str, str] = {}
    for number, line in enumerate(listing.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"([0-9a-fA-F]{64}) [ *]?(\S.*)", line.rstrip())
        if not match:
            raise ValueError(f"{where}: line {number}: expected `SHA-256 path`, got {line!r:.80}")
        name = match[2].removeprefix("./")
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or not parts or re.search(r"[\\:\0\t]", name):
            raise ValueError(f"{where}: line {number}: a path outside of the folder: {name!r:.80}")
        sums[name] = match[1].lower()
    return sums


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if not parts.hostname or (
        parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname))
    ):
        raise ValueError(f"expected an https address, got {url}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Broken(Exception):
    """This try failed in a way that another may not."""

    def __init__(self, why: str, wait_s: float = 0.0) -> None:
        super().__init__(why)
        self.wait_s = wait_s


class _Client:
    """Fetches single files; safe to use from several threads."""

    def __init__(self, root: Path, url: str, timeout_s: float, n_retries: int) -> None:
        self.root, self.url, self.timeout_s, self.n_retries = root, url, timeout_s, n_retries
        self.stop = threading.Event()
        self._local = threading.local()

    def fetch(self, name: str, sha256: str | None) -> None:
        """Bring one file to disk; without a checksum to hold it to, always from the start."""
        path = self.root / name
        part = path.with_name(f"{path.name}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        if sha256 is None:
            part.unlink(missing_ok=True)
        why, wait_s = "", 0.0
        for attempt in range(self.n_retries):
            backoff_s = BACKOFF_S * 2 ** (attempt - 1) if attempt else 0.0
            if self.stop.wait(min(max(backoff_s, wait_s), MAX_BACKOFF_S)):
                return
            try:
                self._transfer(name, part)
                if sha256 is not None and (got := sha256_of(part)) != sha256:
                    part.unlink()
                    raise _Broken(f"expected SHA-256 {sha256}, got {got}")
            except _Broken as error:
                why, wait_s = str(error), error.wait_s
            else:
                os.replace(part, path)
                return
        raise ValueError(f"{self.url}/{name}: not fetched in {self.n_retries} tries: {why}")

    def _transfer(self, name: str, part: Path) -> None:
        """Append to the part what it lacks, or write it anew where the server cannot go on."""
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
                    return  # nothing is left to send: the checksum tells whether that is right
                if code >= 500 or code in (408, 425, 429):
                    raise _Broken(f"HTTP {code}", _retry_after(response))
                if code not in (200, 206):
                    raise ValueError(f"{url}: HTTP {code} {response.reason}")
                goes_on = code == 206
                if goes_on and not response.headers.get("Content-Range", "").startswith(
                    f"bytes {have}-"
                ):
                    part.unlink(missing_ok=True)
                    raise _Broken("the server sent another range than asked for")
                with open(part, "ab" if goes_on else "wb") as file:
                    for block in response.iter_content(N_BLOCK):
                        file.write(block)
                        if self.stop.is_set():
                            raise _Broken("stopped")
        except requests.RequestException as error:  # an OSError too, but not one of the disk
            raise _Broken(f"{type(error).__name__}: {error}") from error

    def _session(self) -> requests.Session:
        """One connection per thread, kept alive: most of PTB-XL's files are small."""
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            # A proxy must not be asked for this machine's own address.
            self._local.session.trust_env = not _is_loopback(urlsplit(self.url).hostname or "")
        return self._local.session


def _fetch_all(
    client: _Client, verified: _Verified, wanted: dict[str, str], n_downloads: int, progress: bool
) -> int:
    def bring(name: str) -> bool:
        """Whether it had to be fetched."""
        if client.stop.is_set() or verified.is_right(name, wanted[name]):
            return False
        client.fetch(name, wanted[name])
        verified.add(name, wanted[name])
        return True

    bar = tqdm(total=len(wanted), desc="files", unit="file", disable=None if progress else True)
    n_fetched = 0
    with bar, concurrent.futures.ThreadPoolExecutor(n_downloads) as pool:
        try:
            for future in concurrent.futures.as_completed(
                pool.submit(bring, name) for name in wanted
            ):
                n_fetched += future.result()
                bar.update()
        except BaseException:
            client.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            verified.save()
    return n_fetched


class _Verified:
    """Which files were found right, at which size and time of change, so as to hash each once."""

    def __init__(self, root: Path) -> None:
        self.root, self.path = root, root / VERIFIED
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
        stamp = self._stamp(name, sha256)
        if stamp is None:
            return False
        if self.stamps.get(name) == stamp:
            return True
        if sha256_of(self.root / name) != sha256:
            return False
        self.stamps[name] = stamp
        return True

    def add(self, name: str, sha256: str) -> None:
        stamp = self._stamp(name, sha256)
        assert stamp is not None
        self.stamps[name] = stamp

    def save(self) -> None:
        lines = (f"{name}\t{stamp}\n" for name, stamp in self.stamps.items())
        write_file(self.path, "".join(lines))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _retry_after(response: requests.Response) -> float:
    """What the server asks to wait, s; 0 if it says nothing in seconds."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else 0.0

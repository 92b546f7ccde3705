"""Download from a local server that disconnects, stalls and sends wrong bytes."""

import hashlib
import os
import resource
import threading
from collections import defaultdict
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from ecg_siglip.datasets import download as download_module
from ecg_siglip.datasets.download import N_BLOCK, SUMS, VERIFIED, download, parse_sums, verify_files

BIG = "records100/00000/00001_lr.dat"
FILES = {
    "LICENSE.txt": b"CC BY 4.0",
    "RECORDS": b"not needed",
    "ptbxl_database.csv": b"ecg_id\n1\n2\n",
    "scp_statements.csv": b",description\n",
    BIG: np.random.default_rng(0).bytes(300_001),
    "records100/00000/00001_lr.hea": b"00001_lr 12 100 1000\n",
    "records100/00000/00002_lr.hea": b"",
    "records500/00000/00001_hr.hea": b"00001_hr 12 500 5000\n",
}
REQUIRED = [name for name in FILES if name != "RECORDS" and "records500" not in name]

# Half of the file is sent before the connection ends; of that, whole blocks reach the disk.
REST_OF_BIG = f"bytes={len(FILES[BIG]) // 2 // N_BLOCK * N_BLOCK}-"


class Server(ThreadingHTTPServer):
    """Serves FILES; each request for a path has the next of its faults, the last one repeatedly."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(FILES)
        self.faults = defaultdict(list)
        self.requests = []
        self.closing = threading.Event()
        self.list_files()

    def list_files(self):
        self.files[SUMS] = b"".join(
            f"{hashlib.sha256(data).hexdigest()} {name}\n".encode()
            for name, data in self.files.items()
            if name != SUMS
        )

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/files/ptb-xl"

    def ranges(self, name):
        return [byte_range for path, byte_range in self.requests if path == name]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        name = self.path.removeprefix("/files/ptb-xl/")
        byte_range = self.headers.get("Range")
        server.requests.append((name, byte_range))
        faults = server.faults[name]
        fault = (faults.pop(0) if len(faults) > 1 else faults[0]) if faults else None
        if isinstance(fault, int) or name not in server.files:
            self.send_response(fault or 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = server.files[name]
        start = int(byte_range.removeprefix("bytes=").removesuffix("-")) if byte_range else 0
        if fault == "ignores ranges":
            start = 0
        if start and start >= len(data):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        body = data[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault == "wrong bytes":
            body = bytes(byte ^ 1 for byte in body)
        if fault in ("disconnects", "stalls"):
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            if fault == "stalls":
                server.closing.wait(10)
            self.close_connection = True
            return
        self.wfile.write(body)


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch):
    monkeypatch.setattr(download_module, "BACKOFF_S", 0.01)


@pytest.fixture
def run_download(server, tmp_path):
    def run_download(**settings):
        settings = {"fs": 100, "n_downloads": 4, "timeout_s": 5, "n_retries": 3} | settings
        return download(tmp_path / "data", url=server.url, progress=False, **settings)

    run_download.root = tmp_path / "data"
    return run_download


def on_disk(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name not in (SUMS, VERIFIED)
    }


def test_only_the_files_of_one_sampling_rate_are_downloaded(run_download):
    assert run_download() == len(REQUIRED)
    assert on_disk(run_download.root) == {name: FILES[name] for name in REQUIRED}
    assert run_download(fs=500) == 1
    assert "records500/00000/00001_hr.hea" in on_disk(run_download.root)


def test_a_verified_file_is_not_downloaded_again(server, run_download):
    run_download()
    server.requests.clear()
    assert run_download() == 0
    assert server.requests == [(SUMS, None)]
    (run_download.root / VERIFIED).unlink()  # as after a killed download: the files are hashed
    assert run_download() == 0


def test_a_changed_or_missing_file_is_downloaded_again(run_download):
    run_download()
    (run_download.root / BIG).write_bytes(b"\0" * len(FILES[BIG]))
    (run_download.root / "LICENSE.txt").unlink()
    assert run_download() == 2
    assert on_disk(run_download.root) == {name: FILES[name] for name in REQUIRED}


def change_without_a_trace(path):
    """Change a byte of a file; size and modification time stay."""
    stat = path.stat()
    path.write_bytes(b"\0" + path.read_bytes()[1:])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_verified_files_are_read_again_on_request_only(run_download):
    run_download()
    root = run_download.root
    change_without_a_trace(root / BIG)
    assert run_download() == 0
    assert run_download(verify=True) == 1
    assert on_disk(root) == {name: FILES[name] for name in REQUIRED}
    stamps = dict(line.split("\t") for line in (root / VERIFIED).read_text().splitlines())
    assert set(stamps) == set(REQUIRED)
    for stamp in stamps.values():
        verified_at = datetime.fromisoformat(stamp.split()[3])
        assert abs((datetime.now(UTC) - verified_at).total_seconds()) < 600


def test_files_are_verified_without_a_connection(server, run_download):
    run_download()
    server.requests.clear()
    assert verify_files(run_download.root, 100) == len(REQUIRED)
    change_without_a_trace(run_download.root / BIG)
    with pytest.raises(ValueError, match=f"1 of 6 files differ from {SUMS}: {BIG}; run with"):
        verify_files(run_download.root, 100)
    assert server.requests == []
    (run_download.root / SUMS).unlink()
    with pytest.raises(ValueError, match="is missing, so that no file can be verified"):
        verify_files(run_download.root, 100)


@pytest.mark.parametrize("fault", ["disconnects", "stalls"])
def test_an_interrupted_transfer_is_resumed(server, run_download, fault):
    server.faults[BIG] = [fault, "serves"]
    run_download(timeout_s=0.3)
    assert on_disk(run_download.root)[BIG] == FILES[BIG]
    assert server.ranges(BIG) == [None, REST_OF_BIG]


def test_the_next_call_resumes_a_failed_download(server, run_download):
    server.faults[BIG] = ["disconnects", "serves"]
    with pytest.raises(ValueError, match=f"{BIG}: not downloaded in 1 tries"):
        run_download(n_retries=1)
    assert BIG not in on_disk(run_download.root)
    run_download()
    assert server.ranges(BIG) == [None, REST_OF_BIG]
    assert on_disk(run_download.root) == {name: FILES[name] for name in REQUIRED}


def test_a_transfer_starts_over_if_the_server_ignores_ranges(server, run_download):
    server.faults[BIG] = ["disconnects", "ignores ranges"]
    run_download()
    assert on_disk(run_download.root)[BIG] == FILES[BIG]


@pytest.mark.parametrize("content", [b"wrong", FILES[BIG], FILES[BIG] + b"too long"])
def test_a_wrong_part_is_replaced(run_download, content):
    part = run_download.root / f"{BIG}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content)
    run_download()
    assert on_disk(run_download.root) == {name: FILES[name] for name in REQUIRED}


def test_a_file_with_a_wrong_checksum_is_downloaded_again(server, run_download):
    server.faults[BIG] = ["wrong bytes", "serves"]
    run_download()
    assert on_disk(run_download.root)[BIG] == FILES[BIG]
    assert server.ranges(BIG) == [None, None]


def test_a_checksum_that_stays_wrong_is_an_error_that_names_the_file(server, run_download):
    server.faults[BIG] = ["wrong bytes"]
    with pytest.raises(ValueError, match=f"{BIG}: not downloaded in 3 tries: expected SHA-256"):
        run_download()
    assert not [name for name in on_disk(run_download.root) if name.startswith(BIG)]


def test_a_missing_file_is_an_error_at_once(server, run_download):
    server.faults[BIG] = [404]
    with pytest.raises(ValueError, match=f"{server.url}/{BIG}: HTTP 404"):
        run_download()
    assert len(server.ranges(BIG)) == 1


@pytest.mark.parametrize("code", [500, 503, 429])
def test_a_busy_server_is_retried(server, run_download, code):
    server.faults[BIG] = [code, "serves"]
    server.faults[SUMS] = [code, "disconnects", "serves"]
    run_download()
    assert on_disk(run_download.root)[BIG] == FILES[BIG]
    server.faults[SUMS] = [code]
    with pytest.raises(ValueError, match=f"{SUMS}: not downloaded in 3 tries: HTTP {code}"):
        run_download()


def test_an_unreachable_server_is_an_error_after_the_retries(server, run_download):
    server.shutdown()
    server.server_close()
    with pytest.raises(ValueError, match=f"{SUMS}: not downloaded in 3 tries: ConnectionError"):
        run_download()


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "records100/../../evil", "..\\evil", "C:/evil"]
)
def test_paths_outside_of_the_folder_are_refused(server, run_download, name):
    server.files[name] = b"evil"
    server.list_files()
    with pytest.raises(ValueError, match=r"outside of the folder"):
        run_download()
    assert not run_download.root.exists()


def test_both_forms_of_checksum_lines_are_parsed():
    digest = "0123456789abcdef" * 4
    assert parse_sums(f"{digest}  a/b c.dat\n\n{digest.upper()} *d\n".encode(), "here") == {
        "a/b c.dat": digest,
        "d": digest,
    }
    with pytest.raises(ValueError, match=r"here: line 1: expected `SHA-256 path`"):
        parse_sums(b"<html>", "here")


def test_another_data_set_is_refused(server, run_download):
    server.files = {"records100/a.dat": b"a"}
    server.list_files()
    with pytest.raises(ValueError, match=r"expected PTB-XL"):
        run_download()


def test_a_folder_with_other_metadata_is_not_changed(run_download):
    run_download.root.mkdir()
    (run_download.root / "ptbxl_database.csv").write_bytes(b"simulated")
    with pytest.raises(ValueError, match=r"ptbxl_database.csv is not the file of .*download=false"):
        run_download()
    assert [path.name for path in run_download.root.iterdir()] == ["ptbxl_database.csv"]


@pytest.mark.parametrize(
    "url", ["http://example.org/ptb-xl", "ftp://example.org", "file:///etc", "example.org"]
)
def test_only_https_is_used_for_other_machines(tmp_path, url):
    with pytest.raises(ValueError, match=r"expected an https address"):
        download(tmp_path, url=url, fs=100)


def test_a_full_disk_is_one_error_and_complete_files_are_kept(run_download):
    # A limit on the size of files fails like a full disk, without mounting one.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(ValueError, match=r"disk full: .*data.*run the same command again"):
            run_download(n_downloads=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (
        run_download.root.joinpath("ptbxl_database.csv").read_bytes() == FILES["ptbxl_database.csv"]
    )
    assert BIG not in on_disk(run_download.root)
    run_download()
    assert on_disk(run_download.root) == {name: FILES[name] for name in REQUIRED}


def test_a_folder_that_cannot_be_written_is_an_error_that_names_the_setting(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ValueError, match=r"cannot write to .*file.*data\.root="):
        download(tmp_path / "file" / "data", url=server.url, fs=100, progress=False)

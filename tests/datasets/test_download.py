"""The download against a server on this machine that breaks off, stalls and lies."""

import hashlib
import resource
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from ecg_siglip.datasets import download as download_module
from ecg_siglip.datasets.download import N_BLOCK, SUMS, VERIFIED, download, parse_sums

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
WANTED = [name for name in FILES if name != "RECORDS" and "records500" not in name]

# Half of the file was sent; of that, whole blocks reached the disk.
WHERE_IT_ENDED = f"bytes={len(FILES[BIG]) // 2 // N_BLOCK * N_BLOCK}-"


class Server(ThreadingHTTPServer):
    """Serves FILES; each request for a path takes the next of its faults, the last one for ever."""

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
        return [asked for path, asked in self.requests if path == name]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        name = self.path.removeprefix("/files/ptb-xl/")
        asked = self.headers.get("Range")
        server.requests.append((name, asked))
        faults = server.faults[name]
        fault = (faults.pop(0) if len(faults) > 1 else faults[0]) if faults else None
        if isinstance(fault, int) or name not in server.files:
            self.send_response(fault or 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = server.files[name]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
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
        if fault == "lies":
            body = bytes(byte ^ 1 for byte in body)
        if fault in ("breaks off", "stalls"):
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
def quick(monkeypatch):
    monkeypatch.setattr(download_module, "BACKOFF_S", 0.01)


@pytest.fixture
def fetch(server, tmp_path):
    def fetch(**settings):
        settings = {"fs": 100, "n_downloads": 4, "timeout_s": 5, "n_retries": 3} | settings
        return download(tmp_path / "data", url=server.url, progress=False, **settings)

    fetch.root = tmp_path / "data"
    return fetch


def on_disk(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name not in (SUMS, VERIFIED)
    }


def test_brings_what_one_sampling_rate_needs_and_nothing_else(fetch):
    assert fetch() == len(WANTED)
    assert on_disk(fetch.root) == {name: FILES[name] for name in WANTED}
    assert fetch(fs=500) == 1
    assert "records500/00000/00001_hr.hea" in on_disk(fetch.root)


def test_what_is_right_on_disk_is_not_fetched_again(server, fetch):
    fetch()
    server.requests.clear()
    assert fetch() == 0
    assert server.requests == [(SUMS, None)]
    (fetch.root / VERIFIED).unlink()  # as after a killed download: hash, do not fetch
    assert fetch() == 0


def test_a_file_that_was_changed_or_lost_is_fetched_again(fetch):
    fetch()
    (fetch.root / BIG).write_bytes(b"\0" * len(FILES[BIG]))
    (fetch.root / "LICENSE.txt").unlink()
    assert fetch() == 2
    assert on_disk(fetch.root) == {name: FILES[name] for name in WANTED}


@pytest.mark.parametrize("fault", ["breaks off", "stalls"])
def test_goes_on_where_the_connection_ended(server, fetch, fault):
    server.faults[BIG] = [fault, "serves"]
    fetch(timeout_s=0.3)
    assert on_disk(fetch.root)[BIG] == FILES[BIG]
    assert server.ranges(BIG) == [None, WHERE_IT_ENDED]


def test_the_next_call_goes_on_where_the_last_one_gave_up(server, fetch):
    server.faults[BIG] = ["breaks off", "serves"]
    with pytest.raises(ValueError, match=f"{BIG}: not fetched in 1 tries"):
        fetch(n_retries=1)
    assert BIG not in on_disk(fetch.root)
    fetch()
    assert server.ranges(BIG) == [None, WHERE_IT_ENDED]
    assert on_disk(fetch.root) == {name: FILES[name] for name in WANTED}


def test_starts_over_where_the_server_cannot_go_on(server, fetch):
    server.faults[BIG] = ["breaks off", "ignores ranges"]
    fetch()
    assert on_disk(fetch.root)[BIG] == FILES[BIG]


@pytest.mark.parametrize("left", [b"wrong", FILES[BIG], FILES[BIG] + b"too long"])
def test_mends_whatever_part_was_left(fetch, left):
    part = fetch.root / f"{BIG}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(left)
    fetch()
    assert on_disk(fetch.root) == {name: FILES[name] for name in WANTED}


def test_a_lie_is_discarded_and_asked_again(server, fetch):
    server.faults[BIG] = ["lies", "serves"]
    fetch()
    assert on_disk(fetch.root)[BIG] == FILES[BIG]
    assert server.ranges(BIG) == [None, None]


def test_a_lie_repeated_is_an_error_that_names_the_file(server, fetch):
    server.faults[BIG] = ["lies"]
    with pytest.raises(ValueError, match=f"{BIG}: not fetched in 3 tries: expected SHA-256"):
        fetch()
    assert not [name for name in on_disk(fetch.root) if name.startswith(BIG)]


def test_a_missing_file_is_an_error_at_once(server, fetch):
    server.faults[BIG] = [404]
    with pytest.raises(ValueError, match=f"{server.url}/{BIG}: HTTP 404"):
        fetch()
    assert len(server.ranges(BIG)) == 1


@pytest.mark.parametrize("code", [500, 503, 429])
def test_a_busy_server_is_asked_again(server, fetch, code):
    server.faults[BIG] = [code, "serves"]
    server.faults[SUMS] = [code, "breaks off", "serves"]
    fetch()
    assert on_disk(fetch.root)[BIG] == FILES[BIG]
    server.faults[SUMS] = [code]
    with pytest.raises(ValueError, match=f"{SUMS}: not fetched in 3 tries: HTTP {code}"):
        fetch()


def test_no_server_is_one_error(server, fetch):
    server.shutdown()
    server.server_close()
    with pytest.raises(ValueError, match=f"{SUMS}: not fetched in 3 tries: ConnectionError"):
        fetch()


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "records100/../../evil", "..\\evil", "C:/evil"]
)
def test_paths_that_lead_out_of_the_folder_are_refused(server, fetch, name):
    server.files[name] = b"evil"
    server.list_files()
    with pytest.raises(ValueError, match=r"outside of the folder"):
        fetch()
    assert not fetch.root.exists()


def test_sums_of_either_form_are_read():
    digest = "0123456789abcdef" * 4
    assert parse_sums(f"{digest}  a/b c.dat\n\n{digest.upper()} *d\n".encode(), "here") == {
        "a/b c.dat": digest,
        "d": digest,
    }
    with pytest.raises(ValueError, match=r"here: line 1: expected `SHA-256 path`"):
        parse_sums(b"<html>", "here")


def test_another_data_set_is_refused(server, fetch):
    server.files = {"records100/a.dat": b"a"}
    server.list_files()
    with pytest.raises(ValueError, match=r"expected PTB-XL"):
        fetch()


def test_a_folder_with_other_metadata_is_left_alone(fetch):
    fetch.root.mkdir()
    (fetch.root / "ptbxl_database.csv").write_bytes(b"simulated")
    with pytest.raises(ValueError, match=r"ptbxl_database.csv is not the file of .*download=false"):
        fetch()
    assert [path.name for path in fetch.root.iterdir()] == ["ptbxl_database.csv"]


@pytest.mark.parametrize(
    "url", ["http://example.org/ptb-xl", "ftp://example.org", "file:///etc", "example.org"]
)
def test_only_https_leaves_this_machine(tmp_path, url):
    with pytest.raises(ValueError, match=r"expected an https address"):
        download(tmp_path, url=url, fs=100)


def test_a_full_disk_is_one_error_and_what_is_complete_stays(fetch):
    # The system refuses to let a file grow: as close to a full disk as one gets without a mount.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(ValueError, match=r"disk full: .*data"):
            fetch(n_downloads=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert fetch.root.joinpath("ptbxl_database.csv").read_bytes() == FILES["ptbxl_database.csv"]
    assert BIG not in on_disk(fetch.root)
    fetch()
    assert on_disk(fetch.root) == {name: FILES[name] for name in WANTED}


def test_a_folder_that_cannot_be_written_is_one_error(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ValueError, match=r"cannot write to .*file"):
        download(tmp_path / "file" / "data", url=server.url, fs=100, progress=False)

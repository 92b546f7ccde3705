"""Silent and slow clients, however many, do not keep others out."""

import asyncio
import contextlib
import http.client
import logging
import select
import socket
import ssl
import struct
import threading
import time

import pytest

pytest.importorskip("uvicorn", reason="needs the extra [app]")
from ecg_siglip.serving import connections
from ecg_siglip.serving.connections import LimitedServer, open_socket, raise_file_limit

LARGE = 10_000_000  # bytes, more than the system buffers
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close resets the connection
# Clients that have left while the server did not read; set if it may read.
left, may_read = [], threading.Event()


async def application(scope, receive, send):
    """Respond when the whole body has arrived."""
    if scope["type"] != "http":
        return
    while scope["path"] == "/turn" and not may_read.is_set():
        await asyncio.sleep(0.05)
    while (message := await receive()).get("more_body"):
        pass
    left.append(message["type"] == "http.disconnect")
    n_bytes = LARGE if scope["path"] == "/large" else 2
    if scope["path"] == "/wait":
        await asyncio.sleep(1)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x" * n_bytes})


@pytest.fixture
def limits(monkeypatch):
    """Short times and small numbers."""
    monkeypatch.setattr(connections, "HEADER_S", 1.0)
    monkeypatch.setattr(connections, "READ_S", 1.0)
    monkeypatch.setattr(connections, "N_ACCEPTED", 4)


@contextlib.contextmanager
def running(*tls):
    """Yield the port of a server for 20 connections at most."""
    listening = open_socket("127.0.0.1", 0)
    port = listening.getsockname()[1]
    server = LimitedServer(application, 20, *tls)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    yield port
    server.should_exit = True
    thread.join(10)


@pytest.fixture(params=["accepted when heard", "accepted at once"])
def port(limits, request, monkeypatch):
    """The port of a server, on Linux and on other systems."""
    if request.param == "accepted at once":
        monkeypatch.setattr(connections, "DEFER_ACCEPT", None)
    with running() as port:
        yield port


def connect(port, first=b""):
    connection = socket.create_connection(("127.0.0.1", port), 10)
    connection.sendall(first)
    return connection


def is_closed(connection, within_s):
    connection.settimeout(within_s)
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def drip(connection, part):
    """Send a few bytes again and again, for at most ten seconds."""
    for _ in range(100):
        connection.sendall(part)
        time.sleep(0.1)


def get(port, path="/"):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    client.request("GET", path)
    response = client.getresponse()
    content = response.read()
    client.close()
    return response.status, len(content)


def test_the_loop_is_that_of_asyncio_also_where_uvloop_is_installed():
    assert LimitedServer(application, 20).config.loop == "asyncio"


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: ",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n",
    ],
    ids=["silent", "header", "body"],
)
def test_others_are_served_while_many_are_silent(port, first):
    silent = [connect(port, first) for _ in range(100)]
    start = time.monotonic()
    assert [get(port) for _ in range(20)] == [(200, 2)] * 20
    assert time.monotonic() - start < 5
    for each in silent:
        each.close()


def test_a_header_has_to_arrive_in_time_however_slowly_it_is_sent(port):
    silent, slow = connect(port), connect(port, b"GET / HTTP/1.1\r\n")
    with pytest.raises(ConnectionError):
        drip(slow, b"A: b\r\n")
    assert is_closed(silent, 5)


def test_the_header_of_the_next_request_has_to_arrive_in_time_too(port):
    connection = connect(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    connection.settimeout(10)
    assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    with pytest.raises(ConnectionError):
        drip(connection, b"G")


def test_a_client_that_waits_for_its_response_is_not_silent(port):
    assert get(port, "/wait") == (200, 2)
    waiting = [threading.Thread(target=get, args=(port, "/wait")) for _ in range(10)]
    for each in waiting:
        each.start()
    silent = [connect(port, b"GET") for _ in range(50)]
    assert get(port) == (200, 2)
    for each in waiting:
        each.join(10)
    for each in silent:
        each.close()


def test_a_client_that_reads_nothing_is_closed(port):
    connection = connect(port, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
    time.sleep(4)
    connection.settimeout(10)
    n_bytes = 0
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(100_000):
            n_bytes += len(part)
    assert n_bytes < LARGE
    assert get(port, "/large") == (200, LARGE)


@pytest.mark.skipif(not hasattr(select, "poll"), reason="needs poll(), which Windows lacks")
def test_a_client_that_leaves_before_the_server_reads_is_not_kept(limits, monkeypatch):
    left.clear()
    may_read.clear()
    with running() as port:
        head = b"POST /turn HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
        waiting = connect(port, head + bytes(500_000))
        for _ in range(3):
            for each in [connect(port, head + bytes(500_000)) for _ in range(15)]:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                each.close()
            time.sleep(1)  # more than 20 in all, but not at the same time
        may_read.set()
        waiting.sendall(bytes(500_000))
        waiting.settimeout(10)
        assert waiting.recv(1000).startswith(b"HTTP/1.1 200")
        waiting.close()
    assert sorted(left) == [False] + [True] * 45


def test_a_client_whose_body_is_not_read_yet_is_not_silent(port):
    may_read.clear()
    head = b"POST /turn HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
    waiting = connect(port, head + bytes(500_000))
    time.sleep(0.5)
    silent = [connect(port, b"GET") for _ in range(50)]
    assert get(port) == (200, 2)
    may_read.set()
    waiting.sendall(bytes(500_000))
    waiting.settimeout(10)
    assert waiting.recv(1000).startswith(b"HTTP/1.1 200")
    for each in silent:
        each.close()


class _Connection:
    """An open connection of a client, which waits for the server or the other way round."""

    def __init__(self, awaits_client=True):
        self.awaits_client, self.is_open, self.transport = awaits_client, True, self

    def abort(self):
        self.is_open = False


def test_the_one_that_was_heard_least_recently_is_closed():
    opened = connections.OpenConnections(3)
    first, second, waiting, fourth, fifth, sixth = all_six = [
        _Connection(awaits_client=number != 2) for number in range(6)
    ]
    for each in (first, second, waiting):
        opened.add(each)
    opened.note_heard(first)
    opened.add(fourth)
    opened.add(fifth)
    assert [each.is_open for each in all_six[:5]] == [False, False, True, True, True]
    opened.note_heard(second)  # closed: what it still sends does not count it again
    opened.remove(second)
    assert len(opened) == 3
    fourth.awaits_client = fifth.awaits_client = False
    opened.add(sixth)
    assert [each.is_open for each in all_six[2:]] == [True, True, True, False]
    opened.remove(waiting)
    assert len(opened) == 2


def test_what_is_closed_is_logged_once_per_kind_by_a_constant_text(port, caplog, monkeypatch):
    monkeypatch.setattr(connections.log, "disabled", False)  # Hydra disables loggers
    with caplog.at_level(logging.WARNING, logger="ecg_siglip"):
        silent = [connect(port, b"GET / HTTP/1.1\r\n") for _ in range(50)]
        assert get(port) == (200, 2)
    texts = {record.msg for record in caplog.records}
    assert texts <= {
        "connections closed: more than max_connections=%d",
        "connections closed: no complete header within %g s",
    }
    assert texts
    for each in silent:
        each.close()


def test_the_limit_of_open_files_is_raised_where_it_may_be():
    resource = pytest.importorskip("resource", reason="not on Windows")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    hard = before[1]
    if hard == resource.RLIM_INFINITY or hard < 1000:
        hard = 1000
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (500, before[1]))
        assert raise_file_limit(600) == 600
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 600
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_it_is_encrypted_and_silent_clients_do_not_keep_others_out(limits, certificate):
    context = ssl.create_default_context(cafile=certificate[0])

    def get_encrypted(port, path="/"):
        client = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
        client.request("POST", path, body=b"x" * 100_000)
        content = client.getresponse().read()
        client.close()
        return len(content)

    with running(*certificate) as port:
        assert get_encrypted(port) == 2
        silent = [connect(port) for _ in range(100)]
        assert [get_encrypted(port) for _ in range(5)] == [2] * 5
        assert get_encrypted(port, "/large") == LARGE
        plain = connect(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert is_closed(plain, 5)
        assert all(is_closed(each, 5) for each in silent)
        assert get_encrypted(port) == 2


def test_a_bad_certificate_is_refused(certificate, tmp_path):
    cert, key = certificate
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for pair in ((cert, str(empty)), (str(empty), key), (cert, str(tmp_path / "no")), (key, cert)):
        with pytest.raises(ValueError, match=r"tls_cert=.* tls_key="):
            connections.tls_context(*pair)

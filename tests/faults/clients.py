"""Clients that abuse a server: each is a coroutine that goes on until it is cancelled.

They run in a process of their own, from other addresses of loopback than the healthy client.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import io
import itertools
import json
import resource
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ECG = Path(__file__).resolve().parents[2] / "examples" / "simulated_ecg.csv"
BOUNDARY = "ecg-siglip-faults"
PAUSE_S = 0.05  # before a connection that the server has closed is opened again
DRIP_S = 1.0  # between two bytes of a slow client
SLOW_HOURS, SLOW_FS = 8, 50  # of the record that takes long: 0.18 MB
RESET = struct.pack("ii", 1, 0)  # close at once, without waiting for what is still to be sent


@dataclass
class Target:
    """A server, and what its clients have got from it.

    Attributes
    ----------
    port : int
    is_spread : bool
        Each client has an address of its own; otherwise all have the same.
    counts : Counter
        Of statuses and events.
    """

    port: int
    is_spread: bool = False
    counts: collections.Counter[str] = field(default_factory=collections.Counter)

    @contextlib.asynccontextmanager
    async def connected(
        self, number: int
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Yield a new connection of the client with a number."""
        address = f"127.0.{1 + number // 250}.{2 + number % 250}" if self.is_spread else "127.0.0.2"
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(address, 0)
        )
        self.counts["connected"] += 1
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    def head(self, method: str, path: str, length: int = 0, kind: str = "text/plain") -> bytes:
        """Return the lines before the body of a request."""
        return (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        ).encode()

    def post(self, path: str, name: str, content: bytes) -> bytes:
        """Return a request that uploads a file."""
        disposition = f'form-data; name="files"; filename="{name}"'
        body = (
            f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n".encode()
            + content
            + f"\r\n--{BOUNDARY}--\r\n".encode()
        )
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        return self.head("POST", path, len(body), kind) + body

    async def exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> tuple[int, bytes]:
        """Send a request and return status and body of its response."""
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split()[1])
        length = head.partition("content-length:")[2].split("\r\n")[0]
        body = await (reader.readexactly(int(length)) if length else reader.read())
        self.counts[str(status)] += 1
        return status, body


Client = Callable[[Target, int], Awaitable[None]]


def repeated(client: Client) -> Client:
    """Return a client that begins again whenever its connection ends."""

    async def forever(target: Target, number: int) -> None:
        while True:
            try:
                await client(target, number)
            except (OSError, EOFError, asyncio.LimitOverrunError) as error:
                target.counts[type(error).__name__] += 1
            await asyncio.sleep(PAUSE_S)

    return forever


@repeated
async def silent(target: Target, number: int) -> None:
    """Connect and send nothing."""
    async with target.connected(number) as (reader, _):
        await reader.read()


@repeated
async def slow_header(target: Target, number: int) -> None:
    """Send the header one byte at a time."""
    async with target.connected(number) as (_, writer):
        writer.write(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\nX-Long: ".encode())
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(DRIP_S)


@repeated
async def slow_body(target: Target, number: int) -> None:
    """Announce an upload of a megabyte and send it one byte at a time."""
    async with target.connected(number) as (_, writer):
        request = target.post("/predict", "ecg.csv", bytes(1_000_000))
        writer.write(request[:400])
        for byte in request[400:]:
            if writer.is_closing():
                return
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(DRIP_S)


@repeated
async def no_reading(target: Target, number: int) -> None:
    """Request the page many times and read nothing of it."""
    async with target.connected(number) as (reader, writer):
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        while not writer.is_closing():
            writer.write(target.head("GET", "/config") * 20)
            await asyncio.wait_for(writer.drain(), 3600)
            await asyncio.sleep(DRIP_S)


@repeated
async def uploads(target: Target, number: int) -> None:
    """Upload an ECG, and the next one as soon as there is a response."""
    async with target.connected(number) as (reader, writer):
        await target.exchange(
            reader, writer, target.post("/predict", f"ecg{number}.csv", ECG.read_bytes())
        )


@repeated
async def leaving(target: Target, number: int) -> None:
    """Upload an ECG and leave without waiting for the response."""
    async with target.connected(number) as (_, writer):
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.write(target.post("/predict", f"ecg{number}.csv", ECG.read_bytes()))
        await writer.drain()
        await asyncio.sleep(PAUSE_S)


@repeated
async def malformed(target: Target, number: int) -> None:
    """Send what is no request."""
    async with target.connected(number) as (reader, writer):
        writer.write(np.random.default_rng(number).bytes(200) + b"\r\n\r\n")
        await asyncio.wait_for(reader.read(), 60)
        target.counts["sent"] += 1


@functools.cache
def slow_file() -> bytes:
    """Return a small file with a long record: hours of the same beats at a low rate."""
    head, *lines = ECG.read_text().splitlines()
    leads = [name.split()[0] for name in head.split(",")[1:]]
    signal = np.array([line.split(",")[1:] for line in lines], float).T[:, :: 100 // SLOW_FS]
    n_times = SLOW_HOURS * 3600 * SLOW_FS // signal.shape[1]
    samples = np.tile((1000 * signal).astype(np.int16), (1, n_times))
    content = io.BytesIO()
    np.savez_compressed(content, signal=samples, fs=float(SLOW_FS), units="uV", leads=leads)
    return content.getvalue()


@repeated
async def slow_uploads(target: Target, number: int) -> None:
    """Upload a file that takes minutes to predict."""
    request = target.post("/predict?windows.step_s=2", f"long{number}.npz", slow_file())
    async with target.connected(number) as (reader, writer):
        await target.exchange(reader, writer, request)


@repeated
async def unused_uploads(target: Target, number: int) -> None:
    """Upload files to the page and never use them."""
    content = np.random.default_rng().bytes(1_000_000)  # the same content is stored only once
    async with target.connected(number) as (reader, writer):
        await target.exchange(
            reader, writer, target.post("/gradio_api/upload", f"ecg{number}.csv", content)
        )


@repeated
async def sessions(target: Target, number: int) -> None:
    """Open the page again and again, and show an ECG there."""
    page = b""
    for i in range(10_000):
        async with target.connected(number) as (reader, writer):
            if not page:
                _, page = await target.exchange(reader, writer, target.head("GET", "/config"))
                known = json.loads(page)["dependencies"]
                event = next(each["id"] for each in known if len(each["inputs"]) == 12)
            request = target.post("/gradio_api/upload", f"ecg{i}.csv", ECG.read_bytes())
            status, names = await target.exchange(reader, writer, request)
            if status != 200:
                continue
        dropped = [{"path": json.loads(names)[0], "meta": {"_type": "gradio.FileData"}}]
        fields = ["balanced", False, "", "", "", "", False, False, False, False, ""]
        content = {"fn_index": event, "session_hash": f"s{number}x{i}", "data": [dropped, *fields]}
        body = json.dumps(content).encode()
        head = target.head("POST", "/gradio_api/run/predict", len(body), "application/json")
        async with target.connected(number) as (reader, writer):
            await target.exchange(reader, writer, head + body)


@repeated
async def requests(target: Target, number: int) -> None:
    """Send requests of all kinds: right, wrong, to the API and to the page."""
    wrong = [target.post(f"/predict{query}", "ecg.csv", b"I,II\n1,2\n") for query in ("", "?x=y")]
    kinds = [
        *[target.head("GET", path) for path in ("/healthz", "/nothing")] * 8,
        target.head("GET", "/gradio_api/file=/etc/passwd"),
        *[target.head("GET", path) for path in ("/", "/config")],
        *wrong,
        target.post("/predict", "ecg.csv", ECG.read_bytes()),
    ]
    for request in itertools.cycle(kinds):
        async with target.connected(number) as (reader, writer):
            await target.exchange(reader, writer, request)


async def run_clients(
    target: Target, client: Client, n_clients: int, n_requests: int, stop: Callable[[], bool]
) -> None:
    """Run clients until ``stop``, or until they have got a number of responses if it is not 0."""
    tasks = [asyncio.create_task(client(target, number)) for number in range(n_clients)]
    while not stop():
        n_responses = sum(n for name, n in target.counts.items() if name.isdigit())
        if n_requests and n_responses >= n_requests:
            break
        await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def abuse(target: Target, client: Client, n_clients: int, n_requests: int, connection) -> None:
    """Run clients in this process until the other end of a connection stops them; send counts."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(run_clients(target, client, n_clients, n_requests, connection.poll))
    connection.send(dict(target.counts))

"""Abuse of the server: what a healthy client gets in the meantime, and what it costs the server.

The server is the command ``app`` with the model of the package, in a process of its own that may
open 1,024 files. A healthy client sends an ECG four times a second, first alone, then while others
abuse the server. Its usual time is measured before each kind of abuse.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from faults import clients
from faults.clients import BOUNDARY, ECG, Client, Target

MAX_FILES = 1024  # as `ulimit -n 1024`
PERIOD_S = 0.25  # from request to request of the healthy client
USUAL_S, ABUSE_S = 5.0, 15.0
DEADLINE_S = 10.0  # timeout_s of the server
GRACE_S = 2.0  # for a response to arrive after the deadline
MAX_RATIO, MAX_LINES, MAX_UPLOADS_MB = 2.0, 50, 600


@dataclass(frozen=True)
class Kind:
    """A kind of abuse.

    Attributes
    ----------
    client : coroutine function
    n_clients : int
    is_spread : bool
        Each client has an address of its own.
    n_requests : int
        Ends after so many responses; 0: after ``ABUSE_S``.
    is_work : bool
        The server has to work as long as it takes: others are served later, but in time.
    growth_mb : int
        Memory that the server may keep.
    """

    client: Client
    n_clients: int
    is_spread: bool = False
    n_requests: int = 0
    is_work: bool = False
    growth_mb: int = 200


KINDS = {
    "1,000 silent connections": Kind(clients.silent, 1000),
    "1,500 silent connections": Kind(clients.silent, 1500),
    "1,500 silent connections, many addresses": Kind(clients.silent, 1500, True),
    "1,500 slow headers": Kind(clients.slow_header, 1500),
    "1,500 slow bodies": Kind(clients.slow_body, 1500),
    "200 slow bodies, many addresses": Kind(clients.slow_body, 200, True),
    "50 clients that do not read": Kind(clients.no_reading, 50),
    "200 parallel uploads": Kind(clients.uploads, 200),
    "200 parallel uploads, many addresses": Kind(clients.uploads, 200, True, is_work=True),
    "50 clients that leave": Kind(clients.leaving, 50),
    "malformed requests": Kind(clients.malformed, 20),
    "slow file": Kind(clients.slow_uploads, 1, is_work=True),
    "8 slow files": Kind(clients.slow_uploads, 8, is_work=True),
    "unused uploads": Kind(clients.unused_uploads, 8),
    # The server keeps what the last 100 pages show.
    "many sessions": Kind(clients.sessions, 8, True, 480, is_work=True, growth_mb=500),
    "20,000 requests": Kind(clients.requests, 16, True, n_requests=20_000, is_work=True),
}


class HealthyClient:
    """Somebody who sends an ECG from time to time; see ``measure``.

    Attributes
    ----------
    seconds : list of float, s
        Until a response, an error, or no connection.
    statuses : list of str
        ``200``, or what came instead.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.request = Target(port).post("/predict", "healthy.csv", ECG.read_bytes())
        self.body = self.request.partition(b"\r\n\r\n")[2]
        self.seconds: list[float] = []
        self.statuses: list[str] = []

    def send(self) -> str:
        """Send an ECG on a new connection; return the status."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=6 * DEADLINE_S, source_address=("127.0.0.9", 0)
        )
        start_s = time.perf_counter()
        try:
            kind = f"multipart/form-data; boundary={BOUNDARY}"
            connection.request("POST", "/predict", self.body, {"Content-Type": kind})
            response = connection.getresponse()
            response.read()
            status = str(response.status)
        except (OSError, http.client.HTTPException) as error:
            status = type(error).__name__
        finally:
            connection.close()
        self.seconds.append(time.perf_counter() - start_s)
        self.statuses.append(status)
        return status

    def run(self, ended: threading.Event) -> None:
        """Send ECGs until an event."""
        while not ended.is_set():
            start_s = time.perf_counter()
            self.send()
            ended.wait(max(0.0, PERIOD_S - (time.perf_counter() - start_s)))


def measure(port: int, seconds: float, until: threading.Event | None = None) -> HealthyClient:
    """Return what a healthy client has got in a time, or until an event."""
    client, ended = HealthyClient(port), threading.Event()
    thread = threading.Thread(target=client.run, args=(ended,))
    thread.start()
    (until or ended).wait(seconds)
    ended.set()
    thread.join()
    return client


@dataclass
class AbuseRow:
    """What a healthy client and the server have got of an abuse.

    Attributes
    ----------
    usual_ms, abused_ms : (float, float), ms
        Median and 95th percentile of the healthy client, without and with the abuse.
    longest_s : float, s
        Longest time until the healthy client got anything.
    n_sent, n_served : int
        Requests of the healthy client.
    growth_mb : float
        Memory (RSS) of the server afterwards, less that before.
    uploads_mb : float
        Largest size of the server's temporary folder.
    n_lines : int
        Lines in the log of the server.
    serves_afterwards : bool
    counts : dict of str to int
        What the abusing clients have got.
    """

    abuse: str
    usual_ms: tuple[float, float]
    abused_ms: tuple[float, float]
    longest_s: float
    n_sent: int
    n_served: int
    growth_mb: float
    uploads_mb: float
    n_lines: int
    serves_afterwards: bool
    counts: dict[str, int] = field(default_factory=dict)

    def failures(self) -> list[str]:
        """Return what did not hold."""
        kind = KINDS[self.abuse]
        ratio = self.abused_ms[0] / self.usual_ms[0]
        checks = {
            f"{self.n_served} of {self.n_sent} served": kind.is_work
            or self.n_served == self.n_sent,
            f"{ratio:.1f} times the usual time": kind.is_work or ratio <= MAX_RATIO,
            f"waited {self.longest_s:.1f} s": self.longest_s <= DEADLINE_S + GRACE_S,
            f"memory + {self.growth_mb:.0f} MB": self.growth_mb <= kind.growth_mb,
            f"uploads of {self.uploads_mb:.0f} MB": self.uploads_mb <= MAX_UPLOADS_MB,
            f"{self.n_lines} lines in the log": self.n_lines <= MAX_LINES,
            "does not serve afterwards": self.serves_afterwards,
        }
        return [f"{self.abuse}: {what}" for what, is_held in checks.items() if not is_held]


@dataclass
class Server:
    """The running command ``app``."""

    process: subprocess.Popen
    port: int
    folder: Path

    def memory_mb(self) -> float:
        """Return the resident memory."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0) / 1024

    def uploads_mb(self) -> float:
        """Return the size of its temporary folder."""
        n_bytes = 0
        for folder, _, names in os.walk(self.folder / "tmp"):
            for name in names:
                with contextlib.suppress(OSError):  # deleted in the meantime
                    n_bytes += os.path.getsize(os.path.join(folder, name))
        return n_bytes / 1e6

    def n_lines(self) -> int:
        """Return the number of lines in its log."""
        return (self.folder / "log").read_bytes().count(b"\n")


@contextlib.contextmanager
def running(*settings: str) -> Iterator[Server]:
    """Start the command ``app`` on a free port of loopback; end it afterwards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tmp").mkdir()
        words = ["host=127.0.0.1", "port=0", f"timeout_s={DEADLINE_S:g}", "n_threads=1", *settings]
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "ecg_siglip.app", *words],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | {"TMPDIR": str(folder / "tmp")},
                preexec_fn=lambda: resource.setrlimit(
                    resource.RLIMIT_NOFILE, (MAX_FILES, MAX_FILES)
                ),
            )
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line.startswith("http"):
                raise RuntimeError(f"the server did not start: {(folder / 'log').read_text()}")
            server = Server(process, int(line.split()[0].rpartition(":")[2]), folder)
            for _ in range(5):
                HealthyClient(server.port).send()
            # What the page imports on use is no growth of memory.
            warm = Target(server.port)
            asyncio.run(clients.run_clients(warm, clients.sessions, 1, 6, lambda: False))
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def abused(server: Server, name: str, seconds: float = ABUSE_S) -> AbuseRow:
    """Measure a healthy client without and with an abuse."""
    kind = KINDS[name]
    usual = measure(server.port, min(USUAL_S, seconds))
    memory_mb, n_lines = server.memory_mb(), server.n_lines()
    context = get_context("fork")
    ours, theirs = context.Pipe()
    target = Target(server.port, kind.is_spread)
    arguments = (target, kind.client, kind.n_clients, kind.n_requests, theirs)
    process = context.Process(target=clients.abuse, args=arguments, daemon=True)
    process.start()
    sizes, ended = [server.uploads_mb()], threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            sizes.append(server.uploads_mb())
            if kind.n_requests and ours.poll():
                ended.set()

    watching = threading.Thread(target=watch)
    watching.start()
    time.sleep(1.0)
    with_abuse = measure(server.port, 3600.0 if kind.n_requests else seconds, ended)
    ended.set()
    watching.join()
    with contextlib.suppress(OSError):
        ours.send(True)
    counts = ours.recv() if ours.poll(30) else {}
    process.join(5)
    process.kill()
    afterwards = HealthyClient(server.port)
    end_s = time.perf_counter() + DEADLINE_S + GRACE_S
    serves = False
    while not serves and time.perf_counter() < end_s:
        serves = afterwards.send() == "200"
    return AbuseRow(
        name,
        _percentiles(usual),
        _percentiles(with_abuse),
        max(with_abuse.seconds),
        len(with_abuse.statuses),
        with_abuse.statuses.count("200"),
        server.memory_mb() - memory_mb,
        max(sizes),
        server.n_lines() - n_lines,
        serves,
        counts,
    )


def _percentiles(client: HealthyClient) -> tuple[float, float]:
    """Return the median and the 95th percentile of the times in ms."""
    p50, p95 = np.percentile(1e3 * np.array(client.seconds), [50, 95])
    return float(p50), float(p95)


def abuse_table(rows: list[AbuseRow]) -> str:
    """Return the measurements as a table in Markdown."""
    head = [
        "abuse",
        "usual p50 / p95 (ms)",
        "with it",
        "ratio of p50",
        "served",
        "longest wait (s)",
    ]
    head += ["memory (MB)", "uploads (MB)", "lines in the log", "serves afterwards"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        lines.append(
            [
                row.abuse,
                "{:.0f} / {:.0f}".format(*row.usual_ms),
                "{:.0f} / {:.0f}".format(*row.abused_ms),
                f"{row.abused_ms[0] / row.usual_ms[0]:.1f}",
                f"{row.n_served} of {row.n_sent}",
                f"{row.longest_s:.1f}",
                f"{row.growth_mb:+.0f}",
                f"{row.uploads_mb:.0f}",
                str(row.n_lines),
                "yes" if row.serves_afterwards else "no",
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

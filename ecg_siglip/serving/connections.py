"""Connections of the server: how many are open, and how long a client may be silent.

Uvicorn has no limit on the time for the header of a request, and at the limit of open files it
accepts nobody. Here the connection that has been silent longest is closed for a new one, so that
silent connections, however many, do not keep other clients out. On Linux, a client that has sent
nothing waits in the operating system at first, at no cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import select
import socket
import ssl
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

HEADER_S = 10.0  # longest time from the first byte of a request to the end of its header
READ_S = 30.0  # longest time in which a client reads nothing of its response
# Connections that are accepted before others get their turn; more wait in the operating system.
N_ACCEPTED = 32
BACKLOG = 2048
# Open files other than connections; some are accepted or closed, but not counted yet or any more.
N_OTHER_FILES = 128 + 2 * N_ACCEPTED
# Bytes of responses that the system keeps for a client that reads nothing; by default megabytes.
SEND_BUFFER = 256 * 1024
# Option of a socket of Linux: a client is accepted when it has sent something (tcp(7)).
DEFER_ACCEPT = getattr(socket, "TCP_DEFER_ACCEPT", None)
log = logging.getLogger(__name__)


class LimitedProtocol(H11Protocol):
    """Connection that ends if its client is silent for too long, or others need its place."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection; at the limit, close the one that has been silent longest."""
        super().connection_made(transport)
        self.header_since_s: float | None = self.loop.time()
        self.unread_since_s: float | None = None
        assert isinstance(self.config, Settings)
        self.config.open_connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no more."""
        super().connection_lost(exc)
        assert isinstance(self.config, Settings)
        self.config.open_connections.remove(self)

    def data_received(self, data: bytes) -> None:
        """Note the time at which a request begins, and that at which its header is complete."""
        assert isinstance(self.config, Settings)
        self.config.open_connections.note_heard(self)
        if self.awaits_request and self.header_since_s is None:
            self.header_since_s = self.loop.time()
        super().data_received(data)
        if not self.awaits_request:
            self.header_since_s = None

    def pause_writing(self) -> None:
        """Note the time from which the client does not read."""
        super().pause_writing()
        self.unread_since_s = self.loop.time()

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        super().resume_writing()
        self.unread_since_s = None

    @property
    def awaits_request(self) -> bool:
        """Whether no request is in progress."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def awaits_client(self) -> bool:
        """Whether the server can do nothing until the client sends or reads something."""
        if self.awaits_request or self.unread_since_s is not None:
            return True
        return self.cycle.more_body and not self.is_unread

    @property
    def is_unread(self) -> bool:
        """Whether the server reads nothing for now: a large body waits for its turn."""
        return bool(self.flow.read_paused)

    def close_if_late(self, now_s: float) -> None:
        """End the connection if the time for the header or for reading is over."""
        if self.header_since_s is not None and now_s - self.header_since_s > HEADER_S:
            log.warning("connections closed: no complete header within %g s", HEADER_S)
            self.transport.abort()
        elif self.unread_since_s is not None and now_s - self.unread_since_s > READ_S:
            log.warning("connections closed: nothing read within %g s", READ_S)
            self.transport.abort()


class TlsHandshake(asyncio.Protocol):
    """Connection that is not encrypted yet; afterwards it is a ``LimitedProtocol``.

    Asyncio's own would be unknown to the server, and so without limit, until the handshake is over.

    Parameters
    ----------
    context : ssl.SSLContext
    config, server_state, app_state, _loop
        As ``LimitedProtocol``.
    """

    transport: asyncio.Transport

    def __init__(
        self,
        context: ssl.SSLContext,
        config: Settings,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ):
        self.config, self.context, self.connections = config, context, server_state.connections
        self.http = LimitedProtocol(config, server_state, app_state, _loop)
        self.loop = self.http.loop
        self.awaits_client, self.is_unread, self._early = True, False, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection, and start the handshake."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.pause_reading()  # what comes is for the handshake
        self.connections.add(self)  # type: ignore[arg-type]
        self.config.open_connections.add(self)
        self._task = self.loop.create_task(self._encrypt())

    def data_received(self, data: bytes) -> None:
        """Keep what is decrypted before the handshake is known to be over."""
        self._early += data

    async def _encrypt(self) -> None:
        try:
            encrypted = await self.loop.start_tls(
                self.transport,
                self,
                self.context,
                server_side=True,
                ssl_handshake_timeout=HEADER_S,
                ssl_shutdown_timeout=HEADER_S,
            )
        except OSError:  # no TLS, too late, or closed
            log.warning("connections closed: no TLS handshake")
            self.transport.abort()
            return
        finally:
            self.connections.discard(self)  # type: ignore[arg-type]
            self.config.open_connections.remove(self)
        if encrypted is None or encrypted.is_closing():
            return
        encrypted.set_protocol(self.http)
        self.http.connection_made(encrypted)
        if self._early:
            self.http.data_received(self._early)

    def close_if_late(self, now_s: float) -> None:
        """Do nothing: the handshake has its own limit."""

    def shutdown(self) -> None:
        """End the connection because the server ends."""
        self.transport.abort()


class OpenConnections:
    """The open connections, ordered by the time at which they were last heard.

    What happens for each connection takes the same time however many are open.

    Parameters
    ----------
    limit : int
        Largest number of connections.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._by_time: dict[LimitedProtocol | TlsHandshake, None] = {}  # in insertion order

    def __len__(self) -> int:
        return len(self._by_time)

    def add(self, connection: LimitedProtocol | TlsHandshake) -> None:
        """Count a new connection; at the limit, close the one that has been silent longest."""
        self._by_time[connection] = None
        if len(self) > self.limit:
            self._close_one()

    def remove(self, connection: LimitedProtocol | TlsHandshake) -> None:
        """Count a connection no more."""
        self._by_time.pop(connection, None)

    def note_heard(self, connection: LimitedProtocol | TlsHandshake) -> None:
        """Note that a client has sent something."""
        if connection in self._by_time:  # not one that is being closed
            del self._by_time[connection]
            self._by_time[connection] = None

    def close_late(self, now_s: float) -> None:
        """End the connections whose time for the header or for reading is over."""
        for each in list(self._by_time):
            if not each.transport.is_closing():
                each.close_if_late(now_s)

    def close_left(self) -> None:
        """End the connections of which nothing is read and whose clients have reset them.

        Asyncio notices that a client has left only while it reads or writes.
        """
        if not hasattr(select, "poll"):  # Windows
            return
        unread = {
            each.transport.get_extra_info("socket").fileno(): each
            for each in self._by_time
            if each.is_unread and not each.transport.is_closing()
        }
        errors = select.poll()
        for descriptor in unread:
            errors.register(descriptor, 0)  # errors are always reported
        for descriptor, _ in errors.poll(0):
            unread[descriptor].transport.abort()

    def _close_one(self) -> None:
        """Close the connection that has been silent longest.

        If all others wait for the server, this is the new one.
        """
        for _ in range(len(self)):
            oldest = next(iter(self._by_time))
            if oldest.awaits_client:
                log.warning("connections closed: more than max_connections=%d", self.limit)
                self.remove(oldest)
                oldest.transport.abort()
                return
            # A client that waits for the server is not silent, and is not looked at again soon.
            self.note_heard(oldest)


class Settings(uvicorn.Config):
    """Settings of Uvicorn, with the open connections."""

    open_connections: OpenConnections


class LimitedServer(uvicorn.Server):
    """Uvicorn with limits on its connections.

    Parameters
    ----------
    app : ASGI application
    max_connections : int
    tls_cert, tls_key : str, optional
        Files of the certificate and of its key.
    """

    def __init__(
        self,
        app: Any,
        max_connections: int,
        tls_cert: str | None = None,
        tls_key: str | None = None,
    ):
        protocol: Any = LimitedProtocol
        if tls_cert is not None:
            protocol = functools.partial(TlsHandshake, tls_context(tls_cert, tls_key))
        # Not uvloop, which Uvicorn takes where it is installed: its transports are not asyncio's.
        settings = Settings(
            app, loop="asyncio", http=protocol, ws="none", log_config=None, access_log=False,
            server_header=False, timeout_graceful_shutdown=2, backlog=N_ACCEPTED,
        )  # fmt: skip
        limit = min(max_connections, raise_file_limit(max_connections))
        self.open_connections = settings.open_connections = OpenConnections(limit)
        super().__init__(settings)

    @property
    def n_connections(self) -> int:
        """Number of open connections."""
        return len(self.open_connections)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; the number that may wait is not that which is accepted at a time."""
        await super().startup(sockets)
        for each in sockets or []:
            each.listen(BACKLOG)

    async def on_tick(self, counter: int) -> bool:
        """Close the connections of clients that have left, and late ones each second."""
        self.open_connections.close_left()
        if counter % 10 == 0:
            self.open_connections.close_late(asyncio.get_running_loop().time())
        return await super().on_tick(counter)


def tls_context(cert: str, key: str | None) -> ssl.SSLContext:
    """Return the TLS settings of a server with a certificate.

    Raises
    ------
    ValueError
        If a file is missing or damaged, or they do not belong together.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key, password="")
    except OSError as error:  # also of the content: ssl.SSLError
        message = error.strerror or str(error)
        raise ValueError(f"tls_cert={cert} tls_key={key}: {message}") from error
    return context


def raise_file_limit(n_connections: int) -> int:
    """Allow this process as many open files as it needs, where it may; return the connections."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return n_connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = n_connections + N_OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return max(16, soft - N_OTHER_FILES)
    return n_connections


def open_socket(host: str, port: int) -> socket.socket:
    """Open a socket that listens.

    Raises
    ------
    OSError
        If the port is in use or the address does not belong to this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # The protocol must be named, or asyncio delays small packets by 40 ms.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        if DEFER_ACCEPT is not None:
            listening.setsockopt(socket.IPPROTO_TCP, DEFER_ACCEPT, math.ceil(HEADER_S))
        listening.bind((host, port))
        listening.listen(BACKLOG)  # clients may connect as soon as the address is printed
    except OSError as error:
        raise OSError(f"host={host} port={port}: {error.strerror or error}") from error
    return listening

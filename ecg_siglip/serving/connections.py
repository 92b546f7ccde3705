"""Connections of the server: how many are open, and how long a client may be silent.

Uvicorn has no limit on the time for the header of a request, and at the limit of open files it
accepts nobody. Here the connection that has been silent longest is closed for a new one, so that
silent connections, however many, do not keep other clients out.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
import ssl
from collections.abc import Iterable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

HEADER_S = 10.0  # longest time from the first byte of a request to the end of its header
READ_S = 30.0  # longest time in which a client reads nothing of its response
# Connections that are accepted before others get their turn; more wait in the operating system.
N_ACCEPTED = 64
BACKLOG = 2048
N_OTHER_FILES = 128 + N_ACCEPTED  # open files other than connections
log = logging.getLogger(__name__)


class LimitedProtocol(H11Protocol):
    """Connection that ends if its client is silent for too long, or others need its place."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection; at the limit, close the one that has been silent longest."""
        super().connection_made(transport)
        self.heard_s = self.loop.time()
        self.header_since_s: float | None = self.heard_s
        self.unread_since_s: float | None = None
        assert isinstance(self.config, Settings)
        _close_surplus(_limited(self.connections), self.config.max_connections)

    def data_received(self, data: bytes) -> None:
        """Note the time at which a request begins, and that at which its header is complete."""
        self.heard_s = self.loop.time()
        if self.awaits_request and self.header_since_s is None:
            self.header_since_s = self.heard_s
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
        return self.awaits_request or self.cycle.more_body or self.unread_since_s is not None

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
        self.heard_s, self.awaits_client, self._early = self.loop.time(), True, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection, and start the handshake."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.pause_reading()  # what comes is for the handshake
        self.connections.add(self)  # type: ignore[arg-type]
        _close_surplus(_limited(self.connections), self.config.max_connections)
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


def _limited(connections: Iterable[object]) -> list[LimitedProtocol | TlsHandshake]:
    """Return the connections that are still open."""
    return [
        each
        for each in connections
        if isinstance(each, LimitedProtocol | TlsHandshake) and not each.transport.is_closing()
    ]


def _close_surplus(connections: list[LimitedProtocol | TlsHandshake], max_connections: int) -> None:
    """Close the connections that have been silent longest, if there are too many."""
    n_surplus = len(connections) - max_connections
    if n_surplus <= 0:
        return
    silent = sorted((each for each in connections if each.awaits_client), key=lambda e: e.heard_s)
    # If none of them is silent, the new one is closed: it is silent as well.
    for each in silent[:n_surplus]:
        log.warning("connections closed: more than max_connections=%d", max_connections)
        each.transport.abort()


class Settings(uvicorn.Config):
    """Settings of Uvicorn, with the largest number of connections."""

    max_connections: int


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
        settings = Settings(
            app, http=protocol, ws="none", log_config=None, access_log=False,
            server_header=False, timeout_graceful_shutdown=2, backlog=N_ACCEPTED,
        )  # fmt: skip
        settings.max_connections = min(max_connections, raise_file_limit(max_connections))
        super().__init__(settings)

    @property
    def n_connections(self) -> int:
        """Number of open connections."""
        return len(self.server_state.connections)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; the number that may wait is not that which is accepted at a time."""
        await super().startup(sockets)
        for each in sockets or []:
            each.listen(BACKLOG)

    async def on_tick(self, counter: int) -> bool:
        """Close late connections each second."""
        if counter % 10 == 0:
            now_s = asyncio.get_running_loop().time()
            for each in _limited(self.server_state.connections):
                each.close_if_late(now_s)
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
        listening.bind((host, port))
        listening.listen(BACKLOG)  # clients may connect as soon as the address is printed
    except OSError as error:
        raise OSError(f"host={host} port={port}: {error.strerror or error}") from error
    return listening

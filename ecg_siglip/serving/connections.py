"""Connections of the server: how many are open, and how long a client may be silent.

Uvicorn has no limit on the time for the header of a request, and at the limit of open files it
accepts nobody. Here the connection that has been silent longest is closed for a new one, so that
silent connections, however many, do not keep other clients out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

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


def _limited(connections: Iterable[object]) -> list[LimitedProtocol]:
    """Return the connections that are still open."""
    return [
        each
        for each in connections
        if isinstance(each, LimitedProtocol) and not each.transport.is_closing()
    ]


def _close_surplus(connections: list[LimitedProtocol], max_connections: int) -> None:
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
        settings = Settings(
            app, http=LimitedProtocol, ws="none", log_config=None, access_log=False,
            server_header=False, timeout_graceful_shutdown=2, backlog=N_ACCEPTED,
            ssl_certfile=tls_cert, ssl_keyfile=tls_key,
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

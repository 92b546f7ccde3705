"""The client of a request: whether it is still connected, and how many requests it may send."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable
from contextvars import ContextVar

from ecg_siglip.serving.asgi import Scope

# A request that is computed or stored costs as much as this many others.
POST_COST = 10
PER_MINUTE = 600  # POST requests of a client on another machine, unless set
LOGINS_PER_MINUTE = 10  # with a wrong token


class Client:
    """The client of one request, which may leave before it gets the response.

    Parameters
    ----------
    address : str
        See ``address_of``.
    """

    def __init__(self, address: str = "") -> None:
        self.address = address
        self._lock, self._has_left = threading.Lock(), False
        self._callbacks: list[Callable[[], object]] = []

    @property
    def has_left(self) -> bool:
        """Whether the connection was closed."""
        return self._has_left

    def leave(self) -> None:
        """Note that the connection was closed, and run what ``on_leave`` was given."""
        with self._lock:
            self._has_left = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_leave(self, callback: Callable[[], object]) -> None:
        """Run a function when the client leaves; at once if it has left."""
        with self._lock:
            if not self._has_left:
                self._callbacks.append(callback)
                return
        callback()


# Set by the request guard, also for the threads in which the request is processed.
current_client: ContextVar[Client | None] = ContextVar("client", default=None)


def address_of(scope: Scope) -> str:
    """Return the address of the client of a request; of IPv6 the network of one customer."""
    host = (scope.get("client") or ("",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a name, as in tests
        return str(host)
    if address.version == 6 and not address.is_loopback:
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network(f"{address}/64", strict=False))
    return str(address)


class RateLimit:
    """Largest number of requests per minute of each client.

    Parameters
    ----------
    per_minute : int or None
        POST requests, and ten times as many others; 0 for any number. None: ``PER_MINUTE`` for
        other machines and any number for this one.
    """

    def __init__(self, per_minute: int | None):
        from limits import RateLimitItemPerMinute
        from limits.storage import MemoryStorage
        from limits.strategies import FixedWindowRateLimiter

        self.per_minute = per_minute
        self._item, self._limiter = RateLimitItemPerMinute, FixedWindowRateLimiter(MemoryStorage())

    def allows(self, scope: Scope) -> bool:
        """Count a request, and return whether it is within the limit."""
        address = address_of(scope)
        limit = self.per_minute
        if limit is None:
            limit = 0 if _is_loopback(address) else PER_MINUTE
        cost = POST_COST if scope["method"] == "POST" else 1
        return not limit or self._limiter.hit(self._item(POST_COST * limit), address, cost=cost)

    def may_log_in(self, scope: Scope) -> bool:
        """Return whether a client has sent few enough wrong tokens."""
        return self._limiter.test(self._item(LOGINS_PER_MINUTE), "login", address_of(scope))

    def count_wrong_token(self, scope: Scope) -> None:
        """Count a wrong token of a client."""
        self._limiter.hit(self._item(LOGINS_PER_MINUTE), "login", address_of(scope))


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_network(address).is_loopback
    except ValueError:
        return True

"""What the operator of a server sees: metrics for Prometheus, and a log without patients.

Neither contains names of files, addresses of clients, or what a request contains.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from ecg_siglip.serving.asgi import Message, Receive, Scope, Send
from ecg_siglip.serving.paths import HEARTBEAT, route_of

PERIOD_S = 60.0  # a message that comes again within this time is only counted
BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
CLIENT_LEFT = 499  # status of a request whose client left before the response
# Loggers of the packages that report what clients do.
LOGGERS = ("ecg_siglip", "uvicorn.error", "asyncio")
requests_log = logging.getLogger("ecg_siglip.requests")


class Metrics:
    """Counts and times of the requests, in the format of Prometheus.

    Raises
    ------
    ImportError
        If prometheus-client is not installed.
    """

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "ecg_siglip_requests", "Requests.", ("route", "status"), registry=registry
        )
        self.seconds = Histogram(
            "ecg_siglip_request_seconds",
            "Time to the end of the response.",
            ("route",),
            registry=registry,
            buckets=BUCKETS_S,
        )
        self.warnings = Counter(
            "ecg_siglip_warnings", "Lines of the log, also those withheld.", ("message",),
            registry=registry,
        )  # fmt: skip

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a value that is read when the metrics are requested."""
        from prometheus_client import Gauge

        gauge = Gauge(f"ecg_siglip_{name}", text, registry=self.registry)
        gauge.set_function(value)

    def to_text(self) -> tuple[bytes, str]:
        """Return the metrics and their content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class Monitor:
    """Application that counts and logs the requests to another one.

    Parameters
    ----------
    app : ASGI application
    metrics : Metrics
    """

    def __init__(self, app: Any, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        route, start_s, status = route_of(scope["path"]), time.perf_counter(), CLIENT_LEFT

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except Exception:
            status = 500
            raise
        finally:
            seconds = time.perf_counter() - start_s
            self.metrics.requests.labels(route, str(status)).inc()
            if not HEARTBEAT.match(scope["path"]):  # open as long as the page is
                self.metrics.seconds.labels(route).observe(seconds)
            request = {"method": _method(scope), "route": route, "status": status}
            requests_log.info("request", extra={"fields": request | {"s": round(seconds, 4)}})


def _method(scope: Scope) -> str:
    """Return the method of a request; a client may send any word."""
    known = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE")
    return scope["method"] if scope["method"] in known else "other"


class OncePerPeriod(logging.Filter):
    """Filter that lets a message pass once per period, and then with the number of the others.

    Parameters
    ----------
    count : function of str
        Called with each message, also one that is withheld, before values are inserted.
    period_s : float, s

    Notes
    -----
    Messages are the same if their texts are the same before values are inserted.
    """

    def __init__(self, count: Callable[[str], object], period_s: float = PERIOD_S):
        super().__init__()
        self.count, self.period_s = count, period_s
        self._lock = threading.Lock()
        self._passed_s: dict[str, float] = {}
        self._n_withheld: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is written; requests always are."""
        if record.name == requests_log.name:
            return True
        # Other packages may insert values themselves.
        key = record.msg if record.name.startswith("ecg_siglip") else record.name
        self.count(key)
        now = time.monotonic()
        with self._lock:
            if now - self._passed_s.get(key, -self.period_s) < self.period_s:
                self._n_withheld[key] += 1
                return False
            self._passed_s[key] = now
            record.n_withheld = self._n_withheld.pop(key, 0)
        return True


class LogFormat(logging.Formatter):
    """One line per record: text, or a JSON object.

    Parameters
    ----------
    as_json : bool
    """

    def __init__(self, as_json: bool):
        super().__init__()
        self.as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; of an error of the program, with the lines of code where it was."""
        fields: dict[str, Any] = {"message": record.getMessage().strip().partition("\n")[0]}
        fields |= getattr(record, "fields", {})
        n_withheld = getattr(record, "n_withheld", 0)
        error = _where(record.exc_info[1]) if record.exc_info and record.exc_info[1] else ""
        if self.as_json:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            line = {"time": now, "level": record.levelname.lower(), **fields}
            line |= {"repeated": n_withheld} if n_withheld else {}
            line |= {"error": error} if error else {}
            return json.dumps(line)
        text = f"app: {record.levelname.lower()}: {fields['message']}"
        text += f" (and {n_withheld} more since the last such line)" if n_withheld else ""
        return f"{text}\n{error}" if error else text


def _where(error: BaseException) -> str:
    """Return kind and traceback of an error, without its message, which may quote a file."""
    return "".join([*traceback.format_tb(error.__traceback__), type(error).__name__])


@contextlib.contextmanager
def logging_to_stderr(metrics: Metrics, log_format: str) -> Iterator[None]:
    """Write the log of the server to stderr within the block.

    Parameters
    ----------
    metrics : Metrics
        Counts the lines.
    log_format : str
        ``text``: warnings and errors. ``json``: requests as well.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(OncePerPeriod(lambda message: metrics.warnings.labels(message).inc()))
    handler.setFormatter(LogFormat(log_format == "json"))
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(each.level, each.propagate) for each in loggers]
    for name, each in logging.root.manager.loggerDict.items():  # Hydra disables those before it
        if name.startswith(LOGGERS) and isinstance(each, logging.Logger):
            each.disabled = False
    requests_log.setLevel(logging.INFO if log_format == "json" else logging.WARNING)
    for each in loggers:
        each.addHandler(handler)
        each.setLevel(logging.WARNING)
        each.propagate = False
    try:
        yield
    finally:
        for each, (level, propagate) in zip(loggers, before, strict=True):
            each.removeHandler(handler)
            each.setLevel(level)
            each.propagate = propagate

"""Measure the latency of the JSON interface on loopback with 1, 8 and 32 clients.

python benchmarks/app.py RUN RECORD [REQUESTS] [OUT]     # a run folder, a WFDB record to send

Each client keeps its connection and sends the next request as soon as it has the response. Every
response is compared with the output of ``predict``. Clients and server share the machine. The same
requests are sent to the code of an earlier revision, if git has it, see ``measure.BEFORE``.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import measure
import numpy as np

N_CLIENTS = (1, 8, 32)
N_REQUESTS = 320
BOUNDARY = "ecg-siglip-benchmark"


@contextlib.contextmanager
def serve_run(
    run: Path,
    *settings: str,
    log: IO[str] | None = None,
    source: Path = measure.ROOT,
    **environment: str,
) -> Iterator[str]:
    """Serve a run on a free port of loopback, with stderr in a log; yield its address.

    ``source`` is the folder with the code.
    """
    arguments = [f"run.root={run.parent.resolve()}", f"run.name={run.name}", "port=0", *settings]
    process = subprocess.Popen(
        [sys.executable, "-m", "ecg_siglip.app", *arguments],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=os.environ | environment,
        cwd=source,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line.startswith("http"):
            raise RuntimeError("the server did not start")
        yield line.split()[0]
    finally:
        process.terminate()
        process.wait(20)


def form_body(record: Path) -> bytes:
    """Return a WFDB record as a form with two files."""
    parts = []
    for suffix in (".hea", ".dat"):
        path = record.with_name(record.name + suffix)
        head = f'form-data; name="files"; filename="{path.name}"'
        parts.append(f"--{BOUNDARY}\r\nContent-Disposition: {head}\r\n\r\n".encode())
        parts.append(path.read_bytes() + b"\r\n")
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


def send_requests(url: str, content: bytes, n_clients: int, n_requests: int) -> dict[str, object]:
    """Send n requests in all; return latencies, every status and every different response."""
    times: list[float] = []
    statuses: set[int] = set()
    responses: set[str] = set()
    remaining = iter(range(n_requests))
    lock, start_line = threading.Lock(), threading.Barrier(n_clients + 1)
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}

    def client() -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
        start_line.wait()
        while True:
            with lock:
                if next(remaining, None) is None:
                    return
            start, status, text = time.perf_counter(), 0, "null"
            try:
                connection.request("POST", "/predict", content, kind)
                response = connection.getresponse()
                status, text = response.status, response.read().decode()
            except OSError as error:
                text = json.dumps(str(error))
            seconds = time.perf_counter() - start
            with lock:
                times.append(seconds)
                statuses.add(status)
                responses.add(text)

    threads = [threading.Thread(target=client) for _ in range(n_clients)]
    for thread in threads:
        thread.start()
    start_line.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    total_s = time.perf_counter() - start
    p50, p90, p99 = np.percentile(1e3 * np.array(times), [50, 90, 99])
    return {
        "n_clients": n_clients,
        "n_requests": len(times),
        "p50_ms": float(p50),
        "p90_ms": float(p90),
        "p99_ms": float(p99),
        "per_s": len(times) / total_s,
        "statuses": sorted(statuses),
        "responses": [json.loads(response) for response in responses],
    }


def run_predict(run: Path, record: Path) -> dict[str, object]:
    """Return what ``predict`` prints for the record, without what a table in its folder states."""
    arguments = [f"run.root={run.parent}", f"run.name={run.name}", f"records=[{record}]"]
    command = [sys.executable, "-m", "ecg_siglip.predict", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    prediction: dict[str, object] = json.loads(done.stdout)
    prediction.pop("recording", None)  # the table is not sent
    return prediction | {"record": record.name}


def measured(
    run: Path, record: Path, n_requests: int, expected: object, source: Path
) -> list[dict[str, object]]:
    """Return the figures for each number of clients; responses are compared with an expected one.

    ``source`` is the folder with the code. Without an expected prediction nothing is compared.
    """
    rows = []
    with serve_run(run, source=source) as url:
        send_requests(url, form_body(record), 1, 5)  # the first ones wait for late imports
        for n_clients in N_CLIENTS:
            row = send_requests(url, form_body(record), n_clients, n_requests)
            if row["statuses"] != [200]:
                raise SystemExit(f"{n_clients} clients: expected status 200, got {row['statuses']}")
            for response in row.pop("responses"):  # type: ignore[attr-defined]
                if expected and response["predictions"] != [expected]:
                    raise SystemExit(f"{n_clients} clients: a response differs from predict")
            rows.append(row | {"cores": os.cpu_count()})
    return rows


def main() -> None:
    run, record = Path(sys.argv[1]), Path(sys.argv[2])
    n_requests = int(sys.argv[3]) if len(sys.argv) > 3 else N_REQUESTS
    rows = measured(run, record, n_requests, run_predict(run, record), measure.ROOT)
    with measure.earlier_code() as before:
        if before is not None:
            for row, then in zip(
                rows, measured(run, record, n_requests, None, before), strict=True
            ):
                row["before"] = then
    for row in rows:
        print(json.dumps(row))
    if len(sys.argv) > 4:
        Path(sys.argv[4]).write_text(json.dumps(rows, indent=1) + "\n")
    else:
        measure.save("app", rows)


if __name__ == "__main__":
    main()

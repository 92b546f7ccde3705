"""The JSON interface under load on loopback: how long an answer takes with 1, 8 and 32 clients.

python benchmarks/app.py RUN RECORD [REQUESTS] [OUT]     # a run folder, a WFDB record to ask about

Each client keeps its connection and asks again as soon as it is answered. Every answer is held
against the one that ``predict`` prints. Clients and server share the machine.
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
def served(run: Path, *knobs: str, log: IO[str] | None = None, **environment: str) -> Iterator[str]:
    """The page of a run on a free port of loopback, stderr in a log; its address."""
    words = [f"run.root={run.parent}", f"run.name={run.name}", "port=0", *knobs]
    process = subprocess.Popen(
        [sys.executable, "-m", "ecg_siglip.app", *words],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=os.environ | environment,
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


def body(record: Path) -> bytes:
    """A WFDB record as a form with two files."""
    parts = []
    for suffix in (".hea", ".dat"):
        path = record.with_name(record.name + suffix)
        head = f'form-data; name="files"; filename="{path.name}"'
        parts.append(f"--{BOUNDARY}\r\nContent-Disposition: {head}\r\n\r\n".encode())
        parts.append(path.read_bytes() + b"\r\n")
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


def asked(url: str, content: bytes, n_clients: int, n_requests: int) -> dict[str, object]:
    """Ask n times in all; seconds of each, every status and every different answer."""
    times: list[float] = []
    statuses: set[int] = set()
    answers: set[str] = set()
    left = iter(range(n_requests))
    lock, together = threading.Lock(), threading.Barrier(n_clients + 1)
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}

    def client() -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
        together.wait()
        while True:
            with lock:
                if next(left, None) is None:
                    return
            start, status, text = time.perf_counter(), 0, "null"
            try:
                connection.request("POST", "/predict", content, kind)
                response = connection.getresponse()
                status, text = response.status, response.read().decode()
            except OSError as error:
                text = json.dumps(str(error))
            taken = time.perf_counter() - start
            with lock:
                times.append(taken)
                statuses.add(status)
                answers.add(text)

    threads = [threading.Thread(target=client) for _ in range(n_clients)]
    for thread in threads:
        thread.start()
    together.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    whole = time.perf_counter() - start
    p50, p90, p99 = np.percentile(1e3 * np.array(times), [50, 90, 99])
    return {
        "n_clients": n_clients,
        "n_requests": len(times),
        "p50_ms": float(p50),
        "p90_ms": float(p90),
        "p99_ms": float(p99),
        "per_s": len(times) / whole,
        "statuses": sorted(statuses),
        "answers": [json.loads(answer) for answer in answers],
    }


def predicted(run: Path, record: Path) -> dict[str, object]:
    """What ``predict`` prints for the record."""
    words = [f"run.root={run.parent}", f"run.name={run.name}", f"records=[{record}]"]
    command = [sys.executable, "-m", "ecg_siglip.predict", *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer | {"record": record.name}


def main() -> None:
    run, record = Path(sys.argv[1]), Path(sys.argv[2])
    n_requests = int(sys.argv[3]) if len(sys.argv) > 3 else N_REQUESTS
    expected = predicted(run, record)
    rows = []
    with served(run) as url:
        asked(url, body(record), 1, 5)  # the first ones wait for what is imported late
        for n_clients in N_CLIENTS:
            row = asked(url, body(record), n_clients, n_requests)
            if row["statuses"] != [200]:
                raise SystemExit(f"{n_clients} clients: answered with {row['statuses']}")
            for answer in row.pop("answers"):  # type: ignore[attr-defined]
                if answer["answers"] != [expected]:
                    raise SystemExit(f"{n_clients} clients: another answer than that of predict")
            rows.append(row | {"cores": os.cpu_count()})
            print(json.dumps(rows[-1]))
    if len(sys.argv) > 4:
        Path(sys.argv[4]).write_text(json.dumps(rows, indent=1) + "\n")
    else:
        measure.keep("app", rows)


if __name__ == "__main__":
    main()

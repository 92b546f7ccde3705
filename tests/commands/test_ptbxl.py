"""The command ``ptbxl`` downloads, checks and caches a data set."""

import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from helpers import write_ptbxl

from ecg_siglip.datasets.download import sha256_of

CHECKOUT = Path(__file__).resolve().parents[2]


def test_it_downloads_checks_and_caches(tmp_path):
    root = write_ptbxl(tmp_path / "root")
    files = [path for path in root.rglob("*") if path.is_file()]
    sums = [f"{sha256_of(path)} {path.relative_to(root)}\n" for path in files]
    (root / "SHA256SUMS.txt").write_text("".join(sums))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        env = os.environ | {"PYTHONPATH": str(CHECKOUT)}
        run = partial(subprocess.run, capture_output=True, text=True, cwd=tmp_path, env=env)
        command = [sys.executable, "-m", "ecg_siglip.ptbxl", "data.root=copy"]
        command += [f"url=http://127.0.0.1:{server.server_port}"]
        done = run(command)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert f"downloaded {len(files)} files" in done.stdout
    assert "6 records" in done.stdout
    assert "1: 2  2: 2  3: 2" in done.stdout
    caches = [path for path in (tmp_path / "copy" / "cache").iterdir() if path.name != ".lock"]
    assert len(caches) == 1
    failed = run([*command, "data.fs=500", "download=false"])
    assert failed.returncode == 1
    assert failed.stderr.startswith("ptbxl: 6 of 6 records listed are absent in copy")
    assert failed.stderr.count("\n") == 1

"""A second process: responses, a time limit, and another process after one has ended."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ecg_siglip.core.helper_process import HelperProcess

MODULE = """
import os, time
from ecg_siglip.core.helper_process import serve

kept = []

def respond(message):
    if message == b"hang":
        time.sleep(60)
    if message == b"end":
        os._exit(3)
    if message == b"keep":
        kept.append(bytearray(1 << 30))
    print("noise of a library")
    return str(os.getpid()).encode() + b" " + message

if __name__ == "__main__":
    serve(respond)
"""


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "some_helper.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    helper = HelperProcess("some_helper", limit_s=20.0)
    yield helper
    helper.close()


def test_one_process_responds_to_all_requests(helper: HelperProcess):
    responses = [helper.request(message) for message in (b"", b"a" * 3_000_000, b"\\0\\n")]
    assert len({response.split(b" ")[0] for response in responses}) == 1
    assert responses[1].endswith(b"a" * 3_000_000)


def test_a_process_that_ends_or_hangs_is_replaced(helper: HelperProcess):
    first = helper.request(b"x")
    with pytest.raises(ChildProcessError, match="ended the process"):
        helper.request(b"end")
    second = helper.request(b"x")
    assert first != second
    helper.limit_s = 0.5
    start = time.monotonic()
    with pytest.raises(ChildProcessError, match="took too long"):
        helper.request(b"hang")
    assert time.monotonic() - start < 10
    helper.limit_s = 20.0
    assert helper.request(b"x") not in (first, second)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_process_that_keeps_much_memory_is_replaced(helper: HelperProcess):
    first = helper.request(b"x")
    assert helper.request(b"keep").startswith(first.split(b" ")[0])
    with ThreadPoolExecutor(3) as threads:
        others = list(threads.map(helper.request, [b"x"] * 3))
    assert {*others} == {others[0]} and others[0] != first


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_starts_a_process_of_its_own(helper: HelperProcess):
    first = helper.request(b"x")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, helper.request(b"x"))
        helper.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100) != first
    assert helper.request(b"x") == first
    os.close(read)
    os.close(write)


def test_a_process_ends_itself_where_a_library_takes_too_long():
    code = """
from ecg_siglip.core.helper_process import ends_after, is_helper
import time
assert not is_helper()
with ends_after(60):
    pass
with ends_after({limit}):
    time.sleep({sleep})
print("goes on")
"""
    for limit, sleep, is_ended in ((0.1, 60, True), (60, 0.1, False)):
        command = [sys.executable, "-c", code.format(limit=limit, sleep=sleep)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=50)
        assert (result.returncode != 0) == is_ended == (result.stdout == "")

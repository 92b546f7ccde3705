"""A little abuse of ``make faults``: many silent connections, and what counts as held."""

import io
import sys

import numpy as np
import pytest
from faults.clients import slow_file
from faults.quick import rows
from faults.server import AbuseRow, abuse_table

pytest.importorskip("gradio", reason="needs the extra [app]")


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs fork and /proc")
def test_silent_connections_keep_nobody_out(tmp_path):
    (row,) = rows("server", tmp_path)
    assert row["counts"]["connected"] >= 1000
    assert row["n_served"] == row["n_sent"] > 0
    assert row["serves_afterwards"]
    assert row["n_lines"] < 10


def test_a_row_names_what_did_not_hold():
    held = AbuseRow("slow file", (50, 60), (900, 9000), 9.0, 10, 5, 1.0, 0.0, 0, True)
    assert held.failures() == []  # others wait for the work, but not longer than the deadline
    late = AbuseRow("slow file", (50, 60), (900, 9000), 30.0, 10, 5, 1.0, 0.0, 99, False)
    assert len(late.failures()) == 3
    slower = AbuseRow("200 parallel uploads", (50, 60), (120, 130), 0.2, 10, 9, 1.0, 0.0, 0, True)
    assert len(slower.failures()) == 2
    assert abuse_table([held]).splitlines()[-1].startswith("| slow file | 50 / 60 | 900 / 9000 |")


def test_the_slow_file_is_small_and_long():
    content = slow_file()
    assert len(content) < 200_000
    with np.load(io.BytesIO(content)) as archive:
        assert archive["signal"].shape[1] / float(archive["fs"]) == 8 * 3600

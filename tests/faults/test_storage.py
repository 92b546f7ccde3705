"""A few faults of ``make faults``: killed commands, and renames that fail."""

import sys

import pytest
from faults.quick import rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs fork and /proc"),
]


def test_results_survive_faults_and_the_command_recovers(tmp_path):
    found = rows("storage", tmp_path)
    assert len(found) == 3
    for row in found:
        assert row["runs"]
        counts = {row[key] for key in ("whole", "one_line", "repeated", "clean")}
        assert counts == {row["runs"]}, row

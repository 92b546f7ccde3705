"""A few damaged files of ``make faults``: flipped bits of a data set, which are mended."""

import sys

import numpy as np
import pytest
from faults.damage import DamageRow, damage_table, flip
from faults.quick import rows


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs fork and /proc")
def test_a_flipped_bit_of_a_data_set_is_noticed_and_mended(tmp_path):
    (row,) = rows("damage", tmp_path)
    assert (row["runs"], row["noticed"], row["tracebacks"], row["hangs"]) == (2, 2, 0, 0)


def test_one_bit_is_flipped(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(100))
    flip(path, np.random.default_rng(0))
    assert sum(byte.bit_count() for byte in path.read_bytes()) == 1


def test_what_is_not_noticed_is_counted_and_named():
    row = DamageRow("flipped bit", "`train`")
    row.add("a.bin", True, "")
    row.add("b.bin", False, "traceback: ValueError")
    row.add("c.bin", False, "hang: more than 5 s")
    assert (row.runs, row.noticed, row.tracebacks, row.hangs) == (3, 1, 1, 1)
    assert row.failures == ["b.bin: traceback: ValueError", "c.bin: hang: more than 5 s"]
    assert damage_table([row, row]).splitlines()[-1] == "| all |  | 6 | 2 | 2 | 2 |"

"""The command compare prints the tables that it writes."""

import shutil

from helpers import configured

from ecg_siglip.compare import compare
from ecg_siglip.config import CompareConfig


def test_the_tables_are_printed_and_written(evaluated, tmp_path, capsys):
    run = evaluated.parents[1]
    root, out = tmp_path / "runs", tmp_path / "out"
    shutil.copytree(run, root / run.name)
    changes = {"root": str(root), "runs": [run.name], "out": str(out), "n_resamples": 5}
    compare(configured(CompareConfig, changes))
    printed = capsys.readouterr().out
    assert printed == (out / "comparison.md").read_text() + f"\nwrote {out}/\n"
    assert "| small  | 1    |" in printed

"""The log has one line per epoch, and none of epochs that are trained again."""

import json
import math

from ecg_siglip.training.run_log import RunLog, print_epoch


def epochs(run):
    return [json.loads(line)["epoch"] for line in (run / "log.jsonl").read_text().splitlines()]


def test_a_line_has_the_numbers_of_its_epoch_and_null_for_nan(tmp_path):
    log = RunLog(tmp_path)
    log.write({"epoch": 1, "loss": 0.5, "macro_auroc": math.nan})
    line = json.loads((tmp_path / "log.jsonl").read_text())
    assert line == {"epoch": 1, "loss": 0.5, "macro_auroc": None}
    assert log.n_bytes == (tmp_path / "log.jsonl").stat().st_size


def test_lines_after_the_saved_state_are_removed(tmp_path):
    log = RunLog(tmp_path)
    log.write({"epoch": 1, "loss": 0.5})
    saved = log.n_bytes
    log.write({"epoch": 2, "loss": 0.4})
    assert epochs(tmp_path) == [1, 2]
    resumed = RunLog(tmp_path, saved)
    assert epochs(tmp_path) == [1]
    resumed.write({"epoch": 2, "loss": 0.3})
    assert epochs(tmp_path) == [1, 2]


def test_the_terminal_shows_the_main_scores(capsys):
    line = {"epoch": 2, "loss": 0.25, "macro_auroc": 0.9, "macro_auprc": 0.5, "micro_f1": 0.75}
    print_epoch(line, 3)
    expected = "epoch 2/3  loss 0.250  macro_auroc 0.900  macro_auprc 0.500  micro_f1 0.750\n"
    assert capsys.readouterr().out == expected

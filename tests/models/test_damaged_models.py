"""Each damaged model is refused in one line; `python tests/damaged_models.py` tries hundreds.

Here are some of them, in this process.
"""

import shutil

import pytest
from damaged_models import cases, damaged, make_other, outcome, predict
from damaged_models import main as run_all

EVERY = 12  # one of so many cases


@pytest.fixture(scope="module")
def expected(trained):
    return predict(trained / "model")


def test_each_damaged_model_is_refused_in_one_line(trained, expected, tmp_path):
    make_other(trained / "model", tmp_path / "other")
    # A pipe would stop this process if it were read.
    tried = [case for case in cases(tmp_path / "other") if "pipe" not in case.name][::EVERY]
    assert len(tried) > 50
    for case in tried:
        folder = damaged(trained / "model", tmp_path / "model", case)
        result = outcome(folder, expected)
        assert result.startswith("refused: "), (case.kind, case.name, result)
        shutil.rmtree(folder)


def test_the_check_notices_what_is_taken(trained, expected, tmp_path):
    folder = shutil.copytree(trained / "model", tmp_path / "model")
    assert outcome(folder, expected) == "taken: same prediction"
    assert outcome(folder, expected[::-1]) == "taken: another prediction"
    assert callable(run_all)

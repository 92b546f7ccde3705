"""Simulated ECGs are recognized by a file in the folder that `simulate` has written."""

from __future__ import annotations

import json

import pytest

from ecg_siglip.simulation.marker import MARKER, are_simulated, is_marked


@pytest.mark.parametrize("name", ["simulated", "hospital"])
def test_simulate_marks_its_folder_in_every_layout(name, request):
    assert is_marked(request.getfixturevalue(name))


def test_a_table_may_list_simulated_and_other_records(simulated, tmp_path):
    made = next((simulated / "records100").rglob("*.hea")).with_suffix("")
    assert are_simulated([made, tmp_path / "ecg.csv", made]).tolist() == [True, False, True]


@pytest.mark.parametrize("content", ["{}", "[]", "no json", '{"seed": 1}'])
def test_a_file_of_that_name_by_another_program_is_no_marker(content, tmp_path):
    (tmp_path / MARKER).write_text(content)
    assert not is_marked(tmp_path)


def test_a_marker_in_a_parent_far_above_does_not_count(tmp_path):
    (tmp_path / MARKER).write_text(json.dumps({"n_records": 1, "seed": 0}))
    assert are_simulated([tmp_path / "a" / "b" / "c" / "ecg"]).all()
    assert not are_simulated([tmp_path / "a" / "b" / "c" / "d" / "ecg"]).any()

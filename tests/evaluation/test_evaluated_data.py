"""Names of what is evaluated, and settings that exclude each other."""

import pytest
from helpers import configured

from ecg_siglip.config import EvaluateConfig
from ecg_siglip.evaluation.evaluated_data import check_evaluated, describe_part, output_name


@pytest.mark.parametrize(
    ("settings", "folder", "words"),
    [
        ({}, "fold10", "fold 10"),
        ({"fold": 9}, "fold9", "fold 9"),
        ({"fold": 9, "data.source": "our clinic"}, "fold9-our_clinic", "fold 9 of our clinic"),
        ({"data.kind": "table", "data.table": "a/other.csv"}, "table-other", "other"),
        (
            {"data.kind": "table", "data.table": "a/other.csv", "fold": 2},
            "table-other-fold2",
            "fold 2 of other",
        ),
        (
            {"data.kind": "table", "data.table": "sqlite:///x.db", "data.name": "pacs"},
            "table-pacs",
            "pacs",
        ),
        ({"data.kind": "table", "data.table": "env:PACS"}, "table-data", "data"),
        ({"data.kind": "ptbxl", "data.root": "data/other"}, "ptbxl-other", "other"),
    ],
)
def test_folder_and_title_name_the_part(settings, folder, words):
    chosen = configured(EvaluateConfig, {"run.name": "r", **settings})
    check_evaluated(chosen)
    assert output_name(chosen) == folder
    assert describe_part(chosen) == words


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data.table": "x.csv"}, r"data\.table: belongs to another data set"),
        ({"data.patients": "x"}, r"data\.patients: belongs to another data set"),
        ({"data.read.fs": 500}, r"data\.read: belongs to another data set"),
        ({"data.kind": "table", "data.source": "a"}, r"data\.source=a with data\.kind=table"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        check_evaluated(configured(EvaluateConfig, {"run.name": "r", **settings}))

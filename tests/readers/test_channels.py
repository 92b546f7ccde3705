"""Helpers of the readers: optional libraries, groups of leads."""

import sys

import numpy as np
import pytest
from writers import FS, WRITERS, ecg

from ecg_siglip.readers.channels import Channel, join_groups, make_channels
from ecg_siglip.readers.isolated import READERS


@pytest.mark.parametrize(
    ("kind", "package"),
    [("xlsx", "openpyxl"), ("aecg.xml", "defusedxml"), ("muse.xml", "defusedxml")],
)
def test_a_missing_library_is_named(monkeypatch, kind: str, package: str):
    for name in (package, f"{package}.ElementTree"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=f"needs the package {package}: pip install"):
        READERS[kind.rpartition(".")[2].encode()](WRITERS[kind](ecg(), FS))


def group(n_samples: int, *leads: str) -> list[Channel]:
    return make_channels(np.zeros((len(leads), n_samples)), 500.0, "mV", leads)


def test_the_longest_group_with_all_leads_is_taken():
    beat, rhythm = group(600, "I", "II"), group(5000, "I", "II")
    assert join_groups([beat, rhythm]) is rhythm


def test_groups_with_different_leads_are_joined():
    limb, chest = group(5000, "I", "II"), group(5000, "V1")
    assert [channel.name for channel in join_groups([limb, chest])] == ["I", "II", "V1"]

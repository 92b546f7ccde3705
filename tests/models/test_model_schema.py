"""Types and ranges of a model's configuration are checked before anything is built."""

import dataclasses
import shutil

import pytest
from helpers import as_earlier, change_config

from ecg_siglip.models.artifact import load_artifact
from ecg_siglip.models.model_schema import check_types, has_type
from ecg_siglip.models.provenance import Provenance


@pytest.fixture
def refuses(trained, tmp_path):
    """A function that sets a value in a copy of a model without hashes, and returns the error."""
    folder = shutil.copytree(trained / "model", tmp_path / "model")

    def refuses(*path):
        def put(content):
            for key in path[:-2]:
                content = content[key]
            content[path[-2]] = path[-1]

        change_config(folder, put)
        as_earlier(folder)
        with pytest.raises(ValueError, match="^model ") as caught:
            load_artifact(folder)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return refuses


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (("thresholds", "f1", 3, 2), "thresholds/f1: expected 0 to 1, got 2"),
        (("thresholds", "f1", 3, "0.5"), "thresholds: expected dict[str, list[float]]"),
        (("thresholds", {}), "thresholds: expected those of one rule at least"),
        (("calibration", 0, [1.0, 1e300]), "calibration: expected -10000 to 10000"),
        (("calibration", 0, [1.0]), "calibration: expected slope and intercept"),
        (("ecg", "width", 10**9), "ecg.width=1000000000: expected at most 2048"),
        (("ecg", "depths", [2] * 60), "ecg.depths: expected at most 16 stages"),
        (("ecg", "name", "resnet9"), "ecg.name=resnet9: expected one of resnet1d"),
        (("ecg", "weight", 3), "ecg.weight: no setting of this version"),
        (("text", "depth", 10**8), "text.depth=100000000: expected at most 24"),
        (("text", "width", "128"), "text.width: expected int, got '128'"),
        (("embed_dim", 10**10), "embed_dim=10000000000: expected at most"),
        (("waveform", "duration_s", 1e12), "waveform.duration_s=1000000000000.0: expected"),
        (("waveform", "to_fs", 0), "waveform.fs=0: expected at least 50"),
        (("about", "train_folds", "all"), "about.train_folds: expected list[int], got 'all'"),
        (("about", "pretrained", {"run": 3}), "about.run: expected str, got 3"),
        (("codes", 1, "NDT"), "codes: NDT occurs twice"),
        (("members", 10**9), "members: expected 1 to 100"),
    ],
)
def test_a_value_out_of_its_range_is_named(refuses, path, problem):
    assert problem in refuses(*path)


def test_numbers_are_finite_and_no_booleans():
    assert has_type(3, float)
    assert not has_type(float("nan"), float)
    assert not has_type(True, int)
    assert has_type({"a": [1.0]}, dict[str, list[float]])
    assert not has_type({"a": [None]}, dict[str, list[float]])


def test_a_provenance_has_the_types_of_its_fields():
    about = Provenance("r", teachers=(Provenance("t"),), pretrained=Provenance("p")).to_json()
    check_types(Provenance, about, partial=True)
    for field in dataclasses.fields(Provenance):
        if field.name in about:
            with pytest.raises(ValueError, match=field.name):
                check_types(Provenance, about | {field.name: object()}, partial=True)

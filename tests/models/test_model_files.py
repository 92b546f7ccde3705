"""A saved model is loaded only with the very files that it was saved with."""

import json
import shutil

import pytest
from helpers import as_earlier, change_config

from ecg_siglip.core.run_folder import PRETRAINED
from ecg_siglip.models.artifact import load_artifact
from ecg_siglip.models.model_files import (
    CONFIG,
    FORMAT,
    SEAL,
    WEIGHTS,
    files_of,
    read_config,
    read_json,
    write_config,
)


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of a trained model, to damage."""
    return shutil.copytree(trained / "model", tmp_path / "model")


def test_every_file_but_the_card_has_a_hash(trained):
    folder = trained / "model"
    content = json.loads((folder / CONFIG).read_text())
    assert content["format"] == FORMAT
    on_disk = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert {*content["files"]} == on_disk - {CONFIG, "README.md"} == {*files_of(folder)}
    config, is_verified = read_config(folder, "small")
    assert is_verified
    assert not {*config} & {*SEAL}


def test_each_flipped_bit_of_the_smallest_files_is_noticed(tmp_path):
    (tmp_path / WEIGHTS).write_bytes(b"weights")
    write_config(tmp_path, {"codes": ["SR"], "about": 0.25})
    assert read_config(tmp_path, "m") == ({"codes": ["SR"], "about": 0.25}, True)
    for path in (tmp_path / WEIGHTS, tmp_path / CONFIG):
        content = path.read_bytes()
        for at in range(len(content)):
            for bit in range(8):
                changed = bytearray(content)
                changed[at] ^= 1 << bit
                path.write_bytes(changed)
                with pytest.raises(ValueError, match="model m: "):
                    read_config(tmp_path, "m")
        path.write_bytes(content)
    read_config(tmp_path, "m")


def test_the_card_may_be_edited(folder):
    (folder / "README.md").write_text("# Another card")
    assert load_artifact(folder).is_verified


def test_the_file_that_differs_is_named(folder, trained):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ValueError, match=r"model .*/model: model\.safetensors is not as it was"):
        load_artifact(folder)
    shutil.copy(trained / "model" / WEIGHTS, folder)
    (folder / "text" / "added_tokens.json").write_text('{"sinus": 7}')
    with pytest.raises(ValueError, match=r"text/added_tokens\.json does not belong to the model"):
        load_artifact(folder)


def test_an_edited_configuration_is_refused(folder):
    content = json.loads((folder / CONFIG).read_text())
    content["codes"][:2] = content["codes"][1::-1]
    (folder / CONFIG).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"config\.json is not as it was saved .* edited"):
        load_artifact(folder)


def test_a_model_of_a_newer_version_is_refused_with_what_to_do(folder):
    content = json.loads((folder / CONFIG).read_text())
    content["about"]["version"] = "9.1"
    (folder / CONFIG).write_text(json.dumps(content | {"format": FORMAT + 1}))
    expected = (
        rf"written by ecg_siglip 9\.1 in format {FORMAT + 1}; this version reads up to {FORMAT}: "
        "upgrade"
    )
    with pytest.raises(ValueError, match=expected):
        load_artifact(folder)


@pytest.mark.parametrize("key", SEAL)
def test_a_part_of_the_seal_cannot_be_left_out(folder, key):
    content = json.loads((folder / CONFIG).read_text())
    del content[key]
    (folder / CONFIG).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"config\.json: damaged"):
        load_artifact(folder)


def test_a_model_of_an_earlier_version_is_loaded_and_not_verified(folder):
    before = load_artifact(folder)
    as_earlier(folder)
    after = load_artifact(folder)
    assert (before.is_verified, after.is_verified) == (True, False)
    assert after.tuning().to_json() == before.tuning().to_json()


def test_codes_and_prompts_of_an_earlier_model_are_in_the_same_order(folder):
    def swap(content):
        content["codes"][:2] = content["codes"][1::-1]

    change_config(folder, swap)
    as_earlier(folder)
    with pytest.raises(ValueError, match="expected codes and prompts in the same order"):
        load_artifact(folder)


def test_the_model_of_the_package_is_verified():
    if not PRETRAINED.is_dir():
        pytest.skip("no model in the package")
    assert load_artifact(PRETRAINED).is_verified


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a": NaN}', "got NaN"),
        (b'{"a": 1, "a": 2}', "a key occurs twice"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
        (b"\xff\xfe{}", "decode"),
        (b"{", "Expecting"),
    ],
)
def test_json_that_is_no_content_of_a_model_is_refused(tmp_path, content, problem):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=f"where: damaged: .*{problem}"):
        read_json(tmp_path / "a.json", "where")
    with pytest.raises(ValueError, match="where: is missing"):
        read_json(tmp_path / "b.json", "where")

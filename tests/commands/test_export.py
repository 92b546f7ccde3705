"""`export` writes an ONNX file, or names the setting that is missing."""

import sys

import pytest

from ecg_siglip import export


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["export", *arguments])
    export.main()


def test_it_writes_the_file_its_metadata_and_an_ecg(trained, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnx", reason="needs the extra [export]")
    pytest.importorskip("onnxscript", reason="needs the extra [export]")
    out = tmp_path / "deep" / "model.onnx"
    run(monkeypatch, f"run.name={trained.name}", f"run.root={trained.parent}", f"out={out}")
    assert out.stat().st_size > 1000
    names = ["model.golden.csv", "model.json", "model.onnx"]
    assert sorted(path.name for path in out.parent.iterdir()) == names
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert first.startswith(f"wrote {out} (")
    assert first.endswith("10 s or more at fs Hz -> 71 probabilities")
    assert second.startswith(f"wrote {out.with_suffix('.json')} (metadata) and ")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["to=hub"], "export: repo is missing: expected the repository"),
        (["model=x"], "export: out is missing: expected the file"),
        (["run.name=no_such"], "no trained model there"),
    ],
)
def test_a_missing_setting_or_model_is_named(trained, monkeypatch, capsys, arguments, error):
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, f"run.name={trained.name}", f"run.root={trained.parent}", *arguments)
    assert stop.value.code == 1
    assert error in capsys.readouterr().err

"""`export` writes an ONNX file, or names the setting that is missing."""

import sys

import pytest

from ecg_siglip import export


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["export", *arguments])
    export.main()


def test_it_writes_one_file(trained, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnx", reason="needs the extra [export]")
    pytest.importorskip("onnxscript", reason="needs the extra [export]")
    out = tmp_path / "deep" / "model.onnx"
    run(monkeypatch, f"run.name={trained.name}", f"run.root={trained.parent}", f"out={out}")
    assert out.stat().st_size > 1000
    assert [path.name for path in out.parent.iterdir()] == ["model.onnx"]
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert first.startswith(f"wrote {out} (")
    assert second == "float32 mV at 100 Hz -> 71 probabilities"


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

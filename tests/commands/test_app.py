"""`app` names what is missing before it listens; tests/serving/ tests the page itself."""

import socket
import sys

import pytest

pytest.importorskip("gradio", reason="needs the extra [app]")

from ecg_siglip import app


def test_a_missing_model_is_an_error_on_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["app", "run.name=r", f"run.root={tmp_path}"])
    with pytest.raises(SystemExit) as stop:
        app.main()
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith(f"app: {tmp_path}/r/model: no trained model there")
    assert len(error.splitlines()) == 1


def test_a_port_in_use_is_an_error_on_one_line(trained, monkeypatch, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        arguments = [f"run.name={trained.name}", f"run.root={trained.parent}", f"port={port}"]
        monkeypatch.setattr(sys, "argv", ["app", *arguments, "device=cpu"])
        with pytest.raises(SystemExit) as stop:
            app.main()
    assert stop.value.code == 1
    assert f"app: host=127.0.0.1 port={port}: " in capsys.readouterr().err

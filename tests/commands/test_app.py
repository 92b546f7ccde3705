"""`app` names what is missing before it listens; tests/serving/ tests the page itself."""

import http.client
import socket
import ssl
import subprocess
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


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("cert only", "expected both tls_cert= and tls_key=, got one of them"),
        ("key only", "expected both tls_cert= and tls_key=, got one of them"),
        ("missing", "No such file"),
        ("exchanged", "tls_cert="),
        ("no certificate", "tls_cert="),
    ],
)
def test_wrong_tls_files_are_an_error_on_one_line_before_the_model_is_loaded(
    trained, certificate, tmp_path, monkeypatch, capsys, kind, expected
):
    cert, key = certificate
    (tmp_path / "empty.pem").write_text("no certificate")
    words = {
        "cert only": [f"tls_cert={cert}"],
        "key only": [f"tls_key={key}"],
        "missing": [f"tls_cert={tmp_path}/none.pem", f"tls_key={key}"],
        "exchanged": [f"tls_cert={key}", f"tls_key={cert}"],
        "no certificate": [f"tls_cert={tmp_path}/empty.pem", f"tls_key={key}"],
    }[kind]

    def load(*_):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(app.Predictor, "load", load)
    arguments = [f"run.name={trained.name}", f"run.root={trained.parent}", "port=0", *words]
    monkeypatch.setattr(sys, "argv", ["app", *arguments])
    with pytest.raises(SystemExit) as stop:
        app.main()
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("app: ") and expected in error
    assert len(error.splitlines()) == 1


@pytest.mark.slow
def test_with_a_certificate_and_a_token_both_are_required(trained, certificate, tmp_path):
    cert, key = certificate
    token = tmp_path / "token"
    token.write_text("0123456789abcdef0123456789abcdef")
    token.chmod(0o600)
    words = [f"run.name={trained.name}", f"run.root={trained.parent}", "port=0", "device=cpu"]
    words += [f"tls_cert={cert}", f"tls_key={key}", f"token_file={token}"]
    command = [sys.executable, "-m", "ecg_siglip.app", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline().split()[0]
        assert address.startswith("https://127.0.0.1:")
        place = address.removeprefix("https://")
        context = ssl.create_default_context(cafile=cert)

        def status(**headers):
            client = http.client.HTTPSConnection(place, timeout=30, context=context)
            client.request("GET", "/config", headers=headers)
            return client.getresponse().status

        assert status(Authorization=f"Bearer {token.read_text()}") == 200
        assert status() == 401
        assert status(Authorization="Bearer another") == 401
        plain = http.client.HTTPConnection(place, timeout=30)
        plain.request("GET", "/healthz")
        with pytest.raises((OSError, http.client.HTTPException)):
            plain.getresponse()
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()

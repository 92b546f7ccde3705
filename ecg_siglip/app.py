"""Serve the web page and the JSON API."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import Any

import torch

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.core.helper_process import available_cores
from ecg_siglip.core.run_folder import find_model
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.serving.monitoring import Metrics, logging_to_stderr
from ecg_siglip.serving.prediction_service import PredictionService
from ecg_siglip.serving.request_guard import LOOPBACK
from ecg_siglip.serving.upload_folder import KEPT_S, SWEEP_S, UploadFolder, server_folder
from ecg_siglip.serving.web_page import build


def app(settings: config.AppConfig) -> None:
    """Serve the web page and the JSON API; by default to this machine only."""
    model = find_model(settings.run.root, settings.run.name, settings.model, "app")
    torch.set_num_threads(settings.n_threads or max(1, available_cores() // 4))
    _check_tls(settings)
    with server_folder() as folder:
        predictor = Predictor.load(model, settings.device, settings.language, settings.source)
        service = PredictionService(predictor, settings)
        uploads = UploadFolder(folder, int(settings.max_stored_mb * 1e6))
        metrics = Metrics()
        application = build(service, uploads, metrics)
        # Not before: the error of a missing package is that of build.
        from ecg_siglip.serving.connections import open_socket

        listening = open_socket(settings.host, settings.port)
        if settings.host not in LOOPBACK:
            _warn_of_what_is_missing(settings)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        scheme = "http" if settings.tls_cert is None else "https"
        print(f"{scheme}://{host}:{listening.getsockname()[1]}  (ctrl-c ends it)", flush=True)
        service.start()
        try:
            with logging_to_stderr(metrics, settings.log_format):
                serve(application, listening, uploads, metrics, settings)
        finally:
            service.close()


def _check_tls(settings: config.AppConfig) -> None:
    """Check that certificate and key can be used, before the model is loaded.

    Raises
    ------
    ValueError
        If one is missing, or as ``connections.tls_context``.
    """
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise ValueError("expected both tls_cert= and tls_key=, got one of them")
    if settings.tls_cert is not None:
        from ecg_siglip.serving.connections import tls_context

        tls_context(settings.tls_cert, settings.tls_key)


def _warn_of_what_is_missing(settings: config.AppConfig) -> None:
    """Print a warning if other machines can reach the server without token or encryption."""
    missing = ["no token (token_file=)"] if settings.token_file is None else []
    missing += ["no encryption (tls_cert=, tls_key=)"] if settings.tls_cert is None else []
    if missing:
        print(
            f"app: warning: listening on {settings.host}: anyone who can reach this machine can "
            f"send ECGs or read what is sent; there is {' and '.join(missing)}",
            file=sys.stderr,
        )


def serve(
    application: Any,
    listening: Any,
    uploads: UploadFolder,
    metrics: Metrics,
    settings: config.AppConfig,
) -> None:
    """Run the server until a signal ends it, and remove forgotten uploads meanwhile.

    Parameters
    ----------
    application : ASGI application
    listening : socket.socket
    uploads : UploadFolder
    metrics : Metrics
    settings : AppConfig
    """
    from ecg_siglip.serving.connections import LimitedServer

    server = LimitedServer(
        application, settings.max_connections, settings.tls_cert, settings.tls_key
    )
    metrics.watch("connections", "Open connections.", lambda: server.n_connections)
    ended = threading.Event()

    def sweep_regularly() -> None:
        while not ended.wait(SWEEP_S):
            uploads.sweep(KEPT_S)

    threading.Thread(target=sweep_regularly, daemon=True).start()
    # Uvicorn raises the signal again after its shutdown; the uploads have to be removed anyway.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt):
        try:
            server.run(sockets=[listening])
        finally:
            ended.set()


def main() -> None:
    run_command("app", config.AppConfig, app)


if __name__ == "__main__":
    main()

"""Serve the web page and the JSON API."""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.core.run_folder import find_model
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.serving.prediction_service import PredictionService
from ecg_siglip.serving.request_guard import LOOPBACK
from ecg_siglip.serving.uploads import PREFIX
from ecg_siglip.serving.web_handlers import sweep
from ecg_siglip.serving.web_page import KEPT_S, SWEEP_S, build, open_socket


def app(settings: config.AppConfig) -> None:
    """Serve the web page and the JSON API; by default to this machine only."""
    model = find_model(settings.run.root, settings.run.name, settings.model, "app")
    if settings.n_threads:
        import torch

        torch.set_num_threads(settings.n_threads)
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        predictor = Predictor.load(model, settings.device, settings.language, settings.source)
        service = PredictionService(predictor, settings)
        application = build(service, Path(folder))
        listening = open_socket(settings.host, settings.port)
        if settings.host not in LOOPBACK:
            print(
                f"app: warning: listening on {settings.host}: anyone who can reach this machine "
                "can send ECGs; there is no password and no encryption",
                file=sys.stderr,
            )
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        print(f"http://{host}:{listening.getsockname()[1]}  (ctrl-c ends it)", flush=True)
        try:
            serve(application, listening, Path(folder))
        finally:
            service.close()


def serve(application: Any, listening: Any, uploads: Path) -> None:
    """Run the server until a signal ends it, and remove forgotten uploads meanwhile.

    Parameters
    ----------
    application : ASGI application
    listening : socket.socket
    uploads : Path
        Folder of the uploads.
    """
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(
            application, log_level="warning", server_header=False, timeout_graceful_shutdown=2
        )
    )
    ended = threading.Event()

    def sweep_regularly() -> None:
        while not ended.wait(SWEEP_S):
            sweep(uploads, KEPT_S)

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

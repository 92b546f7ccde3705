"""All that stands between the network and the application, in the order in which it applies."""

from __future__ import annotations

from typing import Any

from ecg_siglip import config
from ecg_siglip.serving.access import TokenAccess, read_tokens
from ecg_siglip.serving.monitoring import Metrics, Monitor
from ecg_siglip.serving.request_guard import RequestGuard, allowed_hosts
from ecg_siglip.serving.response_headers import ResponseHeaders
from ecg_siglip.serving.upload_folder import UploadFolder


def protect(
    app: Any, settings: config.AppConfig, uploads: UploadFolder, metrics: Metrics
) -> Monitor:
    """Return an application behind everything that the settings of ``app`` demand.

    Raises
    ------
    OSError, ValueError
        As ``access.read_tokens`` and ``request_guard.allowed_hosts``.
    """
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    guard = RequestGuard(app, settings, uploads)
    if settings.token_file is not None:
        guard.app = TokenAccess(app, read_tokens(settings.token_file), guard.rate)
    # A foreign page whose name is resolved to this machine (DNS rebinding) is known by its Host.
    known = TrustedHostMiddleware(guard, allowed_hosts(settings), www_redirect=False)
    return Monitor(ResponseHeaders(known), metrics)

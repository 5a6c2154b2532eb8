"""Running an application on a socket that listens already."""

from __future__ import annotations

import contextlib
from typing import Any

from flowtoy_dagster.server.http.connections import server_options
from flowtoy_dagster.server.http.shutdown import Ending
from flowtoy_dagster.server.http.socket import Listener

GRACE = 1
"""Seconds that requests have to end when the server is asked to."""


def run_app(app: Any, listener: Listener) -> None:
    """Serve an ASGI application until SIGINT or SIGTERM."""
    import uvicorn

    options = server_options(
        log_config=None, log_level="critical", timeout_graceful_shutdown=GRACE, ws="none"
    )
    config = uvicorn.Config(app, **options)
    # It hands the signals on that it was ended by; that is the end which was asked for.
    with contextlib.suppress(KeyboardInterrupt), Ending():
        uvicorn.Server(config).run(sockets=[listener.socket])

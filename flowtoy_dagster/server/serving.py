"""Running an application on a socket that listens already."""

from __future__ import annotations

from typing import Any

from flowtoy_dagster.server.listening import Listener

GRACE = 1
"""Seconds that requests have to end when the server is asked to."""


def run_app(app: Any, listener: Listener) -> None:
    """Serve an ASGI application until SIGINT or SIGTERM."""
    import uvicorn

    config = uvicorn.Config(
        app,
        access_log=False,
        lifespan="off",
        log_config=None,
        log_level="critical",
        server_header=False,
        timeout_graceful_shutdown=GRACE,
        ws="none",
    )
    uvicorn.Server(config).run(sockets=[listener.socket])

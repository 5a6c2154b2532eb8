"""Bounds of what connections may cost a server: how many there are, and how long they may dawdle.

Each takes a file descriptor, and a process that has none left can't open its database: a run that
it carries would fail because somebody opened a thousand connections.
"""

from __future__ import annotations

import resource
from typing import Any

MOST_CONNECTIONS = 256
"""Connections at once; one more ends the one that has been idle for the longest time."""
BACKLOG = 64
"""Connections that are taken at one go."""
_RESERVED = 256
"""Descriptors that the rest of the process may need."""


def most_connections() -> int:
    """How many connections this process has descriptors for."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(16, min(MOST_CONNECTIONS, (allowed - _RESERVED) // 2))


def server_options(**more: Any) -> dict[str, Any]:
    """The options of uvicorn by which a server of ours keeps to the bounds, and `more`."""
    from flowtoy_dagster.server.http.bounded import IDLE, BoundedConnection

    return {
        "access_log": False,
        "backlog": BACKLOG,
        "http": type("Connection", (BoundedConnection,), {"most": most_connections(), "idle": {}}),
        "lifespan": "off",
        # The other one takes as many connections at one go as there are.
        "loop": "asyncio",
        "proxy_headers": False,
        "server_header": False,
        "timeout_keep_alive": int(IDLE),
        **more,
    }

"""Ports for programs that can't be given port 0."""

from __future__ import annotations

import os
import random
import socket

_FIRST, _LAST = 20_000, 30_000
"""Below those that systems give to connections and to servers on port 0."""
_given: set[int] = set()


def unused_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that nobody gets by chance meanwhile."""
    choice = random.Random(f"{os.getpid()} {os.urandom(8).hex()}")
    while True:
        port = choice.randrange(_FIRST, _LAST)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port

"""Which process is connected to a server of a test."""

from __future__ import annotations

import contextlib

import psutil


def connected_below(started: int, port: int) -> list[int]:
    """The processes below one that have connections to a port.

    Others, such as those of tests beside this one, may have had some to a server of that port
    before, and not have closed them.
    """
    found: list[int] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in psutil.Process(started).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if any(each.raddr and each.raddr.port == port
                       for each in one.net_connections("tcp")):
                    found.append(one.pid)
    return found

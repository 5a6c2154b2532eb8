"""What is written to stderr while a live area is on the terminal.

Warnings, the log, and what worker processes say would tear the area apart. Their descriptor is a
pipe meanwhile; what comes by it is printed above the area.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys

from flowtoy_dagster.engine.storage.logs.console_log import configure_log

_CAPACITY = 1 << 20
"""Bytes that may be written before anybody reads them."""
_SET_PIPE_SIZE = 1031
_CHUNK = 1 << 16


class StderrPipe:
    """From now on, stdout's and stderr's descriptors are a pipe, also for new processes."""

    def __init__(self) -> None:
        encoding = sys.stderr.encoding
        self.terminal = os.fdopen(os.dup(2), "w", encoding=encoding, errors="backslashreplace")
        self._before = {number: os.dup(number) for number in (1, 2)}
        self._reader, writer = os.pipe()
        with contextlib.suppress(OSError):  # the system may allow less
            fcntl.fcntl(writer, _SET_PIPE_SIZE, _CAPACITY)
        os.set_blocking(self._reader, False)
        for number in self._before:
            os.dup2(writer, number)
        os.close(writer)
        # Forks must not be the ones that their own words wait for, when this process is gone.
        os.register_at_fork(after_in_child=self._forget)
        self._rest = b""
        configure_log()

    def lines(self) -> list[str]:
        """The whole lines that have come by now."""
        *lines, self._rest = (self._rest + self._read()).split(b"\n")
        return [line.decode("utf-8", "replace").rstrip("\r") for line in lines]

    def release(self) -> list[str]:
        """Make the descriptors what they were; gives the lines that were left in the pipe."""
        for number, before in self._before.items():
            os.dup2(before, number)
            os.close(before)
        configure_log()
        left = self._rest + self._read()
        self._forget()
        return left.decode("utf-8", "replace").splitlines()

    def _forget(self) -> None:
        if self._reader >= 0:
            os.close(self._reader)
            self._reader = -1

    def _read(self) -> bytes:
        data = b""
        while True:
            try:
                chunk = os.read(self._reader, _CHUNK)
            except BlockingIOError:
                return data
            if not chunk:
                return data
            data += chunk

"""Keeps what one step changes in its worker's process from the next step."""

import contextlib
import logging
import os
import signal
import socket
import sys
import threading

# That of `signal` tries each handler as the name of one, for 64 signals, twice a step.
from _signal import getsignal  # type: ignore[import-not-found]
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from typing_extensions import Self

from flowtoy_dagster.engine.storage.connections.answer_limit import WATCH
from flowtoy_dagster.machine.kept_threads import IDLE
from flowtoy_dagster.machine.working_directory import working_directory

_OF_THE_RUN = frozenset({signal.SIGINT, signal.SIGTERM})
"""The signals by which a run is interrupted; they are not forgotten."""

_SIGNALS = tuple(sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}))
_HARMLESS = ("fsspecIO", "asyncio_", "gcsfs-deferred-close", IDLE, WATCH)
"""Threads that may stay: those of fsspec and gcsfs, which read and write objects (one for all, some
that look up hosts, one that closes files), and our own while they have nothing to do, or see that
the database answers.
"""


class Isolation:
    """On leaving, undoes changes of the environment, the working directory, the umask, the module
    search path, signals, timers and logging; `tainted` says whether something can't be undone.

    One serves all steps of a worker, one after another: what it puts back is what the first found.

    Args:
        environment: what each step starts with.
        directory: where each step starts; None where that was deleted before the run.
    """

    def __init__(self, environment: Mapping[str, str], directory: str | None) -> None:
        fsencode = os.fsencode
        self._environment = {fsencode(name): fsencode(environment[name]) for name in environment}
        self._directory = directory
        self._has_looked = False
        self.tainted = False

    def __enter__(self) -> Self:
        # Another process may have made the folder anew.
        self._restore_directory()
        if not self._has_looked:
            self._restore_environment()
            self._look()
            self._has_looked = True
        # A step that ended well may have brought loggers along.
        self._logging = _logging_state()
        return self

    def _look(self) -> None:
        """Note what there is before the first step."""
        self._umask = os.umask(0)
        os.umask(self._umask)
        self._path = list(sys.path)
        self._streams = (sys.stdin, sys.stdout, sys.stderr)
        self._threads = set(threading.enumerate())
        self._signals = {
            number: getsignal(number) for number in _SIGNALS
        }
        self._blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._socket_timeout = socket.getdefaulttimeout()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore_environment()
        self._restore_directory()
        os.umask(self._umask)
        sys.path[:] = self._path
        sys.stdin, sys.stdout, sys.stderr = self._streams
        socket.setdefaulttimeout(self._socket_timeout)
        self._restore_signals()
        _restore_logging(self._logging)
        self.tainted = any(
            thread.is_alive() for thread in threading.enumerate()
            if thread not in self._threads and not thread.name.startswith(_HARMLESS)
        )

    def _restore_signals(self) -> None:
        """Stop timers, put handlers back, and forget what was sent while it was blocked."""
        # First of all: a timer that rings when its handler is gone would end the worker.
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ()) - self._blocked
        for number in blocked & self._signals.keys() - _OF_THE_RUN:
            signal.signal(number, signal.SIG_IGN)  # this drops it where it waits
        for number, handler in self._signals.items():
            if getsignal(number) is not handler and handler is not None:
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked)

    def _restore_environment(self) -> None:
        # As bytes: to decode each variable after each step takes longer than to compare them.
        if dict(os.environb) != self._environment:
            os.environb.clear()
            os.environb.update(self._environment)

    def _restore_directory(self) -> None:
        if self._directory is not None and working_directory() != self._directory:
            # Where the folder is gone, it is so for the one who started the run.
            with contextlib.suppress(OSError):
                os.chdir(self._directory)


def _loggers() -> dict[str, logging.Logger]:
    known = logging.root.manager.loggerDict
    found = {name: logger for name, logger in known.items() if isinstance(logger, logging.Logger)}
    return {"": logging.root, **found}


def _logging_state() -> dict[str, Any]:
    return {
        name: (logger.level, list(logger.handlers), logger.propagate, logger.disabled)
        for name, logger in _loggers().items()
    } | {"\0": logging.root.manager.disable}


def _restore_logging(state: Mapping[str, Any]) -> None:
    logging.disable(state["\0"])
    for name, logger in _loggers().items():
        if name in state:
            level, handlers, propagate, disabled = state[name]
            if logger.level != level:
                logger.setLevel(level)
            if logger.handlers != handlers:
                logger.handlers[:] = handlers
            logger.propagate, logger.disabled = propagate, disabled
        elif logger.handlers or logger.level:
            logger.handlers.clear()
            logger.setLevel(logging.NOTSET)

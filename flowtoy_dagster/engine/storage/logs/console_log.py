"""flowtoy's own log: on the console from which the run was started, in every process of it."""

import contextlib
import logging
import logging.config
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from flowtoy_dagster.steps.state.mask import SharedMask, StepMask
from flowtoy_dagster.terminal import plain_lines

LEVEL_VARIABLE = "FLOWTOY_LOG_LEVEL"
LEVELS = ("debug", "info", "warning", "error")
NO_CONSOLE = {"console": {"config": {"log_level": "CRITICAL"}}}
"""The `loggers` of a run, in Dagster's sense, whose events bury nothing on the console: all of them
are in the event log.
"""

_POOLS = ("sqlalchemy.pool.impl.NullPool", "sqlalchemy.pool.impl.QueuePool")


class _MaskedFormatter(logging.Formatter):
    """Hides what the steps that run in this process know to be secret."""

    def __init__(self, style: str) -> None:
        super().__init__(style)
        self.mask = SharedMask()

    def format(self, record: logging.LogRecord) -> str:
        return plain_lines(self.mask.text(super().format(record)))


def set_log_level(level: str) -> None:
    """Show the log from `level` on, in this process and those it starts."""
    os.environ[LEVEL_VARIABLE] = level
    configure_log()


@contextlib.contextmanager
def log_masked_by(mask: StepMask) -> Iterator[None]:
    """Hide in our log, too, what a step knows to be secret, while it runs."""
    with contextlib.ExitStack() as stack:
        for handler in logging.getLogger("flowtoy").handlers:
            if isinstance(handler.formatter, _MaskedFormatter):
                stack.enter_context(handler.formatter.mask.including(mask))
        yield


def configure_log() -> None:
    """Show the log as the environment says.

    It goes to what stderr is now, also while a step's stderr is captured.
    """
    level = os.environ.get(LEVEL_VARIABLE, "warning")
    logger = logging.getLogger("flowtoy")
    logger.setLevel(level.upper() if level in LEVELS else "WARNING")
    stream = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_MaskedFormatter("%(levelname)s %(name)s: %(message)s"))
    for old in logger.handlers:
        old.close()
    logger.handlers = [handler]
    logger.propagate = False
    for name in _POOLS:
        logging.getLogger(name).addFilter(_is_no_interrupt)


def _is_no_interrupt(record: logging.LogRecord) -> bool:
    """Whether a line of SQLAlchemy's tells of more than that the process is being ended.

    It logs with a traceback what breaks off the end of a connection, and raises it all the same.
    """
    error = record.exc_info[1] if record.exc_info else None
    return error is None or isinstance(error, Exception)


def build_handlers(config: Mapping[str, Any]) -> list[logging.Handler]:
    """The handlers of a configuration for `logging.config`, with nothing else of it applied.

    `dictConfig` would first close all handlers that this process has.

    Args:
        config: with `handlers`, and perhaps `formatters` and `filters`.

    Raises:
        ValueError: a handler can't be made.
    """
    maker = logging.config.DictConfigurator({"version": 1, **config})
    makers = {
        "formatters": maker.configure_formatter,
        "filters": maker.configure_filter,
        "handlers": maker.configure_handler,
    }
    for kind, make in makers.items():
        made: Any = maker.config.get(kind) or {}
        for name in sorted(made):
            made[name] = make(made[name])
    return list((maker.config.get("handlers") or {}).values())


class _KeptLevel:
    """The level of a logger that runs in several threads change, and none may change for good."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)
        self._lock = threading.Lock()
        self._users = 0
        self._level = logging.NOTSET

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Set the level back when the last one leaves."""
        with self._lock:
            if not self._users:
                self._level = self._logger.level
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users and self._logger.level != self._level:
                    self._logger.setLevel(self._level)


dagster_level = _KeptLevel("dagster")
"""Dagster sets its own logger to DEBUG at the start of each run."""

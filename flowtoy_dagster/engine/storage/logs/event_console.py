"""Dagster's console of a run's events, made when there is something to show on it.

To make it takes 5 ms, and `flowtoy run` shows nothing there: its progress is what people see.
"""

import logging
from collections.abc import Callable
from typing import Any

from dagster import InitLoggerContext, LoggerDefinition, colored_console_logger


class _MadeLate(logging.Handler):
    """A handler that hands records to a logger, made for the first of them."""

    def __init__(self, make: Callable[[], logging.Logger]) -> None:
        super().__init__()
        self._make = make
        self._logger: logging.Logger | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self._logger is None:
            self._logger = self._make()
        self._logger.handle(record)


def _console(context: InitLoggerContext) -> logging.Logger:
    config: Any = context.logger_config
    # It is known to nobody else, as Dagster's own is not.
    logger = logging.Logger(config["name"], config["log_level"].upper())  # noqa: LOG001
    logger.addHandler(_MadeLate(lambda: colored_console_logger.logger_fn(context)))
    return logger


event_console = LoggerDefinition(
    _console, colored_console_logger.config_schema, colored_console_logger.description
)
"""The logger `console` of a flow's job, with Dagster's own configuration."""

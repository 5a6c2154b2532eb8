"""flowtoy's own log: on the console of whoever started the run, in every process of it."""

import logging
import os

from flowtoy_dagster.secrets import active_mask

LEVEL_VARIABLE = "FLOWTOY_LOG_LEVEL"
LEVELS = ("debug", "info", "warning", "error")


class _MaskedFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return active_mask().text(super().format(record))


def set_log_level(level: str) -> None:
    """Show the log from `level` on, in this process and those it starts."""
    os.environ[LEVEL_VARIABLE] = level
    configure_log()


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

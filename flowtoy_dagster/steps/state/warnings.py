"""What an attempt warns of, for those that show the run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import NamedTuple

from flowtoy_dagster.flow.files.nodes import KeyPath

logger = logging.getLogger("flowtoy.step")

MOST = 20
"""Warnings of one attempt that are shown with the run: each is an event in its history."""


class Warned(NamedTuple):
    """A warning of a step; nothing in it is secret.

    Attributes:
        message: in one or a few plain lines.
        path: the keys and indexes, within the step as written, of what it is about; empty for the
            step itself. No file, as a worker does not have the flow's files: who shows the warning
            adds the place.
    """

    message: str
    path: KeyPath = ()


Tell = Callable[[Warned], None]


class Warnings:
    """The warnings of one attempt; its threads may add to them at the same time.

    Args:
        tell: takes each that is new; by default the log does.
    """

    def __init__(self, tell: Tell | None = None) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._known: set[Warned] = set()

    def add(self, step: str, warned: Warned) -> None:
        """Warn once of the same. What is too much for the history goes to the log alone.

        Args:
            step: the name of the step.
            warned: what to warn of.
        """
        with self._lock:
            is_known, is_full = warned in self._known, len(self._known) >= MOST
            if not is_known and not is_full:
                self._known.add(warned)
        if is_known:
            return
        if self._tell is None or is_full:
            logger.warning("step '%s': %s", step, warned.message)
        else:
            self._tell(warned)

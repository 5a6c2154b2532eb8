"""Which step of a run writes to which place, for all processes of the run (language 20.3)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from flowtoy_dagster.store.files import locked_file


class RunPlaces:
    """The places to which steps of one run write files.

    Args:
        folder: makes the folder in which a small file for each place is, and gives it.
    """

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._folder = folder

    def take(self, place: str, step: str) -> str | None:
        """Note that a step writes to a place.

        Returns:
            None, or the name of the other step that does already.

        Raises:
            OSError: it can't be noted.
        """
        with locked_file(self._path(place), alone=True) as file:
            owner = file.read().decode()
            if not owner:
                os.pwrite(file.fileno(), step.encode(), 0)
            return None if owner in ("", step) else owner

    def free(self, place: str, step: str) -> None:
        """Note that a step has written nothing there.

        Raises:
            OSError: it can't be noted.
        """
        with locked_file(self._path(place), alone=True) as file:
            if file.read().decode() == step:
                os.ftruncate(file.fileno(), 0)

    def _path(self, place: str) -> Path:
        return self._folder() / hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()

"""Files that grow on this machine, uploaded to a store while they do."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from flowtoy_dagster.store.store import Store

INTERVAL = 2.0
"""Seconds between two looks at whether a file has grown; others see it within 5."""
_LOG = logging.getLogger("flowtoy.store")


@contextlib.contextmanager
def uploaded(store: Store, files: Mapping[str, Path]) -> Iterator[None]:
    """While the block runs, and at its end, upload files that have grown.

    What can't be uploaded is logged once, and tried again: it is no failure of who writes them.

    Args:
        store: where they go.
        files: by their keys there.
    """
    done = threading.Event()
    growing = [_Growing(store, key, path) for key, path in files.items()]

    def keep_uploading() -> None:
        while not done.wait(INTERVAL):
            for file in growing:
                file.upload()

    thread = threading.Thread(target=keep_uploading, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        for file in growing:
            file.upload()


class _Growing:
    """A file that grows."""

    def __init__(self, store: Store, key: str, path: Path) -> None:
        self._store = store
        self._key = key
        self._path = path
        self._size = 0
        self._is_told = False

    def upload(self) -> None:
        """Upload it, if it has grown."""
        try:
            size = self._path.stat().st_size
            if size == self._size:
                return
            with self._path.open("rb") as file, self._store.writer(self._key) as target:
                shutil.copyfileobj(file, target)
            self._size = size
        except FileNotFoundError:
            return  # nothing was written yet
        except OSError as error:
            if not self._is_told:
                self._is_told = True
                _LOG.warning("what the step prints can't be uploaded: %s", error)


def part_of(store: Store, key: str, offset: int, most: int | None) -> tuple[bytes | None, int]:
    """A part of a piece, and where the next part begins; None where there is no such piece."""
    try:
        with store.open(key) as file:
            # What was replaced by something shorter has no more.
            start = min(offset, file.seek(0, os.SEEK_END))
            file.seek(start)
            data = file.read() if most is None else file.read(most)
    except FileNotFoundError:
        return None, offset
    return data, start + len(data)

"""Which saved configurations are held by a code location, so that nobody deletes them.

A code location refers to them for as long as it is loaded, without a run that would tell of it.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from flowtoy_dagster.engine.home import SAVED_CONFIGS, write_private

_SUFFIX = ".held"


def hold(home: Path, location: str, references: Iterable[str]) -> None:
    """Hold configurations for a code location, in the place of those that it held before.

    Args:
        home: the home folder, with at least one configuration saved.
        location: what tells the location from others.
        references: the hashes of the configurations.
    """
    name = hashlib.sha256(location.encode()).hexdigest()
    path = home / SAVED_CONFIGS / f"{name}{_SUFFIX}"
    text = json.dumps(sorted(references)).encode()
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == text:
            return
    write_private(path, text)


def held(home: Path) -> set[str]:
    """The hashes of all configurations that some code location holds."""
    found: set[str] = set()
    for path in (home / SAVED_CONFIGS).glob(f"*{_SUFFIX}"):
        found.update(json.loads(path.read_bytes()))
    return found

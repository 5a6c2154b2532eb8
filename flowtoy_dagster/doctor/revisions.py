"""Whether the tables of a history are those of the Dagster that is installed."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

from flowtoy_dagster.health import Health

PART = "database"
_SCRIPTS = ("_core", "storage", "alembic", "versions")
_REVISION = re.compile(r"^(down_)?revision(?:: \S+)? = [\"'](\w+)[\"']", re.MULTILINE)


def examine_revision(revision: str | None, *, renews_itself: bool) -> Iterator[Health]:
    """A fault where the tables are of another version.

    Args:
        revision: what the tables say; None where they say nothing.
        renews_itself: whether the next command changes tables of an older version.
    """
    known, latest = known_revisions()
    if revision is None or not known:
        return
    if revision not in known:
        yield Health(PART, "fault", "the tables are of a newer version of Dagster",
                     "install that version: pip install --upgrade flowtoy-dagster dagster")
    elif revision not in latest and not renews_itself:
        yield Health(PART, "fault", "the tables are of an older version of Dagster",
                     "when nothing runs, with DAGSTER_HOME set: dagster instance migrate")


def known_revisions() -> tuple[set[str], set[str]]:
    """The revisions that the installed Dagster knows, and the latest of them.

    They are read, not loaded: nothing of Dagster is imported.
    """
    spec = importlib.util.find_spec("dagster")
    folder = Path(spec.origin or "" if spec else "").parent.joinpath(*_SCRIPTS)
    known: set[str] = set()
    older: set[str] = set()
    for path in folder.glob("*.py"):
        for is_older, name in _REVISION.findall(path.read_text(encoding="utf-8")):
            (older if is_older else known).add(name)
    return known, known - older

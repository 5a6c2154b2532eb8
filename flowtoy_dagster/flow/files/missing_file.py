"""What may have been meant by the path of a configuration that can't be read."""

from __future__ import annotations

import os
import re
from pathlib import Path

from flowtoy_dagster.flow.files.suffixes import OF_TESTS, YAML
from flowtoy_dagster.flow.files.suggestions import nearest

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_LISTED = 6


def missing_file_hint(path: str) -> str | None:
    """A hint for a path that is no file: a file with a similar name, or those in the folder."""
    if _URL.match(path):
        return "only files can be read, and - for standard input"
    if os.path.islink(path):
        return f"it is a link to '{os.readlink(path)}', which does not exist"
    is_folder = os.path.isdir(path)
    folder = Path(path) if is_folder else Path(path).parent
    try:
        names = sorted(
            name for name in os.listdir(folder)
            if name.endswith(YAML) and not name.endswith(OF_TESTS)
        )
    except OSError:
        return None
    shown = {name: str(folder / name) for name in names}
    wanted = "" if is_folder else Path(path).name
    near = next((name for name in names if Path(name).stem == wanted), None)
    near = near or nearest(wanted, names).match
    if near is not None:
        return f"did you mean '{shown[near]}'?"
    if not names:
        return f"there are no YAML files in '{folder}'" if str(folder) != "." else (
            "there are no YAML files in this folder"
        )
    if is_folder:
        name = next((name for name in names if Path(name).stem == "flow"), names[0])
        return f"name a file in it, such as '{shown[name]}'"
    listed = ", ".join(f"'{shown[name]}'" for name in names[:_LISTED])
    return f"YAML files here: {listed}{', …' if len(names) > _LISTED else ''}"

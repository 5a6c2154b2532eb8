"""Which files of folders are read: how names of flows and their tests end, what they are."""

from __future__ import annotations

import os
import stat

YAML = (".yaml", ".yml")
OF_TESTS = (".test.yaml", ".test.yml")


def is_special(path: str | os.PathLike[str]) -> bool:
    """Whether something in a folder is a pipe, a socket or a device, whose end nobody knows."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False  # whoever reads it says why that can't be done
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))

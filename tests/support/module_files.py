"""Modules that tests load from a file: what stands in a folder of tests is in no package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any


def load(path: Path, name: str | None = None) -> Any:
    """The module in a file; from here on tests can import it by its name.

    Args:
        path: the file.
        name: of the module; by default that of the file. What has this name already is returned.
    """
    name = name or path.stem
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]

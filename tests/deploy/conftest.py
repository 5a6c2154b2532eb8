"""What the tests of deployments have in common."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def _load(name: str, path: str) -> None:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


_load("team_dagster", "team_dagster.py")

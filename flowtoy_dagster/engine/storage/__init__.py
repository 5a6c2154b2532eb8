"""Where the history of runs lives: the home, its databases and its logs.

The two classes are named by this address in the `dagster.yaml` of every home.
"""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = {"WarmStorage": "sqlite", "DirectComputeLogManager": "logs.compute_logs"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)

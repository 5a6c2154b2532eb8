"""What several commands need: options, printing, execution and the status API."""

from __future__ import annotations

import gc
import importlib
import os

# Pydantic reads the metadata of every installed package for plugins before it builds a model:
# a tenth of the time of a small run. Typer does the same for its own.
_NO_PLUGINS = "PYDANTIC_DISABLE_PLUGINS"


def collect_garbage_again() -> None:
    """Turn Python's collector on. The command line turns it off while modules load.

    A command that works on calls it when they are loaded: garbage holds what a flow has read, too.
    """
    gc.enable()


def import_quickly(*modules: str) -> None:
    """Import modules, with pydantic's plugins left out of the models that they define."""
    before = os.environ.get(_NO_PLUGINS)
    os.environ[_NO_PLUGINS] = before or "1"
    try:
        for name in modules:
            importlib.import_module(name)
    finally:
        if before is None:
            # Steps see the environment as it was.
            del os.environ[_NO_PLUGINS]

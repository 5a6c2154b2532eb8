"""What several commands need: options, printing, execution and the status API."""

from __future__ import annotations

import gc
import importlib

from flowtoy_dagster.engine.executors.warm.loading.plugins import without_plugins


def collect_garbage_again() -> None:
    """Turn Python's collector on. The command line turns it off while modules load.

    A command that works on calls it when they are loaded: garbage holds what a flow has read, too.
    """
    gc.enable()


def import_quickly(*modules: str) -> None:
    """Import modules, with pydantic's plugins left out of the models that they define."""
    with without_plugins():
        for name in modules:
            importlib.import_module(name)

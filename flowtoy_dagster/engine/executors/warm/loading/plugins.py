"""Models of pydantic without its plugins.

Pydantic reads the metadata of every installed package for plugins before it builds a model: a tenth
of the time of a small run. No pydantic in here.
"""

import contextlib
import os
from collections.abc import Iterator

from flowtoy_dagster.engine.executors.warm.loading.lazy_imports import deferred

_NO_PLUGINS = "PYDANTIC_DISABLE_PLUGINS"


@contextlib.contextmanager
def without_plugins() -> Iterator[None]:
    """Leave plugins out of the models that are built meanwhile."""
    before = os.environ.get(_NO_PLUGINS)
    os.environ[_NO_PLUGINS] = before or "1"
    try:
        yield
    finally:
        if before is None:
            # Steps see the environment as it was.
            os.environ.pop(_NO_PLUGINS, None)


@contextlib.contextmanager
def without_search() -> Iterator[None]:
    """The same, and what would look for plugins is imported when somebody else looks for some.

    Nothing else may use `importlib.metadata` meanwhile.
    """
    with without_plugins(), deferred("importlib.metadata"):
        yield

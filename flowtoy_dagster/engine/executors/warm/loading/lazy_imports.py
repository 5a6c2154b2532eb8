"""Modules that others import and a run never uses, imported when something of them is used.

Dagster imports its migrations' library and its daemon wherever a storage is opened: a fifth of the
time that a small run takes. No Dagster in here.
"""

import contextlib
import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any


class _Deferred:
    """Stands for a value of a deferred module; turns into it when it is used.

    While imports are deferred, using it gives another one: modules make loggers as they load.
    """

    def __init__(self, window: "_Window", resolve: Callable[[], Any]) -> None:
        self._window = window
        self._resolve = resolve

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._window.open:
            return _Deferred(self._window, lambda: self._resolve()(*args, **kwargs))
        return self._resolve()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if self._window.open:
            return _Deferred(self._window, lambda: getattr(self._resolve(), name))
        return getattr(self._resolve(), name)


class _Window:
    """The time in which imports are deferred."""

    open = True


class _Placeholder(types.ModuleType):
    """What `import` finds instead of a deferred module."""

    def __init__(self, name: str, window: _Window) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self._window = window

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        resolve = _resolver(self.__name__, name)
        return _Deferred(self._window, resolve) if self._window.open else resolve()


def _resolver(module: str, name: str) -> Callable[[], Any]:
    return lambda: getattr(importlib.import_module(module), name)


@contextlib.contextmanager
def deferred(*names: str) -> Iterator[None]:
    """Defer the import of modules by what is imported meanwhile, and by nothing after it.

    Args:
        names: each module that is deferred, packages and their modules alike. Those that are
            imported already are used as they are.
    """
    window = _Window()
    waiting = {name: _Placeholder(name, window) for name in names if name not in sys.modules}
    with _instead(waiting):
        try:
            yield
        finally:
            window.open = False


@contextlib.contextmanager
def without_contents(*names: str) -> Iterator[None]:
    """Let modules of packages be imported meanwhile without what the packages import themselves.

    Args:
        names: of packages. Those that are imported already stay as they are.
    """
    missing = (name for name in names if name not in sys.modules)
    specs = filter(None, map(importlib.util.find_spec, missing))
    with _instead({spec.name: importlib.util.module_from_spec(spec) for spec in specs}):
        yield


@contextlib.contextmanager
def _instead(modules: Mapping[str, types.ModuleType]) -> Iterator[None]:
    """What `import` finds meanwhile, by name."""
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in modules.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]

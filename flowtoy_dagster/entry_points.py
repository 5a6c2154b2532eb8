"""Kinds of things by name: those of flowtoy's own, and those that installed packages bring.

The built-in ones are listed with their addresses, because reading the metadata of all installed
packages is slow: it is done for a name that the list does not have, and nothing else.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

K = TypeVar("K")


class KindUnusable(Exception):  # noqa: N818 - what it is
    """A kind that is installed and can't be used; the text says why."""


class Kinds(Generic[K]):
    """The kinds of one entry point group.

    Args:
        group: the entry point group.
        noun: what one of them is called in messages (`provider`).
        builtin: the addresses (`module:attribute`) of the built-in ones by name. No package can
            take the place of one.
        adapt: makes the kind of a name and of what its address holds; raises KindUnusable where
            that is none.
    """

    def __init__(
        self,
        group: str,
        noun: str,
        builtin: Mapping[str, str],
        adapt: Callable[[str, Any], K],
    ) -> None:
        self.group = group
        self.builtin = builtin
        self._noun = noun
        self._adapt = adapt
        self._loaded: dict[str, K] = {}

    def __getitem__(self, name: str) -> K:
        """The kind of that name, imported when it is first asked for.

        Raises:
            KeyError: there is none.
            KindUnusable: it can't be used; says why.
        """
        found = self._loaded.get(name)
        if found is None:
            # Two threads that load the same get the same.
            found = self._loaded.setdefault(name, self._load(name))
        return found

    def why_unusable(self, name: str) -> str | None:
        """Why a kind that is listed can't be used, or None."""
        try:
            self[name]
        except KindUnusable as error:
            return str(error)
        return None

    def names(self) -> Collection[str]:
        """The names of all kinds, the built-in ones first."""
        return _Names(self)

    @functools.cached_property
    def installed(self) -> Mapping[str, tuple[EntryPoint, ...]]:
        """What packages bring; more than one where several packages have the same name."""
        # Slow to import, and needed for what is not built-in alone.
        from importlib.metadata import entry_points

        found: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self.group):
            same = found.setdefault(point.name, [])
            if point.name not in self.builtin and point.value not in [p.value for p in same]:
                same.append(point)
        return {name: tuple(points) for name, points in found.items() if points}

    def _load(self, name: str) -> K:
        address = self.builtin.get(name)
        if address is not None:
            module, _, attribute = address.partition(":")
            return self._adapt(name, getattr(importlib.import_module(module), attribute))
        point, *others = self.installed[name]
        if others:
            listed = " and ".join(f"{package_of(p)} ({p.value})" for p in (point, *others))
            raise KindUnusable(
                f"several packages provide the {self._noun} '{name}': {listed}; "
                "uninstall all but one"
            )
        try:
            loaded = point.load()
        except (Exception, SystemExit) as error:
            raise KindUnusable(
                f"the {self._noun} '{name}' ({point.value}) fails to import: "
                f"{type(error).__name__}: {error}"
            ) from error
        try:
            return self._adapt(name, loaded)
        except KindUnusable as error:
            raise KindUnusable(f"the {self._noun} '{name}' ({point.value}) {error}") from None
        except Exception as error:
            raise KindUnusable(
                f"the {self._noun} '{name}' ({point.value}) can't be made: "
                f"{type(error).__name__}: {error}"
            ) from error


def package_of(point: EntryPoint) -> str:
    """The package that brings an entry point, in words."""
    name = package_name(point)
    return f"the package '{name}'" if name is not None else "a package"


def package_name(point: EntryPoint) -> str | None:
    """The name of the package that brings an entry point, where that is known."""
    return point.dist.name if point.dist is not None else None


class _Names(Collection[str]):
    """The built-in names, and the installed ones, which are looked for where they are needed."""

    def __init__(self, kinds: Kinds[Any]) -> None:
        self._kinds = kinds

    def __contains__(self, name: object) -> bool:
        return name in self._kinds.builtin or name in self._kinds.installed

    def __iter__(self) -> Iterator[str]:
        return chain(self._kinds.builtin, self._kinds.installed)

    def __len__(self) -> int:
        return len(self._kinds.builtin) + len(self._kinds.installed)


def instance_of(base: type[K], loaded: Any) -> K | None:
    """The kind in what an entry point holds: an instance of `base`, or a subclass; else None."""
    if isinstance(loaded, type) and issubclass(loaded, base):
        return loaded()
    return loaded if isinstance(loaded, base) else None


def text_tuple(value: Any, attribute: str) -> tuple[str, ...]:
    """The names in a kind's attribute.

    Raises:
        KindUnusable: it is no collection of texts.
    """
    is_collection = isinstance(value, Collection) and not isinstance(value, (str, bytes))
    if not is_collection or not all(isinstance(item, str) for item in value):
        raise KindUnusable(f"has a '{attribute}' that is not a list of texts: {value!r}")
    return tuple(value)

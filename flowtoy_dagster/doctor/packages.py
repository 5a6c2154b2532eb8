"""The versions of Python and of what flowtoy needs."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from flowtoy_dagster.health import Health

PACKAGE = "flowtoy-dagster"
PART = "packages"


def examine_packages() -> Iterator[Health]:
    """The versions that run, and those that do not fit."""
    try:
        own = version(PACKAGE)
    except PackageNotFoundError:
        yield Health(PART, "fault", f"{PACKAGE} is not installed here: its versions are unknown",
                     f"pip install {PACKAGE}")
        return
    python = platform.python_version()
    yield Health(PART, "ok", f"{PACKAGE} {own}, Dagster {_version_of('dagster') or 'missing'}, "
                             f"Python {python} on {platform.system()} {platform.machine()}")
    yield from _misfits(python)


def _misfits(python: str) -> Iterator[Health]:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    wanted = metadata(PACKAGE)["Requires-Python"]
    if wanted and not SpecifierSet(wanted).contains(python, prereleases=True):
        yield Health(PART, "fault", f"Python {python} does not fit: {PACKAGE} needs {wanted}",
                     f"install {PACKAGE} with such a Python")
    for text in requires(PACKAGE) or ():
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = _version_of(requirement.name)
        if found is None:
            yield Health(PART, "fault", f"{requirement.name} is not installed",
                         f"pip install '{requirement.name}{requirement.specifier}'")
        elif not requirement.specifier.contains(found, prereleases=True):
            yield Health(
                PART, "fault",
                f"{requirement.name} {found} does not fit: needed is {requirement.specifier}",
                f"pip install '{requirement.name}{requirement.specifier}'",
            )


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

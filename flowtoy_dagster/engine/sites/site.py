"""What a machine has that runs steps, or hands them out: which files, and which versions.

Where files or the version of messages differ, a worker can't run the steps of a run. Both are in
the *route* of a message, by which a worker gets those alone that it can deal with.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from typing_extensions import Self

from flowtoy_dagster.errors import HomeError, system_reason
from flowtoy_dagster.masking.mask import Mask, deployment_secrets, secret_values_in
from flowtoy_dagster.store.shared.identity import identity_of_files, known_identity_of_files
from flowtoy_dagster.store.shared.shared_files import FILES_VARIABLE, shared_place

PACKAGE = "flowtoy-dagster"
MESSAGES = 1
"""The version of the messages by which machines hand steps out here."""


@dataclass(frozen=True)
class Difference:
    """What is not the same on another machine.

    Attributes:
        text: what is there, and what is here.
        fix: what to do on the other machine.
    """

    text: str
    fix: str


@dataclass(frozen=True)
class Site:
    """What a machine has.

    Attributes:
        version: of flowtoy-dagster.
        python: the version of Python, `3.12.1`.
        messages: the version of the messages that it sends or takes.
        files: the identity of its shared files; empty where they have none yet.
        place: what these are called there.
    """

    version: str
    python: str
    messages: int
    files: str
    place: str

    @classmethod
    def of_here(cls, home: str | Path) -> Self:
        """What this machine has; gives the shared files an identity where they have none.

        Raises:
            HomeError: the shared files can't be read or written, or do not answer.
        """
        try:
            files = identity_of_files(home)
        except OSError as error:
            reason = system_reason(error)
            raise HomeError(
                f"{shared_place(home)} can't be used: {reason}\n    check {FILES_VARIABLE}"
            ) from None
        return cls._with(home, files)

    @classmethod
    def seen_here(cls, home: str | Path) -> Self:
        """The same, for who only looks: nothing is made.

        Raises:
            HomeError: `FLOWTOY_FILES` can't be used.
            OSError: the shared files can't be read, or do not answer.
        """
        return cls._with(home, known_identity_of_files(home))

    @classmethod
    def _with(cls, home: str | Path, files: str) -> Self:
        environment = dict(os.environ)
        value = {"": environment.get(FILES_VARIABLE, "")}
        mask = Mask({*deployment_secrets(environment), *secret_values_in(value)})
        return cls(
            own_version(), platform.python_version(), MESSAGES, files,
            mask.text(shared_place(home)),
        )

    @classmethod
    def decode(cls, text: str | None) -> Self | None:
        """What another machine has written of itself; None where it is of another version."""
        try:
            found = json.loads(text or "null")
            return cls(
                str(found["version"]), str(found["python"]), int(found["messages"]),
                str(found["files"]), str(found["place"]),
            )
        except (ValueError, KeyError, TypeError):
            return None

    def encode(self) -> str:
        """For other machines to see."""
        return json.dumps(asdict(self))

    @property
    def route(self) -> str:
        """12 hexadecimal digits, the same for all who can run each other's steps."""
        return hashlib.sha256(f"{self.messages}/{self.files}".encode()).hexdigest()[:12]

    def misfits(self, other: Site | None) -> Iterator[Difference]:
        """Why another machine can't run the steps that are handed out here.

        Args:
            other: what it has; None where it says nothing of itself.
        """
        if other is None:
            yield Difference(
                "has another version of flowtoy-dagster, which does not say what files it has",
                f"pip install '{PACKAGE}=={self.version}' there, and start the worker again",
            )
            return
        if other.messages != self.messages:
            yield Difference(
                f"has messages of version {other.messages} ({PACKAGE} {other.version}), not "
                f"{self.messages} ({PACKAGE} {self.version}) as here",
                f"pip install '{PACKAGE}=={self.version}' there, and start the worker again",
            )
        if other.files != self.files:
            also = " too, but not the same" if self.place == other.place else ""
            yield Difference(
                f"has other files ({FILES_VARIABLE}): {other.place} there, {self.place} here{also}",
                f"set {FILES_VARIABLE} there to what is used here, and start the worker again",
            )

    def variations(self, other: Site | None) -> Iterator[Difference]:
        """What should be the same on another machine, and is not, although steps can run there."""
        if other is None:
            return
        if other.version != self.version and other.messages == self.messages:
            yield Difference(
                f"has {PACKAGE} {other.version}, not {self.version} as here",
                f"pip install '{PACKAGE}=={self.version}' there, and start the worker again",
            )
        if _minor(other.python) != _minor(self.python):
            yield Difference(
                f"has Python {other.python}, not {_minor(self.python)} as here",
                f"install {PACKAGE} with Python {_minor(self.python)} there, and start the worker "
                "again",
            )


def own_version() -> str:
    """The version of flowtoy-dagster that runs."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return "unknown"


def _minor(python: str) -> str:
    return ".".join(python.split(".")[:2])

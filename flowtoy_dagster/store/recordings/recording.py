"""A recording: a folder with a file for each call of a run, and `recording.json` about the run."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from flowtoy_dagster.errors import RunError, UsageError, system_reason
from flowtoy_dagster.json_text import loads
from flowtoy_dagster.machine.working_directory import DELETED, absolute
from flowtoy_dagster.store.files import make_private_folder, write_whole

Mode = Literal["record", "replay"]
FORMAT = 1
ABOUT = "recording.json"
_OF_CALLS = ".json"


class UnreadableRecordingError(Exception):
    """A file of a recording can't be read; says why."""


class Recording(NamedTuple):
    """What a run is recorded to, or replayed from.

    Attributes:
        folder: an absolute path.
        mode: which of the two.
    """

    folder: Path
    mode: Mode

    @property
    def replays(self) -> bool:
        """Whether calls are answered from it."""
        return self.mode == "replay"

    def facts(self) -> dict[str, str]:
        """It as plain data."""
        return {"folder": str(self.folder), "mode": self.mode}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Recording:
        """It in what `facts` gave."""
        return cls(Path(facts["folder"]), facts["mode"])

    @property
    def about(self) -> dict[str, Any]:
        """What is known of the recorded run.

        Raises:
            UnreadableRecordingError: it can't be read.
        """
        return _read(self.folder / ABOUT)

    def begin(self, flow: str) -> None:
        """Make the folder of a new recording, which belongs to nobody else from here on.

        Args:
            flow: the flow's name.

        Raises:
            UsageError: the folder has something in it, or can't be made.
        """
        try:
            make_private_folder(self.folder)
            if any(self.folder.iterdir()):
                raise FileExistsError
            # Only one of two processes can make the file.
            with open(self.folder / ABOUT, "x", encoding="utf-8"):
                pass
            self.describe({"flow": flow, "run": None})
        except FileExistsError:
            if not self.folder.is_dir():
                raise UsageError(f"'{self.folder}' is not a folder") from None
            what = "has a recording" if (self.folder / ABOUT).exists() else "is not empty"
            raise UsageError(
                f"the folder '{self.folder}' {what}\n"
                "    give a folder that does not exist, or delete this one"
            ) from None
        except OSError as error:
            reason = system_reason(error)
            raise UsageError(f"can't record to '{self.folder}': {reason}") from None

    def drop(self) -> None:
        """Remove a recording that has just begun, for a run that could not be created."""
        with contextlib.suppress(OSError):
            (self.folder / ABOUT).unlink()
            self.folder.rmdir()

    def describe(self, about: Mapping[str, Any]) -> None:
        """Write down what is known of the recorded run."""
        text = json.dumps({"format": FORMAT, **about}, indent=1)
        write_whole(self.folder / ABOUT, f"{text}\n".encode())

    def check(self) -> None:
        """See that calls can be answered from it.

        Raises:
            UsageError: they can't.
        """
        if not (self.folder / ABOUT).exists():
            raise UsageError(
                f"there is no recording in '{self.folder}': it has no {ABOUT}\n"
                f"    flowtoy run FLOW --record {self.folder.name} makes one"
            )
        try:
            found = self.about.get("format")
        except UnreadableRecordingError as error:
            raise UsageError(str(error)) from None
        if found is None:
            raise UsageError(f"'{self.folder / ABOUT}' names no format: it is not of a recording")
        if found != FORMAT:
            raise UsageError(
                f"the recording in '{self.folder}' has the format {found}, which this flowtoy does "
                f"not know\n    it knows {FORMAT}; record again"
            )

    def read(self, place: str) -> dict[str, Any] | None:
        """A file of the recording; None where there is none.

        Raises:
            UnreadableRecordingError: it can't be read.
        """
        path = self.folder / place
        return _read(path) if path.exists() else None

    def write(self, place: str, facts: Mapping[str, Any]) -> None:
        """Write a file of the recording, whole or not at all.

        Raises:
            OSError: it can't be written.
        """
        path = self.folder / place
        make_private_folder(path.parent)
        text = json.dumps(facts, indent=1, ensure_ascii=False)
        write_whole(path, f"{text}\n".encode())

    def places(self) -> Iterator[str]:
        """The files about calls and cursors, in the order of their names."""
        for path in sorted(self.folder.rglob(f"*{_OF_CALLS}")):
            if path.name != ABOUT and not path.name.startswith("."):
                yield path.relative_to(self.folder).as_posix()


def _read(path: Path) -> dict[str, Any]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a device or a FIFO may never end
            raise UnreadableRecordingError(f"'{path}' is not a regular file")
        found = loads(path.read_bytes())
    except OSError as error:
        reason = system_reason(error)
        raise UnreadableRecordingError(f"can't read '{path}': {reason}") from None
    except ValueError as error:
        raise UnreadableRecordingError(f"'{path}' is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise UnreadableRecordingError(f"'{path}' is not a file of a recording")
    return found


def to_record(folder: str | Path) -> Recording:
    """A recording that a run will make.

    Raises:
        UsageError: where the path starts was deleted.
    """
    return Recording(_absolute(folder), "record")


def to_replay(folder: str | Path) -> Recording:
    """A recording that a run is answered from.

    Raises:
        UsageError: there is none.
    """
    found = Recording(_absolute(folder), "replay")
    found.check()
    return found


def _absolute(folder: str | Path) -> Path:
    found = absolute(os.fspath(folder))
    if found is None:
        raise UsageError(f"{DELETED}: '{folder}' can't be found\n    write an absolute path")
    return Path(found)


def started_at(recording: Recording) -> float | None:
    """When the recorded run started; None where that is not known.

    Raises:
        RunError: the recording can't be read any more.
    """
    try:
        found = recording.about.get("started_at")
    except UnreadableRecordingError as error:
        raise RunError(str(error)) from None
    return found if isinstance(found, (int, float)) else None

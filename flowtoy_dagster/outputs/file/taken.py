"""A file that a command has written, taken as it is (language 20.2)."""

from __future__ import annotations

import mimetypes
import os
import stat
from typing import Any

from flowtoy_dagster.datafiles.formats import CONTENT_TYPES, SUFFIXES
from flowtoy_dagster.datafiles.places import PlaceError
from flowtoy_dagster.datafiles.writing import FormatError
from flowtoy_dagster.errors import StepError
from flowtoy_dagster.outputs.file.sink import FileSink, file_name
from flowtoy_dagster.outputs.sink import SinkTask
from flowtoy_dagster.providers.kind import ResultView

_CHUNK = 1 << 20
_LONGEST = 255


def why_no_file_name(name: str) -> str | None:
    """Why a text can't be the name of a file in the command's folder; None where it can."""
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        return "expected the name of a file, without a folder"
    if len(name.encode()) > _LONGEST:
        return f"the name of a file has at most {_LONGEST} bytes"
    return None


class TakenFileSink(FileSink):
    """Copies a file out of `$FLOWTOY_OUTPUTS`, under its own name.

    Args:
        task: what it is to become; its value is the file's name.
        path: where it is to be; None for the run's own folder.
        format_: its format; None for what its name says.
    """

    def __init__(self, task: SinkTask, path: str | None, format_: str | None) -> None:
        self._name = str(task.value)
        reason = why_no_file_name(self._name)
        if reason is not None:
            raise StepError(f"output '{task.name}': value: {reason}")
        suffix = os.path.splitext(self._name)[1].lower()
        by_suffix = next((name for name, own in SUFFIXES.items() if own == suffix), "raw")
        self._source = task.outputs_folder()
        super().__init__(task, path, format_ or by_suffix, None)

    def own_name(self) -> str:
        """What the file is called in the run's own folder: its own name, in one of the output."""
        return f"{file_name(self.task.name)}/{self._name}"

    def take(self, records: list[Any]) -> None:
        """Nothing: records are not what it takes."""

    def finish(self, result: ResultView, is_read: bool) -> Any:
        with self.reasons():
            with open(self._opened(), "rb") as file:
                while chunk := file.read(_CHUNK):
                    self.write(chunk)
            if self.format == "raw":
                guessed = mimetypes.guess_type(self._name)[0]
                return self.facts(None, guessed or CONTENT_TYPES["raw"])
            return self.facts(None, CONTENT_TYPES[self.format])

    def _opened(self) -> int:
        """The file, which must be one of the folder's own and no link out of it."""
        folder = os.open(self._source, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # Without O_NONBLOCK, opening a FIFO would wait for its writer.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            found = os.open(self._name, flags, dir_fd=folder)
        except FileNotFoundError:
            names = sorted(os.listdir(folder))[:8]
            listed = ", ".join(f"'{name}'" for name in names) or "nothing"
            raise FormatError(
                f"the command has written no '{self._name}' into $FLOWTOY_OUTPUTS; "
                f"there is {listed}"
            ) from None
        except OSError as error:
            if os.path.islink(os.path.join(self._source, self._name)):
                raise PlaceError(f"'{self._name}' is a link; the file itself is needed") from None
            raise error from None
        finally:
            os.close(folder)
        if not stat.S_ISREG(os.fstat(found).st_mode):
            os.close(found)
            raise PlaceError(f"'{self._name}' is not a regular file")
        return found

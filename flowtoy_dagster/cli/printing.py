"""What goes to stdout, and only that."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from flowtoy_dagster.errors import UsageError

OutputsJson = Callable[[], Iterable[tuple[str, "bytes | None"]]]

LARGE = 1 << 20
"""Bytes of one step's outputs above which they are not laid out for reading."""
SHORTENED = 2000
"""Characters of a text, or items of a list, that a terminal is shown."""


def claim_stdout() -> BinaryIO:
    """Keep stdout for the result: whatever else prints to it goes to stderr."""
    sys.stdout.flush()
    result = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return result


class OutputWriter:
    """Writes a run's outputs to stdout and to a file.

    Args:
        stdout: where the result goes.
        as_json: complete JSON, even on a terminal.
        quiet: nothing to stdout.
        file: also to this file; checked at once, so that a long run does not end in vain.
    """

    def __init__(
        self, stdout: BinaryIO, *, as_json: bool, quiet: bool, file: Path | None
    ) -> None:
        self._stdout = stdout
        self._quiet = quiet
        self._compact = as_json
        self._shorten = not as_json and stdout.isatty()
        self._file = file
        if file is not None:
            folder = file.absolute().parent
            if not folder.is_dir():
                raise UsageError(f"can't write '{file}': there is no folder {folder}")
            if not os.access(folder, os.W_OK) or file.is_dir():
                raise UsageError(f"can't write '{file}': permission denied")

    def write(self, outputs: OutputsJson) -> None:
        """Write all outputs; `outputs` gives each step's name and JSON text, or None."""
        if self._file is not None:
            self._write_file(outputs, self._file)
        if not self._quiet:
            shortened = False
            for part, was_shortened in self._document(outputs(), self._shorten):
                self._stdout.write(part)
                shortened = shortened or was_shortened
            self._stdout.flush()
            if shortened:
                print("long values are shortened; -j prints all", file=sys.stderr)

    def _write_file(self, outputs: OutputsJson, path: Path) -> None:
        try:
            descriptor, beside = tempfile.mkstemp(dir=path.absolute().parent, prefix=".flowtoy-")
            try:
                with open(descriptor, "wb") as file:
                    file.writelines(part for part, _ in self._document(outputs(), False))
                mask = os.umask(0)
                os.umask(mask)
                os.chmod(beside, 0o666 & ~mask)
                os.replace(beside, path)
            except BaseException:
                os.unlink(beside)
                raise
        except OSError as error:
            raise UsageError(f"can't write '{path}': {(error.strerror or '').lower()}") from None

    def _document(
        self, outputs: Iterable[tuple[str, bytes | None]], shorten: bool
    ) -> Iterator[tuple[bytes, bool]]:
        """The JSON document in parts, and whether a part was shortened."""
        separator = b"{\n"
        empty = True
        for name, text in outputs:
            key = json.dumps(name, ensure_ascii=False).encode()
            body, was_shortened = self._body(text, shorten)
            yield separator + b"  " + key + b": " + body, was_shortened
            separator, empty = b",\n", False
        yield (b"{}\n" if empty else b"\n}\n"), False

    def _body(self, text: bytes | None, shorten: bool) -> tuple[bytes, bool]:
        if text is None:
            return b"null", False
        if self._compact or (len(text) > LARGE and not shorten):
            return text, False
        value = json.loads(text)
        shown = _shorten(value) if shorten else value
        lines = json.dumps(shown, ensure_ascii=False, indent=2).encode()
        return lines.replace(b"\n", b"\n  "), shorten and shown != value


def _shorten(value: Any) -> Any:
    if isinstance(value, str) and len(value) > SHORTENED:
        return f"{value[:SHORTENED]}… ({len(value)} characters)"
    if isinstance(value, dict):
        return {key: _shorten(item) for key, item in value.items()}
    if isinstance(value, list):
        shown = [_shorten(item) for item in value[:SHORTENED]]
        more = len(value) - len(shown)
        return [*shown, f"… ({more} more)"] if more else shown
    return value

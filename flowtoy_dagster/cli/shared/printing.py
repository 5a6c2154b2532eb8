"""What goes to stdout, and only that."""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from flowtoy_dagster.cli.shared.output_file import OutputFile
from flowtoy_dagster.cli.shared.streams import StdoutError, discard_stdout, printing_to
from flowtoy_dagster.json_text import loads_checked
from flowtoy_dagster.terminal import plain_json, say

if TYPE_CHECKING:
    from flowtoy_dagster.store.outputs import OutputText

Outputs = Callable[[], Iterable[tuple[str, "OutputText | None"]]]

LARGE = 1 << 20
"""Bytes of one step's outputs above which they are not laid out for reading."""
SHORTENED = 2000
"""Characters of a text, or items of a list, that a terminal is shown."""


def claim_stdout() -> BinaryIO:
    """Keep stdout for the result: whatever else prints to it goes to stderr."""
    sys.stdout.flush()
    result = printing_to(os.dup(1), closefd=True)
    os.dup2(2, 1)
    return result


class OutputWriter:
    """Writes a run's outputs to stdout and to a file.

    Args:
        stdout: where the result goes.
        as_json: complete JSON, even on a terminal.
        quiet: nothing to stdout.
        file: also to this file; checked at once, so that a long run does not end in vain. `-` is
            stdout: complete JSON, and nothing else there.
    """

    def __init__(
        self, stdout: BinaryIO, *, as_json: bool, quiet: bool, file: Path | None
    ) -> None:
        if file is not None and str(file) == "-":
            as_json, quiet, file = True, False, None
        self._stdout = stdout
        self._quiet = quiet
        self._compact = as_json
        self._shorten = not as_json and stdout.isatty()
        self._file = OutputFile(file, stdout.fileno()) if file is not None else None

    def write(self, outputs: Outputs) -> None:
        """Write all outputs; `outputs` gives each step's name and its JSON text, or None."""
        documents: list[_Document] = []
        try:
            if self._file is not None:
                documents.append(_Document(self._compact, False))
                self._file.write(documents[-1].parts(outputs()))
        finally:
            if not self._quiet:
                documents.append(_Document(self._compact, self._shorten))
                parts = documents[-1].parts(outputs())
                self._print(_escaped(parts) if self._stdout.isatty() else parts)
        if any(document.masked for document in documents):
            say("secret values are masked (***); --show-secrets prints them")
        if any(document.shortened for document in documents):
            say("long values are shortened; -j prints all")

    def _print(self, parts: Iterable[bytes]) -> None:
        try:
            self._stdout.writelines(parts)
            self._stdout.flush()
        except StdoutError as error:
            discard_stdout(self._stdout.fileno())
            raise StdoutError(
                f"{error}\n    the run has ended; flowtoy runs outputs prints its outputs"
            ) from None


def _escaped(parts: Iterable[bytes]) -> Iterator[bytes]:
    """JSON for a terminal: the same values, without characters that it would obey."""
    for text in codecs.iterdecode(iter(parts), "utf-8", "replace"):
        yield plain_json(text).encode()


class _Document:
    """The JSON document of all outputs, in parts; notes whether a value was shortened or masked."""

    def __init__(self, compact: bool, shorten: bool) -> None:
        self._compact = compact
        self._shorten = shorten
        self.shortened = False
        self.masked = False

    def parts(self, outputs: Iterable[tuple[str, OutputText | None]]) -> Iterator[bytes]:
        separator = b"{\n"
        for name, text in outputs:
            yield separator + b"  " + json.dumps(name, ensure_ascii=False).encode() + b": "
            yield from self._body(text)
            separator = b",\n"
        yield b"{}\n" if separator == b"{\n" else b"\n}\n"

    def _body(self, text: OutputText | None) -> Iterator[bytes]:
        self.masked = self.masked or (text is not None and text.has_secrets)
        if text is None:
            yield b"null"
        elif self._compact or (text.size > LARGE and not self._shorten):
            yield from text.chunks()
        else:
            value = loads_checked(text.read())
            shown = _shorten(value) if self._shorten else value
            self.shortened = self.shortened or shown != value
            lines = json.dumps(shown, ensure_ascii=False, indent=2).encode()
            yield lines.replace(b"\n", b"\n  ")


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

"""The head of an answer: whole, or there is no answer."""

from __future__ import annotations

import http.client
from email import errors
from typing import Any

_LOST = (errors.MissingHeaderBodySeparatorDefect, errors.FirstHeaderLineIsContinuationDefect)
"""Why the parser has left headers out."""


class CutHeadError(http.client.IncompleteRead):
    """The connection was closed before the end of the headers."""


class CheckedResponse(http.client.HTTPResponse):
    """An answer whose head must be whole.

    http.client takes the end of a connection for the end of the headers, leaves out all headers
    behind a line that is none, and takes interim answers such as 103 for the answer.

    Raises:
        CutHeadError: when it is read, where the head is cut.
        http.client.HTTPException: where a header can't be read.
    """

    def begin(self) -> None:
        """Read the head, and the interim ones before it."""
        while self.headers is None:
            self._read_head()
            if any(isinstance(defect, _LOST) for defect in self.headers.defects):
                raise http.client.HTTPException("a line of the head is no header")
            if 100 <= self.status < 200 and self.status != http.client.SWITCHING_PROTOCOLS:
                self.headers = self.msg = None

    def _read_head(self) -> None:
        own = self.fp
        lines: Any = _Lines(own)
        self.fp = lines
        try:
            super().begin()
        finally:
            if self.fp is lines:  # and has not been closed
                self.fp = own
        if not lines.last:
            raise CutHeadError(b"")


class _Lines:
    """A stream that knows the last line that was read; it is empty at the stream's end."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.last = b""

    def readline(self, limit: int = -1) -> bytes:
        self.last = self._stream.readline(limit)
        return self.last

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

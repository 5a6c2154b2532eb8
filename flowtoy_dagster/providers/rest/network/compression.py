"""Content codings of an answer, read to their proper end (RFC 9110 8.4, RFC 1950 to 1952).

The decoders of urllib3 give what they have where a stream ends in its middle; these don't.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

ACCEPTED = "gzip, deflate"
"""The codings that are asked for, whatever other packages are installed."""

_PIECE = 1 << 16
_MOST = 3


class CodingError(Exception):
    """A body can't be decoded; says why."""


def decoded(pieces: Iterable[bytes], codings: str) -> Iterator[bytes]:
    """A body without its codings.

    Args:
        pieces: the body as it came.
        codings: the value of Content-Encoding, in the order in which they were applied.

    Raises:
        CodingError: a coding is unknown, a stream is damaged, or ends before its end.
    """
    names = [name.strip().lower() for name in codings.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    unknown = next((name for name in names if name not in _DECODERS), None)
    if unknown is not None:
        raise CodingError(f"the answer's compression '{unknown}' is not one of {ACCEPTED}")
    if len(names) > _MOST:
        raise CodingError(f"the answer is compressed more than {_MOST} times")
    for name in reversed(names):
        pieces = _through(_DECODERS[name](), pieces)
    return iter(pieces)


def _through(decoder: _Gzip | _Deflate, pieces: Iterable[bytes]) -> Iterator[bytes]:
    try:
        for piece in pieces:
            yield from decoder.feed(piece)
    except zlib.error:
        raise CodingError("the compression of the answer is damaged") from None
    if not decoder.is_whole:
        raise CodingError("the answer is cut: its compressed data ends too early")


def _inflate(stream: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """What a stream makes of more data, in pieces: a few bytes can become gigabytes."""
    while True:
        piece = stream.decompress(data, _PIECE)
        if piece:
            yield piece
        data = stream.unconsumed_tail
        if stream.eof or (not data and len(piece) < _PIECE):
            return


class _Gzip:
    """One member after the other; zeros may follow the last one."""

    def __init__(self) -> None:
        self._member: zlib._Decompress | None = None
        self._follows = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        while True:
            if self._member is None:
                data = data.lstrip(b"\0") if self._follows else data
                if not data:
                    return
                self._member = zlib.decompressobj(16 + zlib.MAX_WBITS)
            yield from _inflate(self._member, data)
            if not self._member.eof:
                return
            data, self._member, self._follows = self._member.unused_data, None, True

    @property
    def is_whole(self) -> bool:
        return self._member is None


class _Deflate:
    """The zlib format, or, as many servers send it, deflate alone."""

    def __init__(self) -> None:
        self._head = b""
        self._stream: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None:
            self._head += data
            if len(self._head) < 2:
                return
            data = self._head
            has_header = data[0] & 15 == 8 and (data[0] << 8 | data[1]) % 31 == 0
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        elif self._stream.eof and data:
            raise zlib.error
        yield from _inflate(self._stream, data)
        if self._stream.unused_data:
            raise zlib.error

    @property
    def is_whole(self) -> bool:
        return self._stream.eof if self._stream else not self._head


_DECODERS: dict[str, type[_Gzip | _Deflate]] = {
    "gzip": _Gzip, "x-gzip": _Gzip, "deflate": _Deflate
}

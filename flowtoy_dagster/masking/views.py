"""Bytes with their escapes undone: of JSON, URLs, HTML, shells, SQL and Python.

Text that travels is escaped on its way. A view has each escape of one kind undone, and knows where
each of its bytes comes from.
"""

from __future__ import annotations

import bisect
import functools
import re
from collections.abc import Callable
from typing import NamedTuple

Span = tuple[int, int]
Undo = Callable[["re.Match[bytes]"], bytes]


class Escapes(NamedTuple):
    """A way of escaping: what it looks like, how it is undone, and its beginning at an end."""

    pattern: re.Pattern[bytes]
    undo: Undo
    unfinished: re.Pattern[bytes]
    hint: bytes


def _percent(match: re.Match[bytes]) -> bytes:
    found = match[0]
    return b" " if found == b"+" else bytes.fromhex(found[1:].decode())


_NAMED = {"n": b"\n", "t": b"\t", "r": b"\r", "b": b"\b", "f": b"\f", "v": b"\v", "a": b"\a",
          "e": b"\x1b", "E": b"\x1b", "\n": b""}


def _backslash(match: re.Match[bytes], *, points: bool = False) -> bytes:
    """`\\n`, `\\/`, `\\u0026`, `\\303\\274`; `\\xfc` is a byte, or with `points` a character."""
    found = match[0][1:].decode("latin-1")
    if found[0] in "uU" and len(found) > 1:
        units = [int(digits, 16) for digits in re.findall(r"[0-9A-Fa-f]+", found)]
        return "".join(map(chr, units)).encode("utf-16", "surrogatepass").decode(
            "utf-16", "surrogatepass").encode("utf-8", "surrogatepass")
    if found[0] == "x" and len(found) > 1:
        code = int(found[1:], 16)
        return chr(code).encode() if points else bytes([code])
    if found.isdigit() and set(found) <= set("01234567"):
        return bytes([int(found, 8) & 0xFF])
    return _NAMED.get(found, found.encode("latin-1"))


def _entity(match: re.Match[bytes]) -> bytes:
    import html  # it has a table of 2,231 names

    return html.unescape(match[0].decode()).encode("utf-8", "replace")


def _quotes(match: re.Match[bytes]) -> bytes:
    return match[1] or b"'"


_U4 = rb"[0-9A-Fa-f]{4}"
_BACKSLASHES = re.compile(
    rb"\\(?:u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}|u" + _U4
    + rb"|U00(?:0[0-9A-Fa-f]|10)" + _U4 + rb"|x[0-9A-Fa-f]{2}|[0-7]{1,3}|[\s\S])"
)
_BACKSLASH_BEGUN = re.compile(
    rb"\\(?:u[dD][89abAB][0-9A-Fa-f]{2}\\?|u[dD][89abAB][0-9A-Fa-f]{2}\\u[0-9A-Fa-f]{0,3}"
    rb"|u[0-9A-Fa-f]{0,3}|U[0-9A-Fa-f]{0,7}|x[0-9A-Fa-f]?|[0-7]{1,2})?\Z"
)
_PERCENT_BEGUN = re.compile(rb"%[0-9A-Fa-f]?\Z")
ESCAPES = (
    Escapes(_BACKSLASHES, _backslash, _BACKSLASH_BEGUN, b"\\"),
    Escapes(re.compile(rb"%[0-9A-Fa-f]{2}"), _percent, _PERCENT_BEGUN, b"%"),
    Escapes(
        re.compile(rb"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"),
        _entity, re.compile(rb"&(?:#?[0-9A-Za-z]{0,31})\Z"), b"&",
    ),
    # A quote within the shell's single quotes: '\'' or '"'"'.
    Escapes(re.compile(rb"'?(?:\\'|\"('+)\")'?"), _quotes,
             re.compile(rb"'?(?:\\'?|\"'*\"?)?\Z(?<=['\"\\])"), b"'"),
    # A quote within quotes of SQL, CSV or YAML: '' or "".
    Escapes(re.compile(rb"''|\"\""), lambda match: match[0][:1],
             re.compile(rb"['\"]\Z"), b""),
    Escapes(_BACKSLASHES, functools.partial(_backslash, points=True), _BACKSLASH_BEGUN, b"\\x"),
    Escapes(re.compile(rb"%[0-9A-Fa-f]{2}|\+"), _percent, _PERCENT_BEGUN, b"+"),
)


class View:
    """Data with escapes undone, and where each of its bytes comes from.

    Args:
        data: what to undo escapes in.
        escapes: the way to undo.
        above: the view that `data` is of.
        unfinished: whether more may follow: an escape that has only begun is left out then.
    """

    def __init__(
        self, data: bytes, escapes: Escapes | None = None, above: View | None = None,
        *, unfinished: bool = False,
    ) -> None:
        self.above = above
        self.escapes = escapes
        self.data = data
        self.cut: int | None = None
        self._starts: list[int] = []
        self._origins: list[int] = []
        self._escaped: list[bool] = []
        if escapes is not None:
            self._undo(data, escapes, unfinished)

    def _undo(self, data: bytes, escapes: Escapes, unfinished: bool) -> None:
        end = len(data)
        begun = escapes.unfinished.search(data, max(0, end - 48)) if unfinished else None
        if begun is not None and begun.start() < end and not self._is_whole(escapes, data, begun):
            self.cut = end = begun.start()
        parts: list[bytes] = []
        position = size = 0
        for match in escapes.pattern.finditer(data, 0, end):
            new = escapes.undo(match)
            if new == match[0]:
                continue
            plain = data[position : match.start()]
            size += len(plain)
            parts += (plain, new)
            self._starts += (size, size + len(new))
            self._origins += (match.start(), match.end())
            self._escaped += (True, False)
            size += len(new)
            position = match.end()
        parts.append(data[position:end])
        self.data = b"".join(parts)

    @staticmethod
    def _is_whole(escapes: Escapes, data: bytes, begun: re.Match[bytes]) -> bool:
        """Whether a backslash at the end belongs to the one before it: `\\\\`."""
        if data[begun.start() : begun.start() + 1] != b"\\":
            return False
        before = data[: begun.start()]
        return (len(before) - len(before.rstrip(b"\\"))) % 2 == 1

    def begins_at(self, cut: int) -> int:
        """Where in the original the unfinished escape at a view's end begins."""
        return cut if self.above is None else self.above.origin(cut, cut)[0]

    def origin(self, start: int, end: int) -> Span:
        """The part of the original that a part of the view comes from."""
        start, end = self._origin(start, False), self._origin(end, True)
        return (start, end) if self.above is None else self.above.origin(start, end)

    def _origin(self, position: int, is_end: bool) -> int:
        if not self._starts:
            return position
        if is_end:
            index = bisect.bisect_left(self._starts, position) - 1
        else:
            index = bisect.bisect_right(self._starts, position) - 1
        if index < 0:
            return position
        if self._escaped[index]:
            return self._origins[index + 1 if is_end else index]
        return self._origins[index] + position - self._starts[index]

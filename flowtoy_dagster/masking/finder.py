"""Where secrets are in bytes, in whatever form they are met.

What is looked at is undone in each way of escaping, up to `_DEPTH` times, and searched for the
secrets as they are; where one is found, its place in the original is known. So any mixture of
escapes is recognised, which no list of forms could do.
"""

from __future__ import annotations

import bisect
import re
import sys
from collections.abc import Iterable, Iterator

from flowtoy_dagster.masking.forms import SHORTEST, SHORTEST_ANCHOR, Form, forms_of
from flowtoy_dagster.masking.views import ESCAPES, Escapes, Span, View

_DEPTH = 4
_MIXED = 2
"""Escapes of different kinds within each other that are undone; of one kind, `_DEPTH`."""
_MOST_VIEWS = 128
_FEW = 200
"""Short anchors up to which each is searched by itself."""
_GRAM = 4
_SIEVED = 7
"""Bytes of an anchor from which four of them at a multiple of four are in it."""
_LONGEST_ESCAPE = 12
"""Bytes that stand for one, at the most."""
_CHUNK = 1 << 15
# Letters and digits are seldom escaped; where they are, nothing else can be seen.
# Each way begins with a character of its own, which is searched for as quickly as can be.
_ALL_ESCAPED = re.compile(
    rb"%[3-7][0-9A-Fa-f](?:%[3-7][0-9A-Fa-f]){2}"
    rb"|\\\\*(?:u00[3-7][0-9A-Fa-f](?:\\+u00[3-7][0-9A-Fa-f]){2}"
    rb"|x[3-7][0-9A-Fa-f](?:\\+x[3-7][0-9A-Fa-f]){2}"
    rb"|(?:0[67]|1[0-7])[0-7](?:\\+(?:0[67]|1[0-7])[0-7]){2})"
    rb"|&#(?:[xX]0*[3-7][0-9A-Fa-f]|0*[0-9]{2,3});(?:&#(?:[xX]0*[3-7][0-9A-Fa-f]|0*[0-9]{2,3});){2}"
)

_STANDARD = bytes.maketrans(b"-_", b"+/")
_BASE64_END = re.compile(rb"[A-Za-z0-9+/]?={1,2}")
# Lines of base64 that were broken; also behind "> " or an indentation.
_BREAK = re.compile(rb"(?<=[A-Za-z0-9+/]{16})\r?\n[ \t>]*(?=[A-Za-z0-9+/=])")
_BREAK_AT_END = re.compile(rb"(?<=[A-Za-z0-9+/]{16})\r?(?:\n[ \t>]*)?\Z")
_ALPHANUMERIC = re.compile(rb"[A-Za-z0-9_]")


class _Anchors:
    """Finds the places in data that are worth a closer look, at the cost of little more than
    reading it, however many secrets there are.

    Any four bytes at a multiple of four are looked up in a set; a text of seven bytes holds such
    four wherever it begins.
    """

    def __init__(self, forms: Iterable[Form]) -> None:
        self._owners: dict[bytes, list[Form]] = {}
        self.weak: list[Form] = []
        for form in forms:
            anchors = form.anchors()
            if not anchors:
                self.weak.append(form)
            for anchor in anchors:
                self._owners.setdefault(anchor, []).append(form)
        self._short = [anchor for anchor in self._owners if len(anchor) < _SIEVED]
        self._by_gram: dict[int, list[tuple[bytes, int]]] = {}
        for anchor in self._owners:
            if len(anchor) >= _SIEVED:
                for shift in range(_GRAM):
                    gram = int.from_bytes(anchor[shift : shift + _GRAM], sys.byteorder)
                    self._by_gram.setdefault(gram, []).append((anchor, shift))
        self._grams = frozenset(self._by_gram)
        self._starts: dict[bytes, list[bytes]] = {}
        for anchor in self._short:
            self._starts.setdefault(anchor[:SHORTEST_ANCHOR], []).append(anchor)

    def found(self, data: bytes) -> Iterator[tuple[int, list[Form]]]:
        """Where anchors are, and the forms that they belong to."""
        for anchor, position in self._all(data):
            yield position, self._owners[anchor]

    def _all(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        if len(self._short) <= _FEW:
            for anchor in self._short:
                position = data.find(anchor)
                while position >= 0:
                    yield anchor, position
                    position = data.find(anchor, position + 1)
        else:
            size, starts = SHORTEST_ANCHOR, self._starts
            for index in range(len(data) - size + 1):
                for anchor in starts.get(data[index : index + size], ()):
                    if data.startswith(anchor, index):
                        yield anchor, index
        if self._grams:
            for start in range(0, len(data), _CHUNK):
                yield from self._sieved(data, start)

    def _sieved(self, data: bytes, start: int) -> Iterator[tuple[bytes, int]]:
        chunk = data[start : start + _CHUNK + _SIEVED]
        grams = memoryview(chunk)[: len(chunk) // _GRAM * _GRAM].cast("I")
        if self._grams.isdisjoint(grams):
            return
        for index, gram in enumerate(grams):
            if gram in self._grams:
                for anchor, shift in self._by_gram[gram]:
                    position = start + index * _GRAM - shift
                    if position >= 0 and data.startswith(anchor, position):
                        yield anchor, position


class Finder:
    """Finds secrets in bytes, in whatever form.

    Args:
        values: the secrets.
    """

    def __init__(self, values: Iterable[str]) -> None:
        self._forms = frozenset(form for value in values for form in forms_of(value))
        self._anchors = _Anchors(self._forms)
        self._plain_begins = _Beginnings(f.data for f in self._forms if not f.is_base64)
        self._base64_begins = _Beginnings(f.data for f in self._forms if f.is_base64)
        self._words = frozenset(form.data for form in self._forms if form.is_word)
        self._has_blanks = any(b" " in form.data for form in self._forms)
        self._longest = max((len(form.data) for form in self._forms), default=0)

    def spans(self, data: bytes) -> list[Span]:
        """Where secrets are, from the first to the last, without overlaps."""
        found: list[Span] = []
        for (start, end), forms in self._windows(data):
            for view in self._views(data[start:end], unfinished=False):
                for span in self._in_view(view, forms):
                    begin, stop = view.origin(*span)
                    found.append((start + begin, start + stop))
        return _united(span for span in found if self._may_stand(data, span))

    def held_back(self, data: bytes) -> int:
        """How many bytes at the end may be the beginning of a secret, or of an escape in it."""
        offset = max(0, len(data) - self._reach(self._longest))
        tail = data[offset:]
        cut = len(tail)
        for view in self._views(tail, unfinished=True):
            if view.cut is not None:
                cut = min(cut, view.begins_at(view.cut))
            for start in self._begun(view):
                cut = min(cut, view.origin(start, start)[0])
        # No secret that is whole already is cut in two; a word may go on.
        for start, end in reversed(self.spans(tail)):
            if start < cut < end or (end == len(tail) and tail[start:end] in self._words):
                cut = min(cut, start)
        return len(tail) - cut

    @staticmethod
    def _reach(length: int) -> int:
        """How far an escaped form of so many bytes may reach."""
        return _LONGEST_ESCAPE * length + 64

    def _windows(self, data: bytes) -> list[tuple[Span, set[Form]]]:
        """The parts of the data that may hold secrets, and which forms of them."""
        if self._anchors.weak:
            weak = set(self._anchors.weak)
            return [((0, len(data)), weak), *self._around_anchors(data)]
        return self._around_anchors(data)

    def _around_anchors(self, data: bytes) -> list[tuple[Span, set[Form]]]:
        found: list[tuple[int, int, Iterable[Form]]] = []
        for position, forms in self._anchors.found(data):
            reach = self._reach(max(len(form.data) for form in forms))
            found.append((position - reach, position + reach, forms))
        for match in _ALL_ESCAPED.finditer(data):
            reach = self._reach(self._longest)
            found.append((match.start() - reach, match.end() + reach, self._forms))
        windows: list[tuple[Span, set[Form]]] = []
        for start, end, owners in sorted(found, key=lambda window: window[0]):
            if windows and start <= windows[-1][0][1]:
                (begin, stop), known = windows.pop()
                windows.append(((begin, max(stop, min(end, len(data)))), known | set(owners)))
            else:
                windows.append(((max(start, 0), min(end, len(data))), set(owners)))
        return windows

    def _views(self, data: bytes, *, unfinished: bool) -> Iterator[View]:
        views = [View(data)]
        seen = {data}
        yield views[0]
        for depth in range(_DEPTH):
            below: list[View] = []
            for view in views:
                for escapes in ESCAPES:
                    if escapes.hint not in view.data or len(seen) >= _MOST_VIEWS:
                        continue
                    if escapes.hint == b"+" and not self._has_blanks:
                        continue
                    # JSON in JSON in JSON is common, such a mixture is not.
                    if depth >= _MIXED and escapes is not view.escapes:
                        continue
                    undone = View(view.data, escapes, view, unfinished=unfinished)
                    if undone.data not in seen:
                        seen.add(undone.data)
                        below.append(undone)
            yield from below
            views = below

    def _in_view(self, view: View, forms: Iterable[Form]) -> Iterator[Span]:
        standard = view.data.translate(_STANDARD)
        joined = _unbroken(standard) if _BREAK.search(standard) else None
        for form in forms:
            if not form.is_base64:
                yield from _places(form.data, view.data)
                continue
            for start, end in _places(form.data, standard):
                yield start, _end_of_base64(standard, end)
            if joined is not None:
                for start, end in _places(form.data, joined.data):
                    yield joined.origin(start, _end_of_base64(joined.data, end))

    def _may_stand(self, data: bytes, span: Span) -> bool:
        """Whether a short word, where it is one, stands alone."""
        start, end = span
        if data[start:end] not in self._words:
            return True
        around = (data[start - 1 : start] if start else b"", data[end : end + 1])
        return not any(_ALPHANUMERIC.match(neighbour) for neighbour in around)

    def _begun(self, view: View) -> Iterator[int]:
        standard = view.data.translate(_STANDARD)
        for start in (
            self._plain_begins.at_end(view.data), self._base64_begins.at_end(standard)
        ):
            if start is not None:
                yield start
        if b"\n" in standard or standard.endswith(b"\r"):
            at_end = _BREAK_AT_END.search(standard)
            joined = _unbroken(standard[: at_end.start()] if at_end else standard)
            start = self._base64_begins.at_end(joined.data)
            if start is not None:
                yield joined.origin(start, start)[0]


class _Beginnings:
    """Tells whether data ends with the beginning of one of many forms."""

    def __init__(self, forms: Iterable[bytes]) -> None:
        self._sorted = sorted(forms)
        self._heads = frozenset(form[:SHORTEST] for form in self._sorted)
        self._first = frozenset(form[0] for form in self._sorted)
        self._longest = max(map(len, self._sorted), default=0)

    def at_end(self, data: bytes) -> int | None:
        """Where one has begun, at the earliest."""
        for start in range(max(0, len(data) - self._longest + 1), len(data)):
            if data[start] not in self._first:
                continue
            head = data[start : start + SHORTEST]
            if len(head) == SHORTEST and head not in self._heads:
                continue
            rest = data[start:]
            index = bisect.bisect_right(self._sorted, rest)
            if index < len(self._sorted) and self._sorted[index].startswith(rest):
                return start
        return None


def _places(form: bytes, data: bytes) -> Iterator[Span]:
    start = data.find(form)
    while start >= 0:
        yield start, start + len(form)
        start = data.find(form, start + len(form))


def _unbroken(data: bytes) -> View:
    return View(data, Escapes(_BREAK, lambda _: b"", _BREAK, b"\n"))


def _end_of_base64(data: bytes, end: int) -> int:
    """Where base64 that ends with a secret has its padding."""
    rest = _BASE64_END.match(data, end)
    return rest.end() if rest else end


def _united(spans: Iterable[Span]) -> list[Span]:
    """Spans in order; those that overlap are one."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        elif start < end:
            found.append((start, end))
    return found

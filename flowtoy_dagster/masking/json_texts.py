"""Secrets hidden in text that is JSON, so that it stays JSON.

`{"pin": 12345678}` becomes `{"pin": "***"}`: who reads the text afterwards finds a value, not a
syntax error. All that is not secret stays as it was written, blanks and digits too.
"""

from __future__ import annotations

import bisect
import json
import re
from collections import defaultdict
from collections.abc import Iterator

from flowtoy_dagster.json_text import JsonError, loads
from flowtoy_dagster.masking.mask import HIDDEN, Mask
from flowtoy_dagster.masking.views import Span

_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+')
_BEGINNINGS = (b"{", b"[")
_HIDDEN_VALUE = f'"{HIDDEN}"'.encode()


def hidden_in_text(text: str, mask: Mask) -> str:
    """A text without the secrets in it.

    A list or a mapping in JSON stays one, also on a line of its own, and within a text of
    another: a value that is not text becomes `"***"`, and so does the smallest list or mapping
    with a secret that reaches over several values. Keys that become the same differ by further
    asterisks.
    """
    shown = mask.text(text)
    if shown == text:
        return text
    data = text.encode("utf-8", "surrogatepass")
    found = _hidden(data, mask) if _is_json(data) else b"".join(
        _hidden(line, mask) if _is_json(line) else mask.text(
            line.decode("utf-8", "surrogatepass")).encode("utf-8", "surrogatepass")
        for line in data.splitlines(keepends=True)
    )
    # A secret that reaches over several lines is whole in none of them.
    return shown if mask.spans(found) else found.decode("utf-8", "surrogatepass")


def _is_json(data: bytes) -> bool:
    if not data.lstrip().startswith(_BEGINNINGS):
        return False
    try:
        loads(data)
    except JsonError:
        return False
    return True


Edit = tuple[int, int, bytes]


def _hidden(data: bytes, mask: Mask) -> bytes:
    layout = _Layout(data)
    within: dict[int, list[Span]] = defaultdict(list)
    wholes: list[Span] = []
    for span in mask.spans(data):
        token = layout.token_of(span)
        if token is None:
            wholes.append(layout.value_around(span))
        else:
            within[token].append(span)
    edits: list[Edit] = [(*span, _HIDDEN_VALUE) for span in _outermost(wholes)]
    edits += [
        edit for edit in _edits_of_tokens(layout, within, mask)
        if not any(start <= edit[0] < end for start, end in wholes)
    ]
    return _edited(data, sorted(edits))


class _Layout:
    """Where the parts of a JSON text are.

    Args:
        data: a list or a mapping.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.owners: dict[int, int] = {}
        """Of each token that is a key: where its mapping begins."""
        self._values: list[Span] = []  # lists and mappings, the inner ones first
        opened: list[int] = []
        for match in _TOKENS.finditer(data):
            start, end = match.span()
            if match[0] in _BEGINNINGS:
                opened.append(start)
            elif match[0] in (b"]", b"}"):
                self._values.append((opened.pop(), end))
            elif match[0] == b":":
                self.owners[len(self.starts) - 1] = opened[-1]
            self.starts.append(start)
            self.ends.append(end)

    def token_of(self, span: Span) -> int | None:
        """The token that a secret is wholly in."""
        index = bisect.bisect_right(self.starts, span[0]) - 1
        return index if index >= 0 and span[1] <= self.ends[index] else None

    def value_around(self, span: Span) -> Span:
        """The smallest list or mapping that a secret is in."""
        around = (one for one in self._values if one[0] <= span[0] and span[1] <= one[1])
        return next(around, self._values[-1])


def _outermost(spans: list[Span]) -> Iterator[Span]:
    end = 0
    for span in sorted(set(spans), key=lambda one: (one[0], -one[1])):
        if span[0] >= end:
            yield span
            end = span[1]


def _edits_of_tokens(
    layout: _Layout, within: dict[int, list[Span]], mask: Mask
) -> Iterator[Edit]:
    names: dict[int, set[bytes]] = defaultdict(set)
    for token, spans in sorted(within.items()):
        start, end = layout.starts[token], layout.ends[token]
        inside = [(begin - start, stop - start) for begin, stop in spans]
        new = _hidden_token(layout.data[start:end], inside, mask)
        if token in layout.owners:
            known = names[layout.owners[token]]
            while new in known:
                new = new[:-1] + b'*"'
            known.add(new)
        yield start, end, new


def _hidden_token(token: bytes, spans: list[Span], mask: Mask) -> bytes:
    is_within_quotes = all(start > 0 and end < len(token) for start, end in spans)
    if not token.startswith(b'"') or not is_within_quotes:
        return _HIDDEN_VALUE
    text = json.loads(token)
    if _is_json(text.encode("utf-8", "surrogatepass")):
        return json.dumps(hidden_in_text(text, mask), ensure_ascii=False).encode()
    return _edited(token, [(*span, HIDDEN.encode()) for span in spans])


def _edited(data: bytes, edits: list[Edit]) -> bytes:
    parts, position = [], 0
    for start, end, new in edits:
        parts += [data[position:start], new]
        position = end
    return b"".join([*parts, data[position:]])

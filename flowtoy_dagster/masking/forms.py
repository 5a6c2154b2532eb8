"""The forms in which a secret may be met where nothing is escaped."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

SHORTEST = 4
"""Characters below which a value is not masked: it would hide half of every text."""
SHORTEST_ANCHOR = 3
_WORD_LENGTH = 8
"""Characters below which a word or a number is masked only where it is alone."""
_SHORTEST_BASE64 = 5
_LONGEST_ANCHOR = 16
# UTF-16 has a zero behind each letter.
_RUN = re.compile(rb"[A-Za-z0-9\0]+")


@dataclass(frozen=True, eq=False)
class Form:
    """Bytes that stand for a secret where nothing is escaped.

    Attributes:
        data: the bytes.
        is_base64: whether they are a part of base64, which has two alphabets and broken lines.
        is_word: whether they are masked only where they are alone.
    """

    data: bytes
    is_base64: bool = False
    is_word: bool = False

    def anchors(self) -> list[bytes]:
        """Letters and digits that are seen in whatever way the form is escaped."""
        middle = len(self.data) // 2
        parts = [self.data[:middle], self.data[middle:]] if self.is_base64 else [self.data]
        runs = [max(_RUN.findall(part), key=len, default=b"") for part in parts]
        return [run[:_LONGEST_ANCHOR] for run in runs if len(run) >= SHORTEST_ANCHOR]


@functools.lru_cache(maxsize=1 << 14)
def forms_of(value: str) -> tuple[Form, ...]:
    """The forms of a secret where nothing is escaped: whole, its lines, in base64 and twice so."""
    plain: set[bytes] = set()
    encoded: set[bytes] = set()
    whole = {value, value.strip()}
    for text in {*whole, *(line.strip() for line in value.splitlines())}:
        if len(text) >= SHORTEST:
            written = _encodings(text)
            plain |= written | _hexadecimal(written) | _wide(text)
            if text in whole:
                wide = text.encode("utf-16-le", "surrogatepass")
                plain |= _hexadecimal({wide})
                for form in {*written, json.dumps(text)[1:-1].encode(), wide}:
                    encoded.update(_base64_forms(form))
                for form in written:
                    encoded.update(_base64_twice(form))
    words = (Form(data, is_word=len(data) < _WORD_LENGTH and _is_word(data)) for data in plain)
    return (*words, *(Form(data, is_base64=True) for data in encoded))


def _encodings(text: str) -> set[bytes]:
    """A text in UTF-8 and Latin-1, and what becomes of it where one is taken for the other."""
    whole = text.encode("utf-8", "surrogatepass")
    found = {whole}
    if text.isascii():
        return found
    for encoding, errors in (("utf-8", "surrogateescape"), ("latin-1", "strict")):
        with contextlib.suppress(UnicodeEncodeError):
            octets = text.encode(encoding, errors)
            found |= {octets, octets.decode("utf-8", "replace").encode()}
    # Servers read headers as Latin-1, and what comes of that is written as UTF-8 again.
    return found | {whole.decode(taken, "replace").encode() for taken in ("latin-1", "cp1252")}


def _wide(text: str) -> set[bytes]:
    """UTF-16 of either order: as it is, and where it is taken for UTF-8, also in JSON."""
    # The zero behind the last letter belongs to the next one where the order is the other.
    data = text.encode("utf-16-le", "surrogatepass").removesuffix(b"\0")
    taken = data.decode("utf-8", "replace")
    return {data, taken.encode(), json.dumps(taken)[1:-1].encode()}


def _hexadecimal(forms: Iterable[bytes]) -> set[bytes]:
    """Bytes as hexadecimal digits, small and large ones."""
    digits = [form.hex() for form in forms]
    return {written.encode() for each in digits for written in (each, each.upper())}


def _base64_forms(data: bytes) -> Iterator[bytes]:
    """Base64 of a value, alone and as part of something longer."""
    yield base64.b64encode(data).rstrip(b"=")
    yield from _base64_parts(data)


def _base64_parts(data: bytes) -> Iterator[bytes]:
    """What base64 has of a value that is a part of something longer, at each of three offsets."""
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + data)
        # Characters that also depend on the neighbours are left out.
        core = encoded[(offset * 8 + 5) // 6 : (offset + len(data)) * 8 // 6]
        if len(core) >= _SHORTEST_BASE64:
            yield core


def _base64_twice(data: bytes) -> Iterator[bytes]:
    """Base64 of base64, as a registry's password is written: alone and as part of something."""
    yield base64.b64encode(base64.b64encode(data)).rstrip(b"=")
    for part in _base64_parts(data):
        yield from _base64_parts(part)


def _is_word(form: bytes) -> bool:
    return form.isalpha() or form.isdigit()

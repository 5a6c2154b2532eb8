"""Which values are secret, and how they are hidden (language 13).

A `Mask` replaces the values that it knows by `***`, in whatever form they are met,
in text, in the texts of JSON data and in streams of bytes.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flowtoy_dagster.masking.finder import Finder
from flowtoy_dagster.masking.forms import SHORTEST
from flowtoy_dagster.masking.names import is_plain_name, is_secret_name, words_of
from flowtoy_dagster.masking.views import Span

HIDDEN = "***"

STORAGE_VARIABLE = "FLOWTOY_STORAGE"
"""The environment variable with the address of the database that keeps the runs."""
BROKER_VARIABLE = "FLOWTOY_BROKER"
"""The one with the address of the broker through which steps go to workers."""
DASK_VARIABLE = "FLOWTOY_DASK"
"""The one with the address of the Dask scheduler that does the same."""
ADDRESS_VARIABLES = (STORAGE_VARIABLE, BROKER_VARIABLE, DASK_VARIABLE)
"""What a deployment is reached by: no step sees them."""
_EVERYDAY = words_of(
    "true false null none undefined test tests testing user users username admin administrator "
    "root guest public private anonymous name default password passwd secret secrets token tokens "
    "basic bearer postgres postgresql mysql localhost example production development staging prod "
    "string text value json http https info debug warning error auto main master enabled "
    "disabled required optional"
)
"""Words that everybody knows; to mask them would damage texts and hide nothing."""
_SCHEMES = ("bearer", "basic", "token", "apikey", "negotiate", "digest")
COLON_OF_USER = r":(?!\{\{|\d*(?:[/?#]|$))"
"""The colon behind a user, where the password may hold what ends a host: no port is written so."""
_USERINFO = re.compile(
    r"([a-z][a-z0-9+.-]*)://"
    rf"((?:[^\s/?#'\"]*|[^\s/?#'\":@\[]*{COLON_OF_USER}[^\s'\"]*))@", re.IGNORECASE
)
_ASSIGNED = re.compile(r"([A-Za-z][\w.-]*)[ ]?=[ ]?(\"[^\"]*\"|'[^']*'|[^\s;&,'\"#]+)")
_LEAST_WITHIN = 10**7
"""The least whole number within a secret mapping or list that is a secret too: seconds, counts and
codes are often less.
"""
_LONE_USER = 16
"""Characters from which a user without a password in a URL of HTTP is a token."""


def storage_secrets(environment: Mapping[str, str]) -> set[str]:
    """What the database's address holds that nobody must see: itself, and the password in it.

    A password that is also the user's or the database's name is no secret, but a common word.
    """
    return _secrets_of_address(environment.get(STORAGE_VARIABLE) or "")


def deployment_secrets(environment: Mapping[str, str]) -> set[str]:
    """The same of all addresses by which a deployment is reached; one may be a list, by `;`."""
    found: set[str] = set()
    for variable in ADDRESS_VARIABLES:
        whole = environment.get(variable) or ""
        inner = set().union(*map(_secrets_of_address, whole.split(";")))
        found |= {whole, *inner} if inner else set()
    return found


def _secrets_of_address(address: str) -> set[str]:
    if not address:
        return set()
    before, found, after = address.partition("://")[2].partition("@")
    userinfo, place = (before, after) if found else ("", before)
    user, _, password = userinfo.partition(":")
    path, _, query = place.partition("?")
    parameters = urllib.parse.parse_qsl(query)
    passwords = {password, *(value for name, value in parameters if is_secret_name(name))}
    # A driver may take what is behind a `/` in a password for the path, and say what is before it.
    passwords |= {urllib.parse.unquote(value) for value in passwords}
    passwords |= {part for value in passwords for part in re.split("[/?#]", value)}
    known = {"", urllib.parse.unquote(user), path.rpartition("/")[2]}
    return {address, *(passwords - known)} if passwords != {""} else set()


def secret_values_in(configuration: Any) -> Iterator[str]:
    """The secrets of a configuration: texts and whole numbers under secret names, and passwords
    within other texts. Fractions, true and false are none, and neither are keys.
    """
    if isinstance(configuration, Mapping):
        for key, value in configuration.items():
            if isinstance(key, str) and is_secret_name(key):
                yield from _texts_below(value)
            else:
                yield from secret_values_in(value)
    elif isinstance(configuration, (list, tuple)):
        for value in configuration:
            yield from secret_values_in(value)
    elif isinstance(configuration, str):
        yield from secrets_within(configuration)


def _texts_below(value: Any) -> Iterator[str]:
    """The texts of a value under a secret name, without those that say whose secret it is."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if is_plain_name(str(key)):
                yield from secret_values_in(item)
            else:
                yield from _texts_below(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts_below(item)
    elif isinstance(value, str):
        yield value
        yield from _credentials(value)
        yield from secrets_within(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(value)  # `password: 12345678`, which is sent as text


def _credentials(value: str) -> Iterator[str]:
    """What stands behind `Bearer` or `Basic` in a header's value."""
    scheme, blank, rest = value.strip().partition(" ")
    if not blank or scheme.lower() not in _SCHEMES:
        return
    yield rest.strip()
    try:
        pair = base64.b64decode(rest.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return
    if scheme.lower() == "basic" and ":" in pair:
        yield pair.partition(":")[2]


def secrets_within(text: str) -> Iterator[str]:
    """Passwords that are part of a text: of a URL, or behind `password=` and its like."""
    if "://" in text:
        for scheme, userinfo in _USERINFO.findall(text):
            user, colon, password = userinfo.partition(":")
            lone = not colon and scheme.lower() in ("http", "https") and len(user) >= _LONE_USER
            yield from _decoded(user if lone else password)
    if "=" in text:
        for name, value in _ASSIGNED.findall(text):
            if is_secret_name(name):
                yield from _decoded(value.strip("'\""))


def _decoded(value: str) -> Iterator[str]:
    # A template, or a shell's variable, stands for a secret and is none.
    if value and "{{" not in value and not value.startswith("$"):
        yield value
        yield urllib.parse.unquote(value)


def texts_in(value: Any) -> Iterator[str]:
    """Every text of a value that is secret as a whole, if it is long enough to be masked.

    A number is one where it is the whole value, or a long whole number within it; true and false
    never are.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    for text in _all_texts(value):
        if len(text) >= SHORTEST:
            yield text


def _all_texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _all_texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _all_texts(item)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int) and abs(value) >= _LEAST_WITHIN:
        yield str(value)


def hide(value: Any) -> Any:
    """A value that is secret as a whole: its shape and its keys stay, nothing else."""
    if isinstance(value, Mapping):
        return {key: hide(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [hide(item) for item in value]
    return None if value is None else HIDDEN


class Mask:
    """Knows secret values and hides them.

    Args:
        values: the secrets; those that are too short are left out, and everyday words.
        public: what is no secret, although it may stand under the name of one.
    """

    def __init__(self, values: Iterable[str] = (), public: Iterable[str] = ()) -> None:
        self._public = frozenset(public)
        self._values = frozenset(
            value
            for value in values
            if len(value) >= SHORTEST
            and value.strip().lower() not in _EVERYDAY
            and value not in self._public
        )

    @property
    def values(self) -> frozenset[str]:
        """The secrets that it knows."""
        return self._values

    def __bool__(self) -> bool:
        return bool(self._values)

    def including(self, values: Iterable[str]) -> Mask:
        """A mask that knows more."""
        more = frozenset(values) - self._values
        return Mask(self._values | more, self._public) if more else self

    def text(self, text: str) -> str:
        """A text without the secrets."""
        if not self._values or len(text) < SHORTEST:
            return text
        data = text.encode("utf-8", "surrogatepass")
        spans = self.spans(data)
        return _without(data, spans).decode("utf-8", "surrogatepass") if spans else text

    def spans(self, data: bytes) -> list[Span]:
        """Where secrets are in text that is UTF-8, from the first to the last."""
        if not self._values:
            return []
        # A character is not cut in two by a form in another encoding.
        return [(_begin(data, start), _end(data, end)) for start, end in self._finder.spans(data)]

    def data(self, value: Any) -> Any:
        """JSON data without the secrets in its texts; keys, numbers, true and false stay."""
        if not self._values:
            return value
        if isinstance(value, Mapping):
            return {key: self.data(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
        return self.text(value) if isinstance(value, str) else value

    def octets(self, data: bytes) -> bytes:
        """Bytes without the secrets in them."""
        return _without(data, self._finder.spans(data)) if self._values else data

    def met_in(self, parts: Iterable[bytes]) -> set[str]:
        """The secrets that are in some data, in whatever form."""
        found: set[str] = set()
        for part in parts:
            if self._values and self._finder.spans(part):
                found |= {value for value in self._values if Mask([value]).octets(part) != part}
        return found

    def held_back(self, data: bytes) -> int:
        """How many bytes at the end of a stream's part may be the beginning of a secret."""
        return self._finder.held_back(data) if self._values and data else 0

    def shortened(self, text: str, most: int, more: str = "…") -> str:
        """A text without the secrets, and then of at most `most` characters before `more`.

        What is cut first can't be masked any more.
        """
        hidden = self.text(text)
        return hidden if len(hidden) <= most else hidden[:most] + more

    def head(self, text: str, most: int) -> str:
        """The first part of a text, of at most `most` characters, without the secrets.

        A secret that the cut goes through is left out.
        """
        if len(text) <= most:
            return self.text(text)
        data = text[:most].encode("utf-8", "surrogatepass")
        kept = data[: len(data) - self.held_back(data)]
        return self.text(kept.decode("utf-8", "ignore"))

    @functools.cached_property
    def _finder(self) -> Finder:
        return Finder(self._values)


def _without(data: bytes, spans: Iterable[tuple[int, int]]) -> bytes:
    parts, position = [], 0
    for start, end in spans:
        parts += [data[position:start], HIDDEN.encode()]
        position = end
    return b"".join([*parts, data[position:]])


def _begin(data: bytes, start: int) -> int:
    while start > 0 and data[start] & 0xC0 == 0x80:
        start -= 1
    return start


def _end(data: bytes, end: int) -> int:
    while end < len(data) and data[end] & 0xC0 == 0x80:
        end += 1
    return end

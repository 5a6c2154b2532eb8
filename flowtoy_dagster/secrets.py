"""Which values are secret, and how they are hidden (language 13).

A `Mask` replaces the values it knows, and the forms in which they may travel (base64, URL-quoted,
escaped in JSON), by `***`, in text, in JSON data and in streams of bytes.
"""

from __future__ import annotations

import base64
import functools
import json
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

HIDDEN = "***"
SHORTEST = 4
"""Characters below which a value is not masked: it would hide half of every text."""

STORAGE_VARIABLE = "FLOWTOY_STORAGE"
"""The environment variable with the address of the database that keeps the runs."""
_WORDS = ("password", "passwd", "secret", "token", "api_key", "apikey", "private_key", "credential")
_ENDINGS = ("_pw", "_key")


def is_secret_variable(name: str) -> bool:
    """Whether an environment variable of this name holds a secret."""
    return is_secret_name(name) or name.lower() == "key"


def is_secret_name(name: str) -> bool:
    """Whether a key of this name holds a secret.

    `key` alone is no such name: as a mapping's key it is too common.
    """
    plain = name.lower().replace("-", "_")
    return (
        any(word in plain for word in _WORDS)
        or plain.endswith(_ENDINGS)
        or plain in ("pw", "bearer", "authorization", "proxy_authorization")
    )


def storage_secrets(environment: Mapping[str, str]) -> set[str]:
    """What the database's address holds that nobody must see: itself, and the password in it.

    A password that is also the user's or the database's name is no secret, but a common word.
    """
    address = environment.get(STORAGE_VARIABLE)
    if not address:
        return set()
    before, found, after = address.partition("://")[2].partition("@")
    userinfo, place = (before, after) if found else ("", before)
    user, _, password = userinfo.partition(":")
    path, _, query = place.partition("?")
    parameters = urllib.parse.parse_qsl(query)
    passwords = {password, *(value for name, value in parameters if is_secret_name(name))}
    passwords |= {urllib.parse.unquote(value) for value in passwords}
    known = {"", urllib.parse.unquote(user), path.rpartition("/")[2]}
    return {address, *(passwords - known)} if passwords != {""} else set()


def secret_values_in(configuration: Any) -> Iterator[str]:
    """The values under secret names, at any depth of a configuration."""
    if isinstance(configuration, Mapping):
        for key, value in configuration.items():
            if isinstance(key, str) and is_secret_name(key):
                yield from texts_in(value)
            else:
                yield from secret_values_in(value)
    elif isinstance(configuration, (list, tuple)):
        for value in configuration:
            yield from secret_values_in(value)


def texts_in(value: Any) -> Iterator[str]:
    """Every scalar of a value as text, if it is long enough to be masked."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from texts_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from texts_in(item)
    elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
        text = str(value)
        if len(text) >= SHORTEST:
            yield text


class Mask:
    """Knows secret values and hides them.

    Args:
        values: the secrets; those that are too short are left out.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values = frozenset(value for value in values if len(value) >= SHORTEST)

    @property
    def values(self) -> frozenset[str]:
        """The secrets that it knows."""
        return self._values

    def __bool__(self) -> bool:
        return bool(self._values)

    def including(self, values: Iterable[str]) -> Mask:
        """A mask that knows more."""
        more = frozenset(values) - self._values
        return Mask(self._values | more) if more else self

    def text(self, text: str) -> str:
        """A text without the secrets."""
        return self._pattern.sub(HIDDEN, text) if self._values else text

    def data(self, value: Any) -> Any:
        """JSON data without the secrets; it stays JSON data of the same shape."""
        if not self._values:
            return value
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.data(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return HIDDEN if self._pattern.search(json.dumps(value)) else value
        return value

    def octets(self, data: bytes) -> bytes:
        """Bytes without the secrets in UTF-8."""
        if not self._values:
            return data
        return self._bytes_pattern.sub(HIDDEN.encode(), data)

    def held_back(self, data: bytes) -> int:
        """How many bytes at the end of a stream's part may be the beginning of a secret."""
        if not self._values:
            return 0
        seen = 0
        for match in self._bytes_pattern.finditer(data):
            if match.end() == len(data) and self._may_go_on(match[0]):
                return len(data) - match.start()
            seen = match.end()
        # What belongs to a secret that is there already begins no other one.
        for count in range(min(len(data) - seen, self._longest - 1), 0, -1):
            if self._may_go_on(data[-count:]):
                return count
        return 0

    def _may_go_on(self, data: bytes) -> bool:
        return any(len(form) > len(data) and form.startswith(data) for form in self._byte_forms)

    @functools.cached_property
    def _forms(self) -> list[str]:
        forms = {form for value in self._values for form in forms_of(value)}
        # The longest first, so that none is left over from inside another.
        return sorted(forms, key=lambda form: (-len(form), form))

    @functools.cached_property
    def _byte_forms(self) -> list[bytes]:
        return [form.encode() for form in self._forms]

    @functools.cached_property
    def _longest(self) -> int:
        return max(map(len, self._byte_forms), default=0)

    @functools.cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, self._forms)))

    @functools.cached_property
    def _bytes_pattern(self) -> re.Pattern[bytes]:
        return re.compile(b"|".join(map(re.escape, self._byte_forms)))


@functools.lru_cache(maxsize=1024)
def forms_of(value: str) -> frozenset[str]:
    """The forms in which a secret may be met."""
    forms = {value, value.strip()}
    forms |= {line.strip() for line in value.splitlines()}
    for text in list(forms):
        forms |= {
            json.dumps(text)[1:-1],
            json.dumps(text, ensure_ascii=False)[1:-1],
            json.dumps(json.dumps(text))[3:-3],
            repr(text)[1:-1],
            urllib.parse.quote(text),
            urllib.parse.quote(text, safe=""),
            urllib.parse.quote_plus(text),
        }
    forms |= _base64_forms(value.encode())
    return frozenset(form for form in forms if len(form) >= SHORTEST)


def _base64_forms(data: bytes) -> set[str]:
    """Base64 of a value, alone and as part of something longer at each of three offsets."""
    forms = set()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + data).decode().rstrip("=")
        # Characters that also depend on the neighbours are left out.
        start = (offset * 8 + 5) // 6
        end = (offset + len(data)) * 8 // 6
        core = encoded[start:end] if offset or end < len(encoded) else encoded
        if len(core) >= SHORTEST + 2:
            forms |= {core, core.replace("+", "-").replace("/", "_")}
    whole = base64.b64encode(data).decode()
    return forms | {whole, whole.rstrip("="), base64.urlsafe_b64encode(data).decode()}

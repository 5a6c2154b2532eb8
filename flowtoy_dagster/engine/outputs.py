"""A step's outputs as JSON text on disk, handed on without being read into values."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from flowtoy_dagster.json_text import dumps_checked, loads_checked
from flowtoy_dagster.secrets import Mask

_CHUNK = 1 << 20


@dataclass(frozen=True)
class OutputText:
    """The second line of a record: `{output: value}` as compact JSON.

    Attributes:
        path: the record's file.
        mask: hides secrets; one that knows none shows the text as it is.
    """

    path: Path
    mask: Mask = field(default_factory=Mask)

    @property
    def size(self) -> int:
        """Bytes of the text, unmasked."""
        return sum(map(len, self._stored()))

    def read(self) -> bytes:
        """The whole text."""
        text = b"".join(self._stored())
        if self.mask.octets(text) == text:
            return text
        # Hidden value by value, so that it is JSON still.
        return dumps_checked(self.mask.data(loads_checked(text)))

    def chunks(self) -> Iterator[bytes]:
        """The text in pieces; held in memory whole only if there is something to hide in it."""
        if self._has_secrets():
            yield self.read()
        else:
            yield from self._stored()

    def _has_secrets(self) -> bool:
        if not self.mask:
            return False
        tail = b""
        for chunk in self._stored():
            window = tail + chunk
            if self.mask.octets(window) != window:
                return True
            held = self.mask.held_back(window)
            tail = window[len(window) - held :] if held else b""
        return False

    def _stored(self) -> Iterator[bytes]:
        with open(self.path, "rb") as file:
            file.readline()
            while chunk := file.readline(_CHUNK):
                yield chunk.rstrip(b"\n")
                if chunk.endswith(b"\n"):
                    return

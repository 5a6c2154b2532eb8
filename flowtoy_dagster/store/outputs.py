"""A step's outputs as stored JSON text, handed on without being read into values."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from flowtoy_dagster.json_text import dumps_checked, loads_checked
from flowtoy_dagster.secrets import Mask
from flowtoy_dagster.store.records import StepRecord


@dataclass(frozen=True)
class OutputText:
    """The second line of a record: `{output: value}` as compact JSON.

    Attributes:
        record: the record.
        mask: hides secrets; one that knows none shows the text as it is.
    """

    record: StepRecord
    mask: Mask = field(default_factory=Mask)

    @property
    def size(self) -> int:
        """Bytes of the text, unmasked."""
        sizes: dict[str, int] = self.record.header["sizes"]
        # Braces, and for each output its name, a colon, its value, and a comma between two.
        names = sum(len(dumps_checked(name)) + 1 for name in sizes)
        return 2 + names + sum(sizes.values()) + max(0, len(sizes) - 1)

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
        return self.record.outputs_text()

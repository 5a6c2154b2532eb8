"""A step's outputs as stored JSON text, handed on without being read into values."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field

from flowtoy_dagster.json_text import dumps_checked, loads_checked
from flowtoy_dagster.masking.mask import Mask, hide
from flowtoy_dagster.store.record import StepRecord


@dataclass(frozen=True)
class OutputText:
    """The second line of a record: `{output: value}` as compact JSON.

    Attributes:
        record: the record.
        mask: hides secrets.
        shows_secrets: whether the text is given as it is.
    """

    record: StepRecord
    mask: Mask = field(default_factory=Mask)
    shows_secrets: bool = False

    @property
    def size(self) -> int:
        """Bytes of the text, unmasked."""
        sizes: dict[str, int] = self.record.header["sizes"]
        # Braces, and for each output its name, a colon, its value, and a comma between two.
        names = sum(len(dumps_checked(name)) + 1 for name in sizes)
        return 2 + names + sum(sizes.values()) + max(0, len(sizes) - 1)

    @functools.cached_property
    def has_secrets(self) -> bool:
        """Whether something in it is hidden."""
        return not self.shows_secrets and (bool(self._hidden()) or self._holds_secrets())

    def read(self) -> bytes:
        """The whole text."""
        text = b"".join(self._stored())
        if not self.has_secrets:
            return text
        # Hidden value by value, so that it is JSON still.
        values, hidden = loads_checked(text), self._hidden()
        return dumps_checked(
            {
                name: hide(value) if name in hidden else self.mask.data(value)
                for name, value in values.items()
            }
        )

    def chunks(self) -> Iterator[bytes]:
        """The text in pieces; held in memory whole only if there is something to hide in it."""
        if self.has_secrets:
            yield self.read()
        else:
            yield from self._stored()

    def _hidden(self) -> frozenset[str]:
        """The names of the outputs that are secret as a whole."""
        return self.record.hidden & frozenset(self.record.header["sizes"])

    def _holds_secrets(self) -> bool:
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

"""What a step knows to be secret, while it learns more."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator

from flowtoy_dagster.masking.mask import Mask


class StepMask:
    """The mask of one step; any thread may use it while another one teaches it.

    Args:
        known: what is secret beforehand.
        holding: whether what the step prints must wait until its secret outputs are known.
    """

    def __init__(self, known: Mask | None = None, *, holding: bool = False) -> None:
        self._lock = threading.Lock()
        self._current = known or Mask()
        self._learned: frozenset[str] = frozenset()
        self._holding = holding
        self._discarding = False
        self._parts = SharedMask()

    @property
    def current(self) -> Mask:
        """The mask as it is now."""
        return self._current

    @property
    def learned(self) -> frozenset[str]:
        """What was learned since the beginning."""
        return self._learned

    @property
    def is_holding(self) -> bool:
        """Whether what the step prints must wait."""
        return self._holding

    def learn(self, values: Iterable[str], *, keep: bool = True) -> None:
        """Hide these values too, from now on.

        Args:
            values: what is secret.
            keep: whether `learned` has them, which the step's record keeps.
        """
        more = frozenset(values)
        with self._lock:
            if keep:
                self._learned |= more
            self._current = self._current.including(more)

    @property
    def is_discarding(self) -> bool:
        """Whether what waited must not be kept: nobody knows what in it is secret."""
        return self._discarding

    def complete(self) -> None:
        """All secret outputs are known: nothing waits any longer."""
        self._holding = False

    def release(self) -> None:
        """No more secret outputs will be known: what waits for them still is discarded."""
        self._discarding, self._holding = self._holding, False

    @contextlib.contextmanager
    def part(self, *, holding: bool) -> Iterator[StepMask]:
        """The mask of a part of the step, which learns by itself, for the length of a block.

        What the part learns is hidden in what the step prints meanwhile.

        Args:
            holding: whether what the part prints must wait until its secret outputs are known.
        """
        part = StepMask(self._current, holding=holding)
        with self._parts.including(part):
            yield part

    def text(self, text: str) -> str:
        """A text without the secrets."""
        return self._parts.text(self._current.text(text))

    def head(self, text: str, most: int) -> str:
        """The first part of a text, without the secrets."""
        return self._current.head(text, most)

    def octets(self, data: bytes) -> bytes:
        """Bytes without the secrets in them."""
        return self._parts.octets(self._current.octets(data))

    def held_back(self, data: bytes) -> int:
        """How many bytes at the end of a stream's part may be the beginning of a secret."""
        return max(self._current.held_back(data), self._parts.held_back(data))


class MaskedStreams:
    """What a step prints, secrets hidden before anything is cut or passed on.

    Args:
        mask: hides what is known to be secret.
    """

    def __init__(self, mask: StepMask) -> None:
        self._mask = mask
        self._held = {"stdout": b"", "stderr": b""}

    @property
    def is_waiting(self) -> bool:
        """Whether something waits for secret outputs, which are not known."""
        return self._mask.is_holding and any(self._held.values())

    def take(self, stream: str, data: bytes) -> bytes:
        """Take the next bytes of `stdout` or `stderr`; gives what may be shown by now."""
        shown = self._held[stream] + data
        held = len(shown) if self._mask.is_holding else self._mask.held_back(shown)
        self._held[stream] = shown[len(shown) - held :]
        return self._mask.octets(shown[: len(shown) - held])

    def rest(self, stream: str) -> bytes:
        """What was held back of a stream that has ended, without what waits for secret outputs."""
        held, self._held[stream] = self._held[stream], b""
        return b"" if self._mask.is_holding else self._mask.octets(held)


class SharedMask:
    """The masks of all steps that print to the same place, as one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._masks: tuple[StepMask, ...] = ()

    def add(self, mask: StepMask) -> None:
        """Hide what this mask hides, too."""
        with self._lock:
            self._masks = (*self._masks, mask)

    def remove(self, mask: StepMask) -> None:
        """Stop hiding what only this mask hides."""
        with self._lock:
            self._masks = tuple(other for other in self._masks if other is not mask)

    @contextlib.contextmanager
    def including(self, mask: StepMask) -> Iterator[None]:
        """Hide what a mask hides, for the length of a block."""
        self.add(mask)
        try:
            yield
        finally:
            self.remove(mask)

    @property
    def is_holding(self) -> bool:
        """Whether one of the steps must see its secret outputs first."""
        return any(mask.is_holding for mask in self._masks)

    @property
    def is_discarding(self) -> bool:
        """Whether what one of the steps printed must not be kept."""
        return any(mask.is_discarding for mask in self._masks)

    def text(self, text: str) -> str:
        """A text without the secrets."""
        for mask in self._masks:
            text = mask.text(text)
        return text

    def octets(self, data: bytes) -> bytes:
        """Bytes without the secrets in UTF-8."""
        for mask in self._masks:
            data = mask.octets(data)
        return data

    def held_back(self, data: bytes) -> int:
        """How many bytes at the end of a stream's part may be the beginning of a secret."""
        return max((mask.held_back(data) for mask in self._masks), default=0)

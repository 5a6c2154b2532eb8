"""When sources were called, shared by all processes that use a home (language 19.5).

Each source has one small file. It is written in place under a lock: a header, and a ring with the
times of the latest calls. A turn costs a few system calls, whatever the rate.
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from flowtoy_dagster.flow.schema.rates import MOST_CALLS, Rate
from flowtoy_dagster.machine.steady import monotonic_place
from flowtoy_dagster.store.files import locked_file, make_private_folder

RATES_FOLDER = "flowtoy-rates"
LONGEST_PAUSE = 3600.0
"""Seconds for which a server may pause a source at once."""
_MAGIC = b"FTRATE1\n"
_HEADER = struct.Struct("<8s16sQQdddd")
_TIME = struct.Struct("<d")
_RING = 128
"""Where the ring begins."""


@dataclass(frozen=True)
class _State:
    """What the header holds; times are those of the clock that `place` names.

    Attributes:
        place: where the clock is the same, hashed.
        capacity: how many times the ring holds.
        count: how many calls there were in all.
        latest: when the latest call was.
        paused_until: no call before.
        seen: the clock's time of the last change.
        seen_wall: the same in seconds since 1970.
    """

    place: bytes
    capacity: int = 1
    count: int = 0
    latest: float = -math.inf
    paused_until: float = -math.inf
    seen: float = 0.0
    seen_wall: float = 0.0

    def packed(self) -> bytes:
        return _HEADER.pack(
            _MAGIC, self.place, self.capacity, self.count, self.latest, self.paused_until,
            self.seen, self.seen_wall,
        )


class RateStore:
    """The calls of the sources of a home.

    Args:
        folder: where the files are; made when it is needed.
        clock: seconds of a clock that all processes share.
        wall: seconds since 1970; says what time has passed where the clock began anew.
        place: where the clock is the same.
    """

    def __init__(
        self,
        folder: Path,
        clock: Callable[[], float] | None = None,
        wall: Callable[[], float] = time.time,
        place: str | None = None,
    ) -> None:
        known = monotonic_place() if place is None else place
        self._folder = folder
        # Where the system does not identify its starts, only the wall clock is shared for sure.
        self._clock = clock or (time.monotonic if known else wall)
        self._wall = wall
        self._place = hashlib.sha256(known.encode()).digest()[:16]

    def take(self, key: str, rates: Sequence[Rate]) -> float:
        """Take a turn, if it is time for one.

        Args:
            key: names the source; a file's name.
            rates: what no window may exceed, the shortest window first.

        Returns:
            0 where the call may be made now, and is counted; else the seconds until it is worth
            another try.

        Raises:
            OSError: the file can't be read or written.
        """
        with self._opened(key) as opened:
            file = _RateFile(opened.fileno())
            now = self._clock()
            state = self._current(file, now, max((rate.calls for rate in rates[1:]), default=1))
            ready = max(state.paused_until, state.latest + rates[0].interval)
            for rate in rates[1:]:
                ready = max(ready, file.time_of(state, rate.calls) + rate.seconds)
            if ready > now:
                return ready - now
            file.put(state, now)
            file.write(
                replace(state, count=state.count + 1, latest=now, seen=now, seen_wall=self._wall())
            )
            return 0.0

    def pause(self, key: str, seconds: float) -> None:
        """Let nobody call the source for a time, unless it is paused for longer already.

        Raises:
            OSError: the file can't be read or written.
        """
        with self._opened(key) as opened:
            file = _RateFile(opened.fileno())
            now = self._clock()
            state = self._current(file, now, 1)
            until = max(state.paused_until, now + min(seconds, LONGEST_PAUSE))
            file.write(replace(state, paused_until=until, seen=now, seen_wall=self._wall()))

    def _opened(self, key: str) -> AbstractContextManager[BinaryIO]:
        if not self._folder.is_dir():
            make_private_folder(self._folder)
        return locked_file(self._folder / key, alone=True)

    def _current(self, file: _RateFile, now: float, capacity: int) -> _State:
        """The state in terms of this clock, with a ring that holds at least so many times."""
        state = file.read() or _State(self._place, seen=now, seen_wall=self._wall())
        shift = 0.0
        if state.place != self._place:
            # The machine was started again: only the wall clock says how long ago that was.
            passed = max(0.0, self._wall() - state.seen_wall)
            shift = now - passed - state.seen
        if state.latest + shift > now:
            shift = now - state.latest  # the clock was set back
        if shift or capacity > state.capacity:
            state = file.rewrite(state, self._place, shift, max(capacity, state.capacity))
        if state.paused_until > now + LONGEST_PAUSE:
            state = replace(state, paused_until=now + LONGEST_PAUSE)
            file.write(state)
        return state


class _RateFile:
    """A file by its descriptor, for the holder of its lock."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self) -> _State | None:
        """The header; None where there is none that can be used."""
        data = os.pread(self._descriptor, _HEADER.size, 0)
        if len(data) < _HEADER.size:
            return None
        magic, *values = _HEADER.unpack(data)
        state = _State(*values)
        usable = magic == _MAGIC and 1 <= state.capacity <= MOST_CALLS and not any(
            math.isnan(moment)
            for moment in (state.latest, state.paused_until, state.seen, state.seen_wall)
        )
        return state if usable else None

    def write(self, state: _State) -> None:
        """Write the header: from here on, what it says is so."""
        os.pwrite(self._descriptor, state.packed(), 0)

    def put(self, state: _State, moment: float) -> None:
        """Put the next call's time into the ring."""
        place = _RING + state.count % state.capacity * _TIME.size
        os.pwrite(self._descriptor, _TIME.pack(moment), place)

    def time_of(self, state: _State, back: int) -> float:
        """When the call was that is so many calls ago, 1 being the latest."""
        if back > state.count or back > state.capacity:
            return -math.inf
        place = _RING + (state.count - back) % state.capacity * _TIME.size
        data = os.pread(self._descriptor, _TIME.size, place)
        (moment,) = _TIME.unpack(data) if len(data) == _TIME.size else (-math.inf,)
        return -math.inf if math.isnan(moment) else moment

    def rewrite(self, state: _State, place: bytes, shift: float, capacity: int) -> _State:
        """Write the file anew with other times, or a larger ring."""
        kept = min(state.count, state.capacity)
        times = [self.time_of(state, back) + shift for back in range(kept, 0, -1)]
        changed = _State(
            place, capacity, kept, state.latest + shift, state.paused_until + shift,
            state.seen + shift, state.seen_wall,
        )
        packed = struct.pack(f"<{kept}d", *times)
        os.pwrite(self._descriptor, packed, _RING)
        self.write(changed)
        return changed


def rates_of(root_directory: str) -> RateStore:
    """The calls that belong to the home of a Dagster instance."""
    return RateStore(Path(root_directory) / RATES_FOLDER)

"""What a step has printed, read in parts while it goes on printing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from flowtoy_dagster.datafiles.regular import read_regular
from flowtoy_dagster.errors import UsageError

TAIL = 64 << 10
"""Bytes of the end of a stream with which reading begins."""
LARGEST = 256 << 10
"""Bytes of a stream that are read at once."""
_STREAMS = (("stdout", "out"), ("stderr", "err"))
_MOST_CAPTURES = 1000


@dataclass(frozen=True)
class PrintedPart:
    """The next part of what was printed to one stream.

    Attributes:
        capture: which of the step's captures it belongs to, from 0: each attempt in a process of
            its own has one.
        stream: `stdout` or `stderr`.
        text: what was printed; secrets are hidden already.
        is_cut: whether something was printed before it that is not read.
    """

    capture: int
    stream: str
    text: str
    is_cut: bool = False


def printed_since(
    instance: dg.DagsterInstance, run_id: str, step_key: str, position: str = ""
) -> tuple[list[PrintedPart], str]:
    """What a step has printed since somebody read it last.

    Args:
        instance: where the run is.
        run_id: the run that executed the step.
        step_key: the step.
        position: where reading ended the last time, as it was given then; by default reading
            begins near the end.

    Returns:
        the parts in their order, and the new position.

    Raises:
        UsageError: `position` is none.
    """
    known = _offsets(position)
    parts: list[PrintedPart] = []
    reached: list[tuple[int, ...]] = []
    for number, log_key in enumerate(_captures(instance, run_id, step_key)):
        offsets = known[number] if number < len(known) else (None, None)
        ends = []
        for (stream, ending), offset in zip(_STREAMS, offsets, strict=True):
            path = _path(instance, log_key, ending)
            text, end, is_cut = _read(path, offset) if path else ("", 0, False)
            if text:
                parts.append(PrintedPart(number, stream, text, is_cut))
            ends.append(end)
        reached.append(tuple(ends))
    return parts, ",".join(".".join(map(str, ends)) for ends in reached)


def _offsets(position: str) -> list[tuple[int | None, int | None]]:
    if not position:
        return []
    try:
        pairs = [tuple(map(int, pair.split("."))) for pair in position.split(",")]
    except ValueError:
        raise UsageError(f"'{position[:40]}' is not a position in what was printed") from None
    if len(pairs) > _MOST_CAPTURES or any(len(pair) != 2 or min(pair) < 0 for pair in pairs):
        raise UsageError(f"'{position[:40]}' is not a position in what was printed")
    return [(out, err) for out, err in pairs]


def _captures(
    instance: dg.DagsterInstance, run_id: str, step_key: str
) -> Iterator[Sequence[str]]:
    """The keys of a step's captures in their order; steps in one process share theirs."""
    manager = instance.compute_log_manager
    for entry in instance.all_logs(run_id, dg.DagsterEventType.LOGS_CAPTURED):
        assert entry.dagster_event is not None
        data: Any = entry.dagster_event.event_specific_data
        if step_key in (data.step_keys or ()):
            yield manager.build_log_key_for_run(run_id, data.file_key)


def _path(instance: dg.DagsterInstance, log_key: Sequence[str], ending: str) -> str | None:
    manager: Any = instance.compute_log_manager
    find = getattr(manager, "get_captured_local_path", None)
    return None if find is None else str(find(log_key, ending))


def _read(path: str, offset: int | None) -> tuple[str, int, bool]:
    """The next text of a file, where it ends, and whether something before it is left out."""
    try:
        with read_regular(Path(path)) as file:
            size = file.seek(0, os.SEEK_END)
            is_cut = offset is None and size > TAIL
            start = (size - TAIL if is_cut else 0) if offset is None else min(offset, size)
            file.seek(start)
            data = file.read(LARGEST)
    except OSError:
        return "", offset or 0, False
    if is_cut:
        # From the beginning of a line.
        start, data = start + data.find(b"\n") + 1, data[data.find(b"\n") + 1 :]
    whole = _whole_characters(data)
    return data[:whole].decode("utf-8", "replace"), start + whole, is_cut


def _whole_characters(data: bytes) -> int:
    """How many bytes of a text can be shown: the last character may not be there as a whole."""
    for length in range(1, min(4, len(data)) + 1):
        byte = data[-length]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - length if length < needed else len(data)
    return len(data)

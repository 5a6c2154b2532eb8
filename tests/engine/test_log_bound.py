"""How much of what a step prints is kept."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtoy_dagster import run_flow
from flowtoy_dagster.engine.storage.logs.log_bound import (
    KEPT_FIRST,
    KEPT_LAST,
    LONGEST_LINE,
    MORE,
    LogBound,
)
from flowtoy_dagster.runs.history import History


def kept(parts: Sequence[bytes], first: int, last: int) -> bytes:
    bound = LogBound(first, last)
    return b"".join([*map(bound.add, parts), bound.close()])


def in_parts(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(st.lists(st.text(alphabet="aé€😀", max_size=12), max_size=60), st.integers(1, 50))
def test_what_is_kept_of_a_stream_is_whole_lines_from_both_ends(
    texts: list[str], size: int
) -> None:
    lines = [f"{text}\n".encode() for text in texts]
    data = b"".join(lines)
    found = kept(in_parts(data, size), 100, 80)
    if MORE not in found:
        assert found == data
        return
    start, _, end = found.partition(MORE)
    assert data.startswith(start)
    assert start.endswith(b"\n")
    assert 100 <= len(start) <= 100 + max(map(len, lines))
    if b"left out here" not in end:
        assert start + end == data
        return
    told, _, end = end.partition(b"\n")
    assert told == b"... %d bytes were left out here" % (len(data) - len(start) - len(end))
    assert end.splitlines(keepends=True) == lines[len(lines) - end.count(b"\n") :]
    assert len(end) <= 80 < len(end) + max(map(len, lines))


@pytest.mark.parametrize("size", [1 << 16, 999])
def test_a_line_without_an_end_is_cut_between_two_characters(size: int) -> None:
    data = "€".encode() * 100_000
    found = kept(in_parts(data, size), 1000, 1000)
    start, _, end = found.partition(b"\n" + MORE)
    told, _, end = end.partition(b"\n")
    assert set(start.decode()) == set(end.decode()) == {"€"}
    assert len(start) <= 1000 + LONGEST_LINE + 3
    assert len(end) <= 1000
    assert b"left out here" in told


@pytest.mark.usefixtures("made_home")
def test_a_long_log_has_the_error_at_its_end() -> None:
    # the first part is not enough: a step that failed has no outputs to look it up in
    script = "seq -f 'line %06.0f of the log' 1 120000; echo 'the error'; exit 3"
    step = {"name": "talk", "source": {"type": "process", "command": ["sh", "-c", script]}}
    run = run_flow({"flow": [step]})
    with History() as history:
        ((_, stream, content),) = history.captured(history.find(run.run_id), "talk")
    lines = content.decode().splitlines()
    assert stream == "stdout"
    assert (lines[0], lines[-2:]) == (
        "line 000001 of the log", ["line 120000 of the log", "the error"]
    )
    assert sum(line.startswith("...") for line in lines) == 2
    assert {len(line) for line in lines if line.startswith("line ")} == {len(lines[0])}
    assert KEPT_FIRST + KEPT_LAST - 100 < len(content) < KEPT_FIRST + KEPT_LAST + 300

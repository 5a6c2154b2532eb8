"""How many workers are started before there are steps for them."""

from __future__ import annotations

import pytest

from flowtoy_dagster.engine.executors.scheduling.width import steps_at_once

CHAIN = {f"s{number}": {f"s{number - 1}"} if number else set() for number in range(20)}
WIDE: dict[str, set[str]] = {f"s{number}": set() for number in range(20)}
FAN = {"first": set(), **{f"s{number}": {"first"} for number in range(5)},
       "last": {f"s{number}" for number in range(5)}}
DIAMONDS = {"a": set(), "b": {"a"}, "c": {"a"}, "d": {"b", "c"}, "e": {"d"}, "f": {"d"}}


@pytest.mark.parametrize(
    ("waits", "limit", "expected"),
    [
        ({}, 10, 0),
        ({"only": set()}, 10, 1),
        (CHAIN, 10, 1),
        (WIDE, 10, 10),
        (WIDE, 100, 20),
        (FAN, 10, 5),
        (FAN, 3, 3),
        (DIAMONDS, 10, 2),
        ({"again": {"of an earlier run"}, "after": {"again"}}, 10, 1),
    ],
    ids=["nothing", "one", "chain", "wide", "wide-few", "fan", "fan-limited", "diamonds", "retry"],
)
def test_as_many_steps_as_are_equally_deep(
    waits: dict[str, set[str]], limit: int, expected: int
) -> None:
    assert steps_at_once(waits, limit) == expected

"""Which steps need not wait any longer when others have ended."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flowtoy_dagster.engine.executors.scheduling.open_waits import OpenWaits

KEYS = [f"s{number}" for number in range(8)]


def test_a_step_is_ready_when_the_last_before_it_has_ended() -> None:
    waits = OpenWaits({"a": set(), "b": {"a"}, "c": {"a", "b"}})
    assert waits.waiting.keys() == {"b", "c"}
    assert waits.end(["a"]) == {"b": {"a"}}
    assert waits.end(["a"]) == {}  # it has ended before
    assert waits.end(["b"]) == {"c": {"a", "b"}}
    assert (waits.waiting, waits.ended) == ({}, {"a", "b"})


def test_a_step_that_was_taken_out_is_never_ready() -> None:
    waits = OpenWaits({"b": {"a"}, "c": {"a"}})
    del waits.waiting["b"]
    assert waits.end(["a"]) == {"c": {"a"}}


@given(
    st.lists(st.sets(st.sampled_from(KEYS)), min_size=8, max_size=8),
    st.permutations(KEYS),
)
def test_steps_become_ready_as_a_look_at_all_of_them_finds(
    needed: list[set[str]], order: list[str]
) -> None:
    waits = {key: before - {key} for key, before in zip(KEYS, needed, strict=True)}
    found = OpenWaits(waits)
    ready = {key for key, before in waits.items() if not before}
    for place, key in enumerate(order):
        ready |= found.end([key]).keys()
        ended = set(order[: place + 1])
        assert ready == {key for key, before in waits.items() if before <= ended}
        assert ready.isdisjoint(found.waiting)

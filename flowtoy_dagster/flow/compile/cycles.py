"""Steps that wait for each other in a circle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


def cycles_from(
    start: str, waits: Mapping[str, Sequence[str]], done: set[str]
) -> Iterator[list[str]]:
    """Cycles met in a depth-first walk, without recursion; `done` collects what was visited."""
    trail: list[str] = [start]
    on_trail = {start}
    stack = [iter(waits[start])]
    while stack:
        following = next(stack[-1], None)
        if following is None:
            stack.pop()
            finished = trail.pop()
            on_trail.discard(finished)
            done.add(finished)
        elif following in on_trail:
            yield [*trail[trail.index(following):], following]
        elif following not in done:
            trail.append(following)
            on_trail.add(following)
            stack.append(iter(waits[following]))

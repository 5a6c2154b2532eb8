"""A graph as lines for a terminal: each step has a row, and lanes lead to what waits for it.

A lane is held for a step until the last step that waits for it has been drawn. A row of links above
a step joins the lanes of what it waits for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from flowtoy_dagster.plan.drawings.graph import Graph
from flowtoy_dagster.terminal import plain

Part = tuple[str, str]
MOST_LANES = 16
"""Lanes that can be followed by eye; with more, each step lists what it waits for."""
STYLES = {
    "succeeded": "good", "failed": "bad", "skipped": "warn", "running": "busy", "pending": "dim",
    "cancelled": "bad",
}


class Strokes(NamedTuple):
    """The signs of one character set; `joints` by what they join: up, down, left, right."""

    step: str
    lane: str
    line: str
    joints: dict[str, str]


_PRETTY = Strokes("●", "│", "─", {
    "udlr": "┼", "udl": "┤", "udr": "├", "ulr": "┴", "dlr": "┬", "ul": "╯", "ur": "╰",
    "dl": "╮", "dr": "╭", "ud": "│", "u": "│", "d": "│",
})  # fmt: skip
_ASCII = Strokes("*", "|", "-", {
    "udlr": "+", "udl": "+", "udr": "+", "ulr": "'", "dlr": ".", "ul": "'", "ur": "'",
    "dl": ".", "dr": ".", "ud": "|", "u": "|", "d": "|",
})  # fmt: skip


def graph_lines(graph: Graph, *, unicode: bool = True) -> Iterator[list[Part]]:
    """The lines of a graph.

    Args:
        graph: with at least one step.
        unicode: whether there are more characters than ASCII.
    """
    strokes = _PRETTY if unicode else _ASCII
    rows = list(_Lanes(graph, strokes).rows())
    width = max(len(drawn) for drawn, _ in rows)
    if width > 2 * MOST_LANES:
        yield from _listed(graph, strokes)
        return
    names = {name: plain(name) for name in graph.types}
    longest = min(40, max(map(len, names.values())))
    for drawn, step in rows:
        if step is None:
            yield [("dim", drawn)]
            continue
        place = drawn.index(strokes.step)
        style = STYLES.get(graph.states.get(step, ""), "")
        yield [
            ("dim", drawn[:place]), (style or "bold", strokes.step),
            ("dim", f"{drawn[place + 1 :]:<{width - place}} "),
            (style or "bold", f"{names[step]:<{longest}}"), ("dim", f"  {_facts(graph, step)}"),
        ]


def _facts(graph: Graph, step: str) -> str:
    state = graph.states.get(step)
    return plain(graph.types[step]) + (f"  {state}" if state else "")


def _listed(graph: Graph, strokes: Strokes) -> Iterator[list[Part]]:
    """A row for each step, with the steps that it waits for: there are too many lanes to draw."""
    waits: dict[str, list[str]] = {name: [] for name in graph.types}
    for edge in graph.edges:
        waits[edge.after].append(plain(edge.before))
    digits = len(str(max(graph.levels.values())))
    for name in graph.types:
        style = STYLES.get(graph.states.get(name, ""), "")
        after = f"  after {', '.join(waits[name])}" if waits[name] else ""
        yield [
            ("dim", f"{graph.levels[name]:>{digits}} "), (style or "bold", strokes.step),
            (style or "bold", f" {plain(name)}"), ("dim", f"  {_facts(graph, name)}{after}"),
        ]


class _Lanes:
    """Draws steps one after another; `held[column]` is the step whose lane is there."""

    def __init__(self, graph: Graph, strokes: Strokes) -> None:
        self._names = list(graph.types)
        self._strokes = strokes
        self._before: dict[str, list[str]] = {name: [] for name in self._names}
        for edge in graph.edges:
            self._before[edge.after].append(edge.before)
        self._left = Counter(edge.before for edge in graph.edges)
        self.held: list[str | None] = []

    def rows(self) -> Iterator[tuple[str, str | None]]:
        """Each row, and the step in it; None for a row of links."""
        for name in self._names:
            joined = {self.held.index(other): other for other in self._before[name]}
            ending = set()
            for column, other in joined.items():
                self._left[other] -= 1
                if not self._left[other]:
                    ending.add(column)
            own = self._column_for(ending)
            if joined:
                yield self._links(own, set(joined), ending), None
            for column in ending:
                self.held[column] = None
            yield self._row(own), name
            self.held[own] = name if self._left[name] else None
            while self.held and self.held[-1] is None:
                self.held.pop()

    def _column_for(self, ending: set[int]) -> int:
        free = [column for column, step in enumerate(self.held) if step is None]
        own = min(ending) if ending else min(free, default=len(self.held))
        if own == len(self.held):
            self.held.append(None)
        return own

    def _row(self, own: int) -> str:
        lane, step = self._strokes.lane, self._strokes.step
        signs = [lane if holder is not None else " " for holder in self.held]
        signs[own] = step
        return " ".join(signs).rstrip()

    def _links(self, own: int, joined: set[int], ending: set[int]) -> str:
        """The row that joins lanes to the column of the step below it."""
        ends = {*joined, own}
        first, last = min(ends), max(ends)
        drawn = ""
        for column, holder in enumerate(self.held):
            if column in ends:
                directions = "u" if column in joined else ""
                directions += "d" if column == own or column not in ending else ""
                directions += "l" if column > first else ""
                directions += "r" if column < last else ""
                drawn += self._strokes.joints[directions]
            elif holder is not None:
                drawn += self._strokes.lane
            else:
                drawn += self._strokes.line if first < column < last else " "
            drawn += self._strokes.line if first <= column < last else " "
        return drawn.rstrip()

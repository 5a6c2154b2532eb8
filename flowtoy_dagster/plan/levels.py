"""In which order steps run: the level of a step is how many others must run one after another."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import TopologicalSorter

from flowtoy_dagster.flow.graph import Flow, Step, steps_after


def waits_of(flow: Flow) -> Mapping[str, tuple[str, ...]]:
    """For each step, the steps that it starts after.

    A step with `run_if` and without dependencies starts after all others (language 19.3).
    """
    last = [step.name for step in flow.steps if step.is_closing and not step.dependencies]
    apart = {*last, *steps_after(flow, last)}
    others = tuple(step.name for step in flow.steps if step.name not in apart)
    return {step.name: others if step.name in last else step.upstream for step in flow.steps}


def levels_of(flow: Flow) -> Mapping[str, int]:
    """The level of each step, from 1: one more than the highest of those that it starts after."""
    waits = waits_of(flow)
    found: dict[str, int] = {}
    for name in TopologicalSorter(waits).static_order():
        found[name] = 1 + max((found[other] for other in waits[name]), default=0)
    return found


def in_order(flow: Flow) -> list[Step]:
    """The steps by level, those of one level in file order."""
    levels = levels_of(flow)
    return sorted(flow.steps, key=lambda step: (levels[step.name], step.index))

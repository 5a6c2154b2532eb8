"""The event loop of a step's context, which is made where something uses it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.engine.executors.warm.contexts.event_loops import LoopOnDemand


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the system has no /proc")
def test_a_step_of_a_flow_makes_no_loop(tmp_path: Path) -> None:
    """A loop would have two sockets in the step's worker, beside the one to the run's process."""
    command = ["sh", "-c", "readlink /proc/$PPID/fd/* | grep -c socket:"]
    step = {"name": "look", "source": "process", "input": {"command": command},
            "output": [{"name": "sockets", "type": "jmespath", "value": "json"}]}

    run = run_flow({"flow": [step]}, home=tmp_path)

    assert run.outputs == {"look": {"sockets": 1}}


def test_a_loop_that_nothing_uses_is_not_made() -> None:
    loop = LoopOnDemand()

    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()

    assert loop._loop is None


def test_a_loop_that_is_used_runs_what_it_is_given_and_is_closed() -> None:
    closed: list[str] = []

    async def count() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            closed.append("generator")

    loop = LoopOnDemand()

    async def first() -> int:
        return await generator.__anext__()

    generator = count()
    assert loop.run_until_complete(first()) == 1
    made = loop._loop
    assert isinstance(made, asyncio.AbstractEventLoop)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()

    assert closed == ["generator"]
    assert made.is_closed()

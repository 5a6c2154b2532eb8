"""Repeated steps, run without Dagster."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from module_files import load

from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.masking.mask import Mask
from flowtoy_dagster.steps.attempts import StepOutcome, run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo
from flowtoy_dagster.steps.state.items import ItemResult, Loop, MemoryItemLog
from flowtoy_dagster.steps.state.mask import StepMask

load(Path(__file__).parent.parent / "server" / "serving_commands.py")


@dataclass
class Ran:
    """A repeated step that has ended."""

    outcome: StepOutcome
    items: list[ItemResult]

    @property
    def states(self) -> list[str]:
        return [item.state for item in self.items]

    @property
    def errors(self) -> list[str | None]:
        return [item.error for item in self.items]


@pytest.fixture
def repeat() -> Callable[..., Ran]:
    """Runs a step with a `for_each`; keywords are keys of the step, or what its context has."""

    def run(
        for_each: Any,
        earlier: Iterable[ItemResult] = (),
        context: dict[str, Any] | None = None,
        top: dict[str, Any] | None = None,
        **step: Any,
    ) -> Ran:
        written = {"name": "it", "for_each": for_each, "source": "env", **step}
        flow = load_flow({"flow": [written], **(top or {})})
        log = MemoryItemLog(earlier)
        more = {"loop": Loop(log), **(context or {})}
        found = StepContext(flow.step("it"), RunInfo("r1", "f", lambda: 0.0), **more)
        return Ran(run_step(found, flow.sources, {}), list(log.results()))

    return run


@pytest.fixture
def masked() -> Callable[..., StepMask]:
    """A step's mask that knows some secrets."""
    return lambda *secrets, **more: StepMask(Mask(secrets), **more)

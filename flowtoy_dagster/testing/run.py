"""One run of a flow in this process: steps by their real chain, waits by a virtual clock.

A discrete simulation: an attempt is made when it starts, and has ended when its waits have passed.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flowtoy_dagster.flow.graph import Flow, Step, worker_count
from flowtoy_dagster.flow.param_values import bound, see_params
from flowtoy_dagster.flow.places import shown_place, warning_place
from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets, secret_outputs
from flowtoy_dagster.json_text import dumps, loads
from flowtoy_dagster.masking.mask import Mask, texts_in
from flowtoy_dagster.providers.base import Exchanges
from flowtoy_dagster.steps.attempts import StepOutcome, fail_step, run_step
from flowtoy_dagster.steps.chain import Failed
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo
from flowtoy_dagster.steps.stages import RUN_OUT_OF_TIME
from flowtoy_dagster.steps.state.flow_folder import FlowFolder
from flowtoy_dagster.steps.state.items import Loop
from flowtoy_dagster.steps.state.mask import StepMask
from flowtoy_dagster.steps.state.timing import VirtualTime
from flowtoy_dagster.steps.state.warnings import Warned, Warnings
from flowtoy_dagster.steps.words import one_line
from flowtoy_dagster.testing.schedule import Schedule

logger = logging.getLogger("flowtoy.step")

RUN_ID = "00000000-0000-4000-8000-000000000000"


@dataclass
class Ended:
    """A step that has ended, as its dependents and expectations see it.

    Attributes:
        state: `succeeded`, `failed` or `skipped`.
        shown: its outputs as people see them, secrets hidden.
        secrets: what it learned to be secret.
        ran: whether it has started.
    """

    state: str
    error: str | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] | None = None
    items: list[dict[str, Any]] = field(default_factory=list)
    attempts: int = 0
    shown: Mapping[str, Any] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()
    ran: bool = True


@dataclass(frozen=True)
class Places:
    """Where a run writes files.

    Attributes:
        folder: gives the folder of a step, or of an item of it by its key.
        redirect: gives the place that is written to instead of one that an output names.
    """

    folder: Callable[[str, str | None], Path] | None = None
    redirect: Callable[[str], str] | None = None


class FlowRun:
    """A run of a flow.

    Args:
        flow: what to run, with the values of its parameters.
        exchanges: asked instead of what providers would call; None where they call.
        places: where files are written.

    Attributes:
        steps: how each step that has ended did, by name.
        seconds: how long all waits took.
    """

    def __init__(
        self,
        flow: Flow,
        exchanges: Exchanges | None = None,
        places: Places | None = None,
    ) -> None:
        self._flow = bound(flow)
        self._exchanges = exchanges
        self._places = places or Places()
        self._schedule = Schedule(flow)
        self._params = see_params(self._flow, os.environ)
        self._known = FlowSecrets(self._flow).mask(os.environ).including(self._params.secrets)
        self._began = time.monotonic()
        self._started_at = time.time()
        self._attempts: dict[str, int] = {}
        self._warnings = {step.name: warnings_of(flow, step) for step in flow.steps}
        self.steps: dict[str, Ended] = {}
        self.seconds = 0.0

    @property
    def state(self) -> str:
        """`succeeded` or `failed`, by what has ended so far."""
        return "failed" if any(
            ended.state == "failed"
            and (self._flow.step(name).on_error == "fail" or ended.error == RUN_OUT_OF_TIME)
            for name, ended in self.steps.items()
        ) else "succeeded"

    @property
    def mask(self) -> Mask:
        """Hides all that the run knows to be secret."""
        learned = frozenset[str]().union(*(ended.secrets for ended in self.steps.values()))
        return self._known.including(learned)

    def carry_out(self) -> FlowRun:
        """Run it to its end; gives the run itself."""
        schedule = self._schedule
        most = worker_count(self._flow)
        places = {step.name: step.index for step in self._flow.steps}
        serial = itertools.count()
        events: list[tuple[float, int, int, str, StepOutcome | None]] = []
        working = 0
        while True:
            for name in schedule.ready()[: most - working]:
                schedule.start(name)
                working += 1
                outcome, ends = self._attempt(self._flow.step(name), self.seconds)
                heapq.heappush(events, (ends, places[name], next(serial), name, outcome))
            if not events:
                break
            self.seconds, _, _, name, ended = heapq.heappop(events)
            if ended is None:
                schedule.retry(name)
                continue
            working -= 1
            if ended.retry_in is not None:
                again = self.seconds + ended.retry_in
                heapq.heappush(events, (again, places[name], next(serial), name, None))
                continue
            schedule.end(
                name, self.steps[name].state,  # type: ignore[arg-type]
                for_good=ended.error == RUN_OUT_OF_TIME
                and not self._flow.step(name).is_closing,
            )
        for name, reason in schedule.lost.items():
            self.steps[name] = Ended("skipped", reason, ran=False)
        return self

    def _attempt(self, step: Step, at: float) -> tuple[StepOutcome, float]:
        """Make an attempt; gives what came of it, and when it has ended."""
        number = self._attempts[step.name] = self._attempts.get(step.name, 0) + 1
        clock = VirtualTime(at)
        context = self._context(step, number, clock)
        upstream = {name: self._upstream(name) for name in step.upstream}
        outcome = run_step(context, self._flow.sources, upstream)
        context.mask.release()
        if outcome.retry_in is None:
            outcome = self._keep(step, context, outcome, number)
        return outcome, clock.ends

    def _upstream(self, name: str) -> Ended:
        found = self.steps.get(name)
        if found is not None:
            return found
        return Ended("skipped", "it did not run", result=_NOTHING, ran=False)

    def _context(self, step: Step, attempt: int, clock: VirtualTime) -> StepContext:
        known = self._known
        for name in step.upstream:
            known = known.including(self._upstream(name).secrets)
        limit = self._flow.runner.timeout
        if limit is not None and step.is_closing:
            limit += self._flow.runner.grace
        folder = self._places.folder
        return StepContext(
            step=step,
            run=RunInfo(
                RUN_ID, self._flow.name, lambda: self._started_at, self._params, RUN_ID,
                failed=self._failed, state=lambda: self.state, folder=FlowFolder.of(self._flow),
            ),
            attempt=attempt,
            deadline=None if limit is None else self._began + limit,
            mask=StepMask(
                known,
                holding=step.prints_secrets,
            ),
            # One item after another: which of them fails first is the same each time.
            loop=Loop(most=1),
            files=None if folder is None else lambda key: folder(step.name, key),
            redirect=self._places.redirect,
            time=clock,
            exchanges=self._exchanges,
            has_hidden=self._exchanges is not None,
            warnings=self._warnings[step.name],
        )

    def _failed(self) -> list[str]:
        done = self._schedule.ends
        return [step.name for step in self._flow.steps if done.get(step.name) == "failed"]

    def _keep(
        self, step: Step, context: StepContext, outcome: StepOutcome, attempts: int
    ) -> StepOutcome:
        """Keep what came of a step, as JSON holds it."""
        try:
            outputs = {name: _stored(value) for name, value in outcome.outputs.items()}
            result = _result_of(step, outcome)
        except Exception as error:  # noqa: BLE001 - whatever it is, the step has failed
            context.work.result = None
            reason = f"its outputs could not be written: {one_line(error)}"
            outcome = replace(fail_step(context, Failed(reason, "raised")), retry_in=None)
            outputs, result = {}, _NOTHING
        secrets = set(outcome.secrets)
        for name in secret_outputs(self._flow, step.name) & outputs.keys():
            secrets |= set(texts_in(outputs[name]))
        mask = outcome.mask.including(secrets)
        self.steps[step.name] = Ended(
            outcome.state,
            outcome.skipped if outcome.skipped is not None else outcome.error,
            outputs,
            result,
            outcome.counts.facts() if outcome.counts is not None else None,
            [one.fact() for one in context.loop.log.results()],
            attempts if attempts > 1 or outcome.skipped is None else 0,
            outcome.shown(outputs, mask),
            frozenset(secrets),
        )
        return outcome


def warnings_of(flow: Flow, step: Step) -> Warnings:
    """What logs the warnings of a step with their places, each once for all of its attempts."""

    def tell(warned: Warned) -> None:
        place = warning_place(flow, step.name, warned.path)
        at = f"{shown_place(place)}: " if place is not None else ""
        logger.warning("%sstep '%s': %s", at, step.name, warned.message)

    return Warnings(tell)


_NOTHING: dict[str, Any] = {"success": False, "code": None, "notes": []}


def _stored(value: Any) -> Any:
    """A value as a record keeps it."""
    return loads(dumps(value))


def _result_of(step: Step, outcome: StepOutcome) -> dict[str, Any]:
    result = outcome.result
    if result is None:
        return {**_NOTHING, "success": outcome.counts is not None and outcome.succeeded}
    notes = [outcome.mask.text(note) for note in result.notes]
    own = {"success": result.success, "code": result.code, "notes": notes}
    if not step.keep_result:
        return own
    return {**own, **_stored({"data": result.data, "meta": dict(result.meta)})}

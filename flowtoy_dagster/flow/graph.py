"""The flow: steps with their sources, their input's meaning, and what each waits for and why."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from flowtoy_dagster.errors import Location, Problem, UsageError
from flowtoy_dagster.flow.files.nodes import Node
from flowtoy_dagster.flow.files.suggestions import show
from flowtoy_dagster.flow.schema.for_each import ForEachConfig
from flowtoy_dagster.flow.schema.incremental import IncrementalConfig
from flowtoy_dagster.flow.schema.models import (
    DEFAULT_WORKERS,
    OnError,
    OutputConfig,
    RunEnd,
    RunIf,
    RunnerConfig,
    ScheduleConfig,
)
from flowtoy_dagster.flow.schema.params import Param
from flowtoy_dagster.flow.schema.rates import Rate
from flowtoy_dagster.flow.schema.retry import RetryConfig

InputKind = Literal["none", "payload", "request"]
Rule = Literal["continue", "skip", "halt"]
"""What a failed step does to a direct dependent."""


class Source(NamedTuple):
    """What a step calls: the provider's type and its configuration, templates unrendered.

    Attributes:
        name: of the named source that it is, or is derived from.
        concurrency: how many steps of a run may use a named source at once.
        rates: how many calls of a named source a time may hold, the shortest window first.
    """

    type: str
    configuration: Mapping[str, Any]
    name: str | None = None
    concurrency: int | None = None
    rates: tuple[Rate, ...] = ()


class Mention(NamedTuple):
    """A place that makes a step wait for another.

    Attributes:
        reason: `depends_on`, or the field whose template refers to the other step.
        name: what the template refers to, such as `flows.a.rows`; None for `depends_on`.
        is_needed: whether the step can't run without it (language 19.2).
        place: where; None where the configuration came from no file.
    """

    reason: str
    name: str | None = None
    is_needed: bool = False
    place: Location | None = None


@dataclass(frozen=True)
class Dependency:
    """A step that another waits for.

    Attributes:
        step: the written name of the step that comes first.
        reasons: `depends_on`, or the fields whose templates refer to it.
        needs: what unguarded references name of it, such as `flows.a.rows` (language 19.2).
        mentions: each place that names it, in reading order.
    """

    step: str
    reasons: tuple[str, ...]
    needs: tuple[str, ...] = ()
    mentions: tuple[Mention, ...] = field(default=(), compare=False, repr=False)


ASKED_EVERY = 10.0
"""Seconds between two calls of a step with `until`, where it does not say."""


class Until(NamedTuple):
    """A step that is called again until something is so (language 19.4).

    Attributes:
        condition: a template of one expression, which sees what outputs see.
        every: seconds from the end of a call to the next, or a template of them.
        limit: seconds after which it has failed, or a template of them; None is never.
    """

    condition: str
    every: float | str = ASKED_EVERY
    limit: float | str | None = None


@dataclass(frozen=True)
class Step:
    """One step of a flow, ready to be run or translated.

    Attributes:
        index: the place in the file's list, from 0.
        name: as written.
        source: what it calls; a request in `input` is merged in.
        request_keys: the keys of the source's configuration that `input` gave.
        payload: the payload as written, templates unrendered.
        input_kind: whether the input is a payload, a request or neither.
        outputs: the outputs as written.
        dependencies: the steps that it waits for, in file order.
        keep_result: whether another step refers to its `steps.<name>.result`.
        group: the group whose limit it shares.
        pool: the pool of Dagster's in which it runs.
        queue: the queue whose workers run it; None for that of the executor.
        params: the parameters that its templates refer to.
        when: its condition, a template of one expression (language 19.1).
        for_each: what it is repeated for; None where it runs once.
        incremental: where its cursor is, of which only what is new is loaded (language 22).
        until: until when it is called again and again.
        run_if: after what ends of the steps before it, it runs (language 19.3).
    """

    index: int
    name: str
    source: Source
    input_kind: InputKind = "none"
    request_keys: frozenset[str] = frozenset()
    payload: Any = None
    outputs: tuple[OutputConfig, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    on_error: OnError = "fail"
    retry: RetryConfig | None = None
    timeout: float | str | None = None
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    keep_result: bool = False
    group: str | None = None
    pool: str | None = None
    queue: str | None = None
    params: tuple[str, ...] = ()
    when: str | None = None
    for_each: ForEachConfig | None = None
    incremental: IncrementalConfig | None = None
    until: Until | None = None
    run_if: RunIf = "success"

    @property
    def is_closing(self) -> bool:
        """Whether it runs after failures, too; then it decides nothing about the run."""
        return self.run_if != "success"

    @property
    def has_secret_cursor(self) -> bool:
        """Whether what it prints may hold a cursor value that is secret."""
        return self.incremental is not None and self.incremental.secret

    @property
    def prints_secrets(self) -> bool:
        """Whether what it prints may hold what is secret, and not known before it has ended."""
        return self.has_secret_cursor or any(output.is_secret for output in self.outputs)

    @property
    def upstream(self) -> tuple[str, ...]:
        """The names of the steps that it waits for."""
        return tuple(dependency.step for dependency in self.dependencies)


class Notification(NamedTuple):
    """A call that is made when a run has ended (language 19.6).

    Attributes:
        on: the ends of a run that it reports.
        call: what is called, as a step without outputs.
    """

    on: frozenset[RunEnd]
    call: Step


class Values(NamedTuple):
    """What a run's parameters are.

    Attributes:
        public: of every parameter that is no secret.
        secret: of the secret ones that were given; others have a default, or a variable.
        lost: those that were given for the run and whose values can't be read any more.
    """

    public: Mapping[str, Any]
    secret: Mapping[str, Any] = {}
    lost: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Flow:
    """A checked configuration: every step can run, given what its templates will find.

    Attributes:
        name: as written, or the first file's stem.
        steps: in file order.
        sources: the named sources, as templates see them.
        runner: how the flow runs.
        config: the merged configuration as plain JSON data, which is what a run is made from.
        params: the parameters by name, in file order.
        notifications: the calls that are made when a run has ended.
        schedules: when Dagster starts it by itself.
        folder: where its first file is; None where nothing of the flow depends on it.
        files: what it was merged from, as absolute paths; none where it came from no file.
        values: what the parameters are, once somebody has chosen.
        warnings: what may not be as it is meant, in file order.
        written: the tree that it was read from, with the places of everything.
    """

    name: str
    steps: tuple[Step, ...]
    sources: Mapping[str, Source]
    runner: RunnerConfig
    config: Mapping[str, Any]
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Param] = field(default_factory=dict)
    notifications: tuple[Notification, ...] = ()
    schedules: tuple[ScheduleConfig, ...] = ()
    folder: str | None = None
    files: tuple[str, ...] = field(default=(), compare=False, repr=False)
    values: Values | None = None
    warnings: tuple[Problem, ...] = ()
    written: Node | None = field(default=None, compare=False, repr=False)

    @property
    def grace(self) -> float:
        """Seconds that its closing steps have when a run is ended; 0 where it has none."""
        return self.runner.grace if any(step.is_closing for step in self.steps) else 0.0

    @functools.cached_property
    def by_name(self) -> Mapping[str, Step]:
        """Each step under its written name."""
        return {step.name: step for step in self.steps}

    def step(self, name: str) -> Step:
        """The step of that name; raises KeyError."""
        return self.by_name[name]

    @functools.cached_property
    def dependents(self) -> Mapping[str, tuple[str, ...]]:
        """For each step, the steps that wait for it directly."""
        found: dict[str, list[str]] = {step.name: [] for step in self.steps}
        for step in self.steps:
            for name in step.upstream:
                found[name].append(step.name)
        return {name: tuple(names) for name, names in found.items()}


def worker_count(flow: Flow, given: int | None = None) -> int:
    """How many steps may run at once (language 10.5).

    Args:
        flow: says so, where nothing is given.
        given: as `--max-workers` has it.

    Raises:
        UsageError: it is below 1, or no whole number.
    """
    if given is None:
        return flow.runner.max_workers or DEFAULT_WORKERS
    if isinstance(given, bool) or not isinstance(given, int):
        raise UsageError(f"max-workers must be a whole number, got {show(given)}")
    if given < 1:
        raise UsageError(f"max-workers must be at least 1, got {given}")
    return given


def steps_after(flow: Flow, origins: Iterable[str]) -> set[str]:
    """The names of the steps that depend on others, at any distance."""
    found: set[str] = set()
    pending = list(origins)
    while pending:
        more = set(flow.dependents.get(pending.pop(), ())) - found
        found |= more
        pending += more
    return found


def rule_between(failed: Step, dependent: Step) -> Rule:
    """What becomes of a direct dependent of a failed step (language 9.2)."""
    if dependent.is_closing:
        return "continue"
    policies = (failed.on_error, dependent.on_error)
    if "continue" in policies:
        return "continue"
    return "skip" if "skip" in policies else "halt"


def halts_run(flow: Flow, step: Step) -> bool:
    """Whether the run halts when this step fails (language 9.2, 9.3)."""
    dependents = [flow.step(name) for name in flow.dependents[step.name]]
    ordinary = [dependent for dependent in dependents if not dependent.is_closing]
    if not ordinary:
        return step.on_error == "fail"
    return any(rule_between(step, dependent) == "halt" for dependent in ordinary)


def tolerated_by(flow: Flow, step: Step) -> frozenset[str]:
    """The steps that this one depends on and whose failure does not keep it from running."""
    return frozenset(
        name for name in step.upstream if rule_between(flow.step(name), step) == "continue"
    )


def has_tolerant_dependents(flow: Flow, step: Step) -> bool:
    """Whether some dependent runs although this step failed."""
    dependents = flow.dependents[step.name]
    return any(rule_between(step, flow.step(name)) == "continue" for name in dependents)

"""What the tests of the engine have in common: runs of `jobs_for_executors` and their events."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from module_files import load

from flowtoy_dagster.engine.storage.home import open_home

DEADLINE = 90.0


jobs = load(Path(__file__).with_name("jobs_for_executors.py"))


@dataclass(frozen=True)
class Outcome:
    """A run that has ended, as its event log tells it."""

    status: str
    entries: Sequence[dg.EventLogEntry]

    @property
    def events(self) -> list[dg.DagsterEvent]:
        return [entry.dagster_event for entry in self.entries if entry.dagster_event]

    def of_step(self, key: str) -> list[str]:
        """The types of a step's own events, in their order."""
        return [event.event_type_value for event in self.events if event.step_key == key]

    @property
    def steps(self) -> dict[str, list[str]]:
        """The types of the events of each step."""
        keys = {event.step_key for event in self.events if event.step_key}
        return {key: self.of_step(key) for key in sorted(keys)}

    def ended_by(self, kind: str) -> set[str | None]:
        """The steps that have an event of a type."""
        return {event.step_key for event in self.events if event.event_type_value == kind}

    @property
    def succeeded(self) -> set[str | None]:
        """The steps that succeeded."""
        return self.ended_by("STEP_SUCCESS")

    @property
    def failed(self) -> set[str | None]:
        """The steps that failed."""
        return self.ended_by("STEP_FAILURE")

    @property
    def values(self) -> dict[str, Any]:
        """What steps told with their outputs."""
        return {
            event.step_key: event.step_output_data.metadata["value"].value[0]  # type: ignore[index]
            for event in self.events
            if event.event_type_value == "STEP_OUTPUT"
            and "value" in event.step_output_data.metadata
            and event.step_key
        }

    @property
    def seen(self) -> dict[str, Any]:
        """What steps told of their surroundings."""
        found = {}
        for event in self.events:
            if event.event_type_value == "ASSET_OBSERVATION" and event.step_key:
                observation = event.asset_observation_data.asset_observation
                found[event.step_key] = observation.metadata["value"].value[0]  # type: ignore[index]
        return found

    def error(self, key: str) -> str:
        """The text of a failed step's error."""
        (event,) = (
            e for e in self.events if e.step_key == key and e.event_type_value == "STEP_FAILURE"
        )
        error = event.step_failure_data.error
        assert error is not None
        return error.to_string()

    @property
    def run_error(self) -> str:
        """The text of what failed the whole run."""
        (event,) = (e for e in self.events if e.event_type_value == "PIPELINE_FAILURE")
        error = event.job_failure_data.error
        return f"{event.message}\n{error.to_string() if error else ''}"

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """When each step started and ended."""
        starts, ends = {}, {}
        for entry in self.entries:
            event = entry.dagster_event
            if event is None or event.step_key is None:
                continue
            if event.event_type_value == "STEP_START":
                starts[event.step_key] = entry.timestamp
            elif event.event_type_value in ("STEP_SUCCESS", "STEP_FAILURE"):
                ends[event.step_key] = entry.timestamp
        return {key: (starts[key], ends[key]) for key in starts}

    def most_at_once(self, keys: Sequence[str] | None = None) -> int:
        """How many of the steps, or of some of them, ran at the same time."""
        spans = [span for key, span in self.intervals.items() if keys is None or key in keys]
        return max(sum(s <= start < e for s, e in spans) for start, _ in spans)


def outcome_of(instance: dg.DagsterInstance, run_id: str) -> Outcome:
    """What the instance has stored of a run."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return Outcome(run.status.value, list(instance.all_logs(run_id)))


@pytest.fixture
def used_home(databases: Path, tmp_path: Path) -> Path:
    """A home of this test's own, with databases, without a run."""
    home = open_home(tmp_path / "used-home")
    for name in ("history", "schedules"):
        shutil.copytree(databases / name, home / name)
    return home


@pytest.fixture
def instance(used_home: Path) -> Iterator[dg.DagsterInstance]:
    """That home, open."""
    with dg.DagsterInstance.from_config(str(used_home)) as opened:
        yield opened


@pytest.fixture
def execute(instance: dg.DagsterInstance) -> Callable[..., Outcome]:
    """Runs a job of `jobs_for_executors`."""

    def run(
        name: str,
        executor: str,
        *,
        limit: int = 2,
        config: dict[str, Any] | None = None,
        op_selection: list[str] | None = None,
        **arguments: Any,
    ) -> Outcome:
        ended = dg.execute_job(
            jobs.job_of(name, executor, **arguments),
            instance,
            run_config=jobs.run_config(executor, limit, **(config or {})),
            op_selection=op_selection,
        )
        return outcome_of(instance, ended.run_id)

    return run


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool], str], None]:
    """Polls until something is so."""

    def wait(condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + DEADLINE
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"not within {DEADLINE:.0f} s: {what}")
            time.sleep(0.02)

    return wait


@pytest.fixture
def processes() -> Callable[[], dict[int, int]]:
    """Gives the parent of every process of this machine that is not a zombie."""
    return jobs.processes

"""Flows in a code location, which Dagster loads once and rebuilds in each process of a run.

What a run executes is fixed when it is made: the first time, each flow's merged configuration is
saved in the home folder; each later time, jobs are made of what was saved. Dagster keeps the
references to it, never the text.
"""

import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import dagster as dg

from flowtoy_dagster.deployment.discovery import PATH_VARIABLE, VARIABLES, FlowFiles
from flowtoy_dagster.engine.executors.kinds import build_executor
from flowtoy_dagster.engine.jobs.broken_flow_job import placeholder_job
from flowtoy_dagster.engine.jobs.dagster_names import dagster_name
from flowtoy_dagster.engine.jobs.limits import tag_limits
from flowtoy_dagster.engine.jobs.reconstruction import lazy_repository, remember, remembered
from flowtoy_dagster.engine.jobs.schedules import schedules_of
from flowtoy_dagster.engine.jobs.sensors import sensors_of
from flowtoy_dagster.engine.jobs.translator import FlowTranslator
from flowtoy_dagster.engine.storage.home import open_home
from flowtoy_dagster.errors import ConfigError, HomeError, RunError
from flowtoy_dagster.flow.graph import Flow, worker_count
from flowtoy_dagster.loader import load_flow, load_saved_flow
from flowtoy_dagster.machine.working_directory import working_directory
from flowtoy_dagster.store.configs import SavedConfig, configs_of

BROKEN = "broken"
"""The one key of what is saved of a flow that can't be loaded: what is wrong with it."""
_LOG = logging.getLogger("dagster.flowtoy")


class JobMaker(NamedTuple):
    """How jobs are made of flows.

    Attributes:
        translator: how steps appear in Dagster.
        executor: what runs the steps; by default what each flow's `runner.executor` names.
        tags: added to the flow's own.
        max_workers: how many steps may run at once, in place of the flow's `runner.max_workers`.
    """

    translator: FlowTranslator | None = None
    executor: dg.ExecutorDefinition | None = None
    tags: Mapping[str, str] | None = None
    max_workers: int | None = None

    def job(self, flow: Flow, name: str | None, saved: str | None = None) -> dg.JobDefinition:
        """The job of a flow.

        Args:
            flow: what to translate.
            name: the job's name; by default the flow's, made a Dagster name.
            saved: the hash under which the configuration is in the home folder.
        """
        executor = self.executor or build_executor(
            flow.runner,
            self.max_workers or worker_count(flow),
            tag_limits(flow),
        )
        translator = self.translator or FlowTranslator()
        return translator.job(flow, executor=executor, name=name, tags=self.tags, saved=saved)


class SavedFlow(NamedTuple):
    """What a job is made of; all that Dagster is given of it.

    Attributes:
        name: the flow's, where the configuration gives none.
        reference: the hash under which the configuration is in the home folder.
    """

    name: str
    reference: str


class MadeFlow(NamedTuple):
    """A flow in Dagster."""

    job: dg.JobDefinition
    schedules: tuple[dg.ScheduleDefinition, ...] = ()
    sensors: tuple[dg.SensorDefinition, ...] = ()


_made: dict[tuple[Path, str, SavedFlow], MadeFlow] = {}
"""What this process has made in the standard way: a code server loads its location twice."""


class FlowLocation:
    """Some flows of a code location.

    Args:
        key: what distinguishes them from other flows in the location.
        find: finds their files.
        maker: makes their jobs.
        strict: whether a flow that can't be loaded is an error, not a job that reports it.

    Raises:
        HomeError: the home folder can't be used.
        ConfigError: a flow can't be loaded, and that is an error.
    """

    def __init__(
        self,
        key: str,
        find: Callable[[], Iterable[FlowFiles]],
        maker: JobMaker,
        *,
        strict: bool = False,
    ) -> None:
        self._home = open_home()
        self._configs = configs_of(self._home)
        self._find = find
        self._maker = maker
        self._strict = strict
        self._flows: dict[str, SavedFlow] = {}
        text = remembered(key)
        self.is_rebuilt = text is not None
        if text is None:
            with self._configs.keeping():
                self._load_all(key)
            text = json.dumps(self._flows)
        else:
            self._flows = {name: SavedFlow(*saved) for name, saved in json.loads(text).items()}
        # Each time: what a process is given, it hands on to those that it starts.
        remember(key, text)

    def definitions(self) -> dg.Definitions:
        """All jobs, with their schedules and sensors."""
        made = [self._flow(name) for name in self._flows]
        schedules = [schedule for flow in made for schedule in flow.schedules]
        sensors = [sensor for flow in made for sensor in flow.sensors]
        return dg.Definitions(
            jobs=[flow.job for flow in made], schedules=schedules, sensors=sensors
        )

    def repository(self) -> dg.RepositoryDefinition:
        """The same as a repository, in which a job is made when it is asked for.

        Schedules and sensors are there where all jobs have been made before: in a code server. The
        processes of a run need none.
        """

        def maker_of(name: str) -> Callable[[], dg.JobDefinition]:
            return lambda: self._flow(name).job

        made = [flow for name in self._flows if (flow := _made.get(self._key(name)))]
        return lazy_repository(
            {name: maker_of(name) for name in self._flows},
            [schedule for flow in made for schedule in flow.schedules],
            [sensor for flow in made for sensor in flow.sensors],
        )

    def _flow(self, name: str) -> MadeFlow:
        """The flow of that job name, made of what was saved; RunError where that is gone."""
        made = _made.get(self._key(name))
        if made is not None:
            return made
        saved = self._flows[name]
        found = self._config(name, saved)
        if BROKEN in found.config:
            return MadeFlow(placeholder_job(name, saved.name, found.config[BROKEN]))
        return self._make(load_saved_flow(found.config, saved.name, folder=found.folder), name)

    def _load_all(self, key: str) -> None:
        for files in self._find():
            self._load(files)
        if not self._flows:
            _LOG.warning("no flow was found: %s names files and folders", PATH_VARIABLE)
        else:
            here = json.dumps([key, working_directory(), *map(os.environ.get, VARIABLES)])
            self._configs.hold(here, (saved.reference for saved in self._flows.values()))

    def _key(self, name: str) -> tuple[Path, str, SavedFlow]:
        return self._home, name, self._flows[name]

    def _make(self, flow: Flow, name: str) -> MadeFlow:
        job = self._maker.job(flow, name, self._flows[name].reference)
        made = MadeFlow(job, tuple(schedules_of(flow, job)), tuple(sensors_of(flow, job)))
        if self._maker == JobMaker():
            _made[self._key(name)] = made
        return made

    def _load(self, files: FlowFiles) -> None:
        """Load a flow, save it, and make its job; or save what is wrong with it."""
        name = files.job
        try:
            flow = load_flow(files.paths, files.name)
            name = name or dagster_name(flow.name)
            reference = self._configs.save_flow(flow)
            self._flows[name] = SavedFlow(flow.name, reference)
            self._make(flow, name)
            for warning in flow.warnings:
                _LOG.warning("%s", "\n".join(warning.warning_lines()))
        except HomeError:
            raise
        except Exception as error:  # one flow must not take the others down
            if self._strict:
                raise
            name = name or dagster_name(files.name)
            _LOG.warning("the flow of job '%s' can't be loaded:\n%s", name, error)
            reference = self._configs.save(files.name, {BROKEN: str(error)})
            self._flows[name] = SavedFlow(files.name, reference)

    def _config(self, name: str, saved: SavedFlow) -> SavedConfig:
        found = self._configs.read(saved.reference)
        if found is None:
            with self._configs.keeping():
                self._save_again()
                found = self._configs.read(saved.reference)
        if found is None:
            raise RunError(
                f"the configuration of job '{name}' is gone from {self._home}, and the files "
                "hold another one by now\n    reload the code location"
            )
        return found

    def _save_again(self) -> None:
        """Save what the files hold now: on another machine, nothing may have been saved yet."""
        for files in self._find():
            with contextlib.suppress(ConfigError):
                flow = load_flow(files.paths, files.name)
                self._configs.save_flow(flow)

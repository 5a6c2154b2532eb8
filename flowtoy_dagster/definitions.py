"""The doors for Dagster: what it loads and rebuilds flows by."""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import dagster as dg

from flowtoy_dagster.discovery import flows_here, flows_in
from flowtoy_dagster.engine.home import read_config
from flowtoy_dagster.engine.reconstruction import load_repository
from flowtoy_dagster.engine.translator import FlowTranslator
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.load import Config, load_flow
from flowtoy_dagster.location import FlowLocation, JobMaker


def build_job(
    config: Config | Flow,
    *,
    name: str | None = None,
    tags: Mapping[str, str] | None = None,
    executor: dg.ExecutorDefinition | None = None,
    translator: FlowTranslator | None = None,
) -> dg.JobDefinition:
    """The Dagster job of a flow.

    Args:
        config: a path, several paths, a mapping, or a flow that was loaded before.
        name: the job's name; by default the flow's, made a Dagster name.
        tags: added to the flow's own.
        executor: what runs the steps; by default what the flow's `runner.executor` names.
        translator: how steps appear in Dagster.

    Raises:
        ConfigError: the configuration can't run.
    """
    flow = config if isinstance(config, Flow) else load_flow(config)
    return JobMaker(translator, executor, tags).job(flow, name)


@functools.lru_cache(maxsize=8)
def rebuild_job(saved: str) -> dg.JobDefinition:
    """The job of a configuration saved in a home folder; what every process of a run calls.

    Args:
        saved: the path that `engine.home.save_config` gave.
    """
    name, config = read_config(Path(saved))
    return build_job(load_flow(config, name=name))


def build_definitions(
    paths: str | Path | Sequence[str | Path],
    *,
    tags: Mapping[str, str] | None = None,
    executor: dg.ExecutorDefinition | None = None,
    translator: FlowTranslator | None = None,
) -> dg.Definitions:
    """The flows in files and folders, to be merged with other definitions of a code location.

    Call it in a function that is decorated with `dagster.definitions`: then what a run executes
    is fixed when it is made. A flow that can't be loaded becomes a job that tells what is wrong.

    Args:
        paths: files, and folders of which all flows are taken; see `discovery`.
        tags: added to the tags of each job.
        executor: what runs the steps; by default what each flow's `runner.executor` names.
        translator: how steps appear in Dagster.

    Raises:
        HomeError: the home folder, in which configurations are saved, can't be used.
    """
    places = [paths] if isinstance(paths, (str, Path)) else list(paths)
    key = f"flowtoy:{json.dumps([str(place) for place in places])}"
    maker = JobMaker(translator, executor, tags)
    return FlowLocation(key, lambda: flows_in(places), maker).definitions()


@dg.definitions
def defs() -> dg.Definitions:
    """All flows of a deployment: those that `FLOWTOY_CONFIG` or `FLOWTOY_PATH` name.

    For Dagster, which loads it from this address; code of your own uses `build_definitions`.
    """
    location = FlowLocation("flowtoy", flows_here, JobMaker())
    if location.is_rebuilt:
        # Dagster takes a repository as well. The process of a step needs one job, not all.
        return cast(dg.Definitions, location.repository())
    return location.definitions()


def flow_repository() -> dg.RepositoryDefinition:
    """What `defs` stands for, loaded in this process as a code server would load it."""
    return load_repository(defs)

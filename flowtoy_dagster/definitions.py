"""The doors for Dagster: what it loads and rebuilds flows by."""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import dagster as dg

from flowtoy_dagster.deployment.discovery import flows_here, flows_in
from flowtoy_dagster.deployment.location import FlowLocation, JobMaker
from flowtoy_dagster.engine.jobs.dagster_names import dagster_name
from flowtoy_dagster.engine.jobs.reconstruction import load_repository
from flowtoy_dagster.engine.jobs.translator import FlowTranslator
from flowtoy_dagster.engine.storage.home import home_folder
from flowtoy_dagster.errors import HomeError, RunError, UsageError
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.loader import Config, load_flow, load_saved_flow
from flowtoy_dagster.store.configs import configs_of


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
        executor: any executor of Dagster's, with its configuration; by default what the flow's
            `runner.executor` names.
        translator: how steps appear in Dagster.

    Raises:
        ConfigError: the configuration can't run.
        UsageError: Dagster can't use the name.
    """
    if name is not None and dagster_name(name) != name:
        hint = f"a name has letters, digits and '_', as in {dagster_name(name)}"
        raise UsageError(f"'{name}' can't be the name of a job\n    {hint}")
    flow = config if isinstance(config, Flow) else load_flow(config)
    return JobMaker(translator, executor, tags).job(flow, name)


@functools.lru_cache(maxsize=8)
def rebuild_job(reference: str, home: str | None = None) -> dg.JobDefinition:
    """The job of a saved configuration; what every process of a run calls.

    Args:
        reference: what `ConfigStore.save` gave; runs of flowtoy 0.1.0 have the path of the file.
        home: the home folder; by default what the environment says.

    Raises:
        RunError: the configuration is not in the home.
    """
    return build_job(saved_flow(reference, home))


def saved_flow(reference: str, home: str | None = None) -> Flow:
    """The flow of a saved configuration; see `rebuild_job`."""
    folder = Path(home) if home is not None else home_folder()
    saved = configs_of(folder).read(Path(reference).stem)
    if saved is None:
        raise RunError(f"the configuration {reference} is not in {folder}")
    return load_saved_flow(saved.config, saved.name, folder=saved.folder)


def rebuild_arguments(home: Path, reference: str) -> tuple[str, ...]:
    """What `rebuild_job` is called with; no path, where the environment names the home."""
    try:
        is_usual = home == home_folder()
    except HomeError:
        is_usual = False
    return (reference,) if is_usual else (reference, str(home))


def build_definitions(
    paths: str | Path | Sequence[str | Path],
    *,
    tags: Mapping[str, str] | None = None,
    executor: dg.ExecutorDefinition | None = None,
    translator: FlowTranslator | None = None,
) -> dg.Definitions:
    """The flows in files and folders, to be merged with other definitions of a code location.

    Call it in a function that is decorated with `dagster.definitions`: then what a run executes
    is fixed when it is made. A flow that can't be loaded becomes a job that reports what is wrong.

    Args:
        paths: files, and folders of which all flows are taken; one or several.
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

"""The doors for Dagster: what it loads and rebuilds flows by."""

import functools
from collections.abc import Mapping
from pathlib import Path

import dagster as dg

from flowtoy_dagster.engine.executors import executor_named
from flowtoy_dagster.engine.home import read_config
from flowtoy_dagster.engine.translator import FlowTranslator
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.load import Config, load_flow

DEFAULT_EXECUTOR = "warm"
DEFAULT_WORKERS = 4


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
    chosen = executor or executor_named(
        flow.runner.executor or DEFAULT_EXECUTOR, flow.runner.max_workers or DEFAULT_WORKERS
    )
    return (translator or FlowTranslator()).job(flow, executor=chosen, name=name, tags=tags)


@functools.lru_cache(maxsize=8)
def rebuild_job(saved: str) -> dg.JobDefinition:
    """The job of a configuration saved in a home folder; what every process of a run calls.

    Args:
        saved: the path that `engine.home.save_config` gave.
    """
    name, config = read_config(Path(saved))
    return build_job(load_flow(config, name=name))

"""YAML flows for data integration that run on Dagster.

Public names are loaded when they are first used, so importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowtoy_dagster.definitions import build_definitions as build_definitions
    from flowtoy_dagster.definitions import build_job as build_job
    from flowtoy_dagster.deployment.component import FlowtoyFlowComponent as FlowtoyFlowComponent
    from flowtoy_dagster.engine.executors.kind import ExecutorKind as ExecutorKind
    from flowtoy_dagster.engine.jobs.translator import FlowTranslator as FlowTranslator
    from flowtoy_dagster.engine.jobs.translator import StepSpec as StepSpec
    from flowtoy_dagster.errors import ConfigError as ConfigError
    from flowtoy_dagster.errors import FlowtoyError as FlowtoyError
    from flowtoy_dagster.errors import HomeError as HomeError
    from flowtoy_dagster.errors import Location as Location
    from flowtoy_dagster.errors import Problem as Problem
    from flowtoy_dagster.errors import RunError as RunError
    from flowtoy_dagster.errors import RunInterrupted as RunInterrupted
    from flowtoy_dagster.errors import TemplateError as TemplateError
    from flowtoy_dagster.errors import UsageError as UsageError
    from flowtoy_dagster.flow.compile.catalog import Finding as Finding
    from flowtoy_dagster.health import Health as Health
    from flowtoy_dagster.loader import load_flow as load_flow
    from flowtoy_dagster.outputs.kind import OutputKind as OutputKind
    from flowtoy_dagster.providers.kind import ProviderKind as ProviderKind
    from flowtoy_dagster.providers.kind import ResultView as ResultView
    from flowtoy_dagster.runs.run import FlowRun as FlowRun
    from flowtoy_dagster.runs.run import run_flow as run_flow

__version__ = "0.1.0"

_HOMES = {
    "ConfigError": "errors",
    "ExecutorKind": "engine.executors.kind",
    "Finding": "flow.compile.catalog",
    "FlowRun": "runs.run",
    "FlowTranslator": "engine.jobs.translator",
    "FlowtoyError": "errors",
    "FlowtoyFlowComponent": "deployment.component",
    "Health": "health",
    "HomeError": "errors",
    "Location": "errors",
    "OutputKind": "outputs.kind",
    "Problem": "errors",
    "ProviderKind": "providers.kind",
    "ResultView": "providers.kind",
    "RunError": "errors",
    "RunInterrupted": "errors",
    "StepSpec": "engine.jobs.translator",
    "TemplateError": "errors",
    "UsageError": "errors",
    "build_definitions": "definitions",
    "build_job": "definitions",
    "load_flow": "loader",
    "run_flow": "runs.run",
}

__all__ = [*sorted(_HOMES), "__version__"]  # noqa: PLE0604 - a list of names, all text


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])

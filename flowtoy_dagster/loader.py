"""The door for configurations: files or a mapping to a checked flow."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flowtoy_dagster.engine.executors.kinds import InstalledExecutors
from flowtoy_dagster.errors import ConfigError, Problem, UsageError
from flowtoy_dagster.flow.compile.catalog import (
    ExecutorCatalog,
    Finding,
    OutputCatalog,
    ProviderCatalog,
)
from flowtoy_dagster.flow.compile.resolve import build_flow
from flowtoy_dagster.flow.files.loading import Document, read_files, read_mapping
from flowtoy_dagster.flow.files.suggestions import show
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.flow.schema.models import OutputConfig, RunnerConfig
from flowtoy_dagster.outputs.kinds import InstalledOutputs
from flowtoy_dagster.providers.kinds import InstalledProviders

Config = str | Path | Sequence[str | Path] | Mapping[str, Any]


def load_flow(config: Config, name: str | None = None) -> Flow:
    """Read a configuration and check all of it.

    Args:
        config: a path, several paths (merged left to right) or a mapping.
        name: the flow's name where the configuration gives none; by default the first
            file's stem.

    Raises:
        ConfigError: with all errors.
    """
    if isinstance(config, Mapping):
        document = read_mapping(config)
    elif not isinstance(config, (str, Path, Sequence)):
        raise ConfigError([Problem(f"expected a path, several or a mapping, got {show(config)}")])
    else:
        document = read_files([config] if isinstance(config, (str, Path)) else config)
    if name is not None:
        document = document._replace(default_name=name)
    return flow_of_document(document)


def load_saved_flow(
    config: Mapping[str, Any], name: str, *, folder: str | None = None, places: Any = None
) -> Flow:
    """The flow of a configuration that was saved, to be run.

    Args:
        config: the merged configuration.
        name: the flow's name where the configuration gives none.
        folder: the flow's folder; None where nothing depends on it.
        places: where its values are in the files that it came from, as it was kept.

    Raises:
        ConfigError: it can't run here.
    """
    return flow_of_document(_saved_document(config, name, folder, places))


def flow_of_document(document: Document) -> Flow:
    """Check a document that was read, and build its flow.

    Raises:
        ConfigError: with every problem there is.
    """
    return build_flow(document, InstalledKinds())


def load_old_flow(
    config: Mapping[str, Any], name: str, *, folder: str | None = None, places: Any = None
) -> Flow:
    """The flow of a configuration that has run before, whatever is installed now.

    Args:
        config: the merged configuration.
        name: the flow's name where the configuration gives none.
        folder: the flow's folder; None where nothing depends on it.
        places: where its values are in the files that it came from, as it was kept.
    """
    document = _saved_document(config, name, folder, places)
    catalog = InstalledKinds(
        _OnceInstalledProviders(), _OnceInstalledOutputs(), _OnceInstalledExecutors()
    )
    return build_flow(document, catalog)


def _saved_document(
    config: Mapping[str, Any], name: str, folder: str | None, places: Any
) -> Document:
    return read_mapping(config, places)._replace(default_name=name, folder=folder)


@dataclass(frozen=True)
class InstalledKinds:
    """The catalog (`flow.compile.catalog.Catalog`) of what this Python has."""

    providers: ProviderCatalog = field(default_factory=InstalledProviders)
    outputs: OutputCatalog = field(default_factory=InstalledOutputs)
    executors: ExecutorCatalog = field(default_factory=InstalledExecutors)


class _OnceInstalledProviders(InstalledProviders):
    """A catalog to which every type is known: it was, when the flow ran."""

    def types(self) -> Collection[str]:
        return _Everything(super().types())

    def why_unusable(self, type_name: str) -> str | None:
        return None

    def request_keys(self, type_name: str) -> Collection[str] | None:
        return super().request_keys(type_name) if type_name in super().types() else None

    def payload_keys(self, type_name: str) -> Collection[str]:
        return super().payload_keys(type_name) if type_name in super().types() else ()

    def check(
        self, type_name: str, configuration: Mapping[str, Any], complete: bool
    ) -> list[Finding]:
        return []


class _OnceInstalledOutputs(InstalledOutputs):
    def check(self, output: OutputConfig, names_files: bool) -> list[Finding]:
        return []


class _OnceInstalledExecutors(InstalledExecutors):
    def check(self, name: str | None, options: Mapping[str, Any]) -> list[Finding]:
        return []

    def has_queues(self, name: str) -> bool:
        return True


class _Everything(tuple[str, ...]):
    __slots__ = ()

    def __contains__(self, name: object) -> bool:
        return True


def with_executor(flow: Flow, name: str | None) -> Flow:
    """The flow with another `runner.executor`; options are kept where they are that executor's.

    Raises:
        UsageError: there is no such executor, or it can't be used.
    """
    if name is None:
        return flow
    options = flow.runner.executor_options if flow.runner.executor == name else {}
    for finding in InstalledExecutors().check(name, options):
        hint = f"\n    {finding.hint}" if finding.hint else ""
        raise UsageError(f"executor: {finding.message}{hint}")
    change = {"executor": name, "executor_options": options}
    settings = {**(flow.config.get("runner") or {}), **change}
    runner = flow.runner.model_copy(update=change)
    return replace(flow, runner=runner, config={**flow.config, "runner": settings})


def with_timeout(flow: Flow, timeout: str | None) -> Flow:
    """The flow with another `runner.timeout`.

    Raises:
        UsageError: it is not a duration above zero.
    """
    if timeout is None:
        return flow
    try:
        runner = RunnerConfig.model_validate({**flow.runner.model_dump(), "timeout": timeout})
    except ValueError:
        raise UsageError(f"'{timeout}' is not a timeout: write 90, 30s or 5m") from None
    settings = {**(flow.config.get("runner") or {}), "timeout": timeout}
    return replace(flow, runner=runner, config={**flow.config, "runner": settings})

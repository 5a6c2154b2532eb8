"""The files of a run's flow as they are now, compared with what ran."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flowtoy_dagster.errors import ConfigError, UsageError
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.runs.retry import differences
from flowtoy_dagster.runs.shown.choosing import fields_of

_OF_THE_COMMAND = ("executor", "executor_options", "timeout")
"""Keys of `runner` that options of `flowtoy run` replace; they are no change of the file."""


@dataclass(frozen=True)
class FilesNow:
    """What a flow's files hold now.

    Attributes:
        files: their paths.
        flow: what they hold, with the values that the run had; None where that is no flow.
        told: how it differs from what ran, in one line; None where it does not.
    """

    files: tuple[str, ...]
    flow: Flow | None
    told: str | None

    def document(self) -> dict[str, Any]:
        """It for a page: what to offer, and the fields of its parameters."""
        fields = fields_of(self.flow) if self.flow is not None else []
        usable = self.flow is not None
        return {"files": list(self.files), "usable": usable, "told": self.told, "params": fields}


def files_now(before: Flow) -> FilesNow | None:
    """The files of a flow that has run, as they are now.

    Args:
        before: what ran, with its values.

    Returns:
        None where the flow came from no file, or a file is not there any more.
    """
    files = before.files
    if not _is_there(files):
        return None
    try:
        now = _loaded(before)
    except ConfigError as error:
        first = str(error).splitlines()[0]
        return FilesNow(files, None, f"{_names(files)} can't run as it is now: {first}")
    return FilesNow(files, now, _difference(before, now))


def flow_now(before: Flow) -> Flow:
    """What the files of a flow that has run hold now, with the values that it had.

    Raises:
        UsageError: they are not there.
        ConfigError: they hold no flow that can run.
    """
    if not _is_there(before.files):
        raise UsageError("the file of this run is not there any more: run what ran")
    return _loaded(before)


def _is_there(files: tuple[str, ...]) -> bool:
    return bool(files) and all(map(os.path.isfile, files))


def _loaded(before: Flow) -> Flow:
    return replace(load_flow(before.files), values=before.values)


def _difference(before: Flow, now: Flow) -> str | None:
    if _compared(before.config) == _compared(now.config):
        return None
    changed = list(differences(before, now))
    changed += [step.name for step in before.steps if step.name not in now.by_name]
    steps = ", ".join(changed) or "no step, but other settings"
    return f"{_names(before.files)} differs from what ran: {steps}"


def _compared(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without what the command line may have set."""
    runner = {k: v for k, v in (config.get("runner") or {}).items() if k not in _OF_THE_COMMAND}
    return {**config, "runner": runner}


def _names(files: tuple[str, ...]) -> str:
    return " and ".join(os.path.basename(file) for file in files)

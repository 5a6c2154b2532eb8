"""What flowtoy asks of an executor: `ExecutorKind`, the base of all of them.

Nothing here imports Dagster: names and options are checked before it is loaded.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel

from flowtoy_dagster.entry_points import KindUnusable, instance_of
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.flow.schema.fields import Strict

if TYPE_CHECKING:
    import dagster as dg

    from flowtoy_dagster.health import Health


class NoOptions(Strict):
    """The options of an executor that takes none."""


class ExecutorKind:
    """An executor. Subclass it and name the class in the entry point group `flowtoy.executors`.

    Import Dagster in the methods that need it, not in the module.

    Attributes:
        name: what flows call it: the name of the entry point.
        options_model: checks `runner.executor_options` before the run.
        has_queues: whether a step may name the queue whose workers run it.
        keeps_workers: whether a run's steps share processes that are kept, so that `prepare` is
            worth its time.
        gives_waits: whether a running step's events come with those of the run at once, so that
            the lines of `flowtoy run` need not look into the history for what it waits for.
        is_local: whether all steps run on the machine of the run, so that they can read and write
            what the command line names.
    """

    name: str = ""
    options_model: ClassVar[type[BaseModel]] = NoOptions
    has_queues: bool = False
    keeps_workers: bool = False
    gives_waits: bool = False
    is_local: bool = False

    def build(
        self, options: Any, max_workers: int, limits: list[dict[str, Any]]
    ) -> dg.ExecutorDefinition:
        """The executor for Dagster.

        Args:
            options: an instance of `options_model`.
            max_workers: how many steps may run at once, unless the run's configuration says else.
            limits: how many steps with a tag may: mappings of `key`, `value` and `limit`.
        """
        raise NotImplementedError

    def run_config(self, max_workers: int) -> Mapping[str, Any]:
        """The executor's part of a run's configuration."""
        return {}

    def prepare(self, modules: Iterable[str], max_workers: int) -> None:
        """Start what workers come from, in a process that has no threads yet.

        Args:
            modules: what the run's steps will import.
            max_workers: how many steps may run at once.
        """

    def settle_workers(self, instance: dg.DagsterInstance) -> None:
        """Let the workers that `prepare` has started get ready while a run is created.

        Args:
            instance: where the run will be.
        """

    def check_home(self) -> None:
        """See that runs can be executed with what the environment says of the home.

        Raises:
            HomeError: they can't; says why.
        """

    def examine(self, *, is_wanted: bool) -> Iterable[Health]:
        """What `flowtoy doctor` reports of what the executor needs: its broker, its workers.

        Ask only what is configured, and write nothing.

        Args:
            is_wanted: whether `FLOWTOY_EXECUTOR` names it, so that what is missing is a fault.
        """
        return ()

    def serve(self, queue: str, slots: int) -> None:
        """Be a worker on this machine until SIGTERM.

        Args:
            queue: whose steps it takes.
            slots: how many at once.

        Raises:
            UsageError: the executor has no workers on other machines.
            HomeError: the home or the database can't be used.
        """
        raise UsageError(f"the executor '{self.name}' has no workers that are started for it")


def own_run_config(max_workers: int) -> Mapping[str, Any]:
    """The part of a run's configuration that the executors of flowtoy's own take."""
    return {"max_concurrent": max_workers}


def executor_kind_of(name: str, loaded: Any) -> ExecutorKind:
    """The kind in what an entry point holds.

    Raises:
        KindUnusable: it is no ExecutorKind, or an attribute has a wrong type.
    """
    found = instance_of(ExecutorKind, loaded)
    if found is None:
        raise KindUnusable("is not a flowtoy_dagster.ExecutorKind")
    kind = copy.copy(found)
    if type(kind).build is ExecutorKind.build:
        raise KindUnusable("has no method 'build'")
    if not (isinstance(kind.options_model, type) and issubclass(kind.options_model, BaseModel)):
        raise KindUnusable("has an 'options_model' that is not a pydantic model")
    kind.name = name
    return kind

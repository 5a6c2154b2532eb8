"""The executor `workers`: steps go through PostgreSQL alone to agents on any machine.

`FOR UPDATE SKIP LOCKED` lets each message go to one agent, and `NOTIFY` wakes those that are idle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from flowtoy_dagster.engine.executors.kind import ExecutorKind, own_run_config
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.flow.schema.fields import Strict
from flowtoy_dagster.flow.schema.models import Queue
from flowtoy_dagster.health import Health

if TYPE_CHECKING:
    import dagster as dg

    from flowtoy_dagster.engine.executors.remote.database import Database
    from flowtoy_dagster.engine.executors.remote.message import Message
    from flowtoy_dagster.engine.executors.remote.transport import Transport
    from flowtoy_dagster.engine.sites.site import Site

DEFAULT_QUEUE = "default"
_SUBMIT = (
    "INSERT INTO flowtoy_queue (run_id, turn, queue, route, message) VALUES (%s, %s, %s, %s, %s) "
    "ON CONFLICT (run_id, turn) DO NOTHING"
)
_TAKE = (
    "DELETE FROM flowtoy_queue WHERE (run_id, turn) = (SELECT run_id, turn FROM flowtoy_queue "
    "WHERE queue = %s AND route = %s ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1) RETURNING message"
)


class PostgresQueue:
    """Both ends of a queue in the database of runs.

    Args:
        database: the connection of this process.
        route: of the site here (`Site.route`): what another one sends is not taken.
        queue: what an agent takes; a run says it with each message.
    """

    def __init__(self, database: Database, route: str, queue: str = DEFAULT_QUEUE) -> None:
        self._database = database
        self._route = route
        self._queue = queue

    def submit(self, message: Message, queue: str) -> None:
        """Send a message to the workers of a queue."""
        from flowtoy_dagster.engine.executors.remote.leases import WAKE_CHANNEL

        values = [message.run_id, message.turn, queue, self._route, message.encode()]
        self._database.rows(_SUBMIT, values)
        self._database.rows("SELECT pg_notify(%s, '')", [WAKE_CHANNEL])

    def trouble(self) -> str | None:
        """Nothing: a run waits for its database elsewhere."""
        return None

    def hint(self) -> str:
        """What to look at where a worker takes nothing: it may have been stopped."""
        return "see its log"

    def listeners(self, queue: str) -> str:
        """What the queue is called where agents show that they listen."""
        return queue

    def close(self, run_id: str) -> None:
        """A run has ended; what of it was not delivered need not be."""
        self._database.rows("DELETE FROM flowtoy_queue WHERE run_id = %s", [run_id])

    def take(self) -> Message | None:
        """The next message; None where there is none now."""
        from flowtoy_dagster.engine.executors.remote.message import decoded

        while rows := self._database.rows(_TAKE, [self._queue, self._route]):
            found = decoded(rows[0][0])
            if found is not None:
                return found
        return None

    def settle(self, message: Message) -> None:
        """Nothing: what was taken is gone from the queue."""


class WorkersOptions(Strict):
    """The options of the executor.

    Attributes:
        queue: whose workers take the steps.
    """

    queue: Queue = DEFAULT_QUEUE


class RemoteKind(ExecutorKind):
    """Runs steps on any machine that has `flowtoy worker` and the same database."""

    options_model = WorkersOptions
    has_queues = True
    gives_waits = True

    def transport(self, database: Database, site: Site) -> Transport:
        """The end of the queue at which a run is, given its connection and what its machine has."""
        raise NotImplementedError

    def build(
        self, options: Any, max_workers: int, limits: list[dict[str, Any]]
    ) -> dg.ExecutorDefinition:
        """The executor for Dagster."""
        from flowtoy_dagster.engine.executors.definition import own_executor

        def make(config: dict[str, Any]) -> dg.Executor:
            self.check_home()

            from flowtoy_dagster.engine.executors.remote.executor import RemoteExecutor
            from flowtoy_dagster.engine.executors.scheduling.halting import FLOW_EXECUTION

            return RemoteExecutor(self.transport, options.queue, **config, **FLOW_EXECUTION)

        return own_executor(self.name, make, max_workers, limits)

    def run_config(self, max_workers: int) -> Mapping[str, Any]:
        """How many steps may be handed out at once."""
        return own_run_config(max_workers)

    def check_home(self) -> None:
        """See that the history is in PostgreSQL.

        Raises:
            HomeError: it is not, or what PostgreSQL needs is not installed.
        """
        from flowtoy_dagster.engine.executors.remote.needs import check_database

        check_database(self.name)

    def check_worker(self, queue: str) -> None:
        """See that this machine can be a worker.

        Raises:
            UsageError: the queue has no name that a flow could write.
            HomeError: as `check_home`.
        """
        try:
            WorkersOptions.model_validate({"queue": queue})
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise UsageError(f"--queue: {reason}") from None
        self.check_home()


class WorkersKind(RemoteKind):
    """Needs nothing but the database that has the history."""

    def transport(self, database: Database, site: Site) -> Transport:
        """The queue in the database of runs."""
        return PostgresQueue(database, site.route)

    def examine(self, *, is_wanted: bool) -> Iterable[Health]:
        """Which workers were seen lately, and what waits for one."""
        from flowtoy_dagster.engine.executors.remote.needs import LEASE
        from flowtoy_dagster.engine.health.workers import examine_workers

        return examine_workers("", LEASE, is_wanted=is_wanted)

    def serve(self, queue: str, slots: int) -> None:
        """Take steps of a queue until SIGTERM."""
        from flowtoy_dagster.engine.executors.remote.agent import serve

        self.check_worker(queue)
        serve(
            lambda database, site: PostgresQueue(database, site.route, queue), queue, slots
        )

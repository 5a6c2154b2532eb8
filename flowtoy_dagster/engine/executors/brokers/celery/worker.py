"""A worker of Celery that hosts an agent."""

from __future__ import annotations

import logging
import signal
import socket
import uuid
import warnings
from typing import Any

from celery import Celery, bootsteps
from celery.app.amqp import Queues
from celery.concurrency.thread import TaskPool
from celery.exceptions import Reject, SecurityWarning
from celery.signals import setup_logging
from celery.worker import state
from celery.worker.consumer import Consumer
from celery.worker.request import Request

from flowtoy_dagster.engine.executors.brokers.celery.app import (
    EXECUTOR,
    TASK,
    make_app,
)
from flowtoy_dagster.engine.executors.brokers.deployment import (
    Deployment,
    deployment_here,
)
from flowtoy_dagster.engine.executors.brokers.guest import GuestAgent
from flowtoy_dagster.engine.executors.brokers.inbox import NotTakenError
from flowtoy_dagster.engine.executors.brokers.outbox import QUEUE_PREFIX, queue_name
from flowtoy_dagster.engine.executors.remote.agent import fork_off_workers
from flowtoy_dagster.engine.executors.remote.workers import DEFAULT_QUEUE
from flowtoy_dagster.engine.storage.home import open_home
from flowtoy_dagster.errors import FlowtoyError, UsageError
from flowtoy_dagster.terminal import say

_TOO_LATE = "delivery acknowledgement"
"""RabbitMQ's reason to close the channel of a worker whose step takes longer than it waits."""
_LOGGERS = ("celery", "kombu", "amqp", "redis")
_OURS, _CELERY = logging.getLogger("flowtoy"), logging.getLogger("celery")


class SteadyConsumer(Consumer):  # type: ignore[misc]
    """Celery's consumer, which reports once that the broker is away, and tries every 2 seconds."""

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Connect anew, unless the broker refuses what it is asked for."""
        is_refused = isinstance(exc, self.channel_errors)
        if is_refused and _TOO_LATE not in str(exc) and not isinstance(exc, self.connection_errors):
            raise exc
        super().on_connection_error_after_connected(exc)

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, however long it takes."""
        failed = False

        def report(error: Exception, _: float) -> None:
            nonlocal failed
            if not failed:
                reason = str(error).strip().partition("\n")[0] or type(error).__name__
                say(f"can't reach the broker {conn.as_uri()}: {reason}; trying again every 2 s")
            failed = True

        connected = conn.ensure_connection(
            report, None, interval_start=2, interval_step=0, interval_max=2,
            callback=state.maybe_shutdown,
        )
        if failed:
            say("the broker answers again")
        return connected


class SteadyRequest(Request):  # type: ignore[misc]
    """A message; where it can't be acknowledged, the worker connects anew.

    Celery would go on. The message would hold its slot for ever then, and a worker without another
    one asks the broker for nothing, so it would not find that the connection is gone.
    """

    def acknowledge(self) -> None:
        """Acknowledge the message; its step has ended."""
        if self.acknowledged:  # type: ignore[has-type]
            return
        # One of a connection that is gone is delivered again, and dropped.
        if self.message.channel.connection is not None:
            self.on_ack(_CELERY, ())
        self.acknowledged = True


class AgentStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """The part of Celery's worker that starts and ends the agent."""

    guest: GuestAgent | None = None
    deployment: Deployment

    def start(self, parent: Any) -> None:
        """Start the agent, unless it was before the worker."""
        try:
            if not issubclass(parent.pool_cls, TaskPool):
                raise UsageError("a worker for flowtoy needs the pool 'threads': leave -P out")
            if self.guest is None:
                queues = _queues_of(parent.app, self.deployment)
                self.guest = GuestAgent(
                    EXECUTOR, queues, parent.concurrency, self.deployment, _end_worker
                )
                self.guest.start()
        except FlowtoyError as error:
            say(f"error: {error}")
            raise SystemExit(error.exit_code) from None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def stop(self, parent: Any) -> None:
        """Let the steps end that run."""
        if self.guest is not None:
            self.guest.close()

    def terminate(self, parent: Any) -> None:
        """End the steps that run."""
        if self.guest is not None:
            self.guest.stop()
        self.stop(parent)

    def run_step(self, text: str) -> None:
        """The task: have a step run that a message names."""
        try:
            if self.guest is None:
                raise NotTakenError
            self.guest.run_step(text)
        except NotTakenError:
            raise Reject("this worker ends", requeue=True) from None

    def _on_signal(self, *_: object) -> None:
        # Celery's own handlers would not let a second signal end the steps.
        state.should_stop = 0
        if self.guest is not None:
            self.guest.stop()


def worker_app(address: str, deployment: Deployment, guest: GuestAgent | None = None) -> Celery:
    """The application of a worker.

    Args:
        address: of the broker.
        deployment: from whose queues it takes.
        guest: an agent that has been started; by default the worker starts one.
    """
    app = make_app(address)
    app.conf.task_default_queue = queue_name(deployment.name, DEFAULT_QUEUE)
    app.conf.worker_consumer = f"{__name__}:{SteadyConsumer.__name__}"

    class OwnQueues(Queues):  # type: ignore[misc]
        def new_missing(self, name: str) -> Any:
            # `-Q` names queues as flows do, after the prefix; they are those of this deployment.
            short = name.removeprefix(QUEUE_PREFIX)
            own = short != name and not name.startswith(queue_name(deployment.name, ""))
            return super().new_missing(queue_name(deployment.name, short) if own else name)

    app.amqp.queues_cls = OwnQueues
    found: list[AgentStep] = []

    class OwnStep(AgentStep):
        def __init__(self, parent: Any, **options: Any) -> None:
            super().__init__(parent, **options)
            self.guest, self.deployment = guest, deployment
            found.append(self)

    def step(text: str) -> None:
        found[-1].run_step(text)

    app.steps["worker"].add(OwnStep)
    app.task(name=TASK, Request=SteadyRequest)(step)
    return app


def serve(address: str, queue: str, slots: int) -> None:
    """Be a worker of Celery until SIGTERM.

    Args:
        address: of the broker.
        queue: what it takes from.
        slots: how many steps run at once.

    Raises:
        HomeError: the home or the database can't be used.
    """
    open_home()
    fork_off_workers()
    deployment = deployment_here()
    guest = GuestAgent(EXECUTOR, [queue], slots, deployment, _end_worker)
    guest.start()
    setup_logging.connect(_log_as_flowtoy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # of root, who must trust the broker
        worker = worker_app(address, deployment, guest).Worker(
            hostname=f"flowtoy-{uuid.uuid4().hex[:8]}@{socket.gethostname()}",
            pool="threads", concurrency=slots, queues=[queue_name(deployment.name, queue)],
            without_gossip=True, without_mingle=True, without_heartbeat=True, quiet=True,
            loglevel=logging.getLogger("flowtoy").level,
        )
        worker.start()
    guest.close()
    if worker.exitcode:
        raise SystemExit(1)


def _end_worker() -> None:
    state.should_stop = 1


def _queues_of(app: Celery, deployment: Deployment) -> list[str]:
    """The queues that a worker takes from, as flows call them."""
    prefix = queue_name(deployment.name, "")
    names = list(app.amqp.queues.consume_from)
    return [name[len(prefix):] for name in names if name.startswith(prefix)]


def _log_as_flowtoy(**_: Any) -> None:
    """Have Celery log its errors where flowtoy does, each in a line; all of it for `debug`."""
    is_brief = _OURS.level > logging.DEBUG
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [_Brief()] if is_brief else list(_OURS.handlers)
        logger.propagate = False
        logger.setLevel(logging.ERROR if is_brief else logging.DEBUG)


class _Brief(logging.Handler):
    """Logs where flowtoy does, the first line alone: what follows may be what others have sent.

    A filter of a logger would miss what its children log.
    """

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args = record.getMessage().partition("\n")[0], ()
        record.exc_info = record.exc_text = None
        _OURS.handle(record)

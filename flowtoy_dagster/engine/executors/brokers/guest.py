"""An agent in a thread of a worker that Celery or Dask owns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial

from flowtoy_dagster.engine.executors.brokers.deployment import Deployment, check_deployment
from flowtoy_dagster.engine.executors.brokers.inbox import Inbox, NotTakenError
from flowtoy_dagster.engine.executors.brokers.outbox import listeners_name
from flowtoy_dagster.engine.executors.remote.agent import Agent, open_agent
from flowtoy_dagster.engine.executors.remote.message import decoded
from flowtoy_dagster.terminal import say


class GuestAgent:
    """An agent that takes what the threads of its host bring.

    Args:
        executor: the name of the executor whose steps it takes.
        queues: those that the host takes from, as flows call them.
        slots: how many steps run at once.
        deployment: from whose queues the host takes.
        on_failure: called where the agent has ended by an error: the host must end, too.
    """

    def __init__(
        self, executor: str, queues: Iterable[str], slots: int, deployment: Deployment,
        on_failure: Callable[[], object],
    ) -> None:
        self._listens = ",".join(listeners_name(executor, queue) for queue in queues)
        self._slots = slots
        self._deployment = deployment
        self._on_failure = on_failure
        self._inbox = Inbox()
        self._agent: Agent | None = None
        self._error: BaseException | None = None
        self._ready = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="flowtoy-agent", daemon=True)

    def start(self) -> None:
        """Start it; comes back when it takes steps.

        Raises:
            HomeError: the home or the database can't be used.
        """
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error

    def run_step(self, text: str) -> None:
        """Have the step of a message run, unless that is somebody else's; waits for its end.

        Raises:
            NotTakenError: this worker takes no more steps.
        """
        message = decoded(text)
        if message is None:
            return
        if self._agent is None or self._is_stopping:
            raise NotTakenError
        self._inbox.deliver(message, self._agent.wake)

    def stop(self) -> None:
        """Take nothing new; the second time, end the steps that run."""
        self._is_stopping = True
        if self._agent is not None:
            self._agent.stop()

    def close(self) -> None:
        """Take nothing new, and wait until the steps that run have ended."""
        if not self._is_stopping:
            self.stop()
        self._thread.join()

    def _run(self) -> None:
        try:
            inbox, check = self._inbox, partial(check_deployment, self._deployment.identity)
            with open_agent(lambda *_: inbox, self._listens, self._slots, check) as agent:
                self._agent = agent
                agent.run(self._ready.set)
        except BaseException as error:  # noqa: BLE001 - threads of the host wait for this one
            self._error = error
        finally:
            self._inbox.close()
        if self._ready.is_set() and self._error is not None:
            say(f"the worker ends: {type(self._error).__name__}: {self._error}")
            self._on_failure()
        self._ready.set()

"""Messages on their way to a broker, which may be away."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Protocol

from flowtoy_dagster.engine.executors.remote.message import Message
from flowtoy_dagster.masking.mask import Mask, deployment_secrets
from flowtoy_dagster.terminal import plain

logger = logging.getLogger("flowtoy.step")

QUEUE_PREFIX = "flowtoy."
"""What is before the names of queues in a broker, which others may use, too."""
PAUSE = 2.0
"""Seconds between two attempts to reach a broker."""
SLOW = 5.0
"""Seconds after which a broker that takes no message, and reports no error, is said to be away."""
_FAREWELL = 2.0
"""Seconds for which the end of a run waits for the connection to be closed."""


class Sender(Protocol):
    """A connection to a broker. Its methods raise what they like."""

    def send(self, message: Message, queue: str) -> None:
        """Send a message to a queue, given its name of `queue_name`."""

    def close(self) -> None:
        """Close the connection."""


class Outbox:
    """The transport of a run through a broker: a thread sends, so that the run never waits for it.

    Args:
        executor: the name of the executor, by which agents call its queues.
        variable: the environment variable that has the broker's address.
        deployment: the name of the deployment whose queues these are.
        open_sender: connects to it.
    """

    def __init__(
        self, executor: str, variable: str, deployment: str, open_sender: Callable[[], Sender]
    ) -> None:
        self._executor = executor
        self._variable = variable
        self._deployment = deployment
        self._open_sender = open_sender
        self._changed = threading.Condition()
        self._waiting: dict[tuple[Message, str], None] = {}
        self._sending_since: float | None = None
        self._failure: str | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="flowtoy-outbox", daemon=True)
        self._thread.start()

    def submit(self, message: Message, queue: str) -> None:
        """Send a message to the workers of a queue, as soon as the broker takes it."""
        with self._changed:
            self._waiting[message, queue_name(self._deployment, queue)] = None
            self._changed.notify_all()

    def trouble(self) -> str | None:
        """Why messages are not delivered now; None where nothing is known."""
        since = self._sending_since
        if self._failure is None and (since is None or time.monotonic() - since < SLOW):
            return None
        return f"the broker that {self._variable} names does not answer"

    def hint(self) -> str:
        """What to look at where a worker gets no message: it may have another broker, or none."""
        return f"see its log, and whether {self._variable} names the same broker there"

    def listeners(self, queue: str) -> str:
        """What the queue is called where agents show that they listen."""
        return listeners_name(self._executor, queue)

    def close(self, run_id: str) -> None:
        """A run has ended; what of it was not sent need not be."""
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join(_FAREWELL)

    def _run(self) -> None:
        sender: Sender | None = None
        while (item := self._next()) is not None:
            self._sending_since = time.monotonic()
            try:
                sender = sender or self._open_sender()
                sender.send(*item)
            except Exception as error:  # noqa: BLE001 - clients of brokers raise many kinds
                _close(sender)
                sender = None
                self._fail(error)
                continue
            with self._changed:
                self._waiting.pop(item, None)
            self._sending_since = None
            if self._failure is not None:
                self._failure = None
                logger.warning("the broker that %s names answers again", self._variable)
        _close(sender)

    def _next(self) -> tuple[Message, str] | None:
        """The message that is to be sent now; None at the end."""
        with self._changed:
            while not self._waiting and not self._is_closed:
                self._changed.wait()
            return None if self._is_closed else next(iter(self._waiting))

    def _fail(self, error: Exception) -> None:
        """Report the first of several failures, and wait."""
        if self._failure is None:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            self._failure = Mask(deployment_secrets(os.environ)).text(reason)
            logger.warning(
                "can't reach the broker that %s names: %s; trying again every %d s",
                self._variable, plain(self._failure), PAUSE,
            )
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed, PAUSE)


def listeners_name(executor: str, queue: str) -> str:
    """What a queue of an executor is called where agents show that they listen."""
    return f"{executor}:{queue}"


def queue_name(deployment: str, queue: str) -> str:
    """What a queue of a deployment is called in a broker, as a queue or as a resource of Dask.

    An identity has no dot, so no queue of one deployment is called like that of another.
    """
    return f"{QUEUE_PREFIX}{deployment}.{queue}"


def _close(sender: Sender | None) -> None:
    if sender is not None:
        with contextlib.suppress(Exception):
            sender.close()

"""The end of a Dask scheduler at which a run is."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import Any

from distributed import Client

from flowtoy_dagster.engine.executors.brokers.dask.tasks import run_step
from flowtoy_dagster.engine.executors.remote.message import Message

CONNECT_TIMEOUT = 4.0
"""Seconds in which a scheduler must answer."""
_LOST = (asyncio.CancelledError, OSError)


class _WithoutLostConnections(logging.Filter):
    """Leaves out that a connection is lost: a run reports it itself, once and without a traceback.

    Dask's client tries to connect again until it is closed, and logs that it was interrupted then,
    or that it has given up.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is about something else."""
        if str(record.msg).startswith("Failed to reconnect to scheduler"):
            return False
        kind = record.exc_info[0] if record.exc_info else None
        return kind is None or not issubclass(kind, _LOST)


_WITHOUT_LOST_CONNECTIONS = _WithoutLostConnections()


class DaskSender:
    """A client of a Dask scheduler.

    Args:
        address: of the scheduler.
    """

    def __init__(self, address: str) -> None:
        # The same filter is added once.
        logging.getLogger("distributed.client").addFilter(_WITHOUT_LOST_CONNECTIONS)
        self._client = Client(
            address, set_as_default=False, timeout=CONNECT_TIMEOUT, name="flowtoy"
        )
        self._futures: list[Any] = []
        self._numbers = itertools.count()

    def send(self, message: Message, queue: str) -> None:
        """Have a worker of a queue get a message, given the queue's name of `queue_name`.

        Raises:
            ConnectionError: the scheduler is away.
        """
        if self._client.status != "running":
            raise ConnectionError("the scheduler has closed the connection")
        # Dask gives the result of a key that it knows instead of doing something: no two are alike.
        # It forgets a task whose future is gone.
        self._futures = [future for future in self._futures if not future.done()]
        self._futures.append(self._client.submit(
            run_step, message.encode(), pure=False, retries=0,
            key=f"flowtoy-{message.run_id}-{message.turn}-{next(self._numbers)}-{id(self)}",
            resources={queue: 1},
        ))

    def close(self) -> None:
        """Close the connection; the scheduler forgets what has not begun."""
        self._futures.clear()
        self._client.close(timeout=1)

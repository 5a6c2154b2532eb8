"""The end of Celery's broker at which a run is."""

from __future__ import annotations

from flowtoy_dagster.engine.executors.brokers.celery.app import (
    CONNECT_TIMEOUT,
    SILENCE,
    TASK,
    make_app,
)
from flowtoy_dagster.engine.executors.remote.message import Message


class CelerySender:
    """A connection to a broker.

    Args:
        address: of the broker.
    """

    def __init__(self, address: str) -> None:
        self._app = make_app(address)
        # Nobody here would tell RabbitMQ in time that this end is still there.
        self._connection = self._app.connection_for_write(heartbeat=0)
        self._connection.ensure_connection(max_retries=1, timeout=CONNECT_TIMEOUT)
        self._is_broken = False
        self._producer = self._app.amqp.Producer(self._connection)

    def send(self, message: Message, queue: str) -> None:
        """Send a message to a queue, given its name of `queue_name`."""
        text = message.encode()
        try:
            self._app.send_task(
                TASK, (text,), producer=self._producer, queue=queue, retry=False,
                ignore_result=True, argsrepr="", kwargsrepr="", confirm_timeout=SILENCE,
            )
        except Exception:
            self._is_broken = True
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._is_broken and self._connection.transport.driver_type == "amqp":
            self._connection.collect()  # without the farewell, which RabbitMQ would have to answer
        else:
            self._connection.close()
        self._app.close()

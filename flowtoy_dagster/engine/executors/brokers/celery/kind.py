"""The executor `celery`. No Dagster and no Celery in here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowtoy_dagster.engine.executors.brokers.kind import BrokerKind
from flowtoy_dagster.masking.mask import BROKER_VARIABLE

if TYPE_CHECKING:
    from flowtoy_dagster.engine.executors.brokers.outbox import Sender


class CeleryKind(BrokerKind):
    """Steps go through RabbitMQ or Redis to workers of Celery."""

    name = "celery"
    extra = "celery"
    modules = ("celery", "redis")
    variable = BROKER_VARIABLE
    schemes = ("redis", "rediss", "amqp", "amqps")
    example = "redis://:password@host:6379/0 or amqp://user:password@host:5672//"

    def open_sender(self) -> Sender:
        """Connect to the broker."""
        from flowtoy_dagster.engine.executors.brokers.celery.sender import CelerySender

        return CelerySender(self.address())

    def serve(self, queue: str, slots: int) -> None:
        """Be a worker of Celery until SIGTERM."""
        self.check_worker(queue)

        from flowtoy_dagster.engine.executors.brokers.celery.worker import serve

        serve(self.address(), queue, slots)

"""The executor `celery`. No Dagster and no Celery in here."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from flowtoy_dagster.engine.executors.brokers.kind import BrokerKind
from flowtoy_dagster.errors import HomeError
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

    def check_home(self) -> None:
        """As for every broker; and see that its client can use the address.

        Raises:
            HomeError: it is not so.
        """
        super().check_home()

        from kombu.connection import Connection

        read: Callable[[str], object] = Connection
        try:
            read(self.address())
        except (TypeError, ValueError) as error:
            # What the address is may hold a password; the name of an option does not.
            option = re.search(r"unexpected keyword argument '(\w+)'", str(error))
            what = f"has the option '{option[1]}', which is none of a broker's" if option else None
            raise HomeError(
                f"{self.variable} {what or 'is not the address of a broker'}\n"
                f"    it looks like {self.example}"
            ) from None

    def open_sender(self) -> Sender:
        """Connect to the broker."""
        from flowtoy_dagster.engine.executors.brokers.celery.sender import CelerySender

        return CelerySender(self.address())

    def serve(self, queue: str, slots: int) -> None:
        """Be a worker of Celery until SIGTERM."""
        self.check_worker(queue)

        from flowtoy_dagster.engine.executors.brokers.celery.worker import serve

        serve(self.address(), queue, slots)

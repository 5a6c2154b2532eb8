"""The executor `dask`. No Dagster and no Dask in here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowtoy_dagster.engine.executors.brokers.kind import BrokerKind
from flowtoy_dagster.masking.mask import DASK_VARIABLE

if TYPE_CHECKING:
    from flowtoy_dagster.engine.executors.brokers.outbox import Sender


class DaskKind(BrokerKind):
    """Steps go through a Dask scheduler to its workers."""

    name = "dask"
    extra = "dask"
    modules = ("distributed",)
    variable = DASK_VARIABLE
    schemes = ("tcp", "tls", "ws", "wss")
    example = "tcp://host:8786"

    def open_sender(self) -> Sender:
        """Connect to the scheduler."""
        from flowtoy_dagster.engine.executors.brokers.dask.sender import DaskSender

        return DaskSender(self.address())

    def serve(self, queue: str, slots: int) -> None:
        """Be a worker of Dask until SIGTERM."""
        self.check_worker(queue)

        from flowtoy_dagster.engine.executors.brokers.dask.worker import serve

        serve(self.address(), queue, slots)

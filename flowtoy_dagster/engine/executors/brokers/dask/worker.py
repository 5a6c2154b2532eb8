"""A worker of Dask that hosts an agent."""

from __future__ import annotations

import asyncio
import logging
import signal
import tempfile
from typing import Any

from distributed import Worker, WorkerPlugin
from distributed.core import Status

from flowtoy_dagster.engine.executors.brokers.dask.tasks import EXECUTOR, PLUGIN
from flowtoy_dagster.engine.executors.brokers.deployment import (
    Deployment,
    deployment_here,
)
from flowtoy_dagster.engine.executors.brokers.guest import GuestAgent
from flowtoy_dagster.engine.executors.brokers.outbox import QUEUE_PREFIX, queue_name
from flowtoy_dagster.engine.executors.remote.agent import fork_off_workers
from flowtoy_dagster.engine.storage.home import open_home
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.terminal import say

_LOGGERS = ("distributed", "tornado.application", "tornado.general", "asyncio")
_PATIENCE = 3.0
"""Seconds in which the scheduler must answer before it is said that it does not."""


class AgentPlugin(WorkerPlugin):
    """Has the agent of a worker of Dask."""

    name = PLUGIN

    def __init__(self, guest: GuestAgent) -> None:
        self.guest = guest


async def add_agent(worker: Worker) -> GuestAgent:
    """Start an agent in a worker that Dask's own command has started.

    Raises:
        UsageError: the worker has no resource by which a queue is named.
        HomeError: the home or the database can't be used.
    """
    slots = {
        name[len(QUEUE_PREFIX):]: worker.state.total_resources[name]
        for name in worker.state.total_resources if name.startswith(QUEUE_PREFIX)
    }
    if not slots:
        raise UsageError(
            f"the worker takes from no queue\n    add --resources '{QUEUE_PREFIX}default=4'"
        )
    deployment = await asyncio.to_thread(deployment_here)
    # The scheduler does not know the worker yet; it learns of those of this deployment alone.
    for resources in (worker.state.total_resources, worker.state.available_resources):
        for queue, count in slots.items():
            del resources[QUEUE_PREFIX + queue]
            resources[queue_name(deployment.name, queue)] = count
    loop = asyncio.get_running_loop()
    guest = GuestAgent(
        EXECUTOR, list(slots), worker.state.nthreads, deployment,
        lambda: asyncio.run_coroutine_threadsafe(worker.close(), loop),
    )
    await asyncio.to_thread(guest.start)
    await worker.plugin_add(AgentPlugin(guest), name=PLUGIN)
    return guest


async def remove_agent(worker: Worker) -> None:
    """Wait until the steps have ended that run on a worker."""
    plugin: Any = worker.plugins.get(PLUGIN)
    if plugin is not None:
        await asyncio.to_thread(plugin.guest.close)


def serve(address: str, queue: str, slots: int) -> None:
    """Be a worker of Dask until SIGTERM.

    Args:
        address: of the scheduler.
        queue: what it takes from.
        slots: how many steps run at once.

    Raises:
        HomeError: the home or the database can't be used.
    """
    open_home()
    fork_off_workers()
    _log_as_flowtoy()
    deployment = deployment_here()
    with tempfile.TemporaryDirectory(prefix="flowtoy-dask-") as folder:
        asyncio.run(_Host(address, queue, slots, folder, deployment).run())


class _Host:
    """Workers of Dask, one after another, for one agent: each ends with its connection."""

    def __init__(
        self, address: str, queue: str, slots: int, folder: str, deployment: Deployment
    ) -> None:
        self._address = address
        self._queue = queue
        self._slots = slots
        self._folder = folder
        self._deployment = deployment
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Take steps until a signal, and end when those that run have ended."""
        loop = asyncio.get_running_loop()
        failed = asyncio.Event()

        def fail() -> None:
            failed.set()
            self._ended.set()

        self._guest = guest = GuestAgent(
            EXECUTOR, [self._queue], self._slots, self._deployment,
            lambda: loop.call_soon_threadsafe(fail),
        )
        await asyncio.to_thread(guest.start)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        is_back = False
        while not self._ended.is_set():
            await self._connect(is_back=is_back)
            is_back = True
        if failed.is_set():
            raise SystemExit(1)

    def _stop(self) -> None:
        self._guest.stop()
        self._ended.set()

    async def _connect(self, *, is_back: bool) -> None:
        """Be a worker of the scheduler until the connection breaks, or all is to end."""
        worker = Worker(
            self._address,
            nthreads=self._slots,
            resources={queue_name(self._deployment.name, self._queue): self._slots},
            plugins=(AgentPlugin(self._guest),),
            local_directory=self._folder,
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
        )
        ended = asyncio.ensure_future(self._ended.wait())
        started = asyncio.ensure_future(worker.start())
        patience = 0.0 if is_back else _PATIENCE
        done, _ = await asyncio.wait(
            {ended, started}, timeout=patience, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            say(f"can't reach the scheduler {self._address}; trying again")
            done, _ = await asyncio.wait({ended, started}, return_when=asyncio.FIRST_COMPLETED)
            if started in done:
                say("the scheduler answers again")
        if started in done:
            await started
            finished = asyncio.ensure_future(worker.finished())
            await asyncio.wait({ended, finished}, return_when=asyncio.FIRST_COMPLETED)
            if self._ended.is_set() and worker.status == Status.running:
                # It begins nothing from now on; what it was given goes to others at its end.
                worker.status = Status.paused
                await asyncio.to_thread(self._guest.close)
            await worker.close(executor_wait=self._ended.is_set())
        else:
            started.cancel()
            await asyncio.to_thread(self._guest.close)
        ended.cancel()


def _log_as_flowtoy() -> None:
    """Have Dask log its errors where flowtoy does; all of it for `debug`."""
    ours = logging.getLogger("flowtoy")
    is_brief = ours.level > logging.DEBUG
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = list(ours.handlers), False
        logger.setLevel(logging.CRITICAL if is_brief else logging.DEBUG)

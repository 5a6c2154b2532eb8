"""The event loops of contexts, made where something uses them: a flow's steps are no coroutines.

Dagster makes a loop for each step, with a selector and two sockets, and closes it after the step.
"""

from __future__ import annotations

import asyncio
from typing import Any


class EventLoops:
    """Replaces the module `asyncio` where Dagster makes a context."""

    def new_event_loop(self) -> LoopOnDemand:
        """What stands for a loop."""
        return LoopOnDemand()


class LoopOnDemand:
    """An event loop that is made when it is used; of one that was not, nothing has to be closed."""

    _loop: asyncio.AbstractEventLoop | None = None

    def __getattr__(self, name: str) -> Any:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return getattr(self._loop, name)

    def shutdown_asyncgens(self) -> Any:
        """What closes the asynchronous generators of the loop; None where there is no loop."""
        return None if self._loop is None else self._loop.shutdown_asyncgens()

    def run_until_complete(self, future: Any) -> Any:
        """Run what the loop is given; None, which `shutdown_asyncgens` may give, is nothing."""
        return None if future is None else self.__getattr__("run_until_complete")(future)

    def close(self) -> None:
        """Close the loop, if there is one."""
        if self._loop is not None:
            self._loop.close()

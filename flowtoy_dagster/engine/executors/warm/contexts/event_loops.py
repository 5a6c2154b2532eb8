"""The event loops of contexts, made where something uses them: a flow's steps are no coroutines.

Dagster makes a loop for each step, with a selector and two sockets, and closes it after the step.
"""

from __future__ import annotations

import asyncio
from typing import Any


class LoopOnDemand:
    """An event loop that is made when it is used; of one that was not, nothing has to be closed."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made(), name)

    def _made(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop

    def shutdown_asyncgens(self) -> Any:
        """What closes the asynchronous generators of the loop; None where there is no loop."""
        return None if self._loop is None else self._loop.shutdown_asyncgens()

    def run_until_complete(self, future: Any) -> Any:
        """Run what the loop is given; None, which `shutdown_asyncgens` may give, is nothing."""
        return None if future is None else self._made().run_until_complete(future)

    def close(self) -> None:
        """Close the loop, if there is one."""
        if self._loop is not None:
            self._loop.close()

"""What a broker delivers to a worker, until its agent has dealt with it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from flowtoy_dagster.engine.executors.remote.message import Message


class NotTakenError(Exception):
    """The agent ends, or has ended; the message is for another one."""


class Inbox:
    """The intake of an agent to which threads of a broker's worker bring messages.

    Each of these threads waits until its message is settled: so the broker knows that it is not
    done with, and brings no more messages than there are threads.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Message] = deque()
        self._open: list[Message] = []
        self._is_closed = False

    def deliver(self, message: Message, wake: Callable[[], object]) -> None:
        """Offer a message to the agent, and wait until it is settled.

        Args:
            message: the message.
            wake: has the agent look for it.

        Raises:
            NotTakenError: the agent has ended before.
        """
        with self._changed:
            self._waiting.append(message)
            self._open.append(message)
        wake()
        with self._changed:
            while any(one is message for one in self._open) and not self._is_closed:
                self._changed.wait()
            if self._is_closed and any(one is message for one in self._open):
                raise NotTakenError

    def take(self) -> Message | None:
        """The next message; None where there is none now."""
        with self._changed:
            return self._waiting.popleft() if self._waiting else None

    def settle(self, message: Message) -> None:
        """What a message said is done: who has brought it may go on."""
        with self._changed:
            self._open = [one for one in self._open if one is not message]
            self._changed.notify_all()

    def close(self) -> None:
        """Give back what was not settled, and all that comes from now on."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

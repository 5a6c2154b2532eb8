"""What a queue must do for a run and its workers: deliver short messages, perhaps twice."""

from __future__ import annotations

from typing import Protocol

from flowtoy_dagster.engine.executors.remote.message import Message


class Transport(Protocol):
    """The end of a queue at which a run is.

    A message may be delivered several times, late, or never: an unclaimed step is sent again.
    """

    def submit(self, message: Message, queue: str) -> None:
        """Send a message to the workers of a queue; does not wait for a broker that is away."""

    def trouble(self) -> str | None:
        """Why messages are not delivered now; None where nothing is known."""

    def hint(self) -> str:
        """What to look at where a worker has a free slot and gets no message."""

    def listeners(self, queue: str) -> str:
        """What the queue is called where agents show that they listen."""

    def close(self, run_id: str) -> None:
        """A run has ended; what of it was not delivered need not be."""


class Intake(Protocol):
    """The end of a queue at which a worker is."""

    def take(self) -> Message | None:
        """The next message; None where there is none now."""

    def settle(self, message: Message) -> None:
        """What a message said is done: its step has ended, or it is somebody else's."""

"""What goes from a run to its workers through a transport: where a step is found, nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass

from flowtoy_dagster.engine.sites.site import MESSAGES
from flowtoy_dagster.terminal import say

LONGEST = 300
"""Bytes of a message; ours have less than 80."""


class UnknownMessageError(Exception):
    """What was delivered is no message of this version of flowtoy; says what it is."""


@dataclass(frozen=True)
class Message:
    """A hand-out of a step. What is to be done is in the table of leases.

    Attributes:
        run_id: the run.
        turn: which hand-out of the run it is, from 1.
    """

    run_id: str
    turn: int

    def encode(self) -> str:
        """The message as JSON."""
        return json.dumps({"v": MESSAGES, "run": self.run_id, "turn": self.turn})

    @classmethod
    def decode(cls, text: str) -> Message:
        """The message in a text.

        Raises:
            UnknownMessageError: it is none of this version.
        """
        try:
            found = json.loads(text) if len(text) <= LONGEST else None
        except ValueError:
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("v"), int):
            raise UnknownMessageError("a message that is not flowtoy's")
        if found["v"] != MESSAGES:
            raise UnknownMessageError(
                f"a message of version {found['v']}, which another version of flowtoy has sent: "
                f"this worker takes those of version {MESSAGES}"
            )
        run_id, turn = found.get("run"), found.get("turn")
        if isinstance(run_id, str) and isinstance(turn, int) and not isinstance(turn, bool):
            return cls(run_id, turn)
        raise UnknownMessageError("a message that is not flowtoy's")


def decoded(text: str) -> Message | None:
    """The message in a text; one that is none of this version is reported, and dropped."""
    try:
        return Message.decode(text)
    except UnknownMessageError as unknown:
        say(f"drops {unknown}")
        return None

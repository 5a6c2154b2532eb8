"""What goes from a run to its workers through a transport: where a step is found, nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass

VERSION = 1
LONGEST = 300
"""Bytes of a message; ours have less than 80."""


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
        return json.dumps({"v": VERSION, "run": self.run_id, "turn": self.turn})

    @classmethod
    def decode(cls, text: str) -> Message | None:
        """The message in a text; None where it is none of this version."""
        try:
            found = json.loads(text) if len(text) <= LONGEST else None
        except ValueError:
            return None
        if not isinstance(found, dict) or found.get("v") != VERSION:
            return None
        run_id, turn = found.get("run"), found.get("turn")
        if isinstance(run_id, str) and isinstance(turn, int) and not isinstance(turn, bool):
            return cls(run_id, turn)
        return None

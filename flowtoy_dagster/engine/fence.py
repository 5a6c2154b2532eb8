"""What keeps a process from storing events of a step that another one runs by now."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

KILLED_WITHIN = 60.0
"""Seconds, more than enough, in which a process that has lost its step is killed."""
OURS = (
    "SELECT 1 FROM flowtoy_leases WHERE run_id = %(run_id)s AND turn = %(turn)s "
    "AND holder = %(holder)s AND NOT ended"
)


class Fence(NamedTuple):
    """By what a process holds a step: a row of the table of leases.

    Attributes:
        run_id: the run.
        turn: which hand-out of the run it is.
        holder: the process that has claimed it.
    """

    run_id: str
    turn: int
    holder: str

    def values(self) -> Mapping[str, Any]:
        """For the statement `OURS`."""
        return {"run_id": self.run_id, "turn": self.turn, "holder": self.holder}


def wait_to_be_killed() -> None:
    """Do nothing more: the parent ends this process, or it ends itself."""
    time.sleep(KILLED_WITHIN)
    os._exit(1)

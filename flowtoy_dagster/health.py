"""What a part of a deployment answers when `flowtoy doctor` asks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "fault", "off"]
"""What a part is.

`warning`: runs go on, and something should be changed all the same. `off`: it is not configured, or
there is nothing to ask. Neither is a fault.
"""


@dataclass(frozen=True)
class Health:
    """What is known of one part.

    Attributes:
        part: which one: `home`, `database`, `files`, `workers`, `broker` and the like.
        state: whether it can be used.
        text: one line that says what was found.
        fix: what to do, where it is a fault or a warning.
    """

    part: str
    state: State
    text: str
    fix: str | None = None


def fault_of(part: str, error: Exception) -> Health:
    """A fault from an error whose first line says what is wrong, and the others what to do."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first, *rest = lines or [type(error).__name__]
    return Health(part, "fault", first, " ".join(rest) or None)

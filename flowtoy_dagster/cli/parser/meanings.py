"""What people type instead of a command, and the command that does it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.flow.files.suffixes import YAML
from flowtoy_dagster.flow.files.suggestions import nearest

_MEANINGS = {
    "health": "doctor", "diagnose": "doctor", "info": "doctor",
    "check": "validate", "lint": "validate", "verify": "validate", "dry-run": "plan",
    "explain": "plan", "draw": "graph", "dag": "graph",
    "show-plan": "plan", "order": "plan",
    "new": "init", "create": "init", "scaffold": "init",
    "plugins": "providers", "kinds": "providers", "json-schema": "schema",
    "help": "--help", "version": "--version",
    "list": "runs", "ls": "runs", "ps": "runs", "history": "runs",
    "log": "runs logs last", "logs": "runs logs last",
    "show": "runs show last", "status": "runs show last", "inspect": "runs show last",
    "open": "runs open last", "prune": "runs prune", "repair": "runs repair",
    "schedules": "runs schedules",
    "start": "run", "exec": "run", "execute": "run",
    "ui": "webui", "web": "webui", "rerun": "retry last",
    "resume": "retry last", "stop": "cancel last", "kill": "cancel last", "abort": "cancel last",
}
"""What people type, and the command that does it; none of them is a command itself."""
_IN_GROUPS = {
    "get": "show", "cat": "show", "view": "show", "delete": "reset", "remove": "reset",
    "rm": "reset", "clear": "reset", "clean": "prune", "log": "logs", "output": "outputs",
}
_OF_A_LIST = ("list", "ls")
"""What people type for the list that a group of commands shows."""


def no_such_command(
    name: str, group: str, own: Sequence[str], others: Collection[str], rest: Sequence[str] = (),
) -> UsageError:
    """The error for a command that does not exist.

    Args:
        name: what was typed.
        group: the words before it, such as `flowtoy` or `flowtoy runs`.
        own: the commands of that group.
        others: the other commands of `flowtoy`.
        rest: what was typed after it.
    """
    meant = _meant_by(name, group, own, others, rest)
    words = " ".join([*group.split()[1:], name])
    hint = f"did you mean '{meant}'?" if meant else f"'{group} --help' lists the commands"
    return UsageError(f"no such command '{words}'\n    {hint}")


def _meant_by(
    name: str, group: str, own: Sequence[str], others: Collection[str], rest: Sequence[str],
) -> str | None:
    if name.endswith(YAML) or name == "-":
        return f"flowtoy run {name}" if group == "flowtoy" else None
    if name == "help":
        known = bool(rest) and rest[0] in own
        return f"{group} {rest[0]} --help" if known else f"{group} --help"
    if group != "flowtoy" and _IN_GROUPS.get(name) in own:
        return f"{group} {_IN_GROUPS[name]}"
    if group != "flowtoy" and name in _OF_A_LIST:
        return group + "".join(f" {word}" for word in ("list",) if word in own)
    if name in others:
        return f"flowtoy {name}"
    if name in _MEANINGS and (group == "flowtoy" or nearest(name, own).match is None):
        return f"flowtoy {_MEANINGS[name]}"
    # A name that is meant by others is as likely misspelt as a command.
    found = nearest(name, [*own, *(_MEANINGS if group == "flowtoy" else ())]).match
    if found is None:
        return None
    return f"{group} {found}" if found in own else f"flowtoy {_MEANINGS[found]}"

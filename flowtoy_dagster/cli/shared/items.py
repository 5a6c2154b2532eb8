"""The items of a repeated step, on the command line."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.flow.files.suggestions import nearest
from flowtoy_dagster.terminal import plain, print_json, say

if TYPE_CHECKING:
    from flowtoy_dagster.runs.items import RunItems

STATES = ("succeeded", "failed", "skipped")


def print_items(run: str, step: str | None, state: str | None, *, as_json: bool) -> None:
    """Print how the items of a step stand.

    Raises:
        UsageError: there is no such step or state, or the step is not repeated.
    """
    from flowtoy_dagster.runs.history import History

    if step is None:
        raise UsageError("--state is for the items of a step\n    name the step after the run")
    if state is not None and state not in STATES:
        raise UsageError(f"there is no state '{state}'\n    {nearest(state, STATES).hint}")
    with History() as history:
        items = _items(history, run, step)
        rows = items.facts(state)
        if as_json:
            print_json(list(rows))
            _say_problems(items)
            return
        print(f"{'STATE':<9}  {'ATTEMPTS':<8}  KEY")
        for row in rows:
            told = f"  {plain(row['error'])}" if row["error"] else _moved(row.get("cursor"))
            key = " ".join(row["key"].splitlines())  # one line for each item
            say(f"{row['state']:<9}  {row['attempts'] or '':<8}  {key}{told}", sys.stdout)
        counts = items.counts()
        left = counts.total - counts.ended
        words = [f"{counts.succeeded:,} succeeded", f"{counts.failed:,} failed"]
        words += [f"{counts.skipped:,} skipped"] if counts.skipped else []
        words += [f"{left:,} never ended"] if left else []
        print(f"{counts.total:,} items: {', '.join(words)}")
        _say_problems(items)


def _say_problems(items: RunItems) -> None:
    for problem in items.problems():
        say(f"warning: {problem}")


def _moved(cursor: dict[str, Any] | None) -> str:
    """Where an item with a cursor began, and how far it came."""
    if cursor is None:
        return ""
    values = (cursor["start_value"], cursor["value"])
    told = [value if isinstance(value, str) else json.dumps(value)
            for value in values if value is not None]
    return plain(f"  {' → '.join(told)}") if told else ""


def print_item_log(run: str, step: str | None, key: str, *, as_json: bool) -> None:
    """Print what an item has printed.

    Raises:
        UsageError: there is no such step or item, or the step is not repeated.
    """
    from flowtoy_dagster.runs.history import History

    if step is None:
        raise UsageError("--item is an item of a step\n    name the step after the run")
    with History() as history:
        printed = _items(history, run, step).printed(key)
    if printed is None:
        raise UsageError(
            f"step '{step}' has no item '{key}' that has ended\n"
            "    flowtoy runs show RUN STEP lists them"
        )
    if as_json:
        parts = [{"step": step, "item": key, "stream": s, "text": t} for s, t in printed.items()]
        print_json(parts)
        return
    for stream, text in printed.items():
        for line in text.splitlines():
            say(line, sys.stdout if stream == "stdout" else sys.stderr)


def _items(history: Any, run: str, step: str) -> RunItems:
    from flowtoy_dagster.runs.items import RunItems

    found = history.find(run)
    known = history.flow(found).by_name
    if step not in known:
        raise UsageError(f"there is no step '{step}'\n    {nearest(step, known).hint}")
    if known[step].for_each is None:
        raise UsageError(f"step '{step}' has no items: it has no 'for_each'")
    return RunItems(history, found, step)

"""The answers of a recording as a test of the flow gives them."""

from __future__ import annotations

import re
from typing import Any

from flowtoy_dagster.store.recordings.recording import Recording

_NUMBERS = re.compile(r"(\d+)-(\d+)\.json$")


def mocks_of(recording: Recording) -> dict[str, Any]:
    """The answers by step, and of a repeated step by the keys of its items.

    Raises:
        UnreadableRecordingError: a file can't be read.
    """
    answers: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for place in sorted(recording.places(), key=_order):
        facts = recording.read(place)
        if facts is not None and "call" in facts:
            answers.setdefault((facts["step"], facts.get("item")), []).append(_answer(facts))
    found: dict[str, Any] = {}
    for (step, item), given in answers.items():
        one = given[0] if len(given) == 1 else given
        if item is None:
            found[step] = one
        else:
            found.setdefault(step, {"items": {}})["items"][item] = one
    return found


def _answer(facts: dict[str, Any]) -> dict[str, Any]:
    if "raised" in facts:
        return {"success": False, "notes": [f"raised {facts['raised']}"]}
    answer = dict(facts["answer"])
    return {
        key: value for key, value in answer.items()
        if value != "" and (value or key not in ("headers", "files", "notes", "meta"))
    }


def _order(place: str) -> tuple[str, int, int]:
    numbers = _NUMBERS.search(place)
    if numbers is None:
        return place, 0, 0
    return place[: numbers.start()], int(numbers[1]), int(numbers[2])

"""The status document: the state of a run, as JSON, and back again. No Dagster in here.

Its schema is `status.schema.json`, next to this file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowtoy_dagster.runs.status.models import (
    MOST_SPANS,
    MOST_WARNINGS,
    CursorStatus,
    ItemsStatus,
    RunStatus,
    Span,
    StepStatus,
    StepWarning,
)
from flowtoy_dagster.steps.state.cursors import CursorCounts, told_facts

if TYPE_CHECKING:
    from flowtoy_dagster.store.outputs import OutputText

SCHEMA = Path(__file__).parent / "status.schema.json"
SCHEMA_VERSION = 4
"""Grows where the document changes; documents of flowtoy 0.1, which have none, are of version 1."""
_RUN_ID = re.compile(r"[0-9A-Za-z_-]{1,100}\Z")
_CALLED = "called: "
_STDERR = "stderr: "
LATEST = 2.5e11
"""Seconds since 1970; a clock can show every year up to 9999."""
_ITEM_COUNTS = ("total", "succeeded", "failed", "skipped", "reused")


def status_document(status: RunStatus) -> dict[str, Any]:
    """The document of the status API; times in seconds since 1970."""
    running = [name for name, step in status.steps.items() if step.state == "running"]
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": int((status.created_at or 0.0) * 1000),
        "dagster_run_id": status.run_id,
        "name": status.name,
        "state": status.state,
        "verdict": status.verdict,
        "started_at": status.started_at,
        "ended_at": status.ended_at,
        "total_steps": len(status.steps),
        "completed_steps": status.count("succeeded") + status.count("failed"),
        "skipped_steps": status.count("skipped"),
        "current_step": running[0] if running else None,
        "running_steps": running,
        "running_count": len(running),
        "steps": {name: _step_document(step) for name, step in status.steps.items()},
    }


def _step_document(step: StepStatus) -> dict[str, Any]:
    return {
        "state": step.state,
        "started_at": step.started_at,
        "ended_at": step.ended_at,
        "notes": list(_notes(step)),
        "place": step.place if step.state == "failed" else None,
        "skip_reason": step.error if step.state == "skipped" else None,
        "outputs": list(step.outputs),
        "depends_on": list(step.depends_on),
        "attempt": step.attempt,
        "waits_for": step.waits_for or None,
        "items": _items_document(step.items) if step.items is not None else None,
        "cursor": told_facts(step.cursor) if step.cursor is not None else None,
        "warnings": [warning._asdict() for warning in step.warnings],
        "timeline": [asdict(span) for span in step.timeline],
    }


def _notes(step: StepStatus) -> Iterator[str]:
    if step.error:
        yield step.error
        if step.called:
            yield _CALLED + step.called
        if step.stderr:
            yield _STDERR + step.stderr


def read_status(document: Mapping[str, Any]) -> RunStatus:
    """The status in a document, which may come from anybody.

    Raises:
        KeyError, TypeError, ValueError: it is no such document.
    """
    if document["state"] not in ("pending", "running", "succeeded", "failed", "cancelled"):
        raise ValueError("no state of a run")
    run_id = str(document.get("dagster_run_id", document["run_id"]))
    if not _RUN_ID.match(run_id):
        raise ValueError("no id of a run")
    if not document["steps"]:
        raise ValueError("no steps")
    return RunStatus(
        run_id=run_id,
        name=_text(document["name"]),
        state=document["state"],
        created_at=_number(document["run_id"], 1e15) / 1000,
        started_at=_moment(document["started_at"]),
        ended_at=_moment(document["ended_at"]),
        steps={name: _read_step(name, step) for name, step in document["steps"].items()},
    )


def _read_step(name: str, document: Mapping[str, Any]) -> StepStatus:
    if document["state"] not in ("pending", "running", "succeeded", "failed", "skipped"):
        raise ValueError("no state of a step")
    first, *others = _texts(document["notes"]) or (None,)
    facts = {
        prefix: note.removeprefix(prefix)
        for prefix in (_CALLED, _STDERR)
        for note in others
        if note is not None and note.startswith(prefix)
    }
    return StepStatus(
        name,
        _texts(document["depends_on"]),
        _texts(document["outputs"]),
        document["state"],
        _moment(document["started_at"]),
        _moment(document["ended_at"]),
        int(_number(document["attempt"], 1e9)),
        error=first,
        stderr=facts.get(_STDERR, ""),
        called=facts.get(_CALLED, ""),
        place=None if document.get("place") is None else _text(document["place"]),
        waits_for=_text(document.get("waits_for") or ""),
        items=_read_items(document.get("items")),
        cursor=_read_cursor(document.get("cursor")),
        warnings=_read_warnings(document.get("warnings", [])),
        timeline=_read_timeline(document.get("timeline", [])),
    )


def _items_document(items: ItemsStatus) -> dict[str, Any]:
    counts = {name: getattr(items, name) for name in _ITEM_COUNTS}
    return {**counts, "failures": [{"key": key, "error": why} for key, why in items.failures]}


def _read_items(document: Any) -> ItemsStatus | None:
    if document is None:
        return None
    counts = {name: int(_number(document[name], 1e9)) for name in _ITEM_COUNTS}
    failures = tuple((_text(one["key"]), _text(one["error"])) for one in document["failures"])
    return ItemsStatus(**counts, failures=failures)


def _read_warnings(document: Any) -> list[StepWarning]:
    if not isinstance(document, list) or len(document) > MOST_WARNINGS:
        raise ValueError("no warnings")
    return [
        StepWarning(
            _text(one["message"]), None if one["place"] is None else _text(one["place"])
        )
        for one in document
    ]


def _read_timeline(document: Any) -> list[Span]:
    if not isinstance(document, list) or len(document) > MOST_SPANS:
        raise ValueError("no timeline")
    return [_read_span(one) for one in document]


def _read_span(document: Mapping[str, Any]) -> Span:
    if document["kind"] not in ("attempt", "wait", "pause"):
        raise ValueError("no part of a step's time")
    begin = _number(document["started_at"], LATEST)
    return Span(document["kind"], begin, _moment(document["ended_at"]), _text(document["told"]))


def _read_cursor(document: Any) -> CursorStatus | None:
    if document is None:
        return None
    if document["state"] not in ("stored", "unchanged", "held"):
        raise ValueError("no state of a cursor")
    names = ("reason", "start_value", "last_value", "value")
    texts = {n: None if document[n] is None else _text(document[n]) for n in names}
    items = document.get("items")
    counts = None if items is None else CursorCounts(
        **{name: int(_number(items[name], 1e9)) for name in ("stored", "unchanged", "held")}
    )
    return CursorStatus(document["state"], key=_text(document["key"]), items=counts, **texts)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return tuple(map(_text, value))


def _number(value: Any, largest: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError("no number")
    if not 0 <= value <= largest:  # so it is finite, too
        raise ValueError("no number that means something here")
    return value


def _moment(value: Any) -> float | None:
    """Seconds since 1970."""
    return None if value is None else _number(value, LATEST)


def outputs_document(outputs: Iterable[tuple[str, OutputText | None]]) -> Iterator[bytes]:
    """`{step: {output: value}}` as JSON, in parts; null for a step that gave none."""
    separator = b"{"
    for name, text in outputs:
        yield separator + json.dumps(name, ensure_ascii=False).encode() + b":"
        if text is None:
            yield b"null"
        else:
            yield from text.chunks()
        separator = b","
    yield b"{}" if separator == b"{" else b"}"

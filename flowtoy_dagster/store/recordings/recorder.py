"""Recording: each call is made, and written down with its answer."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flowtoy_dagster.errors import StepError, system_reason
from flowtoy_dagster.json_text import JsonError, dumps, loads
from flowtoy_dagster.masking.json_texts import hidden_in_text
from flowtoy_dagster.masking.mask import HIDDEN, Mask, hide
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.state.cursors import CursorReader, StoredCursor
from flowtoy_dagster.steps.state.deadline import OutOfTime
from flowtoy_dagster.steps.words import one_line
from flowtoy_dagster.store.recordings.calls import (
    call_of,
    folder_of,
    hash_of,
    hidden_in,
    shown_key,
    without_secrets,
)
from flowtoy_dagster.store.recordings.recording import Recording
from flowtoy_dagster.store.store import quoted


class Counter:
    """Numbers the calls of each attempt of a step, or of an item of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[int | None, int], int] = defaultdict(int)

    def next_place(self, context: StepContext) -> str:
        """The file of a recording that is about the next call."""
        index = context.item.index if context.item is not None else None
        with self._lock:
            self._counts[index, context.attempt] += 1
            number = self._counts[index, context.attempt]
        return f"{folder_of(context)}/{context.attempt}-{number:03}.json"


class _Call(NamedTuple):
    """A call that was made."""

    context: StepContext
    place: str
    part: Mapping[str, Any]
    answer: Mapping[str, Any]


class Recorder:
    """Stands between the provider of a step and what it calls (`providers.base.Exchanges`).

    What is secret in answers may be known only when outputs have been taken out of them. So the
    calls of a step that has secret outputs are written when its attempt has ended.

    Args:
        recording: where calls are written.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._counter = Counter()
        self._waiting: list[_Call] = []

    def exchange(
        self, context: StepContext, part: Mapping[str, Any], make: Callable[[], dict[str, Any]]
    ) -> Mapping[str, Any]:
        """Make a request, and keep what it came to.

        Raises:
            StepError: it can't be kept.
        """
        place = self._counter.next_place(context)
        try:
            answer = make()
        except Exception as error:
            if not isinstance(error, (StepError, OutOfTime, *context.interrupts)):
                self._take(_Call(context, place, part, {"raised": one_line(error)}))
            raise
        self._take(_Call(context, place, part, answer))
        return answer

    def close(self) -> None:
        """Write what has waited for the end of the attempt.

        Raises:
            StepError: it can't be written.
        """
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            mask = call.context.mask
            unknown = mask.is_holding or mask.is_discarding
            self._write(call, nothing_known(call.answer) if unknown else call.answer)

    def _take(self, call: _Call) -> None:
        if call.context.step.prints_secrets:
            self._waiting.append(call)
        else:
            self._write(call, call.answer)

    def _write(self, call: _Call, answer: Mapping[str, Any]) -> None:
        context, mask = call.context, call.context.mask.current
        request = call_of(context, call.part)
        facts: dict[str, Any] = {"step": mask.text(context.step.name)}
        if context.item is not None:
            facts["item"] = shown_key(context.item, mask)
        key = "raised" if "raised" in answer else "answer"
        facts |= {"attempt": context.attempt, "hash": hash_of(request), "call": request}
        try:
            plain = loads(dumps(dict(answer)))
            facts[key] = hidden_answer(plain, mask) if key == "answer" else mask.text(
                plain["raised"])
            self._recording.write(call.place, facts)
        except JsonError as error:
            raise StepError(mask.text(f"its answer can't be recorded: {error}")) from None
        except OSError as error:
            reason = system_reason(error)
            raise StepError(f"its call can't be recorded: {reason}") from None


def hidden_answer(answer: Mapping[str, Any], mask: Mask) -> dict[str, Any]:
    """An answer without the secrets in it, and without headers that have the name of one.

    What is JSON in it stays JSON, for a replay to read.
    """
    found: dict[str, Any] = hidden_in(answer, mask, hidden_in_text)
    if isinstance(found.get("headers"), Mapping):
        found["headers"] = without_secrets(found["headers"])
    return found


def nothing_known(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer of which nobody knows what in it is secret: only how the call ended."""
    return {
        key: value if isinstance(value, (int, float)) or key == "failure" else hide(value)
        for key, value in answer.items()
    }


class RecordedCursors:
    """Gives a step the cursors of the home, and writes down what it was given.

    Args:
        recording: where that is written.
        cursors: those of the home.
        secret: whether the values are secret.
    """

    def __init__(self, recording: Recording, cursors: CursorReader, *, secret: bool) -> None:
        self._recording = recording
        self._cursors = cursors
        self._secret = secret

    def read(
        self, flow: str, step: str, key: str = "", item: str | None = None
    ) -> StoredCursor | None:
        """What is stored; raises StepError where that can't be read, or not be recorded."""
        found = self._cursors.read(flow, step, key, item)
        value = found.value if found is not None else None
        if value is not None and (self._secret or (found is not None and found.secret)):
            value = HIDDEN
        try:
            facts = {"step": step} if item is None else {"step": step, "item": item}
            self._recording.write(cursor_place(step, key, item), {**facts, "cursor": value})
        except OSError as error:
            reason = system_reason(error)
            raise StepError(f"its cursor can't be recorded: {reason}") from None
        return found

    def has_items(self, flow: str, step: str, key: str = "") -> bool:
        """Whether anything is stored of items of a step; raises StepError as `read` does."""
        return self._cursors.has_items(flow, step, key)


def cursor_place(step: str, key: str, item: str | None = None) -> str:
    """The file of a recording that is about a cursor."""
    folder = quoted(step) if item is None else f"{quoted(step)}/items/{quoted(item)}"
    return f"{folder}/cursor{f'-{quoted(key)}' if key else ''}.json"


def hide_all(recording: Recording, mask: Mask) -> None:
    """Hide what is known to be secret at the end of a run in all that was written before."""
    for place in recording.places():
        facts = recording.read(place)
        if facts is None:
            continue
        hidden = hidden_in({key: facts[key] for key in facts if key != "answer"}, mask)
        if isinstance(facts.get("answer"), Mapping):
            hidden["answer"] = hidden_answer(facts["answer"], mask)
        if hidden != facts:
            if "call" in hidden:
                hidden["hash"] = hash_of(hidden["call"])
            recording.write(place, hidden)

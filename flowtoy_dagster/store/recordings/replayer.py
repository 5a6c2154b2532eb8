"""Replaying: each call is answered from a recording, and nothing is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from flowtoy_dagster.errors import StepError
from flowtoy_dagster.flow.compile.diagnostics import first_mistake
from flowtoy_dagster.providers.kinds import describe_call, kind_of
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.state.cursors import StoredCursor
from flowtoy_dagster.store.recordings.calls import call_of, differences, hash_of, in_words
from flowtoy_dagster.store.recordings.recorder import Counter, cursor_place
from flowtoy_dagster.store.recordings.recording import Recording, UnreadableRecordingError
from flowtoy_dagster.store.recordings.unrecorded import UnrecordedCall


class Replayer:
    """Stands between the provider of a step and what it calls (`providers.base.Exchanges`).

    Args:
        recording: what calls are answered from.
        note: called with each call that is not in the recording, or differs.
    """

    def __init__(self, recording: Recording, note: Callable[[UnrecordedCall], None]) -> None:
        self._recording = recording
        self._note = note
        self._counter = Counter()

    def exchange(
        self, context: StepContext, part: Mapping[str, Any], make: Callable[[], dict[str, Any]]
    ) -> Mapping[str, Any]:
        """The recorded answer to a request.

        Raises:
            StepError: there is none, or the request is another one.
        """
        place = self._counter.next_place(context)
        try:
            recorded = self._recording.read(place)
        except UnreadableRecordingError as error:
            raise self._missed(context, str(error)) from None
        if recorded is None:
            what = context.mask.text(describe_call(context.step.source, context.work.configuration))
            raise self._missed(context, f"it would call {what}, which was not recorded ({place})")
        request = call_of(context, part)
        if recorded.get("hash") != hash_of(request):
            found = list(differences(recorded.get("call"), request))
            if found:
                told = f"its call differs from the recorded one ({place}): {in_words(found)}"
                raise self._missed(context, told)
        if "raised" in recorded:
            raised = f"the provider '{context.step.source.type}' raised {recorded['raised']}"
            raise StepError(raised, "raised")
        answer = recorded.get("answer")
        if not isinstance(answer, dict):
            raise self._missed(context, f"'{place}' of the recording has no answer")
        try:
            kind_of(context.step.source).answer_model.model_validate(answer)
        except ValidationError as error:
            where, wrong = first_mistake(error)
            told = f"the answer in '{place}' of the recording is not valid: {where}: {wrong}"
            raise self._missed(context, told) from None
        return answer

    def _missed(self, context: StepContext, reason: str) -> StepError:
        hide = context.mask.text
        item = hide(context.item.key) if context.item is not None else None
        self._note(UnrecordedCall(
            hide(context.step.name), item, context.attempt, hide(reason)
        ))
        return StepError(reason)


class ReplayedCursors:
    """Gives a step the cursors that it was given when it was recorded."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def read(
        self, flow: str, step: str, key: str = "", item: str | None = None
    ) -> StoredCursor | None:
        """What was stored; raises StepError where the recording can't be read."""
        try:
            found = self._recording.read(cursor_place(step, key, item))
        except UnreadableRecordingError as error:
            raise StepError(str(error)) from None
        if found is None or found.get("cursor") is None:
            return None
        return StoredCursor(flow, step, key, found["cursor"], item=item)

    def has_items(self, flow: str, step: str, key: str = "") -> bool:
        """Whether values of items were stored; nobody needs to know that again."""
        return False

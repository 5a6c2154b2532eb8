"""The records of steps in a store: one piece a step, with the results of its items next to it."""

from __future__ import annotations

import hashlib
import logging
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from flowtoy_dagster.errors import system_reason
from flowtoy_dagster.json_text import dumps, dumps_checked, loads_checked
from flowtoy_dagster.steps.attempts import StepOutcome
from flowtoy_dagster.steps.state.items import ItemCounts, ItemOutputs
from flowtoy_dagster.steps.words import whole_text
from flowtoy_dagster.store.item_log import Reusable, StoredItemLog, StoredItems, reusable
from flowtoy_dagster.store.limits.slots import SourceSlots
from flowtoy_dagster.store.output_text import ListText, OutputSummary, ValueText
from flowtoy_dagster.store.places import RunPlaces
from flowtoy_dagster.store.record import MissingRecordError, RecordError, StepRecord, end_of_record
from flowtoy_dagster.store.recordings.recording import Recording
from flowtoy_dagster.store.recordings.unrecorded import UnrecordedCall
from flowtoy_dagster.store.shared.shared_files import shared_store
from flowtoy_dagster.store.store import LONGEST_NAME, Store, open_store, quoted

RECORDS_FOLDER = "flowtoy-records"

_GIVEN = "params"
_OLD_GIVEN = "params.json"
_RECORDING, _UNRECORDED = "recording", "unrecorded"
_LOG = logging.getLogger("flowtoy.store")

Told = Callable[[str, str], ItemCounts]
"""How many items of a step have ended how, from a run's id and the step's key."""


class RecordStore:
    """The records of all runs of a Dagster instance.

    Args:
        store: where they are.
        old: where flowtoy 0.1.0 kept them; only read.
    """

    def __init__(self, store: Store, old: Store | None = None) -> None:
        self._store = store
        self._old = old
        self._reported: set[str] = set()

    def step(self, run_id: str, step_key: str) -> StepRecord:
        """The record of a step, which nobody has looked at yet; it may be absent or damaged."""
        key = _step_key(run_id, step_key)
        name = f"the record of step '{step_key}' of run {run_id[:8]}"
        if self._old is not None and not self._store.exists(key):
            old, old_key = self._old, _old_key(run_id, step_key)
            if old.exists(old_key):
                return StepRecord(lambda: old.open(old_key), name, has_end=False)
        return StepRecord(
            lambda: self._store.open(key), name, stored_items=self.items(run_id, step_key)
        )

    def items(self, run_id: str, step_key: str, told: Told | None = None) -> StoredItems:
        """The results of a repeated step's items; there may be none.

        Args:
            run_id: the run.
            step_key: the step.
            told: how many items have ended how, by what the run's history tells.
        """
        counts = partial(told, run_id, step_key) if told is not None else ItemCounts
        return StoredItems(self._store, _items_key(run_id, step_key), counts)

    def reusable_items(
        self, run_ids: Iterable[str], step_key: str, told: Told | None = None
    ) -> Reusable:
        """What can be reused of the items of a repeated step.

        Args:
            run_ids: the runs, the most recent one last; its items count.
            step_key: the step.
            told: as `items` takes it.
        """
        return reusable([self.items(run_id, step_key, told) for run_id in run_ids])

    def item_log(
        self, run_id: str, step_key: str, before: Iterable[str] = (), told: Told | None = None
    ) -> StoredItemLog:
        """Where the results of a repeated step's items are kept.

        Args:
            run_id: the run.
            step_key: the step.
            before: the runs whose results may be reused, the most recent one last.
            told: as `items` takes it.
        """
        reusable = [self.items(other, step_key, told) for other in before]
        return StoredItemLog(self._store, self.items(run_id, step_key, told), reusable)

    def files_folder(self, run_id: str, step_key: str, item: str | None) -> Path:
        """The folder in which a step, or an item of it by its key, keeps files; it is made.

        Raises:
            OSError: it can't be made.
        """
        key = f"{_folder(run_id)}/files/{quoted(step_key)}"
        return self._store.folder(key if item is None else f"{key}/items/{quoted(item)}")

    def files_url(self, run_id: str, step_key: str, item: str | None) -> str | None:
        """The URL below which such files are kept instead; None for `files_folder`'s own."""
        key = f"{_folder(run_id)}/files/{quoted(step_key)}"
        return self._store.kept_at(key if item is None else f"{key}/items/{quoted(item)}")

    def slots(self, run_id: str, source: str, most: int) -> SourceSlots:
        """The slots of a source in a run.

        Args:
            run_id: the run.
            source: the source's name.
            most: how many there are.
        """
        key = f"{_folder(run_id)}/slots/{quoted(source)}"
        return SourceSlots(partial(self._store.folder, key), source, most)

    def places(self, run_id: str) -> RunPlaces:
        """The places to which the steps of a run write files."""
        return RunPlaces(partial(self._store.folder, f"{_folder(run_id)}/places"))

    def read(self, run_id: str, step_key: str, *, is_due: bool = False) -> StepRecord | None:
        """The record of a step.

        Args:
            run_id: the run.
            step_key: the step.
            is_due: whether the step has ended in a way that leaves one.

        Returns:
            None where it left none. A damaged one counts as absent, with a warning, and so does
            one that is due.
        """
        record = self.step(run_id, step_key)
        try:
            record.header  # noqa: B018 - reads and checks it
        except RecordError as error:
            is_missing = isinstance(error, MissingRecordError)
            if is_missing and not is_due:
                return None
            key = _step_key(run_id, step_key)
            if key not in self._reported:
                self._reported.add(key)
                _LOG.warning("%s" if is_missing else "%s; it counts as absent", error)
            return None
        return record

    def delete(self, run_id: str) -> None:
        """Delete the records of a run and what was kept of its parameters."""
        self._store.delete(_folder(run_id))
        if self._old is not None:
            for key in list(self._old.list(run_id)):
                if key.endswith((".jsonl", _OLD_GIVEN)):
                    self._old.delete(key)

    def clean(self) -> int:
        """Remove what writers that were killed left behind; how many files that were."""
        return self._store.clean() + (self._old.clean() if self._old is not None else 0)

    def keep_given(self, run_id: str, values: Mapping[str, Any]) -> None:
        """Keep values of a run's parameters that its configuration does not have as they are.

        Raises:
            OSError: they can't be written.
        """
        self._store.put(f"{_folder(run_id)}/{_GIVEN}", dumps(dict(values)) + b"\n")

    def given(self, run_id: str) -> dict[str, Any] | None:
        """The values of a run's parameters that were kept: secret ones, and those with mappings.

        Returns:
            None where there are none. Damaged ones count as absent, with a warning.
        """
        places = [(self._store, f"{_folder(run_id)}/{_GIVEN}")]
        if self._old is not None:
            places.append((self._old, f"{run_id}/{_OLD_GIVEN}"))
        for store, key in places:
            try:
                found = loads_checked(store.read(key))
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                reason = system_reason(error) if isinstance(error, OSError) else "damaged"
            else:
                if isinstance(found, dict):
                    return found
                reason = "damaged"
            where = f"{store.url}/{key}"
            if where not in self._reported:
                self._reported.add(where)
                _LOG.warning(
                    "the kept parameters of run %s can't be read: %s: %s", run_id, where, reason
                )
        return None

    def keep_recording(self, run_id: str, recording: Recording) -> None:
        """Keep what a run is recorded to or replayed from.

        Raises:
            OSError: it can't be written.
        """
        self._store.put(f"{_folder(run_id)}/{_RECORDING}", dumps(recording.facts()))

    def recording(self, run_id: str) -> Recording | None:
        """What a run is recorded to or replayed from; None where that is gone."""
        try:
            return Recording.of(loads_checked(self._store.read(f"{_folder(run_id)}/{_RECORDING}")))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def note_unrecorded(self, run_id: str, call: UnrecordedCall) -> None:
        """Note a call of a replay that is not as it was recorded.

        Raises:
            OSError: it can't be written.
        """
        with self._store.appender(f"{_folder(run_id)}/{_UNRECORDED}") as file:
            file.write(dumps(call.facts()) + b"\n")

    def unrecorded(self, run_id: str) -> list[UnrecordedCall]:
        """The calls of a replay that are not as they were recorded.

        Raises:
            RecordError: they can't be read.
        """
        try:
            lines = self._store.read(f"{_folder(run_id)}/{_UNRECORDED}").splitlines()
            return [UnrecordedCall.of(loads_checked(line)) for line in lines]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError) as error:
            reason = system_reason(error) if isinstance(error, OSError) else "damaged"
            raise RecordError(
                f"what run {run_id[:8]} called that is not in the recording can't be read: {reason}"
            ) from None

    def write(
        self, run_id: str, step_key: str, outcome: StepOutcome, keep_result: bool
    ) -> dict[str, OutputSummary]:
        """Write a step's record, whole or not at all.

        Returns:
            a summary of each output.

        Raises:
            OSError: the disk is full, or the folder can't be written.
        """
        texts = _texts_of(outcome)
        result = outcome.result
        is_item_count = outcome.counts is not None
        header = {
            "state": outcome.state,
            "error": outcome.error if outcome.skipped is None else outcome.skipped,
            "success": result.success if result else is_item_count and outcome.succeeded,
            "code": result.code if result else None,
            "notes": [whole_text(outcome.mask.text(n)) for n in result.notes] if result else [],
            "hidden": sorted(outcome.hidden),
            "secrets": _secrets_to_keep(outcome, texts.values()),
            "sizes": {name: text.size for name, text in texts.items()},
        }
        if outcome.counts is not None:
            header["counts"] = outcome.counts.facts()
        if outcome.cursor is not None:
            header["cursor"] = outcome.cursor.facts()
        with self._store.writer(_step_key(run_id, step_key)) as file:
            file.write(dumps(header) + b"\n{")
            for index, (name, text) in enumerate(texts.items()):
                file.write((b"," if index else b"") + dumps_checked(name) + b":")
                file.writelines(text.parts())
            file.write(b"}\n")
            if keep_result and result is not None:
                file.write(dumps({"data": result.data, "meta": dict(result.meta)}) + b"\n")
            file.write(end_of_record(file.tell()))
        mask = outcome.mask.including(outcome.secrets)
        return {
            name: text.summary(mask, hidden=name in outcome.hidden)
            for name, text in texts.items()
        }


def _texts_of(outcome: StepOutcome) -> dict[str, ValueText | ListText]:
    """The JSON of each output."""
    outputs = outcome.outputs
    if isinstance(outputs, ItemOutputs):
        return {name: ListText(partial(outputs.values_of, name)) for name in outputs}
    return {name: ValueText(value) for name, value in outputs.items()}


def _secrets_to_keep(
    outcome: StepOutcome, texts: Iterable[ValueText | ListText]
) -> list[str]:
    """What must still be hidden when the outputs are shown where no variable holds it."""
    parts = (part for text in texts for part in text.parts())
    return sorted({*outcome.secrets, *outcome.mask.met_in(parts)})


def _folder(run_id: str) -> str:
    return quoted(run_id)


def _step_key(run_id: str, step_key: str) -> str:
    return f"{_folder(run_id)}/steps/{quoted(step_key)}"


def _items_key(run_id: str, step_key: str) -> str:
    return f"{_folder(run_id)}/items/{quoted(step_key)}"


def _old_key(run_id: str, step_key: str) -> str:
    name = urllib.parse.quote(step_key, safe=" ")
    if len(name) > LONGEST_NAME:
        name = hashlib.sha256(step_key.encode()).hexdigest()
    return f"{run_id}/{name}.jsonl"


def records_of(storage_directory: str) -> RecordStore:
    """The records that belong to the storage folder of a Dagster instance.

    They are next to that folder, not in it: Dagster's web server serves files of it as logs.
    """
    old = Path(storage_directory)
    return RecordStore(shared_store(old.parent, RECORDS_FOLDER), open_store(old))

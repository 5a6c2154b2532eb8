"""A repeated step in Dagster's events: how far it is, and at its end a table of its items."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg

from flowtoy_dagster.engine.jobs.events.event_text import bounded, check_event
from flowtoy_dagster.masking.mask import Mask
from flowtoy_dagster.steps.attempts import StepOutcome
from flowtoy_dagster.steps.loops.for_each import told_failures
from flowtoy_dagster.steps.state.items import ItemCounts, ItemLog, ItemResult, Loop

ITEMS = "items"
"""The label of the check that tells how far a repeated step is."""
TOLD_EVERY = 10.0
"""Seconds between two such checks."""
SHOWN_ITEMS = 200
"""Items in the table at the end."""
_SHOWN_ERROR = 300
_LOOK = 0.1
_END_WITHIN = 8.0
"""Seconds that items have to end when the run is interrupted."""


class Watched:
    """A repeated step that runs in a thread, while this one tells how far it is.

    Args:
        run: runs the step.
        loop: what the step is given.
        mask: hides secrets in the events.
        end: ends the commands that the items have started.
    """

    def __init__(
        self, run: Callable[[], StepOutcome], loop: Loop, mask: Mask, end: Callable[[], None]
    ) -> None:
        self._end = end
        self._run = run
        self._loop = loop
        self._mask = mask
        self._ended = threading.Event()
        self._outcome: StepOutcome | None = None
        self._error: BaseException | None = None

    def events(self) -> Iterator[dg.ExpectationResult]:
        """Run the step; gives an event each time that there is something to tell.

        Raises:
            BaseException: what the step raises, or what interrupts this thread.
        """
        thread = threading.Thread(target=self._work, name="flowtoy-loop", daemon=True)
        thread.start()
        try:
            due = time.monotonic() + TOLD_EVERY
            while not self._ended.wait(_LOOK):
                if time.monotonic() >= due:
                    due = time.monotonic() + TOLD_EVERY
                    yield progress_event(self._loop, self._mask)
        finally:
            if not self._ended.is_set():
                self._loop.stopping.set()
                self._end_commands()
        thread.join()
        if self._loop.progress.counts.total:
            yield progress_event(self._loop, self._mask)
        if self._error is not None:
            raise self._error

    @property
    def outcome(self) -> StepOutcome:
        """What came of the step, when all events have been given."""
        assert self._outcome is not None
        return self._outcome

    def _end_commands(self) -> None:
        # An item may be about to start another.
        latest = time.monotonic() + _END_WITHIN
        while not self._ended.is_set() and time.monotonic() < latest:
            self._end()
            self._ended.wait(_LOOK)

    def _work(self) -> None:
        try:
            self._outcome = self._run()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self._error = error
        finally:
            self._ended.set()


def progress_event(loop: Loop, mask: Mask) -> dg.ExpectationResult:
    """How far a step is: an event of the same size however many items there are."""
    counts = loop.progress.counts
    failures = [
        {"key": shortened(mask, one.key, one), "error": shortened(mask, one.error or "", one)}
        for one in loop.progress.failures
    ]
    return check_event(
        True,
        ITEMS,
        f"{counts.ended:,} of {counts.total:,} items have ended"
        + (f", {told_failures(counts)}" if counts.failed else ""),
        {
            "counts": dg.MetadataValue.json({**counts.facts(), "reused": counts.reused}),
            "failures": dg.MetadataValue.json(failures),
        },
    )


def told_counts(instance: dg.DagsterInstance, run_id: str, step_key: str) -> ItemCounts:
    """How many items of a step have ended how, as its latest such event tells."""
    counts = ItemCounts()
    for entry in instance.all_logs(run_id, dg.DagsterEventType.STEP_EXPECTATION_RESULT):
        event = entry.dagster_event
        if event is None or event.step_key != step_key:
            continue
        check = event.step_expectation_result_data.expectation_result
        if check.label == ITEMS:
            found: Any = check.metadata["counts"].value
            counts = ItemCounts(**found)
    return counts


def item_table(log: ItemLog, mask: Mask) -> dict[str, Any]:
    """Metadata: a table of the items, failures first; cut where there are many."""
    chosen: dict[str, list[dg.TableRecord]] = {"failed": [], "skipped": [], "succeeded": []}
    with contextlib.suppress(OSError):
        for result in log.results():
            some = chosen[result.state]
            if len(some) < SHOWN_ITEMS:
                some.append(_row(result, mask))
    records = [record for some in chosen.values() for record in some][:SHOWN_ITEMS]
    if not records:
        return {}
    types = {"index": "int", "attempts": "int"}
    columns = [
        dg.TableColumn(name, types.get(name, "string"))
        for name in ("index", "key", "state", "attempts", "error")
    ]
    return {"items": dg.MetadataValue.table(records, dg.TableSchema(columns))}


def _row(item: ItemResult, mask: Mask) -> dg.TableRecord:
    """What the table says of an item: its values, which may be large, are not kept."""
    return dg.TableRecord(
        {
            "index": item.index,
            "key": shortened(mask, item.key, item),
            "state": item.state,
            "attempts": item.attempts,
            "error": shortened(mask, item.error or "", item),
        }
    )


def shortened(mask: Mask, text: str, item: ItemResult) -> str:
    """A text of an item, without what the step and the item know to be secret."""
    return bounded(mask.including(item.secrets).shortened(text, _SHOWN_ERROR))


def workers_of(run_config: Any, otherwise: int) -> int:
    """How many steps of a run are executed at once, by its configuration in Dagster's sense."""
    with contextlib.suppress(KeyError, TypeError):
        found = run_config["execution"]["config"]["max_concurrent"]
        if isinstance(found, int) and found > 0:
            return found
    return otherwise


"""Events of a step that are stored together."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pytest

from flowtoy_dagster.engine.storage.event_groups import (
    EventGroup,
    Row,
    group_for,
    stored_together,
)
from flowtoy_dagster.engine.storage.sqlite import WarmEventLogStorage

HELD = ("STEP_START", "STEP_SUCCESS")


def row(kind: str | None, number: int = 0) -> Row:
    return {"dagster_event_type": kind, "number": number}


def test_what_is_held_back_is_stored_before_the_next_event_and_with_it() -> None:
    stored: list[list[Row]] = []
    group = EventGroup(HELD, lambda rows: stored.append(list(rows)))
    group.add(row("STEP_START"))
    assert stored == []
    group.add(row(None))  # a line of a log
    group.add(row("STEP_SUCCESS"))
    group.flush()
    group.flush()
    assert stored == [[row("STEP_START"), row(None)], [row("STEP_SUCCESS")]]


def test_what_could_not_be_stored_is_held_back_still() -> None:
    stored: list[Row] = []
    broken = [True]

    def store(rows: Sequence[Row]) -> None:
        if broken[0]:
            raise sqlite3.OperationalError("database or disk is full")
        stored.extend(rows)

    group = EventGroup(HELD, store)
    group.add(row("STEP_START"))
    with pytest.raises(sqlite3.OperationalError):
        group.flush()
    broken[0] = False
    group.flush()
    assert stored == [row("STEP_START")]
    assert group.empty()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGALRM])
def test_an_interrupt_while_rows_are_stored_comes_after_they_are_noted(number: int) -> None:
    stored: list[Row] = []

    def store(rows: Sequence[Row]) -> None:
        signal.raise_signal(number)
        os.kill(os.getpid(), number)  # whatever thread takes it
        time.sleep(0.01)
        stored.extend(rows)

    group = EventGroup(HELD, store)
    group.add(row("STEP_START"))
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            group.flush()
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert stored == [row("STEP_START")]
    group.flush()
    assert stored == [row("STEP_START")]


def test_threads_that_store_at_once_lose_nothing() -> None:
    stored: list[Row] = []
    group = EventGroup(HELD, stored.extend)

    def work(first: int) -> None:
        for number in range(first, first + 200):
            group.add(row("STEP_START" if number % 3 else None, number))

    threads = [threading.Thread(target=work, args=[first]) for first in (0, 200, 400)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    group.flush()
    assert sorted(found["number"] for found in stored) == list(range(600))


def test_a_group_is_stored_whole_or_not_at_all(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        log = WarmEventLogStorage(str(tmp_path))
        log.register_instance(instance)
        log.group = group = EventGroup(HELD, log.insert)
        run_id = "00000000-0000-0000-0000-000000000001"

        def started(step: str) -> dg.EventLogEntry:
            kind = dg.DagsterEventType.STEP_START.value
            event = dg.DagsterEvent(event_type_value=kind, job_name="job", step_key=step)
            return dg.EventLogEntry(
                error_info=None, level=20, user_message="", run_id=run_id, timestamp=1.0,
                step_key=step, job_name="job", dagster_event=event,
            )

        def stored() -> list[str | None]:
            return [found.step_key for found in log.get_logs_for_run(run_id)]

        for step in ("a", "b", "c"):
            log.store_event(started(step))
        assert stored() == []
        kept = group._rows
        group._rows = [*kept[:2], {**kept[2], "event": object()}]  # what SQLite can't write
        with pytest.raises(sqlite3.Error):
            group.flush()
        assert stored() == []
        group._rows = kept
        group.flush()
        assert stored() == ["a", "b", "c"]
        log.dispose()


class Log:
    """Where events are stored, as storages are."""

    def __init__(self) -> None:
        self.group: EventGroup | None = None
        self.stored: list[list[Row]] = []

    def insert(self, rows: Sequence[Row]) -> None:
        self.stored.append(list(rows))

    def store(self, found: Row) -> None:
        group = group_for(self)
        if group is None:
            self.insert([found])
        else:
            group.add(found)


def test_a_block_stores_its_own_events_together_and_nobody_elses() -> None:
    log, other = Log(), Log()
    with stored_together(log, HELD):
        log.store(row("STEP_START", 1))
        thread = threading.Thread(target=log.store, args=[row("STEP_START", 2)])
        thread.start()
        thread.join()
        other.store(row("STEP_START", 3))
        log.store(row("STEP_START", 4))
    log.store(row("STEP_START", 5))
    assert log.stored == [[row("STEP_START", 2)],
                          [row("STEP_START", 1), row("STEP_START", 4)], [row("STEP_START", 5)]]
    assert other.stored == [[row("STEP_START", 3)]]


def test_where_another_class_stores_events_each_is_stored_alone() -> None:
    with stored_together(object(), HELD):
        """Nothing is held back."""

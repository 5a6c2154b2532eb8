"""Events of a flow's steps go straight into the history, as they do by Dagster's way."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flowtoy_dagster.engine.dagster_private.storage import SqliteEventLogStorage
from flowtoy_dagster.engine.storage.home import open_home
from flowtoy_dagster.engine.storage.instances import event_log_of, open_instance
from flowtoy_dagster.engine.storage.logs.console_log import NO_CONSOLE
from flowtoy_dagster.engine.storage.logs.direct_log import DirectLog, is_enough
from flowtoy_dagster.engine.storage.step_events import STEP_EVENTS, kind_of

FLOW = """
flow:
  - name: a
    source: process
    input: {command: [echo, "grüße \\u2028"]}
    output: [{name: x}]
  - name: b
    source: process
    input: {command: [sh, -c, "echo b >&2; exit 3"]}
    depends_on: [a]
    on_error: continue
    retry: {max: 1, delay: 0}
  - {name: c, source: process, input: {command: [echo, c]}, when: "false"}
"""


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance(open_home()) as found:
        yield found


def test_what_is_stored_of_an_event_is_what_dagster_stores(
    flowtoy: Callable[..., Any], write: Callable[[str], Path], home: Path
) -> None:
    assert flowtoy("run", write(FLOW)).code == 0
    with open_instance(home) as found:
        log = event_log_of(found)
        run = found.get_runs(limit=1)[0]
        kept = found.all_logs(run.run_id)
        with log.run_connection(run.run_id) as connection:
            rows = connection.exec_driver_sql(
                "SELECT event, dagster_event_type, timestamp, step_key, asset_key, partition"
                " FROM event_logs ORDER BY id"
            ).fetchall()
        assert len(kept) == len(rows)
        for entry, row in zip(kept, rows, strict=True):
            wanted = SqliteEventLogStorage._event_to_row(log, entry)
            moment = wanted["timestamp"].isoformat(sep=" ", timespec="microseconds")
            assert json.loads(row[0]) == json.loads(wanted["event"])
            assert list(row[1:]) == [
                wanted["dagster_event_type"], moment, wanted["step_key"],
                wanted["asset_key"], wanted["partition"],
            ]
    told = {kind_of(entry) for entry in kept}
    assert told & STEP_EVENTS >= {
        "STEP_START", "STEP_OUTPUT", "STEP_SUCCESS", "STEP_UP_FOR_RETRY", "LOGS_CAPTURED",
    }


@pytest.mark.parametrize("level", [logging.DEBUG, logging.ERROR])
@pytest.mark.parametrize("step", [{}, {"step_key": "a", "op_name": "a"}])
def test_an_entry_is_what_dagsters_own_log_makes_of_an_event(
    instance: dg.DagsterInstance, level: int, step: dict[str, str]
) -> None:
    run = instance.create_run_for_job(dg.GraphDefinition("some").to_job())
    event = dg.DagsterEvent(dg.DagsterEventType.STEP_START.value, "some", step_key="a")
    logs = [
        DirectLog.of(instance, run),
        dg.DagsterLogManager.create(loggers=[], instance=instance, dagster_run=run),
    ]
    for log in logs:
        log.with_tags(**step).log_dagster_event(level, "begins: 100 %s", event)
    ours, theirs = instance.all_logs(run.run_id)
    assert ours._replace(timestamp=0.0) == theirs._replace(timestamp=0.0)
    assert 0 <= theirs.timestamp - ours.timestamp < 60


def test_what_an_op_logs_is_stored_too(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(dg.GraphDefinition("some").to_job())
    DirectLog.of(instance, run).with_tags(step_key="a").warning("only %s", "text")
    [entry] = instance.all_logs(run.run_id)
    assert (entry.user_message, entry.step_key, entry.level) == ("only text", "a", 30)


def test_a_listener_hears_the_events_of_steps(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(dg.GraphDefinition("some").to_job())
    heard: list[dg.EventLogEntry] = []
    instance.add_event_listener(run.run_id, heard.append)
    event = dg.DagsterEvent(dg.DagsterEventType.STEP_START.value, "some", step_key="a")
    DirectLog.of(instance, run).log_dagster_event(logging.DEBUG, "begins", event)
    assert [kind_of(entry) for entry in heard] == ["STEP_START"]


HANDLER = """
python_logs:
  dagster_handler_config:
    handlers:
      mine: {class: logging.StreamHandler, level: INFO}
"""


def test_where_somebody_else_listens_events_go_dagsters_way(
    instance: dg.DagsterInstance, home: Path
) -> None:
    quiet = {"loggers": NO_CONSOLE}
    assert is_enough(instance, quiet)
    assert not is_enough(instance, {})
    loud = {"loggers": {"console": {"config": {"log_level": "DEBUG"}}}}
    assert not is_enough(instance, loud)
    with (home / "dagster.yaml").open("a") as settings:
        settings.write(HANDLER)
    with open_instance(home) as handled:
        assert not is_enough(handled, quiet)

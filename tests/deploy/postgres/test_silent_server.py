"""A connection to the database of runs that says nothing any more holds nobody for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test
from module_files import load
from sqlalchemy.exc import OperationalError

from flowtoy_dagster.engine.storage import postgres
from flowtoy_dagster.engine.storage.connections import answer_limit, limited
from flowtoy_dagster.engine.storage.instances import event_log_of

_PROXIES = load(Path(__file__).with_name("workers") / "proxies.py")


@pytest.fixture
def proxy(database: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A proxy in front of the database; whoever opens the home goes through it."""
    with _PROXIES.running_proxy(database.server.port) as made:
        address = database.address.replace(f":{database.server.port}/", f":{made.port}/")
        monkeypatch.setenv("FLOWTOY_STORAGE", address)
        yield made


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the module has it, in less time."""
    for module in (answer_limit, limited):
        monkeypatch.setattr(module, "ANSWER", 1.0)
    monkeypatch.setattr(postgres, "CONNECTING", {**postgres.CONNECTING, "connect_timeout": 2})


def stored(database: Any) -> list[str]:
    """The messages of events in the database."""
    message = "event::json->'dagster_event'->>'message'"
    lines: list[str] = database.sql(f"SELECT {message} FROM event_logs ORDER BY id").split("\n")
    return lines


def test_a_statement_that_gets_no_answer_is_an_error(
    proxy: Any, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "PATIENCE", 0.0)
    with opened() as instance:
        assert instance.get_runs() == []
        proxy.silence()
        with pytest.raises(OperationalError, match="no answer for 10 seconds"):
            instance.get_runs()
        # What is to be stored then does not wait for ever, either.
        with pytest.raises(OperationalError, match="timeout expired"):
            instance.get_runs()
        proxy.restore()
        assert instance.get_runs() == []


def test_a_connection_that_was_not_used_for_a_while_is_given_up_when_it_is_silent(
    proxy: Any, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "IDLE", 0.0)
    with opened() as instance:
        assert instance.get_runs() == []
        proxy.silence()
        back = threading.Timer(6, proxy.restore)
        back.start()
        assert instance.get_runs() == []
        back.join()


def test_an_event_is_stored_once_where_only_the_answer_was_lost(
    proxy: Any, opened: Any, database: Any
) -> None:
    with opened() as instance:
        run = create_run_for_test(instance)
        instance.report_engine_event("before", run)
        proxy.keep_answers()
        back = threading.Timer(4, proxy.restore)
        back.start()
        instance.report_engine_event("meanwhile", run)
        back.join()
        instance.report_engine_event("after", run)
    told = [line for line in stored(database) if line in ("before", "meanwhile", "after")]
    assert told == ["before", "meanwhile", "after"]


def test_a_statement_that_the_server_works_on_is_waited_for(proxy: Any, opened: Any) -> None:
    with opened() as instance:
        rows = event_log_of(instance).rows
        assert rows("SELECT 'done' FROM pg_sleep(6)", {}) == [("done",)]


def test_an_answer_that_takes_long_to_arrive_is_waited_for(proxy: Any, opened: Any) -> None:
    with opened() as instance:
        rows = event_log_of(instance).rows
        assert rows("SELECT 1", {}) == [(1,)]
        proxy.slow_down()
        # More than the buffers hold: the server waits for its client.
        ((text,),) = rows("SELECT repeat('x', 20000000)", {})
        assert len(text) == 20_000_000


def test_a_server_that_takes_no_more_connections_is_not_away(
    proxy: Any, opened: Any, database: Any
) -> None:
    with opened() as instance:
        rows = event_log_of(instance).rows
        assert rows("SELECT 1", {}) == [(1,)]
        database.server.sql("postgres", f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
        assert rows("SELECT 'done' FROM pg_sleep(5)", {}) == [("done",)]


def test_a_process_that_was_forked_has_its_own_limit() -> None:
    limit = answer_limit.AnswerLimit()
    with limit.holds(-1):
        limit.begin_anew()
        with limit.holds(-1) as question:
            assert limit._is_watched
        assert question not in limit._questions


def test_the_watching_thread_ends(opened: Any, database: Any) -> None:
    with opened() as instance:
        assert isinstance(instance, dg.DagsterInstance)
        instance.get_runs()
    for thread in threading.enumerate():
        if thread.name == answer_limit.WATCH:
            thread.join(60)
            assert not thread.is_alive()

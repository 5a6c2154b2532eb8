"""What holds over all machines that have one database: rates, and locks of what they share."""

from __future__ import annotations

import queue
import tempfile
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowtoy_dagster import run_flow
from flowtoy_dagster.engine.storage.home import open_home
from flowtoy_dagster.engine.storage.instances import limiter_of
from flowtoy_dagster.flow.schema.rates import Rate, read_rates
from flowtoy_dagster.store.limits.database_rates import DatabaseRates
from flowtoy_dagster.store.limits.rates import LONGEST_PAUSE, RateStore
from flowtoy_dagster.store.shared.object_store import ObjectStore
from flowtoy_dagster.store.store import FolderStore

rates_of_a_source = st.lists(
    st.builds(Rate, st.integers(1, 7), st.sampled_from([1.0, 60.0, 3600.0])),
    min_size=1, max_size=3, unique_by=lambda rate: rate.seconds,
).map(lambda rates: tuple(sorted(rates, key=lambda rate: rate.seconds)))
moves = st.lists(
    st.one_of(
        st.tuples(st.just("try"), st.floats(0, 90)),
        st.tuples(st.just("wait"), st.just(0.0)),
        st.tuples(st.just("pause"), st.floats(0, 120)),
        st.tuples(st.just("set back"), st.floats(0, 5000)),
    ),
    max_size=40,
)


@pytest.fixture
def rates(database: Any, tmp_path: Path) -> DatabaseRates:
    """The rates of the machine with the home `one`."""
    return rates_at(tmp_path / "one")


def rates_at(home: Path) -> DatabaseRates:
    """The rates of a machine with a home and a connection of its own."""
    found = limiter_of(dg.DagsterInstance.from_config(str(open_home(home))))
    assert isinstance(found, DatabaseRates)
    return found


# language 19.5
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(source=rates_of_a_source, moves=moves)
def test_the_database_gives_the_turns_that_a_home_gives(
    rates: DatabaseRates, source: tuple[Rate, ...], moves: list[tuple[str, float]]
) -> None:
    now, key = 1_000_000.0, uuid.uuid4().hex
    with tempfile.TemporaryDirectory() as folder:
        home = RateStore(Path(folder), lambda: now, lambda: now, "here")
        wait = 0.0
        for move, seconds in moves:
            if move == "pause":
                rates.now = now
                home.pause("x", seconds)
                rates.pause(key, seconds)
                continue
            now += {"try": seconds, "wait": wait, "set back": -seconds}[move]
            rates.now = now
            wait = home.take("x", source)
            assert rates.take(key, source) == pytest.approx(wait, abs=1e-6)


def test_machines_share_a_rate_and_a_pause_by_the_clock_of_the_database(
    rates: DatabaseRates, database: Any, tmp_path: Path
) -> None:
    machines = [rates, rates_at(tmp_path / "two")]
    source = read_rates(["200/s", "11/h"])
    errors: queue.Queue[Exception] = queue.Queue()
    full = threading.Event()

    def call(machine: DatabaseRates) -> None:
        try:
            while not full.is_set():
                # Longer than the spacing: it is the hour that is full.
                if machine.take("x", source) > 1:
                    full.set()
        except Exception as error:
            errors.put(error)

    threads = [threading.Thread(target=call, args=[each]) for each in machines * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors.empty(), errors.get()
    assert database.sql("SELECT count FROM flowtoy_rates") == "11"
    spaces = "SELECT at - lag(at) OVER (ORDER BY number) AS space FROM flowtoy_calls"
    shortest = float(database.sql(f"SELECT min(space) FROM ({spaces}) AS found"))
    assert shortest >= 0.005 - 1e-6
    machines[0].pause("y", 2 * LONGEST_PAUSE)
    assert LONGEST_PAUSE - 60 < machines[1].take("y", source) <= LONGEST_PAUSE
    # One connection does for the threads of a process.
    assert database.connections() == len(machines)


def test_a_rate_goes_on_when_the_database_was_started_anew_and_says_why_it_can_not(
    rates: DatabaseRates, database: Any
) -> None:
    source = read_rates("1/h")
    assert rates.take("x", source) == 0
    database.sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        f"WHERE datname = '{database.name}' AND pid <> pg_backend_pid()"
    )
    assert rates.take("x", source) > 0
    database.sql("DROP TABLE flowtoy_calls")
    with pytest.raises(OSError, match='relation "flowtoy_calls" does not exist'):
        rates.take("x", source)


def test_sources_that_nobody_calls_any_more_are_forgotten(
    rates: DatabaseRates, database: Any
) -> None:
    source = read_rates("1/h")
    rates.now = 1_000_000.0
    assert rates.take("old", source) == rates.take("older", source) == 0
    rates.now += 31 * 86400
    assert rates.take("old", source) == rates.take("new", source) == 0
    assert database.sql("SELECT string_agg(key, ' ' ORDER BY key) FROM flowtoy_rates") == "new old"
    assert database.sql("SELECT count(*) FROM flowtoy_calls") == "2"


def test_runs_of_two_homes_share_the_rate_of_a_source(
    database: Any, tmp_path: Path, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = tmp_path / "calls"
    flow = f"""
        sources:
          api: {{type: process, rate: 1/d, command: [sh, -c, "echo call >> {calls}"]}}
        flow: [{{name: one, source: api}}]
    """
    results = []
    for home, limit in (("one", ""), ("two", "    runner: {timeout: 3s}\n")):
        monkeypatch.setenv("FLOWTOY_HOME", str(tmp_path / home))
        results.append(run_flow(write(flow + limit)).status.steps["one"])
    assert calls.read_text() == "call\n"
    assert [step.state for step in results] == ["succeeded", "failed"]


def test_a_lock_of_one_piece_of_an_object_store_holds_over_all_machines(
    database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (
        ObjectStore("memory://locks/prefix", FolderStore(tmp_path / home)) for home in "ab"
    )
    # A step has no addresses in its environment.
    monkeypatch.delenv("FLOWTOY_STORAGE")
    entered = threading.Event()

    def enter() -> None:
        with two.lock("token-1", alone=True):
            entered.set()

    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    thread = threading.Thread(target=enter)
    with one.lock("token-1", alone=True), two.lock("token-2", alone=True):
        thread.start()
        while database.sql(waiting) == "0":
            assert not entered.is_set()
        assert not entered.is_set()
    thread.join()
    assert entered.is_set()

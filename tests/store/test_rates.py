"""The calls of sources, as all processes of a home count them (language 19.5)."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtoy_dagster.flow.schema.rates import Rate, read_rates
from flowtoy_dagster.store.limits.rates import LONGEST_PAUSE, RateStore


class Clock:
    """A clock that is set by the test."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def store_at(
    folder: Path, clock: Clock, place: str = "here", wall: Clock | None = None
) -> RateStore:
    return RateStore(folder, clock, wall or clock, place)


rates_of_a_source = st.lists(
    st.builds(Rate, st.integers(1, 7), st.sampled_from([1.0, 60.0, 3600.0])),
    min_size=1, max_size=3, unique_by=lambda rate: rate.seconds,
).map(lambda rates: tuple(sorted(rates, key=lambda rate: rate.seconds)))
moves = st.lists(
    st.one_of(
        st.tuples(st.just("try"), st.floats(0, 90)),
        st.tuples(st.just("wait"), st.just(0.0)),
        st.tuples(st.just("pause"), st.floats(0, 120)),
    ),
    max_size=60,
)


# language 19.5
@settings(max_examples=150, deadline=None)
@given(rates=rates_of_a_source, moves=moves)
def test_no_window_holds_more_calls_than_a_model_that_keeps_all_of_them(
    rates: tuple[Rate, ...], moves: list[tuple[str, float]]
) -> None:
    clock = Clock()
    calls: list[float] = []
    paused = 0.0

    def allowed_from() -> float:
        first = [calls[-1] + rates[0].interval] if calls else []
        windows = [calls[-r.calls] + r.seconds for r in rates[1:] if len(calls) >= r.calls]
        return max([paused, *first, *windows])

    with tempfile.TemporaryDirectory() as folder:
        store = store_at(Path(folder), clock)
        for move, seconds in moves:
            if move == "pause":
                store.pause("x", seconds)
                paused = max(paused, clock.now + seconds)
                continue
            # Either at any time, or as soon as the store itself has said.
            clock.now = clock.now + seconds if move == "try" else max(clock.now, allowed_from())
            wait = store.take("x", rates)
            assert wait == pytest.approx(max(0.0, allowed_from() - clock.now), abs=1e-6)
            if wait == 0:
                calls.append(clock.now)
        for rate in rates:
            for at, call in enumerate(calls):
                within = [c for c in calls[at:] if c < call + rate.seconds - 1e-6]
                assert len(within) <= rate.calls


# language 19.5
def test_the_shortest_window_spaces_calls_and_the_others_let_them_come_until_they_are_full(
    tmp_path: Path,
) -> None:
    clock = Clock()
    store = store_at(tmp_path, clock)
    rates = read_rates(["3/m", "10/s"])
    times = []
    for _ in range(5):
        while (wait := store.take("x", rates)) > 0:
            clock.now += wait
        times.append(round(clock.now - 1000, 3))
    assert times == [0, 0.1, 0.2, 60, 60.1]


def test_a_source_with_more_calls_in_a_window_than_before_keeps_what_it_has_counted(
    tmp_path: Path,
) -> None:
    clock = Clock()
    store = store_at(tmp_path, clock)
    for moment in range(3):
        clock.now = 1000.0 + moment
        assert store.take("x", read_rates(["1/s", "3/m"])) == 0
    clock.now = 1003.0
    assert store.take("x", read_rates(["1/s", "3/m"])) == pytest.approx(57)
    assert store.take("x", read_rates(["1/s", "5/m"])) == 0
    clock.now = 1004.0
    assert store.take("x", read_rates(["1/s", "5/m"])) == 0
    clock.now = 1005.0
    assert store.take("x", read_rates(["1/s", "5/m"])) == pytest.approx(55)


@pytest.mark.parametrize("passed", [10.0, 4000.0])
def test_a_restart_of_the_machine_forgets_no_call(passed: float, tmp_path: Path) -> None:
    clock, wall = Clock(50_000.0), Clock(1.7e9)
    store_at(tmp_path, clock, "one start", wall).take("x", read_rates("1/h"))
    store_at(tmp_path, clock, "one start", wall).pause("y", 100)
    clock.now, wall.now = 5.0, wall.now + passed
    after = store_at(tmp_path, clock, "another start", wall)
    assert after.take("x", read_rates("1/h")) == pytest.approx(max(0, 3600 - passed), abs=1e-3)
    assert after.take("y", read_rates("1/h")) == pytest.approx(max(0, 100 - passed), abs=1e-3)


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_clock_that_is_set_holds_a_source_for_one_window_at_most(
    jump: float, tmp_path: Path
) -> None:
    clock = Clock(1.7e9)
    store = store_at(tmp_path, clock, "")
    store.take("x", read_rates(["10/s", "2/m"]))
    store.pause("x", 30)
    clock.now += jump
    assert store.take("x", read_rates(["10/s", "2/m"])) <= max(60, LONGEST_PAUSE)
    clock.now += LONGEST_PAUSE
    assert store.take("x", read_rates(["10/s", "2/m"])) == 0


def test_a_server_pauses_a_source_for_an_hour_at_most(tmp_path: Path) -> None:
    store = store_at(tmp_path, Clock())
    store.pause("x", 1e9)
    store.pause("x", 1)
    assert store.take("x", read_rates("1/s")) == LONGEST_PAUSE


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 200, b"FTRATE1\n" + b"\xff" * 100])
def test_a_file_that_is_damaged_counts_as_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    store = store_at(tmp_path, Clock())
    assert store.take("x", read_rates(["10/s", "20/m"])) == 0
    assert store.take("x", read_rates(["10/s", "20/m"])) == pytest.approx(0.1)


def test_what_is_written_is_for_its_owner_alone(tmp_path: Path) -> None:
    store_at(tmp_path / "rates", Clock()).take("x", read_rates("1/s"))
    assert stat.S_IMODE((tmp_path / "rates").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "rates" / "x").stat().st_mode) == 0o600


PROGRAM = """
import sys
from pathlib import Path
from flowtoy_dagster.flow.schema.rates import read_rates
from flowtoy_dagster.store.limits.rates import RateStore
store = RateStore(Path(sys.argv[1]), lambda: 1000.0, lambda: 1000.0, "here")
print(sum(store.take(f"{n}", read_rates(["1000000/s", "1/d"])) == 0 for n in range(200)))
"""


def test_processes_and_threads_take_each_turn_once(tmp_path: Path) -> None:
    program = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    processes = [
        subprocess.Popen(program, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    taken = [int(process.communicate(timeout=120)[0]) for process in processes]
    assert sum(taken) == 200

    store, clock = store_at(tmp_path, Clock()), []
    take: Callable[[], None] = lambda: clock.append(store.take("t", read_rates("1/d")))  # noqa: E731
    threads = [threading.Thread(target=take) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(clock)[:2] == [0, 86400]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_can_not_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "rates").mkdir(mode=0o500)
    with pytest.raises(PermissionError):
        store_at(tmp_path / "rates", Clock()).take("x", read_rates("1/s"))

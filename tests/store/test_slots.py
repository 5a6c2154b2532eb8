"""How many calls of a source go on at once in a run, over its processes (language 17.1, 18.6)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from flowtoy_dagster.store.limits.slots import SourceSlots

HOLDER = """
import pathlib, sys, time
from flowtoy_dagster.store.limits.slots import SourceSlots
with SourceSlots(lambda: pathlib.Path(sys.argv[1]), "api", 1).place() as place:
    print(place.take(), flush=True)
    time.sleep(600)
"""


def slots_at(folder: Path, most: int) -> SourceSlots:
    return SourceSlots(lambda: folder, "api", most)


def test_there_are_as_many_slots_as_calls_may_go_on(tmp_path: Path) -> None:
    slots = slots_at(tmp_path, 2)
    with slots.place() as first, slots.place() as second, slots.place() as third:
        assert [place.take() for place in (first, second, third)] == [True, True, False]
        first.leave()
        assert third.take()


def test_who_waits_is_not_overtaken(tmp_path: Path) -> None:
    slots = slots_at(tmp_path, 1)
    with ExitStack() as stack:
        holder, waits, later = [stack.enter_context(slots.place()) for _ in range(3)]
        assert holder.take()
        assert not waits.take()  # sees that there is none
        assert not waits.take()  # and is the next one
        holder.leave()
        assert not later.take()
        assert waits.take()


def test_who_gives_up_waiting_is_in_nobodys_way(tmp_path: Path) -> None:
    slots = slots_at(tmp_path, 1)
    with slots.place() as holder, slots.place() as later:
        assert holder.take()
        with slots.place() as waits:
            assert not waits.take()
            assert not waits.take()
        holder.leave()
        assert later.take()


def test_a_process_that_is_killed_gives_its_slot_back(tmp_path: Path) -> None:
    held = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert held.stdout is not None
    with held, slots_at(tmp_path, 1).place() as place:
        assert held.stdout.readline() == "True\n"
        assert not place.take()
        os.kill(held.pid, signal.SIGKILL)
        held.wait()
        assert place.take()

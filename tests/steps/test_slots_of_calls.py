"""A call waits for a slot of its source (language 17.1, 18.6)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.steps.attempts import StepOutcome
from flowtoy_dagster.steps.context import Host
from flowtoy_dagster.steps.state.waits import Waits
from flowtoy_dagster.store.limits.slots import SourceSlots

RunCall = Callable[..., StepOutcome]


def answer(*_: Any) -> ProviderResult:
    return ProviderResult(True, data={})


def slots_at(folder: Path) -> SourceSlots:
    return SourceSlots(lambda: folder, "api", 1)


def test_a_wait_for_a_slot_is_no_part_of_the_timeout_and_is_shown(
    run_call: RunCall, tmp_path: Path
) -> None:
    slots, shown = slots_at(tmp_path), list[str]()
    done: list[StepOutcome] = []
    waited = threading.Event()

    def tell(text: str) -> None:
        shown.append(text)
        waited.set()

    context = {"slots": slots, "waits": Waits(tell)}
    with slots.place() as holder:
        assert holder.take()
        thread = threading.Thread(
            target=lambda: done.append(run_call(answer, timeout="500ms", context=context))
        )
        thread.start()
        assert waited.wait(60)  # a second has passed
        holder.leave()
        thread.join()
    assert done[0].error is None
    assert shown == ["waits for api: 1 at once", ""]


def test_a_wait_for_a_slot_ends_with_the_time_of_the_run(run_call: RunCall, tmp_path: Path) -> None:
    slots = slots_at(tmp_path)
    with slots.place() as holder:
        assert holder.take()
        context = {"slots": slots, "deadline": time.monotonic() + 0.3}
        done = run_call(answer, context=context)
    assert done.error == "the run's timeout has passed"


def test_a_wait_for_a_slot_ends_when_the_step_is_cancelled(
    run_call: RunCall, tmp_path: Path
) -> None:
    host = Host()
    host.cancelled.set()
    slots = slots_at(tmp_path)
    with slots.place() as holder:
        assert holder.take()
        done = run_call(answer, context={"slots": slots, "host": host})
    assert done.error == "ended while it waited for api"


def test_a_call_that_fails_or_raises_gives_its_slot_back(run_call: RunCall, tmp_path: Path) -> None:
    slots = slots_at(tmp_path)

    def broken(*_: Any) -> ProviderResult:
        raise RuntimeError("broken")

    assert run_call(broken, context={"slots": slots}).error is not None
    assert run_call(answer, context={"slots": slots}).error is None
    with slots.place() as place:
        assert place.take()


def test_slots_that_cannot_be_kept_fail_the_step(run_call: RunCall, tmp_path: Path) -> None:
    done = run_call(answer, context={"slots": slots_at(tmp_path / "missing")})
    assert done.error == "the concurrency of api can't be kept: no such file or directory"
    assert done.result is None


def test_a_call_that_nobody_waits_for_any_longer_holds_no_slot(
    run_call: RunCall, tmp_path: Path
) -> None:
    """Else an attempt whose call can't be interrupted would block all that come after it."""
    slots, ends = slots_at(tmp_path), threading.Event()
    done: list[StepOutcome] = []

    class Native:
        """Waits in C, where a thread can't be interrupted."""

        def __call__(self, *_: Any) -> ProviderResult:
            ends.wait(60)
            return answer()

    def attempt() -> None:
        done.append(run_call(Native().__call__, timeout="300ms", context={"slots": slots}))

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    with slots.place() as place:
        assert place.take()
    ends.set()
    assert done[0].error == "timed out after 0.3 s"

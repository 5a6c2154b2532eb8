"""What a step with `for_each` does, without Dagster."""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from flowtoy_dagster.engine.jobs.limits import calls_at_once, counts_calls
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.steps.state.items import Loop, MemoryItemLog
from flowtoy_dagster.store.item_log import StoredItemLog, StoredItems
from flowtoy_dagster.store.store import FolderStore

# A thread whose time is up is interrupted wherever it is, also while it closes a file of /proc.
interrupts_threads = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def echo(*words: str, **more: Any) -> dict[str, Any]:
    return {
        "source": "process", "input": {"command": ["printf", "%s", *words]},
        "output": [{"name": "out", "value": "stdout"}], **more,
    }  # fmt: skip


def shell(script: str, *words: str, **more: Any) -> dict[str, Any]:
    return {"source": "process", "input": {"command": ["sh", "-c", script, "-", *words]}, **more}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("{{ 'abc' }}", "for_each: expected a list or a mapping, got the text 'abc'"),
        ("{{ 5 }}", "for_each: expected a list or a mapping, got the number 5"),
        ("{{ none }}", "for_each: expected a list or a mapping, got nothing (null)"),
        ("{{ true }}", "for_each: expected a list or a mapping, got true"),
        ("{{ env.UNSET_HERE }}", "for_each.in: the environment variable 'UNSET_HERE' is not set"),
        (["{{ env.UNSET_HERE }}"], "for_each.in[0]: the environment variable 'UNSET_HERE'"),
        (
            {"in": [1], "concurrency": "{{ 0 }}"},
            "for_each.concurrency: must be at least 1, got the number 0",
        ),
        ({"in": [1], "max_failures": "{{ 'x' }}"}, "for_each.max_failures: expected a number"),
        ({"in": [1], "batch": "{{ none }}", "stop_after": "{{ -1 }}"}, "for_each.stop_after:"),
    ],
)
def test_what_gives_no_items_fails_the_step_and_says_what_it_got(
    given: Any, told: str, repeat: Callable[..., Any], tmp_path: Path
) -> None:
    # language 18.1
    done = repeat(given, **shell("touch $1", str(tmp_path / "called")))
    assert done.outcome.error is not None
    assert done.outcome.error.startswith(told), done.outcome.error
    assert not (tmp_path / "called").exists()
    assert done.items == []


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["a", "b", "a"], "for_each.key: items 0 and 2 have the same key the text 'a'"),
        ([1, "1"], "for_each.key: items 0 and 1 have the same key the text '1'"),
        (["a", ""], "for_each.key of item 1: it is empty"),
        (["a", " "], "for_each.key of item 1: it is empty"),
        ([None], "for_each.key of item 0: expected text or a number, got nothing (null)"),
        ([True], "for_each.key of item 0: expected text or a number, got true"),
        ([[1]], "for_each.key of item 0: expected text or a number, got a list"),
    ],
)
def test_keys_are_texts_or_numbers_and_unique(
    values: list[Any], told: str, repeat: Callable[..., Any], tmp_path: Path
) -> None:
    # language 18.3
    script = shell("touch $1", str(tmp_path / "called"))
    done = repeat({"in": values, "key": "{{ item }}"}, **script)
    assert done.outcome.error == told
    assert not (tmp_path / "called").exists()


def test_a_key_can_not_use_itself(repeat: Callable[..., Any]) -> None:
    done = repeat({"in": [1], "key": "{{ loop.key }}"})
    assert done.outcome.error == (
        "for_each.key of item 0: 'loop' has no 'key' where the key itself is made"
    )


def test_results_are_in_the_order_of_the_items_whatever_ended_first(
    repeat: Callable[..., Any], tmp_path: Path
) -> None:
    # language 18.5: the first waits for the last, and all the others for nobody
    script = (
        'if [ "$2" = 0 ]; then while [ ! -e "$1" ]; do sleep 0.01; done; fi; '
        '[ "$2" = 3 ] && touch "$1"; printf "$2"'
    )
    output = [{"name": "n", "type": "json"}]
    step = shell(script, str(tmp_path / "last"), "{{ item }}", output=output, timeout=60)
    done = repeat({"in": [0, 1, 2, 3], "concurrency": 2}, **step)
    assert done.outcome.error is None, done.outcome.error
    assert done.outcome.outputs["n"] == [0, 1, 2, 3]


@interrupts_threads
def test_an_item_has_retries_and_a_timeout_of_its_own(
    repeat: Callable[..., Any], tmp_path: Path
) -> None:
    # language 18.7
    script = 'echo x >> "$1/$2"; [ "$2" = a ] || [ "$(wc -l < "$1/$2")" = 3 ]'
    step = shell(script, str(tmp_path), "{{ item }}", retry={"max": 3, "delay": 0})
    done = repeat(["a", "b"], **step)
    assert done.outcome.error is None, done.outcome.error
    assert [item.attempts for item in done.items] == [1, 3]
    # language 18.8
    done = repeat(["a", "b"], **shell("true"), when="item == 'b'")
    assert done.states == ["skipped", "succeeded"]
    assert [item.attempts for item in done.items] == [0, 1]

    slow = shell('[ "$1" = 1 ] && exec sleep 600; true', "{{ item }}",
                 timeout="{{ 2 if item == 1 else 500 }}")
    done = repeat({"in": [0, 1, 2], "max_failures": 1}, **slow)
    assert done.states == ["succeeded", "failed", "succeeded"]
    assert done.errors[1] == "timed out after 2 s"


def test_more_failures_than_are_tolerated_fail_the_step_when_all_were_tried(
    repeat: Callable[..., Any]
) -> None:
    # language 18.7
    step = {"output": [{"name": "x", "value": "{{ 10 // item }}"}]}
    done = repeat({"in": [1, 0, 2, 0], "max_failures": 1, "key": "k{{ loop.index }}"}, **step)
    assert done.outcome.error is not None
    assert done.outcome.error.startswith("2 of 4 failed; the first is 'k2': output 'x': ")
    assert done.states == ["succeeded", "failed", "succeeded", "failed"]
    assert done.outcome.retry_in is None
    for most, fails in ((2, False), ("50%", False), ("49.9%", True), ("{{ 1 + 1 }}", False)):
        done = repeat({"in": [1, 0, 2, 0], "max_failures": most}, **step)
        assert (done.outcome.error is not None) == fails, most


def test_after_too_many_failures_in_a_row_the_rest_is_not_tried(
    repeat: Callable[..., Any]
) -> None:
    # language 18.7
    step = {"output": [{"name": "x", "value": "{{ 10 // item }}"}]}
    values = [0, 0, 1, 0, 0, 0, 1, 1]
    settings = {"concurrency": 1, "stop_after": 3, "max_failures": "100%"}
    done = repeat({"in": values, **settings}, **step)
    assert done.states == [*["failed"] * 2, "succeeded", *["failed"] * 3, *["skipped"] * 2]
    assert done.outcome.error is not None
    assert done.outcome.error.startswith(
        "stopped after 3 failures in a row: 2 of 8 were not tried; 5 of 8 failed; the first is '0'"
    )
    assert done.errors[-1] == "it was not tried: stopped after 3 failures in a row"
    done = repeat({"in": [1, 2], "max_failures": "100%", "stop_after": 2}, **shell("exit 1"))
    assert (done.outcome.error or "").startswith("2 failures in a row; 2 of 2 failed; the first")
    some = repeat({"in": [2, *values], **settings}, when="{{ item != 2 }}", **step)
    assert "row: 2 of 9 were not tried; 5 of 9 failed" in (some.outcome.error or "")
    done = repeat({"in": [0] * 30, "stop_after": 0, "concurrency": 1}, **step)
    assert set(done.states) == {"failed"}


def test_secrets_are_hidden_in_keys_errors_and_what_items_print(
    repeat: Callable[..., Any], masked: Callable[..., Any]
) -> None:
    # language 18.12
    printed: list[bytes] = []
    context = {
        "mask": masked("sesame-open"), "output": lambda stream, data: printed.append(data),
    }
    script = 'echo "said $1"; echo "bad $1" >&2; exit 1'
    done = repeat(
        {"in": ["sesame-open"], "key": "{{ item }}"}, context=context, **shell(script, "{{ item }}")
    )
    assert done.outcome.error == (
        "1 of 1 failed; the first is '***': sh exited with code 1: bad ***"
    )
    assert done.items[0].printed == {"stdout": "said ***\n", "stderr": "bad ***\n"}
    assert b"sesame" not in b"".join(printed)


def test_a_secret_output_hides_what_its_item_printed_before_it_was_known(
    repeat: Callable[..., Any], masked: Callable[..., Any]
) -> None:
    # language 18.12
    printed: list[bytes] = []
    context = {
        "mask": masked(holding=True), "output": lambda stream, data: printed.append(data),
    }
    output = [{"name": "token", "value": "t", "secret": True}]
    script = """echo '{"t":"word-of-alice"}'; [ "$1" != b ] || { echo word-of-b; exit 1; }"""
    step = shell(script, "{{ item }}", output=output)
    done = repeat({"in": ["alice", "b"], "max_failures": 1}, context=context, **step)
    assert done.outcome.error is None
    assert done.outcome.hidden == {"token"}
    assert done.items[0].printed == {"stdout": '{"t":"***"}\n'}
    assert printed == []
    assert done.items[1].printed["stdout"].startswith("(what this item printed is not kept")
    assert {s.strip() for s in done.outcome.secrets} == {"word-of-alice"}


def test_what_one_item_learns_is_not_hidden_in_another(repeat: Callable[..., Any]) -> None:
    items = [{"token": "alpha-beta"}, {"token": "gamma-delta"}]
    env = {"TOKEN": "{{ item.token }}"}
    step = {
        "source": "process",
        "input": {"command": ["sh", "-c", "echo alpha-beta gamma-delta"], "env": env},
    }
    done = repeat({"in": items, "concurrency": 1}, **step)
    assert [item.printed["stdout"] for item in done.items] == [
        "*** gamma-delta\n", "alpha-beta ***\n",
    ]


def test_a_success_of_before_is_taken_over_where_the_same_would_be_called(
    repeat: Callable[..., Any], tmp_path: Path
) -> None:
    # language 18.9
    script = 'echo "$2" >> "$1"; printf "$2"'

    def run(values: list[str], earlier: Any = ()) -> Any:
        output = [{"name": "out", "value": "stdout"}]
        step = shell(script, str(tmp_path / "calls"), "v-{{ item.v }}", output=output)
        items = [{"k": value[0], "v": value} for value in values]
        return repeat({"in": items, "key": "{{ item.k }}"}, earlier, **step)

    first = run(["a1", "b1", "c1"])
    (tmp_path / "calls").unlink()
    second = run(["c1", "a1", "b2", "d1"], first.items)
    assert sorted((tmp_path / "calls").read_text().split()) == ["v-b2", "v-d1"]
    assert second.outcome.outputs["out"] == ["v-c1", "v-a1", "v-b2", "v-d1"]
    assert [item.reused for item in second.items] == [True, True, False, False]
    assert [item.index for item in second.items] == [0, 1, 2, 3]
    assert second.outcome.counts.reused == 2


def test_a_success_of_before_with_other_outputs_is_called_again(
    repeat: Callable[..., Any], tmp_path: Path
) -> None:
    # language 18.9: by a hash of `output`, too
    step = shell('echo "$2" >> "$1"; echo "{}"', str(tmp_path / "calls"), "{{ item }}")
    first = repeat(["a"], **step, output=[{"name": "x", "value": "stdout"}])
    for output, calls in (("stdout", 1), ("stderr", 2)):
        again = repeat(["a"], first.items, **step, output=[{"name": "x", "value": output}])
        assert again.outcome.error is None
        assert len((tmp_path / "calls").read_text().split()) == calls


def test_the_beginning_and_the_end_of_what_an_item_prints_are_kept(
    repeat: Callable[..., Any]
) -> None:
    # language 18.11: the first and the last 32 KiB of each stream
    script = "echo first; head -c 100000 /dev/zero | tr '\\0' x; echo; echo last; echo e >&2"
    (item,) = repeat(["a"], **shell(script)).items
    printed = item.printed["stdout"]
    assert printed.startswith("first\nxxx")
    assert printed.endswith("xxx\nlast\n")
    left_out = 100000 + len("first\n\nlast\n") - (64 << 10)
    assert f"\n... {left_out} bytes were left out here\n" in printed
    assert item.printed["stderr"] == "e\n"


@interrupts_threads
def test_the_end_of_the_run_s_time_ends_a_loop(repeat: Callable[..., Any]) -> None:
    context = {"deadline": time.monotonic() + 4}
    done = repeat(
        {"in": list(range(50)), "concurrency": 2}, context=context, **shell("exec sleep 60")
    )
    assert done.outcome.error == "the run's timeout has passed"
    assert done.states.count("skipped") == 48
    assert done.errors[-1] == "it was not tried: the run's timeout has passed"


def test_a_loop_that_is_to_stop_begins_no_more_items(repeat: Callable[..., Any]) -> None:
    loop = Loop(MemoryItemLog())
    loop.stopping.set()
    done = repeat([1, 2], context={"loop": loop}, **shell("exit 3"))
    assert done.outcome.error == (
        "the run was cancelled: 2 of 2 were not tried; 0 of 2 failed"
    )
    assert loop.progress.counts.skipped == 2


def test_a_wait_for_the_next_attempt_ends_when_the_loop_is_to_stop(
    repeat: Callable[..., Any], tmp_path: Path
) -> None:
    loop = Loop(MemoryItemLog())

    def stop_when_called() -> None:
        while not (tmp_path / "called").exists():
            time.sleep(0.01)
        loop.stopping.set()

    threading.Thread(target=stop_when_called, daemon=True).start()
    step = shell("touch $1; exit 1", str(tmp_path / "called"), retry={"max": 5, "delay": "1h"})
    done = repeat([1], context={"loop": loop}, **step)
    assert done.outcome.counts.failed == 1


@interrupts_threads
def test_commands_of_items_that_run_at_once_do_not_end_each_other(
    repeat: Callable[..., Any]
) -> None:
    """One ends because its time is up, and leaves the other, which began later, alone."""
    script = 'if [ "$1" = 0 ]; then exec sleep 60; fi; sleep 4; printf done'
    output = [{"name": "out", "value": "stdout"}]
    step = shell(script, "{{ item }}", output=output, timeout="{{ 2 if item == 0 else 60 }}")
    done = repeat({"in": [0, 1], "max_failures": 1, "concurrency": 2}, **step)
    assert done.states == ["failed", "succeeded"]
    assert done.outcome.outputs["out"] == ["done"]


@pytest.mark.parametrize(
    ("other", "counts"),
    [(None, False), ({}, True), ({"for_each": [1]}, True), ({"source": "env"}, False)],
)
def test_the_calls_of_a_source_are_counted_where_items_share_it(
    other: dict[str, Any] | None, counts: bool
) -> None:
    # language 18.6, 17.1
    source = {"type": "process", "command": ["true"], "concurrency": 3}
    steps = [{"name": "each", "source": "s", "for_each": [1]}]
    if other is not None:
        steps.append({"name": "other", "source": {"base": "s"}, **other})
    flow = load_flow({"sources": {"s": source}, "flow": steps})
    assert calls_at_once(flow, flow.step("each"), {}) == 3
    assert counts_calls(flow, flow.step("each")) is counts


def test_the_limit_of_a_source_is_that_of_the_runs_configuration() -> None:
    # language 17.4
    source = {"type": "process", "command": ["true"], "concurrency": 3}
    flow = load_flow({"sources": {"s": source}, "flow": [{"name": "a", "source": "s"}]})

    def most(*limits: dict[str, Any]) -> int | None:
        config = {"execution": {"config": {"tag_concurrency_limits": list(limits)}}}
        return calls_at_once(flow, flow.step("a"), config)

    assert most({"key": "flowtoy/source", "value": "s", "limit": 7}) == 7
    assert most({"key": "flowtoy/group", "value": "s", "limit": 7}) is None
    assert calls_at_once(flow, flow.step("a"), {"execution": {"config": {}}}) == 3


def test_no_more_items_are_worked_on_than_the_source_allows(
    repeat: Callable[..., Any], tmp_path: Path
) -> None:
    # language 18.6
    script = 'mkdir "$1/lock" || exit 3; rmdir "$1/lock"'
    loop = Loop(MemoryItemLog(), most=1)
    each = {"in": list(range(12)), "concurrency": 6}
    done = repeat(each, context={"loop": loop}, **shell(script, str(tmp_path)))
    assert done.outcome.error is None, done.outcome.error


def test_more_than_a_million_items_are_an_error(repeat: Callable[..., Any]) -> None:
    # language 18.13
    done = repeat("{{ range(1000001) | list }}")
    assert done.outcome.error is not None
    assert "1,000,001" in done.outcome.error or "too" in done.outcome.error


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads of this process")
def test_a_loop_leaves_no_threads(repeat: Callable[..., Any]) -> None:
    before = len(os.listdir("/proc/self/task"))
    repeat({"in": list(range(20)), "concurrency": 8}, **echo("{{ item }}"), timeout=60)
    for _ in range(100):
        if len(os.listdir("/proc/self/task")) <= before:
            return
        time.sleep(0.05)
    raise AssertionError("threads are left")


def test_a_loop_that_can_keep_no_results_closes_their_file(
    repeat: Callable[..., Any], tmp_path: Path
) -> None:
    # language 18.9
    store = FolderStore(tmp_path)
    log = StoredItemLog(store, StoredItems(store, "r1/items/it"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30, before[1]))
    try:
        done = repeat([1], context={"loop": Loop(log)}, **echo("x"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.outcome.error == "the results of its items can't be kept: file too large"
    assert [file.path for file in psutil.Process().open_files() if "items" in file.path] == []

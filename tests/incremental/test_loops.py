"""Items that have cursors of their own: what each begins with, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.errors import ConfigError
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.masking.mask import Mask
from flowtoy_dagster.steps.attempts import StepOutcome, run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo
from flowtoy_dagster.steps.state.cursors import StoredCursor
from flowtoy_dagster.steps.state.items import ItemResult, Loop, MemoryItemLog
from flowtoy_dagster.steps.state.mask import StepMask
from flowtoy_dagster.store.cursors import (
    CursorsOfAttempt,
    CursorStore,
    DamagedCursor,
    DamagedCursorError,
)

Run = Callable[..., tuple[StepOutcome, list[ItemResult]]]


def store(cursors: CursorStore, value: Any, item: str | None, key: str = "") -> StoredCursor:
    """Store a value, as a run of another flow's process would; gives what is stored."""
    new = StoredCursor("f", "it", key, value, run_id="other", item=item)
    assert cursors.swap(new, None) is None
    found = cursors.read("f", "it", key, item)
    assert found is not None
    return found


@pytest.fixture
def run(cursors: CursorStore, tmp_path: Path) -> Run:
    """Runs a loop over items whose commands print `at`, and gives its outcome and its items."""

    def run(
        items: list[dict[str, Any]] | None,
        step: dict[str, Any] | None = None,
        *,
        mask: StepMask | None = None,
        earlier: Iterable[ItemResult] = (),
        runs: Iterable[str] = (),
        **incremental: Any,
    ) -> tuple[StepOutcome, list[ItemResult]]:
        printed = "{{ item.rows | default([{'at': item.at}]) | tojson }}"
        written = {
            "name": "it",
            "for_each": {"in": items, "key": "{{ item.id }}", "max_failures": "100%"},
            "source": {"type": "process", "shell": False},
            "input": {"command": ["printf", "%s%.0s", printed, "{{ incremental.start_value }}"]},
            "incremental": {"cursor_path": "at", **incremental},
            "output": [{"name": "start", "value": "{{ incremental.start_value }}"}],
            **(step or {}),
        }
        if items is None:
            del written["for_each"]
        flow = load_flow({"name": "f", "flow": [written]})
        log = MemoryItemLog(earlier)
        context = StepContext(
            flow.step("it"), RunInfo("r1", "f", lambda: 0.0), mask=mask or StepMask(),
            cursors=CursorsOfAttempt(cursors), loop=Loop(log, runs=frozenset(runs)),
            files=lambda key: (tmp_path / "files" / (key or "")),
        )
        return run_step(context, flow.sources, {}), list(log.results())

    return run


def values(results: list[ItemResult]) -> dict[str, Any]:
    assert [item.error for item in results] == [None] * len(results)
    return {item.key: item.cursor.value for item in results if item.cursor is not None}


def starts(results: list[ItemResult]) -> dict[str, Any]:
    return {item.key: item.outputs["start"] for item in results}


# language 22.6


def test_each_item_begins_at_its_own_value_and_a_new_one_at_the_initial_value(
    run: Run, cursors: CursorStore
) -> None:
    store(cursors, 10, "a")
    store(cursors, "2026-01-05T00:00:00Z", "b")
    day = "2026-01-05T10:00:00Z"
    items = [{"id": "a", "at": 12}, {"id": "b", "at": day}, {"id": "c", "at": 1}]
    _, results = run(items, initial_value=-1, lag="1h")
    assert starts(results) == {"a": -3590, "b": "2026-01-04T23:00:00Z", "c": -1}
    assert values(results) == {"a": 12, "b": day, "c": 1}


def test_where_an_item_begins_may_depend_on_it(run: Run, cursors: CursorStore) -> None:
    store(cursors, 10, "a")
    items = [{"id": "a", "at": 12, "late": 3}, {"id": "b", "at": 7, "first": 5, "late": 0}]
    _, results = run(items, initial_value="{{ item.first }}", lag="{{ item.late }}")
    assert starts(results) == {"a": 7, "b": 5}


def test_a_value_never_moves_back_and_goes_by_the_key_of_the_step_too(
    run: Run, cursors: CursorStore
) -> None:
    store(cursors, 10, "a", "north")
    store(cursors, 20, "a", "south")
    store(cursors, 30, "a")
    _, results = run([{"id": "a", "at": 9}], key="north")
    assert starts(results) == {"a": 10}
    assert values(results) == {"a": None}
    _, results = run([{"id": "a", "at": 9}], key="south")
    assert starts(results) == {"a": 20}


def test_items_that_fail_or_are_skipped_have_no_new_value(run: Run) -> None:
    items = [{"id": "a", "at": 1}, {"id": "b", "at": "x"}, {"id": "c", "at": 3}]
    step = {"when": "item.id != 'c'"}
    _, results = run(items, step, initial_value=0)
    assert [item.state for item in results] == ["succeeded", "succeeded", "skipped"]
    _, results = run([{"id": "b", "rows": [{"at": 1}, {"at": "x"}]}, items[0]], step)
    assert [item.state for item in results] == ["failed", "succeeded"]
    assert [item.cursor is None for item in results] == [True, False]


def test_a_loop_with_until_asks_each_item_until_it_is_done(run: Run, tmp_path: Path) -> None:
    calls = f"{tmp_path}/{{{{ item.id }}}}.calls"
    step = {
        "source": {"type": "process"},
        "input": {"command": f"test {{{{ incremental.start_value }}}} = 0 && echo x >> {calls}; "
                             f"echo '{{\"n\": '$(wc -l < {calls})'}}'"},
        "until": "result.n >= 3", "every": 0.01,
    }
    _, results = run(
        [{"id": "a"}, {"id": "b"}], step, cursor_path=None, initial_value=0,
        value="{{ response.n }}",
    )
    assert values(results) == {"a": 3, "b": 3}


def test_records_go_into_a_file_for_each_item(run: Run, tmp_path: Path) -> None:
    step = {
        "output": [{"name": "rows", "type": "file", "format": "jsonl",
                    "path": f"{tmp_path}/{{{{ item.id }}}}.jsonl"}],
    }
    for at in (1, 2):
        _, results = run([{"id": "a", "at": at}, {"id": "b", "at": at}], step)
        assert values(results) == {"a": at, "b": at}
        assert (tmp_path / "a.jsonl").read_text() == f'{{"at":{at}}}\n'


@pytest.mark.parametrize("secret", ["hunter2-hunter2", "b"])
def test_a_key_with_a_secret_names_nothing(run: Run, cursors: CursorStore, secret: str) -> None:
    _, results = run(
        [{"id": f"store {secret}", "at": 1}, {"id": "fine", "at": 2}],
        mask=StepMask(Mask(["hunter2-hunter2"])),
    )
    if secret == "b":
        assert values(results) == {"store b": 1, "fine": 2}
        return
    assert results[0].error == (
        "for_each.key: must not hold a secret in a step with 'incremental'; it names what is stored"
    )
    assert results[1].state == "succeeded"


def test_two_items_with_one_key_fail_the_step_before_a_call(run: Run, cursors: CursorStore) -> None:
    outcome, results = run([{"id": "a", "at": 1}, {"id": "a", "at": 2}])
    assert outcome.error == "for_each.key: items 0 and 1 have the same key the text 'a'"
    assert results == []


def test_a_doubtful_order_is_told_once(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"at": "order-9"}, {"at": "order-10"}]
    run([{"id": name, "rows": rows} for name in "abcd"])
    assert len([text for text in caplog.messages if "compared as text" in text]) == 1


# language 22.1
@pytest.mark.parametrize(
    ("before", "after"), [("cursor-0123456789", "cursor-1123456789"), (7391519999, 8391519999)]
)
def test_a_secret_value_is_learned_by_its_item(
    run: Run, cursors: CursorStore, before: str | int, after: str | int
) -> None:
    store(cursors, before, "a")
    step = {"output": [{"name": "shown", "value": "at {{ incremental.start_value }}",
                        "type": "template"}]}
    _, (result,) = run([{"id": "a", "at": after}], step, secret=True)
    assert set(result.secrets) >= {str(before), str(after)}


# language 22.6, 18.9


def test_an_item_is_reused_only_while_its_cursor_is_where_it_was(
    run: Run, cursors: CursorStore
) -> None:
    before = store(cursors, 10, "a")
    items = [{"id": "a", "at": 12}, {"id": "b", "at": 3}]
    _, first = run(items, initial_value=0)
    _, again = run(items, initial_value=0, earlier=first)
    assert [item.reused for item in again] == [True, True]
    assert values(again) == values(first) == {"a": 12, "b": 3}

    # Another run moves it, to whatever value, or a person does.
    for value in (11, 12, None, 10):
        moved = store(cursors, value, "a")
        assert moved.version != before.version
        _, again = run(items, initial_value=0, earlier=first)
        assert [item.reused for item in again] == [False, True], value
        assert starts(again) == {"a": value or 0, "b": 0}


def test_an_item_whose_own_run_has_moved_its_cursor_is_reused(
    run: Run, cursors: CursorStore
) -> None:
    # The worker stored the value, and died before the step had ended.
    items = [{"id": "a", "at": 12}]
    _, first = run(items, initial_value=0)
    store(cursors, 12, "a")
    _, again = run(items, initial_value=0, earlier=first, runs=["r1", "other"])
    assert [item.reused for item in again] == [True]
    assert starts(again) == {"a": 0}
    store(cursors, 13, "a")
    _, again = run(items, initial_value=0, earlier=first, runs=["r1", "other"])
    assert starts(again) == {"a": 13}


def test_an_item_is_not_reused_where_its_cursor_is_read_elsewhere(run: Run) -> None:
    items = [{"id": "a", "rows": [{"at": 1, "id": 5}]}]
    _, first = run(items, initial_value=0)
    _, again = run(items, initial_value=0, earlier=first, cursor_path="id")
    assert [item.reused for item in again] == [False]
    assert values(again) == {"a": 5}


# language 22.7


def test_the_value_of_the_step_as_a_whole_is_no_items_and_that_is_said(
    run: Run, cursors: CursorStore, caplog: pytest.LogCaptureFixture
) -> None:
    store(cursors, 50, None)
    _, results = run([{"id": "a", "at": 1}, {"id": "b", "at": 2}], initial_value=0)
    assert starts(results) == {"a": 0, "b": 0}
    told = "step 'it': incremental: values are stored for the step as a whole, from before it had"
    assert [text[: len(told)] for text in caplog.messages] == [told]
    caplog.clear()
    store(cursors, 1, "a")
    run([{"id": "a", "at": 1}, {"id": "b", "at": 2}], initial_value=0)
    assert caplog.messages == []


def test_the_values_of_items_are_not_the_steps_and_that_is_said(
    run: Run, cursors: CursorStore, caplog: pytest.LogCaptureFixture
) -> None:
    store(cursors, 50, "a")
    alone: dict[str, Any] = {"input": {"command": ["printf", "%s", '[{"at": 3}]']}}
    outcome, _ = run(None, alone, initial_value=0)
    assert outcome.outputs == {"start": 0}
    (told,) = caplog.messages
    assert told.startswith("step 'it': incremental: values are stored for items of it, from when")
    caplog.clear()
    store(cursors, 3, None)
    outcome, _ = run(None, alone, initial_value=0)
    assert outcome.outputs == {"start": 3}
    assert caplog.messages == []


# language 22.4


@pytest.mark.parametrize("harm", [b"", b"{}\n", b"[1]\nx\n", None], ids=["empty", "cut", "x", "n"])
def test_damaged_values_fail_the_items_and_nothing_is_lost_by_a_write(
    run: Run, cursors: CursorStore, tmp_path: Path, harm: bytes | None
) -> None:
    store(cursors, 7, "a")
    store(cursors, 8, "b")
    (path,) = [p for p in (tmp_path / "cursors").rglob("items") if p.is_file()]
    assert path.stat().st_mode & 0o077 == 0
    path.write_bytes(path.read_bytes().replace(b"[7,", b"[5,") if harm is None else harm)

    _, results = run([{"id": "a", "at": 1}, {"id": "c", "at": 1}], initial_value=0)

    assert {item.error for item in results} == {
        "the stored cursors of the items of step 'it' of flow 'f' can't be used: it is damaged; "
        "let all items start from the initial value with: flowtoy state reset 'f' 'it'"
    }
    for expected in ("1", "", None):
        with pytest.raises(DamagedCursorError):
            cursors.swap(StoredCursor("f", "it", value=8, item="a"), expected)
    (one,) = cursors.all()
    assert isinstance(one, DamagedCursor)
    assert one.of_items
    cursors.forget_items("f", "it")
    assert list(cursors.all()) == []


def test_what_is_stored_of_an_item_is_little_more_than_its_key_and_its_value(
    cursors: CursorStore, tmp_path: Path
) -> None:
    many = [StoredCursor("f", "it", value=number, item=str(number)) for number in range(1000)]
    assert cursors.swap_items([(one, "") for one in many]) == [None] * 1000
    (path,) = [p for p in (tmp_path / "cursors").rglob("items") if p.is_file()]
    assert path.stat().st_size < 20 * len(many)
    assert {item: one.value for item, one in cursors.items("f", "it").items()} == {
        str(number): number for number in range(1000)
    }


def test_many_values_are_stored_at_once_each_over_the_version_that_was_read(
    cursors: CursorStore,
) -> None:
    first = store(cursors, 1, "a")
    changes = [
        (StoredCursor("f", "it", value=2, item="a"), first.version),
        (StoredCursor("f", "it", value=2, item="b"), ""),
        (StoredCursor("f", "it", value=2, item="c"), first.version),
    ]
    instead = cursors.swap_items(changes)
    assert instead[:2] == [None, None]
    assert instead[2] is not None
    assert instead[2].version == ""
    assert {item: one.value for item, one in cursors.items("f", "it").items()} == {"a": 2, "b": 2}
    instead = cursors.swap_items(changes)
    assert [other.value if other is not None else None for other in instead] == [2, 2, None]


def test_keys_of_any_kind_have_values_of_their_own(cursors: CursorStore) -> None:
    names = ["a", "A", "a/b", "..", " ", "é" * 300, "state", "items", "keyed-items", "🚀", "\n"]
    for key in ("", "items", "k"):
        for item in (None, *names):
            store(cursors, f"{key}-{item}", item, key)
    for key in ("", "items", "k"):
        for item in (None, *names):
            found = cursors.read("f", "it", key, item)
            assert found is not None
            assert (found.value, found.item) == (f"{key}-{item}", item)
    assert len(list(cursors.all("f"))) == 3 * (len(names) + 1)


# language 22.6


@pytest.mark.parametrize(
    ("for_each", "incremental", "told"),
    [
        (["a"], {}, "needs 'for_each.key'"),
        ({"in": ["a"], "key": "{{ batch[0] }}", "batch": 2}, {}, "can't be used with 'batch'"),
        ({"in": ["a"], "key": "{{ item }}"}, {"key": "{{ item }}"}, "can't use the item"),
        ({"in": ["a"], "as": "x", "key": "{{ x }}"}, {"key": "{{ loop.key }}"}, "can't use the"),
    ],
)
def test_what_can_not_be_is_told_before_the_run(
    for_each: Any, incremental: dict[str, Any], told: str
) -> None:
    step = {
        "name": "it", "source": "env", "for_each": for_each,
        "incremental": {"cursor_path": "at", **incremental},
    }
    with pytest.raises(ConfigError, match=told):
        load_flow({"flow": [step]})


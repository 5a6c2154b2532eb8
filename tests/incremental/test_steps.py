"""What a step with `incremental` begins with, and what it makes of what it reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.flow.schema.incremental import IncrementalConfig
from flowtoy_dagster.steps.attempts import StepOutcome
from flowtoy_dagster.steps.state.cursors import CursorTracker, StoredCursor
from flowtoy_dagster.steps.state.mask import StepMask
from flowtoy_dagster.store.cursors import CursorStore, DamagedCursor, DamagedCursorError

Read = Callable[..., StepOutcome]


def value_of(outcome: StepOutcome) -> Any:
    """The new value of a step that has succeeded."""
    assert outcome.error is None, outcome.error
    assert outcome.cursor is not None
    return outcome.cursor.value


def store(cursors: CursorStore, value: Any, key: str = "") -> None:
    assert cursors.swap(StoredCursor("f", "it", key, value), None) is None


# language 22.1


def test_the_first_run_begins_at_the_initial_value(read: Read) -> None:
    outcome = read([], cursor_path="at", initial_value="2026-01-01", lag="1h")
    assert outcome.outputs == {"rows": [], "start": "2026-01-01", "last": "2026-01-01"}
    assert value_of(outcome) is None


def test_without_an_initial_value_the_first_run_begins_with_null(read: Read) -> None:
    outcome = read([{"at": 5}], cursor_path="at")
    assert (outcome.outputs["start"], outcome.outputs["last"]) == (None, None)
    assert value_of(outcome) == 5


def test_later_runs_begin_a_lag_behind_what_is_stored(read: Read, cursors: CursorStore) -> None:
    store(cursors, "2026-01-05T00:00:00Z")
    outcome = read([], cursor_path="at", initial_value="2026-01-01T00:00:00Z", lag="1h")
    assert outcome.outputs["start"] == "2026-01-04T23:00:00Z"
    assert outcome.outputs["last"] == "2026-01-05T00:00:00Z"


def test_after_a_reset_a_run_begins_at_the_initial_value(read: Read, cursors: CursorStore) -> None:
    store(cursors, 7)
    store(cursors, None)
    assert read([], cursor_path="at", initial_value=1).outputs["start"] == 1


def test_an_integer_of_any_size_stays_what_it_is(read: Read, cursors: CursorStore) -> None:
    outcome = read(f'[{{"at": {10**40}}}, {{"at": {10**40 + 1}}}]', cursor_path="at")
    assert value_of(outcome) == 10**40 + 1
    store(cursors, 10**40 + 1)
    found = cursors.read("f", "it")
    assert found is not None
    assert found.value == 10**40 + 1


def test_each_key_has_a_value_of_its_own(read: Read, cursors: CursorStore) -> None:
    store(cursors, 7, key="a/b")
    assert read([], cursor_path="at", key="{{ 'a/b' }}").outputs["start"] == 7
    assert read([], cursor_path="at", key="c").outputs["start"] is None
    assert read([], cursor_path="at").outputs["start"] is None


# language 22.2


@pytest.mark.parametrize(
    ("rows", "config", "value"),
    [
        ([{"at": 3}, {"at": 9}, {"at": 4}], {}, 9),
        ([{"at": 3}, {"at": 9}, {"at": 4}], {"order": "min"}, 3),
        ([{"a": {"b": [5]}}], {"cursor_path": "a.b[0]"}, 5),
        (
            [{"at": "2026-01-01T01:00:00+02:00"}, {"at": "2026-01-01T00:00:00Z"}],
            {},
            "2026-01-01T00:00:00Z",
        ),
        ({"total": 2, "items": [{"at": 1}, {"at": 2}]}, {}, 2),
        ("", {}, None),
    ],
)
def test_the_new_value_is_the_largest_or_smallest_that_was_read(
    read: Read, rows: Any, config: dict[str, Any], value: Any
) -> None:
    assert value_of(read(rows, **{"cursor_path": "at", **config})) == value


def test_a_cursor_never_moves_back(read: Read, cursors: CursorStore) -> None:
    store(cursors, 7)
    assert value_of(read([{"at": 6}, {"at": 7}], cursor_path="at", lag=5)) is None
    assert value_of(read([{"at": 6}], cursor_path="at", lag=5)) is None
    assert value_of(read([{"at": 9}], cursor_path="at", lag=5, order="min")) is None
    assert value_of(read([{"at": 8}], cursor_path="at", lag=5)) == 8


def test_values_that_can_not_be_compared_fail_the_step(read: Read, cursors: CursorStore) -> None:
    mixed = read([{"at": 1}, {"at": "2026-01-01"}], cursor_path="at")
    assert mixed.error == (
        "incremental: record 2: '2026-01-01' (a date) and 1 (a number) can't be compared"
    )
    store(cursors, "2026-01-01T00:00:00Z")
    changed = read([{"at": "2026-02-01T00:00:00"}], cursor_path="at")
    assert changed.error is not None
    assert "'2026-01-01T00:00:00Z' is stored" in changed.error
    assert "flowtoy state set" in changed.error


@pytest.mark.parametrize("row", [{}, {"at": None}])
def test_a_record_without_a_value_fails_the_step(read: Read, row: dict[str, Any]) -> None:
    outcome = read([{"at": 1}, row], cursor_path="at")
    assert outcome.error is not None
    assert outcome.error.startswith("incremental: record 2 has no value at 'at'")


def test_records_without_a_value_are_kept_or_left_out(read: Read) -> None:
    rows = [{"at": 1}, {"x": 2}]
    included = read(rows, cursor_path="at", on_cursor_value_missing="include")
    assert (included.outputs["rows"], value_of(included)) == (rows, 1)
    excluded = read(rows, cursor_path="at", on_cursor_value_missing="exclude")
    assert (excluded.outputs["rows"], value_of(excluded)) == ([{"at": 1}], 1)
    held = read({"n": 1, "rows": rows}, cursor_path="at", on_cursor_value_missing="exclude")
    assert held.outputs["rows"] == {"n": 1, "rows": [{"at": 1}]}


@pytest.mark.parametrize(
    ("missing", "then"), [("exclude", "all are left out"), ("include", "the value stays as it is")]
)
def test_a_path_that_is_in_no_record_is_told(missing: Any, then: str) -> None:
    config = IncrementalConfig(cursor_path="att", on_cursor_value_missing=missing)
    tracker = CursorTracker(config, 3)
    assert tracker.doubt is None
    tracker.take([{"at": 1}, {"at": 2}])
    assert tracker.doubt == f"'att' is in none of the 2 records: {then}"
    tracker.take([{"att": 5}])
    assert (tracker.doubt, tracker.value) == (None, 5)


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ({"a": [], "b": []}, "it has lists in 'a', 'b'"),
        ({"a": 1}, "it has no list"),
        ("7", "neither list nor mapping"),
    ],
)
def test_where_records_are_not_known_is_an_error(read: Read, printed: Any, told: str) -> None:
    outcome = read(printed, cursor_path="at")
    assert outcome.error is not None
    assert told in outcome.error


def test_a_template_may_give_the_value(read: Read, cursors: CursorStore) -> None:
    rows = {"next": "token-2", "rows": [{"at": 4}, {"at": 2}]}
    step = {"output": []}
    assert value_of(read(rows, step, value="{{ response.next }}")) == "token-2"
    assert value_of(read(rows, step, value="{{ records | map(attribute='at') | max }}")) == 4
    assert value_of(read(rows, step, value="{{ run.id }}")) == "r1"
    assert value_of(read(rows, step, value="{{ incremental.start_value }}")) is None
    store(cursors, "token-2")
    assert value_of(read(rows, step, value="{{ response.next }}")) is None
    failed = read(rows, step, value="{{ response }}")
    assert failed.error == "incremental.value: a cursor value is text or a number, not a mapping"


def test_only_the_last_call_of_a_step_that_is_called_again_counts(
    read: Read, tmp_path: Path
) -> None:
    script = f'f={tmp_path}/n; if [ -e $f ]; then echo \'[{{"at": 1}}]\'; else touch $f; ' \
        "echo '[{\"at\": 9}, {\"at\": 9}]'; fi"
    step = {
        "source": {"type": "process", "command": script},
        "until": "result.json | length == 1", "every": "1ms", "output": [],
    }
    assert value_of(read([], step, cursor_path="at")) == 1


def test_a_condition_may_ask_for_the_cursor(read: Read, cursors: CursorStore) -> None:
    step = {"when": "incremental.last_value != 7"}
    assert read([], step, cursor_path="at").succeeded
    store(cursors, 7)
    assert read([], step, cursor_path="at").skipped


def test_a_secret_can_not_be_a_key(read: Read, known: StepMask) -> None:
    known.learn(["hunter-0123456789"])
    outcome = read([], cursor_path="at", key="of hunter-0123456789")
    assert outcome.error == "incremental.key: must not hold a secret; it names what is stored"


def test_secret_values_are_hidden(read: Read, cursors: CursorStore) -> None:
    store(cursors, "cursor-0123456789")
    outcome = read(
        [{"at": "cursor-9876543210"}, {"at": 1}], cursor_path="at", secret=True
    )
    assert outcome.mask.text("cursor-0123456789") == "***"
    assert outcome.error is not None
    assert "cursor-9876543210" not in outcome.error


@pytest.mark.parametrize(
    "harm",
    [b"", b"{}", b"not JSON\n", None],
    ids=["empty", "cut", "other", "a changed value"],
)
def test_a_damaged_cursor_fails_the_step_and_says_how_to_repair_it(
    read: Read, cursors: CursorStore, tmp_path: Path, harm: bytes | None
) -> None:
    store(cursors, 7)
    (path,) = [p for p in (tmp_path / "cursors").rglob("state") if p.is_file()]
    assert path.stat().st_mode & 0o077 == 0
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b":7", b":5") if harm is None else harm)

    outcome = read([], cursor_path="at", initial_value=1)

    assert outcome.error is not None
    assert outcome.error.startswith(
        "the stored cursor of step 'it' of flow 'f' can't be used: it is damaged; "
        "repair it with: flowtoy state set 'f' 'it' VALUE"
    )
    with pytest.raises(DamagedCursorError):
        cursors.swap(StoredCursor("f", "it", value=8), "1")
    assert [type(one) for one in cursors.all()] == [DamagedCursor]
    store(cursors, 8)
    assert read([], cursor_path="at").outputs["start"] == 8


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_cursor_that_can_not_be_read_fails_the_step(
    read: Read, cursors: CursorStore, tmp_path: Path
) -> None:
    store(cursors, 7)
    (path,) = [p for p in (tmp_path / "cursors").rglob("state") if p.is_file()]
    path.chmod(0)
    outcome = read([], cursor_path="at", initial_value=1)
    assert outcome.error is not None
    assert "permission denied" in outcome.error


# language 22.4


def test_a_value_is_stored_only_over_the_version_that_was_read(cursors: CursorStore) -> None:
    assert cursors.swap(StoredCursor("f", "it", value=1, run_id="a"), "") is None
    first = cursors.read("f", "it")
    assert first is not None
    instead = cursors.swap(StoredCursor("f", "it", value=2, run_id="b"), "")
    assert instead == first
    assert cursors.swap(StoredCursor("f", "it", value=2, run_id="b"), first.version) is None
    assert cursors.swap(StoredCursor("f", "it", value=3, run_id="a"), first.version) is not None


def test_names_of_any_kind_have_cursors_of_their_own(cursors: CursorStore) -> None:
    names = ["a", "A", "a/b", "..", ".", " ", "é" * 300, "state", "keys", "a.b", "🚀"]
    places = [(f, s, k) for f in names for s in names[:4] for k in ("", *names[:3])]
    for flow, step, key in places:
        cursors.swap(StoredCursor(flow, step, key, f"{flow}{step}{key}"), "")
    for flow, step, key in places:
        found = cursors.read(flow, step, key)
        assert found is not None
        assert found.value == f"{flow}{step}{key}"
    found_all = {(o.flow, o.step, o.key) for o in cursors.all() if isinstance(o, StoredCursor)}
    assert found_all == set(places)
    assert len(list(cursors.all("a"))) == 4 * 4


# language 22.2


def test_texts_whose_numbers_have_another_order_are_warned_of_once(
    read: Read, cursors: CursorStore, caplog: pytest.LogCaptureFixture
) -> None:
    store(cursors, "order-9")
    outcome = read([{"at": "order-10"}, {"at": "order-11"}], cursor_path="at")
    assert value_of(outcome) is None  # as text, they come before
    (told,) = [record.getMessage() for record in caplog.records if record.name == "flowtoy.step"]
    assert told.startswith(
        "step 'it': incremental: 'order-9' comes after 'order-10', as they are compared as text"
    )
    caplog.clear()
    read([{"at": "order-08"}, {"at": "b2"}, {"at": "order-x10"}], cursor_path="at")
    assert not caplog.records


def test_a_warning_of_the_order_shows_no_secret(
    read: Read, caplog: pytest.LogCaptureFixture
) -> None:
    read([{"at": "order-9"}, {"at": "order-10"}], cursor_path="at", secret=True)
    assert [text for text in caplog.messages if "incremental" in text] == [
        "step 'it': incremental: its values are compared as text, although numbers in them have"
        " another order"
    ]

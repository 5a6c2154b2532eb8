"""`flowtoy state … --item`: what the items of a loop have stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.steps.state.cursors import StoredCursor
from flowtoy_dagster.store.cursors import CursorStore, cursors_of

# language 22.5, 22.6


@pytest.fixture
def cursors(used_before: Path) -> CursorStore:
    """Stored cursors of the items of two steps, one of which has a key, and of another step."""
    found = cursors_of(used_before)
    for step, key, item, value in (
        ("orders", "", "north", 7),
        ("orders", "", "so/uth", "2026-01-01"),
        ("users", "eu", "north", 1),
        ("users", "us", "north", 2),
        ("plain", "", None, 3),
    ):
        found.swap(StoredCursor("shop", step, key, value, run_id="0123456789ab", item=item), "")
    return found


def values(cursors: CursorStore) -> dict[tuple[str, str, str | None], Any]:
    return {
        (one.step, one.key, one.item): one.value
        for one in cursors.all("shop")
        if isinstance(one, StoredCursor) and one.step and one.key is not None
    }


@pytest.mark.usefixtures("cursors")
def test_list_and_show_have_a_line_for_each_item(flowtoy: Callable[..., Any]) -> None:
    rows = [line.split() for line in flowtoy("state", "list").stdout.splitlines()]
    assert rows[0] == ["FLOW", "STEP", "KEY", "ITEM", "VALUE", "STORED", "RUN"]
    assert rows[1][:4] == ["shop", "orders", "north", "7"]
    plain = flowtoy("state", "show", "shop", "plain").stdout
    assert "ITEM" not in plain

    shown = flowtoy("state", "show", "shop", "users", "--item", "north", "--key", "us", "--json")
    (one,) = json.loads(shown.stdout)
    assert (one["key"], one["item"], one["value"]) == ("us", "north", 2)
    assert json.loads(flowtoy("state", "show", "shop", "plain", "-j").stdout)[0]["item"] is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "shop", "orders", "--item", "nort"), "did you mean 'north'?"),
        (("reset", "shop", "plain", "--item", "north"), "nothing is stored of items"),
        (("set", "shop", "orders", "9"), "name one, such as --item 'north'"),
        (("set", "shop", "orders", "x", "--item", "north"), "--text stores it as text"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_changed(
    flowtoy: Callable[..., Any], cursors: CursorStore, arguments: tuple[str, ...], told: str
) -> None:
    before = values(cursors)
    done = flowtoy("state", *arguments)
    assert (done.code, told in done.stderr) == (2, True), done.stderr
    assert values(cursors) == before


def test_set_and_reset_change_one_item(flowtoy: Callable[..., Any], cursors: CursorStore) -> None:
    done = flowtoy("state", "set", "shop", "orders", "9", "--item", "north")
    assert (done.code, done.stderr) == (0, "shop / orders / north: 9, before: 7\n")
    done = flowtoy("state", "set", "shop", "users", "5", "--item", "new", "--key", "eu")
    assert done.stderr == "shop / users / eu / new: 5, before: nothing\n"
    done = flowtoy("state", "reset", "shop", "orders", "--item", "so/uth")
    assert (done.code, done.stderr) == (0, "shop / orders / so/uth: reset\n")
    found = values(cursors)
    assert found["orders", "", "north"] == 9
    assert found["orders", "", "so/uth"] is None
    assert found["users", "eu", "new"] == 5
    assert flowtoy("state", "reset", "shop").code == 0
    assert set(values(cursors).values()) == {None}


def test_damaged_values_of_items_are_told_and_all_are_reset(
    flowtoy: Callable[..., Any], cursors: CursorStore, used_before: Path
) -> None:
    path = used_before / "flowtoy-state" / "shop" / "orders" / "items"
    path.write_bytes(b"{}")
    listed = flowtoy("state", "show", "shop", "orders", "--json")
    assert listed.code == 1
    (one,) = json.loads(listed.stdout)
    assert (one["step"], one["item"], one["error"]) == ("orders", None, "it is damaged")
    for arguments in (("set", "shop", "orders", "1"), ("reset", "shop", "orders")):
        done = flowtoy("state", *arguments, "--item", "north")
        assert done.code != 0
        assert "it is damaged" in done.stderr
        assert path.read_bytes() == b"{}"
    done = flowtoy("state", "reset", "shop", "orders")
    assert (done.code, done.stderr) == (0, "shop / orders: all items are reset\n")
    assert cursors.items("shop", "orders") == {}

"""`flowtoy state`: what incremental loads have stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.steps.state.cursors import StoredCursor
from flowtoy_dagster.store.cursors import CursorStore, cursors_of

# language 22.5


@pytest.fixture
def cursors(used_before: Path) -> CursorStore:
    """Stored cursors of two flows."""
    found = cursors_of(used_before)
    for flow, step, key, value in (
        ("shop", "orders", "", "2026-01-01T00:00:00Z"),
        ("shop", "users", "north", 7),
        ("shop", "users", "south", 10**40),
        ("crm", "deals", "", "a\x1b[31mb"),
    ):
        found.swap(StoredCursor(flow, step, key, value, run_id="0123456789ab"), "")
    found.swap(StoredCursor("crm", "tokens", "", "cursor-0123456789", secret=True), "")
    return found


@pytest.mark.usefixtures("cursors")
def test_list_and_show_tell_what_is_stored(flowtoy: Callable[..., Any]) -> None:
    listed = flowtoy("state", "list")
    assert listed.code == 0
    assert "a\x1b" not in listed.stdout
    assert "cursor-0123456789" not in listed.stdout
    rows = [line.split() for line in listed.stdout.splitlines()]
    assert rows[0] == ["FLOW", "STEP", "KEY", "VALUE", "STORED", "RUN"]
    assert rows[2][:3] == ["crm", "tokens", "***"]
    assert (rows[3][:3], rows[3][-1]) == (["shop", "orders", "2026-01-01T00:00:00Z"], "01234567")

    shown = flowtoy("state", "show", "shop", "users", "--key", "south", "--json")
    (one,) = json.loads(shown.stdout)
    assert (one["value"], one["key"], one["run_id"]) == (10**40, "south", "0123456789ab")
    secret = flowtoy("state", "show", "crm", "tokens", "--json", "--show-secrets")
    assert json.loads(secret.stdout)[0]["value"] == "cursor-0123456789"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "shp"), "did you mean 'shop'?"),
        (("show", "shop", "order"), "did you mean 'orders'?"),
        (("reset", "shop", "orders", "--key", "x"), "nothing is stored for the key 'x'"),
        (("set", "shop", "users", "many", "--key", "north"), "--text stores it as text"),
        (("set", "shop", "orders", ""), "can't be an empty text"),
        (("show",), "Missing argument"),
    ],
)
@pytest.mark.usefixtures("cursors")
def test_a_mistake_is_told_and_nothing_is_changed(
    flowtoy: Callable[..., Any], arguments: tuple[str, ...], told: str
) -> None:
    done = flowtoy("state", *arguments)
    assert done.code == 2
    assert told in done.stderr
    assert json.loads(flowtoy("state", "show", "shop", "users", "-j").stdout)[0]["value"] == 7


def test_set_keeps_the_type_of_what_is_stored(
    flowtoy: Callable[..., Any], cursors: CursorStore
) -> None:
    def value(flow: str, step: str, key: str = "") -> Any:
        found = cursors.read(flow, step, key)
        assert found is not None
        assert found.run_id is None
        return found.value

    told = flowtoy("state", "set", "shop", "orders", "2025")
    assert (told.code, told.stderr) == (
        0, 'shop / orders: "2025", before: "2026-01-01T00:00:00Z"\n'
    )
    flowtoy("state", "set", "shop", "users", "8", "--key", "north")
    flowtoy("state", "set", "new", "numbers", "-5")
    assert value("new", "numbers") == -5
    flowtoy("state", "set", "new", "numbers", str(10**40))
    flowtoy("state", "set", "new", "texts", "12", "--text")
    assert flowtoy("state", "set", "crm", "tokens", "next-0123456789").stderr == (
        "crm / tokens: ***, before: ***\n"
    )
    assert [value("shop", "orders"), value("shop", "users", "north")] == ["2025", 8]
    assert [value("new", "numbers"), value("new", "texts")] == [10**40, "12"]


def test_reset_forgets_one_value_or_all_of_a_flow(
    flowtoy: Callable[..., Any], cursors: CursorStore
) -> None:
    assert flowtoy("state", "reset", "shop", "users", "--key", "north").code == 0
    left = {(one.step, one.key): one.value for one in cursors.all("shop")}  # type: ignore[union-attr]
    assert left == {
        ("orders", ""): "2026-01-01T00:00:00Z", ("users", "north"): None, ("users", "south"): 10**40
    }
    assert flowtoy("state", "reset", "shop").code == 0
    assert {one.value for one in cursors.all("shop")} == {None}  # type: ignore[union-attr]


def test_a_damaged_value_is_told_and_can_be_set_or_reset(
    flowtoy: Callable[..., Any], cursors: CursorStore, used_before: Path
) -> None:
    path = used_before / "flowtoy-state" / "shop" / "orders" / "state"
    for repair in (("set", "shop", "orders", "x"), ("reset", "shop", "orders")):
        path.write_bytes(b"{}")
        listed = flowtoy("state", "list", "--json")
        assert listed.code == 1
        (one,) = [one for one in json.loads(listed.stdout) if "error" in one]
        assert (one["flow"], one["step"], one["error"]) == ("shop", "orders", "it is damaged")
        assert flowtoy("state", *repair).code == 0
        assert cursors.read("shop", "orders") is not None

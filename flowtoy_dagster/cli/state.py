"""`flowtoy state …`: the cursors of steps with `incremental`, as the home keeps them."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Optional

import typer

from flowtoy_dagster.cli.shared.options import Json, ShowSecrets, examples
from flowtoy_dagster.cli.shared.tables import print_table
from flowtoy_dagster.errors import system_reason
from flowtoy_dagster.terminal import print_json, say

if TYPE_CHECKING:
    from flowtoy_dagster.steps.state.cursors import StoredCursor
    from flowtoy_dagster.store.cursors import CursorStore

state = typer.Typer(
    help="List, show and change what incremental loads have stored.",
    epilog=examples("state list", "state show shop orders"),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
FlowName = Annotated[
    str, typer.Argument(metavar="FLOW", help="The flow's name, as 'flowtoy runs' lists it.")
]
StepName = Annotated[str, typer.Argument(metavar="STEP", help="The step's name.")]
OneStep = Annotated[
    Optional[str],  # noqa: UP045 - Typer reads this at run time
    typer.Argument(metavar="STEP", help="The step; the default is all steps of the flow."),
]
Key = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--key", metavar="KEY",
                 help="The cursor for this value of 'incremental.key'."),
]
Item = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--item", metavar="KEY",
                 help="The cursor of this item of a step with 'for_each', by its key."),
]


class _Place(NamedTuple):
    """What names a cursor."""

    flow: str
    step: str
    key: str = ""
    item: str | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return " / ".join(filter(None, self))


@state.callback()
def _options() -> None:
    pass


@state.command("list", epilog=examples("state list", "state list --json"))
def list_state(as_json: Json = False, show_secrets: ShowSecrets = False) -> None:
    """List the stored cursors of all flows."""
    _print(_found(), as_json=as_json, show_secrets=show_secrets)


@state.command("show", epilog=examples("state show shop", "state show shop orders"))
def show_state(
    flow: FlowName,
    step: OneStep = None,
    key: Key = None,
    item: Item = None,
    as_json: Json = False,
    show_secrets: ShowSecrets = False,
) -> None:
    """Show the stored cursors of a flow, or of one step of it."""
    found = _found(flow, step, key, item)
    _check_any(found, flow, step, key, item)
    _print(found, as_json=as_json, show_secrets=show_secrets)


@state.command(
    "set",
    epilog=examples("state set shop orders 2026-01-01T00:00:00Z", "state set shop ids 100"),
    # A negative number looks like an option.
    context_settings={"ignore_unknown_options": True},
)
def set_state(
    flow: FlowName,
    step: StepName,
    value: Annotated[
        str,
        typer.Argument(
            metavar="VALUE", help="Text or a number, of the same type as the stored value."
        ),
    ],
    key: Key = None,
    item: Item = None,
    text: Annotated[
        bool, typer.Option("--text", help="Store VALUE as text, even if it looks like a number.")
    ] = False,
) -> None:
    """Store a cursor, so that the next run begins there."""
    cursors = _cursors()
    place = _Place(flow, step, key or "", item)
    before = _now(cursors, place)
    number = None if text else _number(value)
    if not text and before is not None and before.value is not None:
        is_text = isinstance(before.value, str)
        if number is None and not is_text:
            from flowtoy_dagster.errors import UsageError

            raise UsageError(
                f"'{value}' is not a number, and the cursor of '{step}' is one\n"
                "    --text stores it as text"
            )
        number = None if is_text else number
    _store(cursors, before, place, value if number is None else number)


@state.command("reset", epilog=examples("state reset shop", "state reset shop orders"))
def reset_state(
    flow: FlowName, step: OneStep = None, key: Key = None, item: Item = None
) -> None:
    """Delete stored cursors, so that the next run begins at the initial value."""
    found = _found(flow, step, key, item)
    _check_any(found, flow, step, key, item)
    cursors = _cursors()
    of_items: dict[_Place, list[str]] = {}
    for each in found:
        if each["step"] is None:
            say(f"{each['place']}: {each['error']}; name its step to reset it")
            raise typer.Exit(1)
        place = _Place(flow, each["step"], each["key"] or "")
        if each.get("all_items"):
            _forget_items(cursors, place, item, each["error"])
        elif each["item"] is not None:
            of_items.setdefault(place, []).append(each["item"])
        else:
            _store(cursors, None, place, None)
    for place, items in of_items.items():
        _reset_items(cursors, place, items)


def _cursors() -> CursorStore:
    from flowtoy_dagster.engine.storage.home import open_home
    from flowtoy_dagster.store.cursors import cursors_of

    return cursors_of(open_home())


def _now(cursors: CursorStore, place: _Place) -> StoredCursor | None:
    """What is stored now; nothing where it is damaged, which is what `set` repairs.

    Raises:
        DamagedCursorError: it is one of several items', of which the others would be lost.
        UsageError: the step has values for its items alone.
    """
    from flowtoy_dagster.errors import UsageError
    from flowtoy_dagster.store.cursors import DamagedCursorError

    if place.item is not None:
        return cursors.read(*place)
    try:
        found = cursors.read(*place)
    except DamagedCursorError as error:
        say(f"{error.reason}: it is replaced")
        return None
    if found is None and (items := sorted(cursors.items(*place[:3]))):
        raise UsageError(
            f"step '{place.step}' has a value for each of its items\n"
            f"    name one, such as --item '{items[0]}'"
        )
    return found


def _found(
    flow: str | None = None,
    step: str | None = None,
    key: str | None = None,
    item: str | None = None,
) -> list[dict[str, Any]]:
    """What is stored, as plain data; what is damaged has an `error`, and no `value`."""
    from flowtoy_dagster.store.cursors import DamagedCursor

    found = []
    for one in _cursors().all(flow):
        facts: dict[str, Any]
        if isinstance(one, DamagedCursor):
            names = {"flow": one.flow, "step": one.step, "key": one.key, "item": None}
            facts = {**names, "value": None, "error": one.reason, "place": one.place}
            facts |= {"all_items": True} if one.of_items else {}
        else:
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one.stored_at))
            facts = {
                "flow": one.flow, "step": one.step, "key": one.key, "item": one.item,
                "value": one.value, "stored_at": at, "run_id": one.run_id, "secret": one.secret,
            }
        is_of_item = item in (None, facts["item"]) or facts.get("all_items")
        if step in (None, facts["step"]) and key in (None, facts["key"]) and is_of_item:
            found.append(facts)
    return found


def _check_any(
    found: list[dict[str, Any]], flow: str, step: str | None, key: str | None, item: str | None
) -> None:
    if found:
        return
    from flowtoy_dagster.errors import UsageError
    from flowtoy_dagster.flow.files.suggestions import nearest

    known = _found()
    of_flow = {one["step"] for one in known if one["flow"] == flow and one["step"]}
    if not of_flow:
        flows = sorted({one["flow"] for one in known if one["flow"]})
        hint = nearest(flow, flows).hint if flows else "no step has stored one yet"
        raise UsageError(f"nothing is stored of a flow '{flow}'\n    {hint}")
    if step is not None and step not in of_flow:
        hint = nearest(step, sorted(of_flow)).hint
        raise UsageError(f"nothing is stored of a step '{step}' of '{flow}'\n    {hint}")
    items = [one["item"] for one in _found(flow, step, key) if one["item"] is not None]
    if item is not None and items:
        hint = nearest(item, items).hint
        raise UsageError(f"nothing is stored of an item '{item}'\n    {hint}")
    if item is not None:
        raise UsageError(f"nothing is stored of items\n    flowtoy state show '{flow}'")
    raise UsageError(f"nothing is stored for the key '{key}'\n    flowtoy state show '{flow}'")


def _number(text: str) -> int | float | None:
    """The number that a text is in JSON; None where it is none."""
    from flowtoy_dagster.json_text import JsonError, loads

    try:
        found = loads(text)
    except JsonError:
        return None
    is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
    return found if is_number else None


def _store(
    cursors: CursorStore,
    before: StoredCursor | None,
    place: _Place,
    value: str | float | None,
) -> None:
    from flowtoy_dagster.errors import HomeError, UsageError
    from flowtoy_dagster.steps.state.cursor_values import CursorError, cursor_value
    from flowtoy_dagster.steps.state.cursors import StoredCursor

    try:
        checked = cursor_value(value) if value is not None else None
    except CursorError as error:
        raise UsageError(str(error)) from None
    secret = before is not None and before.secret
    try:
        flow, step, key, item = place
        cursors.swap(StoredCursor(flow, step, key, checked, secret=secret, item=item), None)
    except OSError as error:
        reason = system_reason(error)
        raise HomeError(f"the cursor can't be stored: {reason}") from None
    name = place.name
    then = "nothing" if before is None or before.value is None else _shown(before.value, secret)
    say(f"{name}: reset" if value is None else f"{name}: {_shown(value, secret)}, before: {then}")


def _reset_items(cursors: CursorStore, place: _Place, items: list[str]) -> None:
    from flowtoy_dagster.errors import HomeError
    from flowtoy_dagster.steps.state.cursors import StoredCursor

    flow, step, key, _ = place
    try:
        cursors.swap_items([(StoredCursor(flow, step, key, item=item), None) for item in items])
    except OSError as error:
        raise HomeError(f"the cursors can't be stored: {system_reason(error)}") from None
    for item in items:
        say(f"{place._replace(item=item).name}: reset")


def _forget_items(cursors: CursorStore, place: _Place, item: str | None, reason: str) -> None:
    """Reset all items of a step whose values are damaged."""
    from flowtoy_dagster.errors import HomeError

    if item is not None:
        raise HomeError(
            f"what is stored of the items of step '{place.step}' can't be used: {reason}\n"
            "    without --item, all items of the step are reset"
        )
    try:
        cursors.forget_items(*place[:3])
    except OSError as error:
        raise HomeError(f"the cursors can't be reset: {system_reason(error)}") from None
    say(f"{place.name}: all items are reset")


def _shown(value: Any, hidden: bool) -> str:
    from flowtoy_dagster.masking.mask import HIDDEN

    return HIDDEN if hidden else json.dumps(value, ensure_ascii=False)


def _print(found: list[dict[str, Any]], *, as_json: bool, show_secrets: bool) -> None:
    from flowtoy_dagster.masking.mask import HIDDEN

    hidden = [one for one in found if one.get("secret") and one["value"] is not None]
    if not show_secrets:
        for one in hidden:
            one["value"] = HIDDEN
        if hidden:
            say("secret values are masked (***); --show-secrets prints them")
    if as_json:
        print_json(found)
    elif not found:
        print("nothing is stored yet", file=sys.stderr)
    else:
        rows: list[tuple[str, ...]] = [
            (str(one["flow"]), str(one["step"]), one["key"] or "", one["item"] or "", _cell(one),
             one.get("stored_at") or "", (one.get("run_id") or "")[:8])
            for one in found
        ]
        columns: tuple[str, ...] = ("FLOW", "STEP", "KEY", "ITEM", "VALUE", "STORED", "RUN")
        if not any(one["item"] for one in found):
            columns, rows = _without_items(columns), [_without_items(row) for row in rows]
        print_table(columns, rows)
    if any("error" in one for one in found):
        raise typer.Exit(1)


def _without_items(row: tuple[str, ...]) -> tuple[str, ...]:
    return (*row[:3], *row[4:])


def _cell(one: dict[str, Any]) -> str:
    if "error" in one:
        return f"({one['error']})"
    return "(reset)" if one["value"] is None else str(one["value"])

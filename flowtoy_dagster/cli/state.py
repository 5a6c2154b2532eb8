"""`flowtoy state …`: the cursors of steps with `incremental`, as the home keeps them."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, Optional

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


@state.callback()
def _options() -> None:
    pass


@state.command("list", epilog=examples("state list", "state list --json"))
def list_state(as_json: Json = False, show_secrets: ShowSecrets = False) -> None:
    """List the stored cursors of all flows."""
    _print(_found(None, None, None), as_json=as_json, show_secrets=show_secrets)


@state.command("show", epilog=examples("state show shop", "state show shop orders"))
def show_state(
    flow: FlowName,
    step: OneStep = None,
    key: Key = None,
    as_json: Json = False,
    show_secrets: ShowSecrets = False,
) -> None:
    """Show the stored cursors of a flow, or of one step of it."""
    found = _found(flow, step, key)
    _check_any(found, flow, step, key)
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
    text: Annotated[
        bool, typer.Option("--text", help="Store VALUE as text, even if it looks like a number.")
    ] = False,
) -> None:
    """Store a cursor, so that the next run begins there."""
    cursors = _cursors()
    before = _now(cursors, flow, step, key or "")
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
    _store(cursors, before, flow, step, key or "", value if number is None else number)


@state.command("reset", epilog=examples("state reset shop", "state reset shop orders"))
def reset_state(flow: FlowName, step: OneStep = None, key: Key = None) -> None:
    """Delete stored cursors, so that the next run begins at the initial value."""
    found = _found(flow, step, key)
    _check_any(found, flow, step, key)
    cursors = _cursors()
    for each in found:
        if each["step"] is None:
            say(f"{each['place']}: {each['error']}; name its step to reset it")
            raise typer.Exit(1)
        _store(cursors, None, flow, each["step"], each["key"], None)


def _cursors() -> CursorStore:
    from flowtoy_dagster.engine.storage.home import open_home
    from flowtoy_dagster.store.cursors import cursors_of

    return cursors_of(open_home())


def _now(cursors: CursorStore, flow: str, step: str, key: str) -> StoredCursor | None:
    """What is stored now; nothing where it is damaged, which is what `set` repairs."""
    from flowtoy_dagster.store.cursors import DamagedCursorError

    try:
        return cursors.read(flow, step, key)
    except DamagedCursorError as error:
        say(f"{error.reason}: it is replaced")
        return None


def _found(flow: str | None, step: str | None, key: str | None) -> list[dict[str, Any]]:
    """What is stored, as plain data; what is damaged has an `error`, and no `value`."""
    from flowtoy_dagster.store.cursors import DamagedCursor

    found = []
    for one in _cursors().all(flow):
        facts: dict[str, Any]
        if isinstance(one, DamagedCursor):
            names = {"flow": one.flow, "step": one.step, "key": one.key}
            facts = {**names, "value": None, "error": one.reason, "place": one.place}
        else:
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one.stored_at))
            facts = {
                "flow": one.flow, "step": one.step, "key": one.key, "value": one.value,
                "stored_at": at, "run_id": one.run_id, "secret": one.secret,
            }
        if step in (None, facts["step"]) and key in (None, facts["key"]):
            found.append(facts)
    return found


def _check_any(
    found: list[dict[str, Any]], flow: str, step: str | None, key: str | None
) -> None:
    if found:
        return
    from flowtoy_dagster.errors import UsageError
    from flowtoy_dagster.flow.files.suggestions import nearest

    known = _found(None, None, None)
    of_flow = {one["step"] for one in known if one["flow"] == flow and one["step"]}
    if not of_flow:
        flows = sorted({one["flow"] for one in known if one["flow"]})
        hint = nearest(flow, flows).hint if flows else "no step has stored one yet"
        raise UsageError(f"nothing is stored of a flow '{flow}'\n    {hint}")
    if step is not None and step not in of_flow:
        hint = nearest(step, sorted(of_flow)).hint
        raise UsageError(f"nothing is stored of a step '{step}' of '{flow}'\n    {hint}")
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
    flow: str,
    step: str,
    key: str,
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
        cursors.swap(StoredCursor(flow, step, key, checked, secret=secret), None)
    except OSError as error:
        reason = system_reason(error)
        raise HomeError(f"the cursor can't be stored: {reason}") from None
    name = f"{flow} / {step}" + (f" / {key}" if key else "")
    then = "nothing" if before is None or before.value is None else _shown(before.value, secret)
    say(f"{name}: reset" if value is None else f"{name}: {_shown(value, secret)}, before: {then}")


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
        rows = [
            (str(one["flow"]), str(one["step"]), one["key"] or "", _cell(one),
             one.get("stored_at") or "", (one.get("run_id") or "")[:8])
            for one in found
        ]
        print_table(("FLOW", "STEP", "KEY", "VALUE", "STORED", "RUN"), rows)
    if any("error" in one for one in found):
        raise typer.Exit(1)


def _cell(one: dict[str, Any]) -> str:
    if "error" in one:
        return f"({one['error']})"
    return "(reset)" if one["value"] is None else str(one["value"])

"""Words that the shell completes: YAML files, runs, steps and parameters.

Nothing here prints, creates a home folder or raises: then there is nothing to offer.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from flowtoy_dagster.cli.completion.typed import TYPED, VARIABLE, Typed
from flowtoy_dagster.flow.files.suffixes import OF_TESTS, YAML

if TYPE_CHECKING:
    from flowtoy_dagster.flow.graph import Flow

_MOST_RUNS = 20
_MOST_FILES = 20

_Find = Callable[[typer.Context, str], Iterable[str]]


_PLAIN = re.compile(r"[\w@%+=:,./ -]*")
"""What no shell gives a meaning, and spaces."""


def _as_typed(word: str, typed: Typed) -> str | None:
    """A word as it may stand in a command line; None where a shell could run something of it.

    What is inserted is executed with the line, and the scripts of some shells evaluate what they
    are offered. Names are other people's text. bash itself completes files of such names.
    """
    if _PLAIN.fullmatch(word) is None:
        return None
    if os.environ.get(VARIABLE) != "complete_bash":
        return typed.option + word
    rest = word.removeprefix(typed.kept)
    return rest if typed.quote else rest.replace(" ", "\\ ")


class _Offered(str):
    """What is offered. It may be the rest of a word alone, or a word with its option."""

    __slots__ = ()

    def startswith(self, *_: Any) -> bool:
        """True: Typer asks whether it begins as what is typed, which was asked of the word."""
        return True


def _quietly(find: _Find) -> Callable[[typer.Context, str], list[str]]:
    """What is found and begins as what is typed; nothing where it can't be looked for."""

    @functools.wraps(find)
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            found = list(find(ctx, incomplete))
        except Exception:  # noqa: BLE001 - a shell that completes shows no errors
            return []
        begun = (word for word in dict.fromkeys(found) if word.startswith(incomplete))
        typed = TYPED.get()
        shown = (_as_typed(word, typed) for word in begun)
        return [_Offered(word) for word in shown if word is not None]

    # Typer goes by the annotations of the function itself.
    del complete.__wrapped__
    complete.__annotations__ = {"ctx": typer.Context, "incomplete": str}
    return complete


@_quietly
def complete_flows(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """YAML files, and folders on the way to them."""
    yield from _files(incomplete, tests=False)


@_quietly
def complete_tests(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """YAML files with tests too, and folders on the way to them."""
    yield from _files(incomplete, tests=True)


@_quietly
def complete_runs(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """`last`, `failed`, the latest run of each flow, and the latest runs."""
    yield from ("last", "failed")
    history = _history()
    if history is None:
        return
    with history:
        found = history.runs(_MOST_RUNS)
    yield from (f"last:{run.name}" for run in found)
    yield from (run.run_id if len(incomplete) > _SHOWN else run.run_id[:_SHOWN] for run in found)


@_quietly
def complete_steps(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """The steps of the flow that is named before, or of the flows in this folder."""
    for flow in _flows(ctx):
        yield from (step.name for step in flow.steps)


@_quietly
def complete_params(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """`NAME=` for each parameter; behind it, the values that it may have."""
    name, equals, _ = incomplete.partition("=")
    for flow in _flows(ctx):
        if not equals:
            yield from (f"{param}=" for param in flow.params)
        elif name in flow.params:
            config = flow.params[name].config
            values = config.enum or (("true", "false") if config.type == "boolean" else ())
            yield from (f"{name}={value}" for value in values)


_SHOWN = 8
"""Characters of a run's id."""


def _files(incomplete: str, *, tests: bool) -> Iterator[str]:
    folder, _, _ = incomplete.rpartition("/")
    place = f"{folder}/" if "/" in incomplete else ""
    with os.scandir(place or ".") as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield f"{place}{entry.name}/"
            elif entry.name.endswith(YAML) and (tests or not entry.name.endswith(OF_TESTS)):
                yield f"{place}{entry.name}"


def _history() -> Any:
    """The history of the home; None where there is none yet."""
    from flowtoy_dagster.engine.storage.home import CONFIG_FILE, home_folder

    if not (home_folder() / CONFIG_FILE).exists():
        return None
    from flowtoy_dagster.runs.history import History

    return History()


def _flows(ctx: typer.Context) -> Iterator[Flow]:
    """The flow of the files or of the run that the command line names so far, or those here."""
    from flowtoy_dagster.errors import FlowtoyError
    from flowtoy_dagster.loader import load_flow

    # An argument of any number of values is not taken yet while the line is not complete.
    files = [*(ctx.params.get("config") or ()), *(a for a in ctx.args if a.endswith(YAML))]
    if files:
        yield load_flow(files)
        return
    run = ctx.params.get("run") or ctx.params.get("with_run")
    if isinstance(run, str) and run:
        history = _history()
        if history is not None:
            with history:
                yield history.flow(history.find(run))
        return
    here = [path for path in sorted(Path().glob("*.y*ml")) if not path.name.endswith(OF_TESTS)]
    for path in here[:_MOST_FILES]:
        try:
            yield load_flow(path)
        except FlowtoyError:  # noqa: PERF203 - it is no flow
            continue

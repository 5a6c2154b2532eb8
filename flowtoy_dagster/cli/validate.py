"""`flowtoy validate`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from flowtoy_dagster.cli.completion.words import complete_flows
from flowtoy_dagster.cli.shared import collect_garbage_again
from flowtoy_dagster.cli.shared.options import Debug, EnvFile, load_env_files
from flowtoy_dagster.engine.executors.warm.loading.plugins import without_plugins
from flowtoy_dagster.errors import ConfigError, FlowtoyError, Location, Problem, UsageError
from flowtoy_dagster.machine.ctrl_c import raise_interrupts
from flowtoy_dagster.terminal import plain, print_json, say

POLL = 0.3
"""Seconds between two looks at the files with `--watch`."""


class Format(str, Enum):
    """How errors are printed."""

    text = "text"
    json = "json"
    github = "github"


class Checked(NamedTuple):
    """One flow, checked.

    Attributes:
        files: of the flow, merged from left to right.
        steps: how many it has; None where it can't run.
        errors: why it can't run.
        warnings: what may not be as it is meant.
    """

    files: tuple[str, ...]
    steps: int | None
    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def name(self) -> str:
        """The files as they are printed."""
        return " + ".join("<stdin>" if file == "-" else file for file in self.files)


def validate(
    paths: Annotated[
        list[str],
        typer.Argument(help="YAML files, each a flow, and folders with flows; - is standard"
                            " input.", metavar="PATH", autocompletion=complete_flows),
    ],
    merge: Annotated[
        bool, typer.Option("--merge", help="Merge the files into one flow, as flowtoy run does.")
    ] = False,
    output: Annotated[
        Format,
        typer.Option("--format", help="Print text for people, JSON, or annotations for GitHub."),
    ] = Format.text,
    watch: Annotated[
        bool, typer.Option("--watch", help="Check again at each change, until Ctrl-C.")
    ] = False,
    env_file: EnvFile = None,
    debug: Debug = False,
) -> None:
    """Check flows without running anything, and print all their errors.

    Nothing is called, no home folder is used and Dagster is not imported. In a folder, each YAML
    file is a flow, as in a deployment: `shop.prod.yaml` is merged over `shop.yaml`. The exit code
    is 0 if every flow is valid, and 2 if one is not. Warnings do not change it.
    """
    load_env_files(env_file or ())
    if watch and "-" in paths:
        raise UsageError("standard input can't be watched: give files or folders")
    if not watch:
        raise typer.Exit(_print_all(_check(paths, merge), output))
    raise_interrupts()
    collect_garbage_again()
    code = 0
    try:
        for checked in _at_each_change(paths, merge):
            code = _print_all(checked, output)
            sys.stdout.flush()
    except KeyboardInterrupt:
        # Watching has no other end: the last check decides.
        raise typer.Exit(code) from None


def _check(paths: Iterable[str], merge: bool) -> list[Checked]:
    with without_plugins():
        return [_checked(files) for files in _flows(list(paths), merge)]


def _flows(paths: list[str], merge: bool) -> Iterator[tuple[str, ...]]:
    """The files of each flow; raises UsageError for a folder without any."""
    from flowtoy_dagster.deployment.discovery import files_of_flows

    folders = [path for path in paths if path != "-" and Path(path).is_dir()]
    if merge:
        if folders:
            raise UsageError(f"'{folders[0]}' is a folder: --merge takes files")
        yield tuple(paths)
        return
    yield from files_of_flows(paths)


def _checked(files: tuple[str, ...]) -> Checked:
    """A flow and all its errors."""
    from flowtoy_dagster.loader import load_flow

    try:
        flow = load_flow(files)
    except ConfigError as error:
        return Checked(files, None, error.problems)
    except FlowtoyError as error:
        return Checked(files, None, (Problem(str(error)),))
    return Checked(files, len(flow.steps), warnings=tuple(flow.warnings))


def _print_all(checked: list[Checked], output: Format) -> int:
    """Print what was found; returns the exit code."""
    if output is Format.json:
        print_json([_as_json(one) for one in checked])
    for one in checked:
        if output is Format.text:
            _print_text(one)
        elif output is Format.github:
            _print_annotations(one)
    broken = sum(bool(one.errors) for one in checked)
    if output is Format.text and broken and len(checked) > 1:
        say(f"{broken} of {len(checked)} flows can't run")
    return ConfigError.exit_code if broken else 0


def _print_text(one: Checked) -> None:
    for warning in one.warnings:
        say("\n".join(warning.warning_lines()))
    if one.errors:
        say(str(ConfigError(one.errors)))
    else:
        steps = "1 step" if one.steps == 1 else f"{one.steps} steps"
        print(f"{plain(one.name)}: ok, {steps}")


def _as_json(one: Checked) -> dict[str, object]:
    def listed(problems: Iterable[Problem]) -> list[dict[str, object]]:
        return [
            {
                "message": problem.message,
                "hint": problem.hint,
                "file": problem.location.file if problem.location else None,
                "line": problem.location.line if problem.location else None,
                "column": problem.location.column if problem.location else None,
            }
            for problem in problems
        ]

    return {
        "files": list(one.files),
        "valid": not one.errors,
        "steps": one.steps,
        "errors": listed(one.errors),
        "warnings": listed(one.warnings),
    }


def _print_annotations(one: Checked) -> None:
    """Lines that GitHub Actions shows at their place (its "workflow commands")."""
    found = [("error", problem) for problem in one.errors]
    found += [("warning", problem) for problem in one.warnings]
    for level, problem in found:
        place = problem.location or Location(one.files[0], 1, 1)
        text = f"{problem.message}\n{problem.hint}" if problem.hint else problem.message
        file = _escaped(place.file).replace(":", "%3A").replace(",", "%2C")
        print(f"::{level} file={file},line={place.line},col={place.column}::{_escaped(text)}")


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _at_each_change(paths: list[str], merge: bool) -> Iterator[list[Checked]]:
    seen: object = None
    while True:
        now = _state(paths)
        if now == seen:
            time.sleep(POLL)
            continue
        if seen is not None:
            say(f"-- changed at {time.strftime('%H:%M:%S')} --")
        seen = now
        yield _check(paths, merge)


def _state(paths: Iterable[str]) -> list[tuple[str, int, int]]:
    """Each file with its size and the time of its change; what can't be read has neither."""
    found = []
    for path in paths:
        inside = [str(file) for file in Path(path).rglob("*.y*ml")] if Path(path).is_dir() else []
        found += [_facts(file) for file in inside or [path]]
    return sorted(found)


def _facts(file: str) -> tuple[str, int, int]:
    try:
        facts = os.stat(file)
    except OSError:
        return file, -1, -1
    return file, facts.st_size, facts.st_mtime_ns

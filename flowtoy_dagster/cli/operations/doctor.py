"""`flowtoy doctor`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from enum import Enum
from typing import Annotated

import typer

from flowtoy_dagster.cli.shared.options import Debug, EnvFile, load_env_files
from flowtoy_dagster.health import Health
from flowtoy_dagster.terminal import plain, print_json


class Format(str, Enum):
    """How the answers are printed."""

    text = "text"
    json = "json"


def doctor(
    output: Annotated[
        Format, typer.Option("--format", help="Print text for people, or JSON.")
    ] = Format.text,
    env_file: EnvFile = None,
    debug: Debug = False,
) -> None:
    """Check each part of this deployment, and print the fix for each fault and each warning.

    The parts are the packages, the home folder, the database (`FLOWTOY_STORAGE`), the files that
    machines share (`FLOWTOY_FILES`), the executor (`FLOWTOY_EXECUTOR`), brokers and workers. It
    checks only what is configured, and writes nothing. The exit code is 1 if there is a fault;
    warnings leave it alone.
    """
    from flowtoy_dagster.doctor.examine import examine

    load_env_files(env_file or ())
    answers = list(examine())
    faults = sum(answer.state == "fault" for answer in answers)
    warnings = sum(answer.state == "warning" for answer in answers)
    if output is Format.json:
        print_json({"ok": not faults, "parts": [asdict(answer) for answer in answers]})
    else:
        _print_text(answers)
        print(_summary(faults, warnings))
    raise typer.Exit(int(faults > 0))


def _print_text(answers: Iterable[Health]) -> None:
    for answer in answers:
        state = "-" if answer.state == "off" else answer.state
        print(f"{state:7}  {answer.part:8}  {plain(answer.text)}")
        if answer.fix is not None:
            print(f"{'':19}fix: {plain(answer.fix)}")


def _summary(faults: int, warnings: int) -> str:
    if not faults and not warnings:
        return "all well"
    parts = [_counted(faults, "fault"), *([_counted(warnings, "warning")] if warnings else [])]
    return ", ".join(parts)


def _counted(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'s' * (number > 1)}"

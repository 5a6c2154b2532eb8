"""`flowtoy test`."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from flowtoy_dagster.cli.completion.words import complete_tests
from flowtoy_dagster.cli.shared import collect_garbage_again
from flowtoy_dagster.cli.shared.options import (
    Debug,
    EnvFile,
    Level,
    LogLevel,
    Param,
    load_env_files,
)
from flowtoy_dagster.cli.testing.record import record_test
from flowtoy_dagster.errors import ConfigError, FlowtoyError, UsageError, system_reason
from flowtoy_dagster.machine.ctrl_c import raise_interrupts
from flowtoy_dagster.terminal import plain, plain_lines, say

if TYPE_CHECKING:
    from flowtoy_dagster.testing.cases import Verdict
    from flowtoy_dagster.testing.files import Case


TestPaths = Annotated[
    Optional[list[str]],  # noqa: UP045 - Typer reads these at run time
    typer.Argument(help="Test files (*.test.yaml), and folders with them; by default this"
                        " folder.", metavar="PATH", autocompletion=complete_tests),
]
Word = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("-k", metavar="WORD", help="Run only tests with this word in their name."),
]
Update = Annotated[
    bool,
    typer.Option("--update", help="Write what was found into the test files, as the new"
                                  " expectations."),
]
JUnit = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--junit", metavar="FILE", dir_okay=False,
                 help="Also write the results as JUnit XML."),
]
RecordAs = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--record", metavar="NAME",
                 help="Really run the flow of PATH, and write a test with this name next to"
                      " it."),
]


def run_tests(
    paths: TestPaths = None,
    word: Word = None,
    update: Update = False,
    junit: JUnit = None,
    record: RecordAs = None,
    param: Param = None,
    env_file: EnvFile = None,
    log_level: Level = LogLevel.error,
    debug: Debug = False,
) -> None:
    """Run tests of flows, without calling anything.

    A test has the answers to the calls of its flow, and the expected result. Everything else is
    real: templates, conditions, loops, retries, outputs and masking. Waits take no time. If a step
    would call something and the test has no answer for it, the test fails. No home folder is used,
    and Dagster is not imported. The exit code is 0 if all tests pass, 1 if one fails, and 2 if a
    test file or its flow is wrong.

    `--record` really runs the flow, and writes the answers and the result into its test file,
    secrets masked. `--param` and `--env-file` are for that run.
    """
    from flowtoy_dagster.engine.storage.logs.console_log import set_log_level

    set_log_level(log_level.value)
    raise_interrupts()
    if record is not None:
        load_env_files(env_file or ())
        record_test(record, paths or (), param or ())
        return
    if param or env_file:
        raise UsageError("--param and --env-file are for --record; tests have `params` and `env`")
    _run_files(paths or ["."], word, update, junit)


def _run_files(paths: Sequence[str], word: str | None, update: bool, junit: Path | None) -> None:
    """Run the tests of all files, and print what came of them.

    Raises:
        ConfigError: a file is wrong; the tests of the others have run.
        UsageError: no test has the word.
        typer.Exit: a test failed.
    """
    from flowtoy_dagster.testing.files import CaseReader, find_files

    began = time.monotonic()
    reader, verdicts, errors = CaseReader(), [], []
    unmatched = 0
    for file in find_files(paths):
        try:
            cases = reader.read(file)
        except ConfigError as error:
            errors.append(error)
            continue
        chosen = [case for case in cases if word is None or _has_word(case, word)]
        unmatched += len(cases) - len(chosen)
        ran = _run(chosen)
        verdicts += _updated(file, ran) if update else ran
    if verdicts:
        _finish(verdicts, junit, time.monotonic() - began)
    if errors:
        raise ConfigError([problem for error in errors for problem in error.problems])
    if not verdicts:
        raise UsageError(f"no test has '{word}' in its name; there are {unmatched} others")
    if not all(verdict.passed for verdict in verdicts):
        raise typer.Exit(FlowtoyError.exit_code)


def _has_word(case: Case, word: str) -> bool:
    return word.lower() in case.config.name.lower()


def _run(cases: list[Case]) -> list[Verdict]:
    """Run the tests of one file, and print what came of each."""
    from flowtoy_dagster.testing.cases import run_case
    from flowtoy_dagster.testing.report import lines_of

    collect_garbage_again()
    found = []
    if cases:
        print(plain(cases[0].file))
    for case in cases:
        verdict = run_case(case)
        found.append(verdict)
        print(f"  {'ok    ' if verdict.passed else 'FAILED'}  {plain(case.config.name)}")
        for line in lines_of(verdict):
            print(f"    {plain(line)}")
    return found


def _updated(file: str, verdicts: list[Verdict]) -> list[Verdict]:
    """Write what was found into a file, and run the tests that it changes again."""
    from flowtoy_dagster.store.files import write_whole
    from flowtoy_dagster.testing.files import CaseReader
    from flowtoy_dagster.testing.update import read_as_written, updated

    try:
        text = read_as_written(file)
        new, count = updated(text, verdicts)
        if not count:
            return verdicts
        target = Path(os.path.realpath(file))
        write_whole(target, new.encode("utf-8"), stat.S_IMODE(target.stat().st_mode))
    except OSError as error:
        reason = system_reason(error)
        raise UsageError(f"can't write '{file}': {reason}") from None
    say(f"{file}: {count} expectation{'' if count == 1 else 's'} updated")
    names = {verdict.case.config.name for verdict in verdicts}
    cases = [case for case in CaseReader().read(file) if case.config.name in names]
    return _run(cases)


def _finish(verdicts: list[Verdict], file: Path | None, seconds: float) -> None:
    from flowtoy_dagster.testing.report import junit, summary

    print(plain_lines(summary(verdicts, seconds)))
    if file is None:
        return
    try:
        file.write_bytes(junit(verdicts))
    except OSError as error:
        reason = system_reason(error)
        raise UsageError(f"can't write '{file}': {reason}") from None

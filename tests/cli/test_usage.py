"""A command that is called in a wrong way says what to write, in our words."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from flowtoy_dagster.cli.app import make_app
from flowtoy_dagster.cli.parser.arguments import check_arguments
from flowtoy_dagster.cli.parser.commands import COMMANDS
from flowtoy_dagster.cli.parser.meanings import _MEANINGS
from flowtoy_dagster.cli.shared.serving import Door
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.flow.schema.durations import seconds_of_span

CALLS = {
    "run": "Missing argument 'CONFIG'. Name a YAML file, such as `flowtoy run flow.yaml`",
    "runs show": "Missing argument 'RUN'. `flowtoy runs show last` takes the latest run",
    "retry": "Missing argument 'RUN'. `flowtoy retry last` takes the latest run",
    "validate": "'PATH'. Name a YAML file or a folder, such as `flowtoy validate flow.yaml`",
    "step": "'NAME'. Name a step and a YAML file, such as `flowtoy step fetch flow.yaml`",
    "pools set": "Name a pool and its limit, such as `flowtoy pools set shop 4`",
    "run -n f.yaml": "No such option: -n; `flowtoy plan` shows what a run would do",
    "run --dryrun f.yaml": "No such option: --dryrun; `flowtoy plan` shows what a run would do",
    "-v": "No such option: -v; `flowtoy --version` prints the version",
    "validate --workers 3 f.yaml": "No such option: --workers ╰",
    "validate -v f.yaml": "No such option: -v ╰",
    "runs -n": "No such option: -n ╰",
    "run --max-workers many f.yaml": "'--max-workers': expected a whole number, got 'many'",
    "webui --port 99999": "'--port': expected at most 65535, got '99999'",
    "run --log-level loud f.yaml":
        "for '--log-level': 'loud' is not one of 'debug', 'info', 'warning', 'error'.",
    "run -v f.yaml": "No such option: -v; for more of the log, write --log-level info",
    "run --dry-run f.yaml": "No such option: --dry-run; `flowtoy plan` shows what a run would do",
    "run --max-worker 3 f.yaml": "No such option: --max-worker (Possible options: --max-workers",
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_a_wrong_call_says_what_to_write(call: str) -> None:
    done = CliRunner(env={"TERM": "dumb", "COLUMNS": "200"}).invoke(make_app(), call.split())
    assert done.exit_code == 2
    assert CALLS[call] in " ".join(done.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        ("chek", "flowtoy validate"), ("lgos", "flowtoy runs logs last"), ("lst", "flowtoy runs"),
        ("halp", "flowtoy --help"), ("help", "flowtoy --help"), ("help run", "flowtoy run --help"),
        ("rnu f.yaml", "flowtoy run"), ("f.yml", "flowtoy run f.yml"), ("tsts", "flowtoy test"),
        ("runs cancel", "flowtoy cancel"), ("runs shw", "flowtoy runs show"),
        ("runs list", "flowtoy runs"), ("pools list", "flowtoy pools"),
        ("state ls", "flowtoy state list"), ("state get", "flowtoy state show"),
        ("runs help show", "flowtoy runs show --help"),
        ("deploy help", "flowtoy deploy --help"),
    ],
)  # fmt: skip
def test_an_unknown_command_says_which_was_meant(call: str, meant: str) -> None:
    with pytest.raises(UsageError) as told:
        make_app()(call.split(), "flowtoy", standalone_mode=False)
    message, hint = str(told.value).splitlines()
    assert message.startswith("no such command '")
    assert hint == f"    did you mean '{meant}'?"


@pytest.mark.parametrize(("call", "group"), [("xyzzy", "flowtoy"), ("runs f.yaml", "flowtoy runs")])
def test_a_command_that_is_like_none_leads_to_the_list(call: str, group: str) -> None:
    with pytest.raises(UsageError, match=f"'{group} --help' lists the commands"):
        make_app()(call.split(), "flowtoy", standalone_mode=False)


def test_what_people_type_for_commands_leads_to_commands() -> None:
    commands = typer.main.get_command(make_app()).commands  # type: ignore[attr-defined]
    for word, meant in _MEANINGS.items():
        first, *rest = meant.split()
        assert word not in commands
        assert first in commands or first.startswith("--")
        assert not rest or rest == ["last"] or rest[0] in commands[first].commands


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("{{ a", "not a valid template: "), ("a[", "'[' is not closed by ']'"),
        ("", "it is empty"), ("{{ a | nope }}", "there is no filter 'nope'"),
    ],
)
def test_a_malformed_expression_is_a_wrong_call(expression: str, reason: str) -> None:
    with pytest.raises(UsageError, match=re.escape(reason)):
        make_app()(["eval", expression], "flowtoy", standalone_mode=False)


def test_a_retry_of_a_file_says_that_the_run_comes_first() -> None:
    with pytest.raises(UsageError) as told:
        make_app()(["retry", "f.yaml", "last:shop"], "flowtoy", standalone_mode=False)
    assert str(told.value) == (
        "'f.yaml' is a file, and the run comes first\n    flowtoy retry last:shop f.yaml"
    )


def test_a_port_in_use_names_the_option_that_took_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UsageError) as told:
        Door.take("127.0.0.1", taken.getsockname()[1], option="--status-port")
    assert str(told.value).endswith("\n    --status-port 0 takes one that is free")


@pytest.mark.parametrize(
    "arguments", [["init", ""], ["deploy", "init", ""]], ids=["init", "deploy init"]
)
def test_an_empty_folder_is_not_the_current_one(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner(env={"TERM": "dumb", "COLUMNS": "200"}).invoke(make_app(), arguments)
    assert (done.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "the name of the folder is empty; . is the current one" in done.output


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["run", "f.yaml", "-o", ""], "-o"), (["run", "--output-file=", "f.yaml"], "--output-file"),
        (["webui", "f.yaml", "--host", ""], "--host"), (["runs", "--flow", ""], "--flow"),
        (["run", "f.yaml", "--env-file", ""], "--env-file"),
        (["runs", "logs", "last", "a", "--item="], "--item"),
        (["state", "reset", "f", "--item", ""], "--item"), (["worker", "--queue", ""], "--queue"),
    ],
)
def test_an_option_with_an_empty_value_is_an_error(arguments: list[str], option: str) -> None:
    with pytest.raises(UsageError) as told:
        make_app()(arguments, "flowtoy", standalone_mode=False)
    assert str(told.value) == (
        f"{option}: the value is empty; a variable of the shell may not be set"
    )


@pytest.fixture
def files_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with a flow, a link to it, and values."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.yaml").write_text("flow: []\n")
    (tmp_path / "linked").symlink_to("flow.yaml")
    (tmp_path / "values").write_text("a: 1\n")


@pytest.mark.parametrize(
    "call",
    [
        "run flow.yaml -o flow.yaml", "run a.yaml ./flow.yaml --output-file=flow.yaml",
        "run -oflow.yaml flow.yaml -q", "run flow.yaml -o linked", "run -o flow.yaml -- flow.yaml",
        "run a.yaml --params-file values -o values", "run a.yaml --env-file=values -o ./values",
        "retry last flow.yaml -o flow.yaml", "serve flow.yaml --address-file flow.yaml",
        "webui flow.yaml --address-file flow.yaml", "test flow.yaml --junit flow.yaml",
        "test . --junit flow.yaml", "tui flow.yaml --address-file linked --status-port 0",
    ],
)
@pytest.mark.usefixtures("files_to_read")
def test_no_option_writes_over_what_the_command_reads(call: str) -> None:
    with pytest.raises(UsageError, match="is read by this command, and would be overwritten"):
        make_app()(call.split(), "flowtoy", standalone_mode=False)


@pytest.mark.parametrize(
    "call",
    ["run flow.yaml -o out.json", "run flow.yaml -o values", "test . --junit results.xml",
     "retry values -o values", "run flow.yaml -o -", "run flow.yaml -o /dev/null"],
)  # fmt: skip
@pytest.mark.usefixtures("files_to_read")
def test_other_files_may_be_written_over(call: str) -> None:
    commands = typer.main.get_command(make_app()).commands  # type: ignore[attr-defined]
    name, *arguments = call.split()
    check_arguments(commands[name], arguments)


def test_what_is_empty_behind_a_flag_or_two_dashes_is_an_argument() -> None:
    for arguments in (["validate", "--json", ""], ["runs", "logs", "--", "--item", ""]):
        done = CliRunner(env={"TERM": "dumb"}).invoke(make_app(), arguments)
        assert "the value is empty" not in done.output + str(done.exception)


@pytest.mark.parametrize("since", ["1y", "-1d", "soon"])
def test_a_span_that_is_none_says_what_to_write(since: str) -> None:
    reason = f"--since: '{since}' is not a span of time\n    write such as 30m, 12h"
    with pytest.raises(UsageError, match=reason):
        make_app()(["runs", "--since", since], "flowtoy", standalone_mode=False)


@pytest.mark.usefixtures("made_home")
@pytest.mark.parametrize("call", ["--since 99999999999999d", "--limit 99999999999999999999"])
def test_a_number_of_any_size_is_answered(call: str) -> None:
    runner = CliRunner(env={"TERM": "dumb", "COLUMNS": "200"})
    done = runner.invoke(make_app(), ["runs", *call.split()])
    assert done.exit_code in (0, 2), done.output
    assert done.exit_code == 0 or "expected at most" in done.output


@pytest.mark.parametrize(
    "call", ["", "run", "runs", "runs show", "runs open", "runs prune", "pools set", "webui"]
)
def test_help_shows_no_types_of_python(call: str) -> None:
    runner = CliRunner(env={"TERM": "dumb", "COLUMNS": "120"})
    done = runner.invoke(make_app(), [*call.split(), "--help"])
    assert "--help" in done.output
    assert not re.search("<(bool|str|int|list)", done.output)


@pytest.mark.parametrize(
    ("given", "seconds"), [("90", 90), ("30m", 1800), ("1d", 86400), ("2 weeks", 1209600)]
)
def test_spans_may_be_long(given: str, seconds: float) -> None:
    assert seconds_of_span(given) == seconds



def test_a_command_imports_no_other_command() -> None:
    program = """
import contextlib, io, sys, typer.main
from flowtoy_dagster.cli.app import COMMANDS, app_for
from flowtoy_dagster.errors import UsageError
print(list(typer.main.get_command(app_for(["validate", "flow.yaml"])).commands))
modules = sorted({command.place.partition(":")[0] for command in COMMANDS.values()})
print([name for name in modules if f"flowtoy_dagster.cli.{name}" in sys.modules])
for others in (["--help"], ["--version"], ["unknown"], ["--debug", "pools", "--help"]):
    with contextlib.suppress(SystemExit, UsageError), contextlib.redirect_stdout(io.StringIO()):
        app_for(others)(others, prog_name="flowtoy", standalone_mode=False)
    print([name for name in modules if f"flowtoy_dagster.cli.{name}" in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    only, pools = "['validate']", "['pools', 'validate']"
    assert done.stdout.splitlines() == [only, only, only, only, only, pools], done.stderr


def test_the_list_of_commands_says_how_the_help_of_each_begins() -> None:
    program = typer.main.get_command(make_app())
    made = program.commands  # type: ignore[attr-defined]
    assert list(COMMANDS) == program.list_commands(typer.Context(program))[: len(COMMANDS)]
    for name, command in COMMANDS.items():
        assert " ".join(made[name].help.split("\n\n")[0].split()) == command.summary
        for other, member in command.members.items():
            inner = made[name].commands[other]
            assert " ".join(inner.help.split("\n\n")[0].split()) == member.summary


@pytest.mark.parametrize("options", [["--token"], ["--no-token"], ["--address-file", "address"]])
def test_options_of_a_status_that_is_not_served_are_errors(
    options: list[str], flowtoy: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "flow.yaml").write_text(
        "flow: [{name: a, source: process, input: {command: [touch, called]}}]"
    )
    done = flowtoy("run", "flow.yaml", *options)
    assert (done.code, done.stdout) == (2, "")
    assert "nothing is served\n    add --status-port PORT" in done.stderr
    assert not (tmp_path / "called").exists()


def test_an_address_file_that_cannot_be_written_is_an_error_before_the_run(
    flowtoy: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "flow.yaml").write_text(
        "flow: [{name: a, source: process, input: {command: [touch, called]}}]"
    )
    done = flowtoy("webui", "flow.yaml", "--port", "0", "--address-file", "none/address")
    assert (done.code, done.stdout) == (2, "")
    assert "can't write 'none/address': no such file or directory" in done.stderr
    assert not (tmp_path / "called").exists()

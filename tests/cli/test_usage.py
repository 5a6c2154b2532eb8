"""A command that is called in a wrong way says what to write, in our words."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flowtoy_dagster.cli.app import make_app
from flowtoy_dagster.cli.shared.serving import Door
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.flow.schema.durations import seconds_of_span

CALLS = {
    "run": "Missing argument 'CONFIG'. Name a YAML file, such as `flowtoy run flow.yaml`",
    "runs show": "Missing argument 'RUN'. `flowtoy runs show last` takes the latest run",
    "retry": "Missing argument 'RUN'. `flowtoy retry last` takes the latest run",
    "validate": "Missing argument 'PATH'. `flowtoy validate --help` has examples",
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


def test_a_retry_of_a_file_says_that_the_run_comes_first() -> None:
    with pytest.raises(UsageError) as told:
        make_app()(["retry", "f.yaml", "last:shop"], standalone_mode=False)
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


@pytest.mark.parametrize("since", ["1y", "-1d", "soon", ""])
def test_a_span_that_is_none_says_what_to_write(since: str) -> None:
    reason = f"--since: '{since}' is not a span of time\n    write such as 30m, 12h"
    with pytest.raises(UsageError, match=reason):
        make_app()(["runs", "--since", since], standalone_mode=False)


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
import sys, typer.main
from flowtoy_dagster.cli.app import COMMANDS, app_for
print(list(typer.main.get_command(app_for(["validate", "flow.yaml"])).commands))
modules = {command.place.partition(":")[0] for command in COMMANDS.values()}
print([name for name in modules if f"flowtoy_dagster.cli.{name}" in sys.modules])
for others in ([], ["--help"], ["--debug", "run"], ["unknown"]):
    assert set(typer.main.get_command(app_for(others)).commands) == set(COMMANDS), others
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["['validate']", "['validate']"], done.stderr

"""A package that brings a provider, an output type, an executor and a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.errors import ConfigError
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.providers.kinds import describe, modules_for_calls

pytestmark = pytest.mark.usefixtures("csv_package")
ORDERS = "item;count\nbook;2\npen;3\n"


def errors_of(flow: str, tmp_path: Path) -> list[tuple[str, str, str | None]]:
    """The place (line and column), text and hint of everything that is wrong with a flow."""
    path = tmp_path / "flow.yaml"
    path.write_text(flow, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_flow(path)
    return [
        (f"{p.location.line}:{p.location.column}" if p.location else "", p.message, p.hint)
        for p in raised.value.problems
    ]


@pytest.mark.usefixtures("made_home")
def test_one_flow_uses_everything_that_the_package_brings(
    flowtoy: Callable[..., Any], write: Callable[..., Path], tmp_path: Path, site: Path
) -> None:
    # language 3.2, 5.3, 5.5, 7.1, 10.4
    (tmp_path / "orders.csv").write_text(ORDERS)
    done = flowtoy(
        "run",
        write("""
            runner: {executor: logged, executor_options: {file: runs.log}}
            sources: {orders: {type: csv, delimiter: "{{ ';' }}"}}
            flow:
              - name: read
                source: orders
                input: {path: orders.csv, most: "{{ 1 }}"}
                output: [{name: rows}, {name: count, value: meta.rows}]
              - name: items
                source: {base: orders, override: {path: orders.csv}}
                input: [item]
                output: [{name: all, value: "[].item"}]
              - name: found
                source: {type: process, command: ["echo", "order 17 of {{ flows.read.count }}"]}
                output: [{name: number, type: pattern, value: "[0-9]+"},
                         {name: none, type: pattern, value: "x"}]
        """),
        "-j",
        env={"PYTHONPATH": str(site)},
    )
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout) == {
        "read": {"rows": [{"item": "book", "count": "2"}], "count": 2},
        "items": {"all": ["book", "pen"]},
        "found": {"number": "17", "none": None},
    }
    assert (tmp_path / "runs.log").read_text() == "a run\n"


def test_a_model_of_another_package_is_checked_at_its_place(tmp_path: Path) -> None:
    # language 3.3
    found = errors_of(
        "flow:\n"
        "  - name: a\n"
        "    source: {type: csv, path: a.csv, delimitr: x, most: none}\n"
        "  - name: b\n"
        "    source: csv\n"
        "    input: {path: b.csv, most: 0}\n"
        "  - name: c\n"
        "    source: csv\n"
        "  - {name: d, source: {type: csv, path: '{{ env.X }}', most: '{{ 1 }}', x-note: 1}}\n",
        tmp_path,
    )
    assert found == [
        ("3:38", "unknown key 'delimitr'", "did you mean 'delimiter'?"),
        ("3:57", "expected a whole number, got 'none'", None),
        ("6:32", "must be greater than 0, got the number 0", None),
        ("7:5", "the key 'path' is required", None),
    ]


def test_a_request_of_another_package_is_no_mixture(tmp_path: Path) -> None:
    # language 5.3
    found = errors_of(
        "flow: [{name: a, source: csv, input: {path: a.csv, mots: 1}}]", tmp_path
    )
    message = "the input mixes request keys of 'csv' with others: 'mots'"
    assert found == [("1:52", message, "did you mean 'most'?")]


def test_a_step_is_described_and_its_modules_are_imported_before_workers_are(
    csv_package: Path,
) -> None:
    flow = load_flow(csv_package / "flow.yaml")
    assert describe(flow.step("read").source) == "the rows of orders.csv"
    assert modules_for_calls(step.source for step in flow.steps) == ("csv",)


def test_a_value_that_an_output_type_finds_wrong_has_a_place(tmp_path: Path) -> None:
    # language 7.1
    found = errors_of(
        "flow:\n"
        "  - name: a\n"
        "    source: env\n"
        "    output:\n"
        "      - {name: x, type: pattern, value: '['}\n"
        "      - {name: y, type: pattern}\n"
        "      - {name: z, type: patern, value: a}\n"
        "      - {name: u, type: pattern, value: 1}\n",
        tmp_path,
    )
    known = "'raw', 'json', 'jmespath', 'template', 'file', 'pattern'"
    assert found == [
        ("5:41", "malformed pattern '[': unterminated character set at position 0", None),
        ("6:9", "an output of type 'pattern' needs a 'value'", None),
        ("7:25", f"'patern' is not one of {known}", "did you mean 'pattern'?"),
        ("8:41", "expected text, got the number 1", "put it in quotes"),
    ]


def test_options_of_an_executor_are_checked_at_their_place(tmp_path: Path) -> None:
    # language 10.4
    flow = "flow: [{name: a, source: env}]\n"
    assert errors_of(f"{flow}runner: {{executor: logged}}", tmp_path) == [
        ("2:9", "the key 'file' is required", "under 'executor_options'")
    ]
    options = "executor_options: {fiel: a, file: 1}"
    assert errors_of(f"{flow}runner: {{executor: logged, {options}}}", tmp_path) == [
        ("2:47", "unknown key 'fiel'", "did you mean 'file'?"),
        ("2:62", "expected text, got the number 1", "put it in quotes"),
    ]
    assert errors_of(f"{flow}runner: {{{options}}}", tmp_path)[0] == (
        "2:29", "unknown key 'fiel'", "there are none"
    )
    assert errors_of(f"{flow}runner: {{executor: loged}}", tmp_path) == [
        ("2:20", "'loged' is not one of 'warm', 'multiprocess', 'in_process', 'workers', "
         "'celery', 'dask', 'logged'",
         "did you mean 'logged'?")
    ]


def test_a_command_of_a_package_is_called_listed_and_suggested(
    flowtoy: Callable[..., Any], tmp_path: Path, site: Path
) -> None:
    (tmp_path / "orders.csv").write_text(ORDERS)
    env = {"PYTHONPATH": str(site), "COLUMNS": "120"}
    assert flowtoy("count-rows", "orders.csv", env=env).stdout == "2\n"
    listed = flowtoy("--help", env=env)
    assert "From the package 'flowtoy-csv'" in listed.stdout
    help_text = flowtoy("count-rows", "--help", env=env).stdout
    assert "Print how many rows a CSV file has." in help_text
    assert "--install-completion" not in help_text
    misspelt = flowtoy("count-row", env=env)
    assert (misspelt.code, misspelt.stdout) == (2, "")
    assert "no such command 'count-row'\n    did you mean 'flowtoy count-rows'?" in misspelt.stderr


def test_names_and_options_are_checked_and_commands_listed_without_dagster(
    csv_package: Path, site: Path
) -> None:
    program = f"""
import sys
from flowtoy_dagster import load_flow
flow = {{"flow": [{{"name": "a", "source": "csv", "input": {{"path": "a.csv"}},
         "output": [{{"name": "x", "type": "pattern", "value": "a"}}]}}],
         "runner": {{"executor": "logged", "executor_options": {{"file": "a"}}}}}}
assert load_flow(flow).runner.executor == "logged"
assert load_flow({str(csv_package / "flow.yaml")!r})
print("dagster" in sys.modules)
from flowtoy_dagster.cli.app import make_app
make_app()(["--help"], "flowtoy", standalone_mode=False)
print("dagster" in sys.modules, "flowtoy_csv.commands" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(site)})
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("False", "False False"), done.stderr

"""One step, or one expression, by itself: `flowtoy step` and `flowtoy eval`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.cli.testing import step as commands
from flowtoy_dagster.errors import FlowtoyError, UsageError

FLOW = """\
sources:
  api: {type: rest, base_url: "http://127.0.0.1:9", headers: {X-Token: "{{ env.THE_TOKEN }}"}}
flow:
  - name: login
    source: process
    input: {command: [echo, '{"token": "learned-s3cret", "pin": 918273}']}
    output:
      - {name: token, type: jmespath, value: token}
      - {name: pin, type: jmespath, value: pin, secret: true}
      - {name: names, type: template, value: "{{ ['ada', 'grace'] }}"}
  - name: rows
    source: api
    on_error: continue
    input: {url: /rows, method: POST, json: {who: "{{ flows.login.token }}", password: x1}}
    output: [{name: all, type: file, format: jsonl, path: rows.jsonl}]
  - name: each
    source: process
    for_each: {in: "{{ flows.login.names }}", key: "{{ item }}"}
    input: {command: [sh, -c, "echo $1 >> called; echo $1", x, "{{ item }}"]}
    output: [{name: text, value: stdout}]
"""


def call(command: Callable[..., Any], *values: Any, **more: Any) -> None:
    command(*values, **more)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THE_TOKEN", "t0ken-of-the-api")
    # It would change how all of this process logs.
    monkeypatch.setattr(commands, "begin", lambda *_: None)
    Path("flow.yaml").write_text(FLOW, encoding="utf-8")
    return tmp_path


@pytest.fixture
def ran(folder: Path, made_home: Path) -> Path:
    run = run_flow("flow.yaml")
    assert run.outputs["login"] is not None, [s.error for s in run.status.steps.values()]
    Path("called").unlink()
    return folder


def test_a_step_alone_takes_what_it_needs_from_a_run_and_shows_no_secret(
    ran: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(commands.step, "rows", ["flow.yaml"], with_run="last", dry=True)
    shown = capsys.readouterr()
    assert shown.err == "POST http://127.0.0.1:9/rows\n"
    facts = json.loads(shown.out)
    assert facts["json"] == {"who": "***", "password": "***"}
    assert facts["headers"] == {"X-Token": "***"}
    assert not Path("rows.jsonl").exists()

    call(commands.step, "each", ["flow.yaml"], with_run="last", dry=True)
    shown = capsys.readouterr()
    assert "(item 'ada')" in shown.err
    assert not Path("called").exists()
    call(commands.step, "each", ["flow.yaml"], item="grace", with_run="last")
    assert json.loads(capsys.readouterr().out) == {"text": ["grace\n"]}
    assert Path("called").read_text() == "grace\n"
    with pytest.raises(FlowtoyError, match="no item 'bob'; the first: 'ada', 'grace'"):
        call(commands.step, "each", ["flow.yaml"], item="bob", with_run="last")

    for expression, value in {
        "{{ flows.each.text | length }}": 2,
        "each.text[1]": "grace\n",
        "login": {"token": "***", "pin": "***", "names": ["ada", "grace"]},
        "{{ 'x' ~ flows.login.token }}": "x***",
        "rows": None,
        "{{ steps.rows.state }}": "failed",
    }.items():
        call(commands.evaluate, expression)
        assert json.loads(capsys.readouterr().out) == value
    call(commands.evaluate, "flows.each.text")
    shown = capsys.readouterr()
    assert shown.out == "null\n"
    assert shown.err.splitlines() == [
        "'flows.each.text' finds nothing: the data has 'login', 'rows', 'each'",
        "    for a template write '{{ flows.each.text }}'",
    ]
    with pytest.raises(FlowtoyError) as error:
        call(commands.evaluate, "{{ flows.login.token | int('x') + flows.nobody.x }}")
    assert "learned" not in str(error.value)


def test_a_step_alone_prints_its_outputs_or_fails(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(commands.step, "login", ["flow.yaml"])
    assert json.loads(capsys.readouterr().out) == {
        "token": "***", "pin": "***", "names": ["ada", "grace"]
    }
    with pytest.raises(UsageError, match="depends on 'login'\n    give --with RUN"):
        call(commands.step, "rows", ["flow.yaml"])
    with pytest.raises(UsageError, match="there is no step 'logn'\n    did you mean 'login'"):
        call(commands.step, "logn", ["flow.yaml"])
    with pytest.raises(UsageError, match="has no items"):
        call(commands.step, "login", ["flow.yaml"], item="x")
    Path("bad.yaml").write_text("flow: [{name: a, source: process, input: {command: ['false']}}]")
    with pytest.raises(FlowtoyError, match="step 'a' failed: false exited with code 1"):
        call(commands.step, "a", ["bad.yaml"])

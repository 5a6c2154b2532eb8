"""Parameters in runs: fixed when they are made, seen by Dagster, and secret where they are."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flowtoy_dagster import ConfigError, build_job, load_flow, run_flow
from flowtoy_dagster.runs.history import History

GIVEN = "sesame-given-1"
BY_VARIABLE = "sesame-variable-2"
FLOW = """\
params:
  size: 1
  other: x
  given: {secret: true}
  token: {env: RUN_TOKEN}
flow:
  - name: secrets
    source: process
    input:
      command: [echo, "{{ params.given }} {{ params.token }}"]
    output: [{name: line, value: stdout}]
  - name: sized
    source: process
    input: {command: "test {{ params.size }} = 2"}
  - name: apart
    source: {type: process, command: [echo, "{{ params.other }}"]}
    output: [{name: line, value: stdout}]
"""


def files_of(home: Path) -> Iterator[Path]:
    return (path for path in home.rglob("*") if path.is_file())


def holds(path: Path, text: str) -> bool:
    if path.suffix == ".db":
        with sqlite3.connect(path) as opened:
            return any(text in line for line in opened.iterdump())
    return text.encode() in path.read_bytes()


def test_a_run_and_its_retries_keep_values_and_hide_secrets(
    write: Callable[..., Path], flowtoy: Callable[..., Any], home: Path
) -> None:
    flow = write(FLOW)
    secret = write(f"given: {GIVEN}", "secret.yaml")
    env = {"RUN_TOKEN": BY_VARIABLE}
    ran = flowtoy("run", flow, "--params-file", secret, "-j", "--log-level", "debug", env=env)
    # language 15.3: the step that needs another size has failed
    assert (ran.code, ran.json["sized"]) == (1, None)
    shown = flowtoy("runs", "show", "last", "--json").json["params"]
    # language 15.5
    assert shown == {"size": 1, "other": "x", "given": "***", "token": "***"}

    # language 15.5: a secret that was given is given to a retry too; a changed value is used
    retried = flowtoy("retry", "last", "--param", "size=2", "-j", env=env)
    assert retried.code == 0, retried.stderr
    assert "    - " in retried.stderr
    assert retried.json["secrets"]["line"] == "*** ***\n"
    lacking = flowtoy("retry", "last", "--param", "size=3")
    assert lacking.code == 2
    assert "or set RUN_TOKEN" in lacking.stderr
    again = flowtoy("retry", "last", "--from", "secrets", "-j", "--show-secrets", env=env)
    assert again.json["secrets"]["line"] == f"{GIVEN} {BY_VARIABLE}\n"

    # language 15.4, 13.3
    outputs = flowtoy("runs", "outputs", "last", "-j")
    said = "".join(done.stdout + done.stderr for done in (ran, retried, lacking, outputs))
    for value in (GIVEN, BY_VARIABLE):
        assert value not in said
        for path in files_of(home):
            if holds(path, value):
                assert home / "flowtoy-records" in path.parents, path
                assert path.stat().st_mode & 0o777 == 0o600, path


def test_the_launchpad_knows_types_defaults_and_descriptions() -> None:
    # language 15.4, 15.5
    flow = load_flow(
        {
            "params": {
                "region": {"enum": ["eu", "us"], "default": "eu", "description": "where"},
                "pages": {"enum": [1, 2], "type": "integer"},
                "ratio": {"type": "number", "default": None},
                "dry": False,
                "rows": [1, None],
                "options": {"type": "object", "default": {"a": {"b": None}}},
                "pin": {"secret": True},
            },
            "flow": [{"name": "a", "source": "env"}],
        }
    )
    schema = build_job(flow).resource_defs["params"].config_schema.as_field()
    fields = schema.config_type.fields  # type: ignore[attr-defined]
    assert {name: field.description for name, field in fields.items()} == {
        "region": "where", "pages": "One of 1, 2.", "ratio": None, "dry": None, "rows": None,
        "options": None,
    }
    assert {name for name, field in fields.items() if field.is_required} == {"pages"}
    assert fields["region"].config_type.config_values == ["eu", "us"]
    checked = dg.validate_run_config(
        build_job(flow), {"resources": {"params": {"config": {"pages": 2}}}}
    )
    assert checked["resources"]["params"]["config"] == {  # type: ignore[index]
        "region": "eu", "pages": 2, "ratio": None, "dry": False, "rows": [1, None],
        "options": {"a": {"b": None}},
    }
    with pytest.raises(dg.DagsterInvalidConfigError, match="not in enum type flow___region"):
        dg.validate_run_config(
            build_job(flow), {"resources": {"params": {"config": {"region": "mars", "pages": 1}}}}
        )


def test_a_run_of_the_launchpad_lacks_only_what_its_process_lacks(home: Path) -> None:
    # language 15.4, 15.5, 6.4
    config = {
        "params": {"pages": {"enum": [1, 2]}, "token": {"env": "UNSET_VARIABLE"}, "x": 1},
        "flow": [
            {"name": name, "source": "process", "on_error": "continue", "input": {
                "command": ["echo", "{{ params." + name + " }}"]
            }}
            for name in ("pages", "token", "x")
        ],
        "runner": {"executor": "in_process"},
    }
    with History() as history:
        done = build_job(config).execute_in_process(
            run_config={"resources": {"params": {"config": {"pages": 3}}}},
            instance=history.instance,
        )
        checks = {
            event.step_key: event.step_expectation_result_data.expectation_result.description
            for event in done.all_events
            if event.event_type == dg.DagsterEventType.STEP_EXPECTATION_RESULT
        }
    assert checks == {
        "pages": "input.command[1]: the parameter 'pages' is wrong: "
        "the number 3 is not one of 1, 2",
        "token": "input.command[1]: the parameter 'token' has no value: "
        "the variable UNSET_VARIABLE is not set",
    }


def test_run_flow_takes_values_and_refuses_what_is_missing() -> None:
    # language 15.3
    config = {
        "params": {"day": {"type": "string"}, "limit": 2},
        "flow": [{"name": "a", "source": {"type": "process", "command": ["echo"]},
                  "input": "{{ params.day }} {{ params.limit }}",
                  "output": [{"name": "line", "value": "stdout"}]}],
    }
    assert run_flow(config, params={"day": "monday"}).outputs == {"a": {"line": "monday 2\n"}}
    with pytest.raises(ConfigError, match="the parameter 'day' has no value"):
        run_flow(config, params={"limit": 3})
    with pytest.raises(ConfigError, match="the parameter 'day' has no value"):
        run_flow(config)


# language 15.4, 13.3
@pytest.mark.parametrize(
    ("kind", "given"), [("integer", "7391512345"), ("number", "73915.25"), ("integer", "-73915")]
)
@pytest.mark.parametrize("by_variable", [False, True])
def test_a_secret_number_is_hidden_in_every_text(
    write: Callable[..., Path], flowtoy: Callable[..., Any], home: Path, kind: str, given: str,
    by_variable: bool,
) -> None:  # fmt: skip
    flow = write(f"""
        params: {{pin: {{type: {kind}, secret: true, env: RUN_PIN}}}}
        flow:
          - name: a
            source: process
            input:
              command: [sh, -c, 'echo "pin $PIN"; test "$PIN" = x']
              env: {{PIN: "{{{{ params.pin }}}}"}}
            output: [{{name: line, value: stdout}}]
            on_error: continue
          - {{name: b, source: {{type: process, command: [echo, "of {{{{ params.pin }}}}"]}},
              output: [{{name: line, value: stdout}}]}}
    """)
    option = () if by_variable else ("--param", f"pin={given}")
    env = {"RUN_PIN": given} if by_variable else {}
    ran = flowtoy("run", flow, "-j", "--log-level", "debug", *option, env=env)
    assert ran.json["b"]["line"] == "of ***\n"
    assert given not in ran.stdout + ran.stderr
    # What steps give each other is whole.
    kept = [path for path in files_of(home) if "flowtoy-records" not in path.parts]
    assert [path for path in kept if holds(path, given)] == []


# language 13.1
def test_a_long_number_within_a_secret_mapping_is_hidden_in_texts(
    write: Callable[..., Path], flowtoy: Callable[..., Any]
) -> None:
    flow = write("""
        params: {account: {type: object, secret: true}}
        flow:
          - name: a
            source: process
            input: {command: [echo, "{{ params.account.iban }} for {{ params.account.days }} days"]}
            output: [{name: line, value: stdout}]
    """)
    ran = flowtoy("run", flow, "--param", 'account={"iban": [7391512345], "days": 3600}')
    assert ran.json["a"]["line"] == "[***] for 3600 days\n"
    assert "7391512345" not in ran.stdout + ran.stderr


# language 15.2, 15.3
@pytest.mark.parametrize("executor", ["warm", "in_process", "multiprocess"])
def test_a_number_keeps_its_digits(
    write: Callable[..., Path], flowtoy: Callable[..., Any], executor: str
) -> None:
    flow = write(f"""
        runner: {{executor: {executor}}}
        params:
          given: {{type: number}}
          default: {{type: number, default: 9007199254740993}}
          share: {{type: number, default: 5}}
          ratio: {{type: number, default: 2.50}}
        flow:
          - name: a
            source: {{type: process, command: [cat], pass_to: stdin}}
            input: {{type: value, value: "{{{{ params }}}}"}}
            output: [{{name: seen, type: json}}]
    """)
    ran = flowtoy("run", flow, "-j", "--param", "given=-123456789012345678901")
    seen = ran.json["a"]["seen"]
    assert seen == {"given": -123456789012345678901, "default": 9007199254740993, "share": 5,
                    "ratio": 2.5}  # fmt: skip
    assert {type(seen[name]) for name in ("given", "default", "share")} == {int}
    again = flowtoy("retry", "last", "--from", "a", "-j")
    assert again.json["a"]["seen"] == seen

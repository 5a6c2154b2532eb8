"""The values of parameters that a run keeps in a file of its own, once that file is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
Write = Callable[..., Path]


def flow_with(param: str, condition: str) -> str:
    """A flow with a parameter, whose step fails until there is a file `ready`, or else where a
    condition on the parameter does not hold.
    """
    return f"""\
params:
  {param}
sources:
  sh:
    type: process
    configuration: {{command: "sh -c 'test -e ready && test {condition}'"}}
flow:
  - {{name: a, source: sh}}
"""


WEAK = flow_with(
    "token: {type: string, secret: true, default: weak}", "{{ params.token }} = strong"
)
ORDERED = flow_with("shown: {type: object, default: {}}", "{{ params.shown | join }} = ba")
USED_BY_ONE = """\
params:
  token: {type: string, secret: true, default: weak}
sources:
  sh:
    type: process
    configuration: {command: "sh -c 'rm -f $FLOWTOY_HOME/flowtoy-records/*/params'"}
  echo: {type: process, configuration: {command: "echo {{ params.token }}"}}
  env: {type: env}
flow:
  - {name: first, source: sh}
  - {name: uses, source: echo, depends_on: [first], on_error: continue}
  - {name: other, source: env, depends_on: [first]}
"""
GONE = "had a value in the run, which is gone: its file was deleted, or can't be read"


def _lose(home: Path, how: str) -> None:
    for file in home.glob("flowtoy-records/*/params"):
        if how == "deleted":
            file.unlink()
        else:
            file.write_text("{")


@pytest.mark.parametrize("how", ["deleted", "damaged"])
@pytest.mark.parametrize(
    ("flow", "name", "value"),
    [(WEAK, "token", "strong"), (ORDERED, "shown", '{"b": 1, "a": 2}')],
)
def test_a_value_that_is_gone_is_asked_for_and_no_default_takes_its_place(
    flowtoy: Run, write: Write, home: Path, how: str, flow: str, name: str, value: str
) -> None:
    # language 15.3
    path = write(flow)
    assert flowtoy("run", path, "--param", f"{name}={value}").code == 1
    (path.parent / "ready").touch()
    _lose(home, how)
    refused = flowtoy("retry", "last")
    assert refused.code == 2
    assert f"the parameter '{name}' {GONE}" in refused.stderr
    assert f"give --param {name}=…" in refused.stderr
    assert flowtoy("runs", "show", "last").code == 0
    again = flowtoy("retry", "last", "--param", f"{name}={value}")
    assert again.code == 0, again.stderr


def test_a_default_that_nobody_replaced_is_not_lost(
    flowtoy: Run, write: Write, home: Path
) -> None:
    path = write(WEAK.replace("strong", "weak"))
    assert flowtoy("run", path).code == 1
    (path.parent / "ready").touch()
    _lose(home, "deleted")
    assert flowtoy("retry", "last").code == 0


def test_a_step_whose_value_is_gone_fails_and_the_others_do_not(
    flowtoy: Run, write: Write
) -> None:
    done = flowtoy("run", write(USED_BY_ONE), "--param", "token=strong")
    assert done.code == 0, done.stderr
    assert f"the parameter 'token' {GONE}" in done.stderr
    assert done.json["uses"] is None
    assert done.json["other"] is not None

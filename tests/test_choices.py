"""What docs/reference/choices.md says of the places where the language is silent."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import ConfigError, load_flow

RUN = """
sources:
  home: {type: env, vars: HOME}
  cat: {type: process, command: [cat], pass_to: stdin}
x-defaults: &defaults {source: cat, input: merged}

flow:
  - name: keys
    source: cat
    input: {on: 1, 1: 2, null: 3, "{{ env.HOME }}": 4, when: 2026-01-02, x-note: 5}
    output: [{name: all, type: json}]
  - name: merge key
    <<: *defaults
    input: own
    output: [{name: text, value: stdout}]
  - name: empty payload
    source: cat
    input: {}
    output: [{name: text, value: stdout}]
  - name: three keys
    source: cat
    input: {type: value, value: 1, more: 2}
    output: [{name: all, type: json}]
  - name: one variable
    source: home
    output: [{name: all}]
  - name: block
    source: cat
    input: |
      {{ [1, none] }}
    output: [{name: all, type: json}]
  - name: text
    source: cat
    input: "{{ [true] ~ {'a': none} }} {{ [[1], 2] | join(',') }} {{ {'a': true} | string }}"
    output: [{name: text, value: stdout}]
  - name: key before method
    source: cat
    input: {items: 7}
    output: [{name: items, value: "{{ result.items }}"}]
  - name: started
    source: cat
    input: "{{ run.started_at }}"
    output: [{name: text, value: stdout}]
  - name: several names
    source: {type: process, command: [echo, '{"a": 1, "stdout": 5}']}
    output:
      - {name: both, value: "[a, returncode]"}
      - {name: own, value: stdout}
  - name: shell
    source: process
    input: {command: "echo {{ 'a b' }} {{ 'c' | shquote }}; env | grep ^FLOWTOY_VALUE_ | sort"}
    output: [{name: text, value: stdout}]
  - name: one argument
    source: process
    input: {command: "printf [%s] x{% if true %} y z{% endif %}"}
    output: [{name: text, value: stdout}]
  - name: null variable
    source: process
    input: {command: [sh, -c, 'echo "[${FOO-unset}]"'], env: {FOO: null}}
    output: [{name: text, value: stdout}]
"""


@pytest.mark.timeout(800)
def test_what_a_run_shows_of_the_choices(
    flowtoy: Callable[..., Any], write: Callable[..., Path]
) -> None:
    done = flowtoy("run", write(RUN), "-j")
    assert done.code == 0, done.stderr
    outputs = done.json
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", outputs.pop("started")["text"]
    )
    assert outputs == {
        "keys": {"all": {"on": 1, "1": 2, "null": 3, "{{ env.HOME }}": 4,
                         "when": "2026-01-02", "x-note": 5}},
        "merge key": {"text": "own"},
        "empty payload": {"text": "{}"},
        "three keys": {"all": {"type": "value", "value": 1, "more": 2}},
        "one variable": {"all": {"HOME": os.environ["HOME"]}},
        "block": {"all": [1, None]},
        "text": {"text": '[true]{"a":null} [1],2 {"a":true}'},
        "key before method": {"items": 7},
        "several names": {"both": [1, 0], "own": '{"a": 1, "stdout": 5}\n'},
        "shell": {"text": "a b c\nFLOWTOY_VALUE_1=a b\nFLOWTOY_VALUE_2=c\n"},
        "one argument": {"text": "[x y z]"},
        "null variable": {"text": "[]\n"},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "flow: [{name: a, source: env, input: .nan}]", "not a number that JSON can hold",
            id="not a number",
        ),
        pytest.param(
            "sources: {x-a: {}}\nflow: [{name: a, source: x-a}]", "are notes, not sources",
            id="note as a source",
        ),
        pytest.param(
            "flow: [{name: a, source: rest, input: {url: '{% set env = 1 %}'}}]",
            "'env' can't be assigned", id="assigned",
        ),
        pytest.param(
            "flow: [{name: a, source: rest, input: {url: '{% for run in [] %}{% endfor %}'}}]",
            "'run' can't be assigned", id="assigned by a loop",
        ),
        pytest.param(
            "flow: [{name: a, source: rest, input: {url: '{{ flow.b.x }}'}}]",
            "outputs of steps are under 'flows'", id="unknown name",
        ),
        pytest.param(
            "flow: [{name: a, source: rest, input: {url: '{% include \"x\" %}'}}]",
            "'include' can't be used", id="include",
        ),
        pytest.param(
            "flow: [{name: a, source: env, output: [{name: o, type: raw, value: x}]}]",
            "takes no 'value'", id="raw with a value",
        ),
        pytest.param(
            "flow: [{name: a, source: env, output: [{name: o, type: template}]}]",
            "needs a 'value'", id="template without one",
        ),
        pytest.param(
            "flow: [{name: a, source: env}, {name: b, source: env, input: '{{ steps.a.stat }}'}]",
            "did you mean 'state'?", id="attribute of a step",
        ),
        pytest.param(
            "flow: [{name: a, source: env, x: " + "[" * 101 + "]" * 101 + "}]",
            "nested more than 100 levels deep", id="depth",
        ),
        pytest.param("#" * (4 * 2**20 + 1), "larger than 4 MiB", id="size"),
    ],
)
def test_a_choice_that_refuses_something(
    text: str, message: str, write: Callable[..., Path]
) -> None:
    with pytest.raises(ConfigError) as refusal:
        load_flow(write(text))
    assert message in str(refusal.value)


def test_templates_of_outputs_retry_and_timeout_make_dependencies() -> None:
    flow = load_flow(
        {
            "flow": [
                *({"name": name, "source": "env", "output": [{"name": "o"}]} for name in "abc"),
                {
                    "name": "d",
                    "source": "env",
                    "output": [{"name": "t", "value": "{{ flows.a.o }}"}],
                    "retry": {"max": "{{ flows.b.o }}"},
                    "timeout": "{{ flows.c.o }}",
                },
            ]
        }
    )
    assert flow.name == "flow"
    assert {d.step: d.reasons for d in flow.step("d").dependencies} == {
        "a": ("output t",), "b": ("retry.max",), "c": ("timeout",)
    }

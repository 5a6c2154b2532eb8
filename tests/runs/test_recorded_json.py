"""JSON in recorded answers stays JSON where secrets are hidden in it, so that a replay reads it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtoy_dagster import run_flow
from flowtoy_dagster.masking.json_texts import hidden_in_text
from flowtoy_dagster.masking.mask import Mask

PIN = 91827364
WORD = "s3cret-of-the-api"

FLOW = """\
runner: {executor: in_process}
flow:
  - name: login
    source: process
    input: {command: [cat, answer]}
    output:
      - {name: pin, type: jmespath, value: "PATH", secret: true}
  - name: use
    source: process
    input: {command: [cat, answer]}
    output: [OUTPUT]
    depends_on: [login]
  - name: each
    source: process
    for_each: {in: "{{ flows.use.found }}", key: "{{ loop.index0 }}"}
    input: {command: [echo, "{{ loop.index0 }}"]}
    output: [{name: text, value: stdout}]
"""
IDS = '{name: found, type: jmespath, value: "rows[*].id"}'
INNER = '{name: found, value: "{{ (result.data.stdout | fromjson).inner | fromjson }}"}'
LINES = "{name: found, value: \"{{ result.data.stdout.splitlines() | map('fromjson') | list }}\"}"
ROWS = '"rows": [{"id": 1}, {"id": 2}]'


@pytest.mark.parametrize(
    ("answer", "path", "output"),
    [
        (f'{{"pin": {PIN}, {ROWS}}}', "pin", IDS),
        (f'{{"pins": [{{"pin": {PIN}.5}}], {ROWS}}}', "pins[0].pin", IDS),
        (f'{{"pin": -{PIN}, {ROWS}}}', "pin", IDS),
        (f'{{"pin": {PIN}, "of": [{PIN}00, {{"{PIN}": 1}}], {ROWS}}}', "pin", IDS),
        (f'{{"pin": {PIN}, "inner": "[{PIN}, 2]"}}', "pin", INNER),
        (f'{{"pin": {PIN}}}\n{{"pin": 1}}\n', "", LINES),
    ],
    ids=["number", "fraction", "negative", "within a number and a key", "JSON in JSON", "lines"],
)
def test_a_secret_number_in_json_text_does_not_break_the_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, path: str, output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    value = f'"{path}"' if path else '"{{ (result.data.stdout.splitlines()[0] | fromjson).pin }}"'
    kind = "jmespath" if path else "template"
    flow = FLOW.replace('"PATH"', value).replace("type: jmespath, value", f"type: {kind}, value", 1)
    Path("flow.yaml").write_text(flow.replace("OUTPUT", output))
    Path("answer").write_text(answer)
    recorded = run_flow("flow.yaml", record="rec")
    assert recorded.success, [step.error for step in recorded.status.steps.values()]
    assert not [file for file in Path("rec").rglob("*.json") if str(PIN) in file.read_text()]
    replayed = run_flow("flow.yaml", replay="rec")
    assert replayed.success, [step.error for step in replayed.status.steps.values()]
    assert not replayed.unrecorded
    assert replayed.outputs["each"] == recorded.outputs["each"] == {"text": ["0\n", "1\n"]}


def test_a_secret_number_in_a_query_a_header_and_a_body_can_be_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Callable[..., str]
) -> None:
    def answer(asked: Any) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"Content-Type": "text/plain", "X-Facts": json.dumps({"pin": PIN})}
        return 200, headers, json.dumps({"pin": PIN, "n": 3}).encode()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("API", serve(answer))
    Path("flow.yaml").write_text("""\
        runner: {executor: in_process}
        sources: {api: {type: rest, base_url: "{{ env.API }}"}}
        flow:
          - name: login
            source: api
            input: {url: /login}
            output:
              - {name: pin, value: "{{ (result.data | fromjson).pin }}", secret: true}
              - {name: head, value: "{{ (result.meta.headers['X-Facts'] | fromjson) }}",
                 secret: true}
          - name: ask
            source: api
            input:
              url: "/ask/{{ flows.login.pin }}"
              method: POST
              params: {pin: "{{ flows.login.pin }}", all: '{"pin": {{ flows.login.pin }}}'}
              headers: {X-Pin: "{{ flows.login.pin }}", X-All: "{{ flows.login.head | tojson }}"}
              json: {pin: "{{ flows.login.pin }}", text: "[{{ flows.login.pin | tojson }}]"}
            output: [{name: n, value: "{{ (result.data | fromjson).n }}"}]
        """)
    recorded = run_flow("flow.yaml", record="rec")
    assert recorded.success, [step.error for step in recorded.status.steps.values()]
    assert not [file for file in Path("rec").rglob("*.json") if str(PIN) in file.read_text()]
    replayed = run_flow("flow.yaml", replay="rec")
    assert replayed.success, [step.error for step in replayed.status.steps.values()]
    assert replayed.outputs["ask"] == recorded.outputs["ask"] == {"n": 3}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f'{{"a" : {PIN} ,\n "b": 1.0}}', '{"a" : "***" ,\n "b": 1.0}'),
        (f'{{"a": "x{WORD}y"}}', '{"a": "x***y"}'),
        (f'{{"{WORD}": 1, "{PIN}": 2}}', '{"***": 1, "****": 2}'),
        (f'[{{"{WORD}": 1}}, {{"{WORD}": 2}}]', '[{"***": 1}, {"***": 2}]'),
        (f"{PIN}\n", "***\n"),
        (f"pin: {PIN}", "pin: ***"),
        (f"[{PIN}", "[***"),
        (f'[1, "[{PIN}]"]', '[1, "[\\"***\\"]"]'),
        (f'[1]\n{{"a": {PIN}}}\n{PIN}\n', '[1]\n{"a": "***"}\n***\n'),
        ('{"key": {"kind": "robot", "n": 7}, "n": 8}', '{"key": "***", "n": 8}'),
        ('[["a"], {"kind": "robot", "n": 7}]', '[["a"], "***"]'),
        ('{"kind": "robot", "n": 7}\n', '"***"\n'),
    ],
)
def test_what_is_not_secret_stays_as_it_was_written(text: str, shown: str) -> None:
    mask = Mask([WORD, str(PIN), '"kind": "robot", "n": 7'])
    if text.startswith('{"kind"'):
        mask = Mask(['{"kind": "robot", "n": 7}\n'])
    assert hidden_in_text(text, mask) == shown


VALUES = st.recursive(
    st.one_of(st.sampled_from([PIN, WORD, f"[{PIN}]", -PIN, f"{WORD}{PIN}", f'{{"a": {PIN}}}']),
              st.none(), st.booleans(), st.integers(-99, 99), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from([WORD, str(PIN), "a", "b\n"]), inner, max_size=3),
    max_leaves=8,
)


def shape(value: Any) -> Any:
    if isinstance(value, Mapping):
        return [shape(item) for item in value.values()]
    return [shape(item) for item in value] if isinstance(value, list) else None


@given(VALUES.filter(lambda value: isinstance(value, (list, dict))), st.booleans())
def test_json_keeps_its_shape_and_no_secret(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    shown = hidden_in_text(text, Mask([WORD, str(PIN)]))
    assert str(PIN) not in shown
    assert WORD not in shown
    assert shape(json.loads(shown)) == shape(value)

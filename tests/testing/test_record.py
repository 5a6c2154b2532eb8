"""`flowtoy test --record`: a test file of a real run."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowtoy_dagster import progress
from flowtoy_dagster.cli.testing.record import record_test
from flowtoy_dagster.errors import ConfigError, UsageError
from flowtoy_dagster.progress.lines import ProgressLines
from flowtoy_dagster.testing.cases import run_case
from flowtoy_dagster.testing.files import CaseReader

FLOW = """\
params:
  day: {type: string, default: today}
  key: {type: string, secret: true}
sources: {api: {type: rest, base_url: "{{ env.API }}", headers: {X-Key: "{{ params.key }}"}}}
runner: {executor: in_process}
flow:
  - name: z_orders
    source: api
    retry: {max: 1, delay: 0}
    input: {url: "/orders/{{ params.day }}"}
    output: [{name: ids, type: jmespath, value: ids}, {name: token, type: jmespath, value: token}]
  - name: each
    source: process
    for_each: {in: "{{ flows.z_orders.ids }}", key: "{{ item }}", max_failures: 1}
    input: {command: [sh, -c, 'echo "$1"; [ "$1" != 2 ]', x, "{{ item }}"]}
    output: [{name: text, value: stdout}]
"""
OLD = """\
flow: flow.yaml  # a comment
tests:
    - name: old
      params: {key: k-e-y}
      env: {API: http://127.0.0.1:9}
      mock: {z_orders: {json: {ids: [], token: t}}}

# the end
"""


def test_a_real_run_becomes_a_test_that_passes_without_calling(
    made_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Callable[..., str]
) -> None:
    asked: list[str] = []

    def reply(request: Any) -> tuple[int, Mapping[str, str], bytes]:
        asked.append(request.headers["X-Key"])
        body = {"ids": [1, 2], "token": "learned-s3cret", "echo": request.headers["X-Key"]}
        headers = {"Content-Type": "application/json"}
        return (503 if len(asked) == 1 else 200), headers, json.dumps(body).encode()

    monkeypatch.chdir(tmp_path)
    # By itself it has a descriptor of its own, for the whole process.
    lines = ProgressLines(sys.stderr)
    monkeypatch.setattr(progress, "progress_on_stderr", lambda: contextlib.nullcontext(lines))
    monkeypatch.setenv("API", serve(reply))
    Path("flow.yaml").write_text(FLOW)
    file = Path("flow.test.yaml")
    file.write_text("flow: flow.yaml\ntests: [{name: x}]")
    with pytest.raises(UsageError, match="no list of tests to which one can be added"):
        record_test("a day", ["flow.yaml"], ["key=the-k3y"])
    file.write_text("flow: [other.yaml]\ntests:\n")
    with pytest.raises(UsageError, match=r"has the tests of another flow: other\.yaml"):
        record_test("a day", ["flow.yaml"], ["key=the-k3y"])
    file.write_text("flow: flow.yaml\ntests:\n  - {name: [}\n")
    with pytest.raises(ConfigError, match=r"flow\.test\.yaml:3:13: "):
        record_test("a day", ["flow.yaml"], ["key=the-k3y"])
    file.write_text(OLD)
    with pytest.raises(UsageError, match="has a test 'old' already"):
        record_test("old", ["flow.yaml"], ["key=the-k3y"])
    with pytest.raises(UsageError, match="name the flow"):
        record_test("old", ["."], [])
    assert not asked

    record_test("a day", ["flow.yaml"], ["key=the-k3y", "day=monday"])
    assert asked == ["the-k3y"] * 2
    text = file.read_text()
    assert "the-k3y" not in text
    assert "learned-s3cret" not in text
    assert text.startswith(OLD.partition("\n# the end")[0].rstrip())
    assert text.endswith("\n# the end\n")
    old, case = yaml.safe_load(text)["tests"]
    assert case["params"] == {"day": "monday", "key": "***"}
    assert list(case["env"]) == ["API"]
    assert list(case["mock"]) == ["z_orders", "each"]
    assert [answer["status"] for answer in case["mock"]["z_orders"]] == [503, 200]
    assert case["mock"]["each"]["items"]["2"] == {"exit": 1, "stdout": "2\n"}
    assert case["expect"]["outputs"]["z_orders"] == {"ids": [1, 2], "token": "***"}
    assert case["expect"]["outputs"]["each"]["text"] == ["1\n"]
    monkeypatch.delenv("API")
    assert [run_case(one).passed for one in CaseReader().read(str(file))] == [True, True]
    assert len(asked) == 2
    assert "expect" not in old


SECRET_KEYS = """\
params:
  key: {type: string, secret: true, env: MY_KEY}
  other: {type: string, secret: true, default: s3cret-two}
runner: {executor: in_process}
flow:
  - name: each
    source: process
    for_each: {in: ["{{ params.key }}", s3cret-two, b], key: "{{ item }}"}
    input: {command: [echo, "{{ item }}"]}
    output: [{name: text, value: stdout}]
"""


@pytest.mark.usefixtures("made_home")
@pytest.mark.parametrize("name", ["a b #1.yaml", "{x}.yaml", "@at.yaml", "a: b.yaml"])
def test_secrets_of_parameters_and_keys_and_odd_names_are_written_so_that_the_test_passes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = ProgressLines(sys.stderr)
    monkeypatch.setattr(progress, "progress_on_stderr", lambda: contextlib.nullcontext(lines))
    monkeypatch.setenv("MY_KEY", "s3cret-one")
    Path(name).write_text(SECRET_KEYS)
    record_test("first", [name], [])
    monkeypatch.delenv("MY_KEY")
    file = Path(name.replace(".yaml", ".test.yaml"))
    text = file.read_text()
    assert "s3cret" not in text
    (case,) = yaml.safe_load(text)["tests"]
    assert case["params"] == {"key": "***"}
    assert list(case["mock"]["each"]["items"]) == ["***~0", "***~1", "b"]
    (read,) = CaseReader().read(str(file))
    assert run_case(read).mismatches == []

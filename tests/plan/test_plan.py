"""`flowtoy plan`: order, reasons, limits, what is known of conditions; nothing is called."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.flow.param_values import bind
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.plan.build import plan_of
from flowtoy_dagster.plan.levels import in_order, levels_of
from flowtoy_dagster.plan.model import Plan, as_json
from flowtoy_dagster.plan.words import plan_lines

SHOP = """\
name: shop
params: {full: false, token: {default: s3cr3t-token, secret: true}}
sources:
  crm:
    type: rest
    base_url: https://ann:hunter22@api.example.com
    rate: [10/s, 5000/h]
    concurrency: 2
flow:
  - {name: orders, source: crm, input: {url: /orders}, output: [{name: rows, value: "[]"}]}
  - name: details
    source: crm
    for_each: {in: "{{ flows.orders.rows }}", concurrency: 8}
    input: {url: "/orders/{{ item }}"}
    retry: {max: 3, delay: 2s, on: [5xx]}
    output: [{name: email, value: email}]
  - {name: changes, source: crm, when: params.full, input: {url: /changes},
     output: [{name: rows, value: "[]"}]}
  - name: load
    source: process
    input:
      command:
        - echo
        - "{{ flows.details.email }}"
        - "{{ flows.changes.rows | default([]) }}"
    output: [{name: done, value: stdout}]
  - name: after changes
    source: process
    depends_on: [load]
    input:
      command: |
        echo a
        echo {{ flows.changes.rows }}
  - {name: report, source: process, input: {command: [touch, made]}, run_if: always}
runner: {timeout: 10m}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop.yaml").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def flow_of(*steps: dict[str, Any], **top: Any) -> Flow:
    source = {"source": "process", "input": {"command": ["true"]}, "output": [{"name": "x"}]}
    return bind(load_flow({"flow": [{**source, **step} for step in steps], **top}))


def lines_of(plan: Plan) -> list[str]:
    return ["".join(text for _, text in line).rstrip() for line in plan_lines(plan)]


def fates(plan: Plan) -> dict[str, str]:
    return {step.name: step.fate for step in plan.steps}


@pytest.mark.usefixtures("folder")
def test_a_plan_says_in_which_order_and_why_with_the_place_of_each_reason() -> None:
    lines = lines_of(plan_of(bind(load_flow("shop.yaml"))))
    assert lines == [
        "1  orders         rest     GET https://api.example.com/orders",
        "     source crm, 10/s, 5000/h, at most 2 at once",
        "1  changes        rest     skipped: when is false",
        "     when params.full is false",
        "     source crm, 10/s, 5000/h, at most 2 at once",
        "2  details        rest     for each of orders.rows: "
        "GET https://api.example.com/orders/{{ item }}",
        "     needs orders.rows (for_each) shop.yaml:13",
        "     source crm, 10/s, 5000/h, at most 2 at once",
        "     at most 2 items at once",
        "     up to 3 retries, 2 s apart, on 5xx",
        "3  load           process  echo (2 arguments)",
        "     needs details.email (input.command[1]) shop.yaml:24",
        "     changes.rows is optional (input.command[2]) shop.yaml:25",
        "4  after changes  process  skipped: needs `flows.changes.rows`, and 'changes' is skipped",
        "     needs changes.rows (input.command) shop.yaml:33",
        "     after load (depends_on) shop.yaml:29",
        "5  report         process  touch (1 argument)",
        "     runs whatever happens before it",
        "   at most 4 at once (default)",
        "   the run ends after 10 min",
        "   steps with run_if have 30 s when the run is ended",
    ]


@pytest.mark.usefixtures("folder")
def test_a_parameter_decides_what_a_plan_says_of_a_condition() -> None:
    flow = load_flow("shop.yaml")
    assert fates(plan_of(bind(flow)))["after changes"] == "skipped"
    with_full = plan_of(bind(flow, texts=["full=true"]))
    assert set(fates(with_full).values()) == {"runs"}
    assert "     when params.full is true" in lines_of(with_full)


@pytest.mark.parametrize(
    ("when", "fate"),
    [
        ("env.PLAN_SIZE | int > 3", "skipped"),
        ("env.PLAN_SIZE | int > 1", "runs"),
        ("params.n", "fails"),
        ("env.PLAN_ABSENT == 'a'", "fails"),
        ("flows.first.x == 'a'", "open"),
        ("run.id == 'a'", "open"),
        ("true", "runs"),
    ],
)
def test_only_what_parameters_and_variables_decide_is_known_before_the_run(
    when: str, fate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAN_SIZE", "2")
    flow = flow_of({"name": "first"}, {"name": "asks", "when": when}, params={"n": 1})
    assert fates(plan_of(flow))["asks"] == fate


def test_items_have_conditions_of_their_own() -> None:
    flow = flow_of({"name": "each", "for_each": [1, 2], "when": "item > 1"})
    assert fates(plan_of(flow)) == {"each": "open"}
    assert lines_of(plan_of(flow))[0].endswith("for each of 2 items: true")


def test_steps_that_close_a_run_come_after_all_others() -> None:
    # language 19.3
    flow = flow_of(
        {"name": "tells", "run_if": "failure"},
        {"name": "after", "depends_on": ["tells"], "run_if": "always"},
        {"name": "a"},
        {"name": "b", "depends_on": ["a"]},
    )
    assert levels_of(flow) == {"a": 1, "b": 2, "tells": 3, "after": 4}
    assert [step.name for step in in_order(flow)] == ["a", "b", "tells", "after"]
    assert fates(plan_of(flow))["tells"] == "open"


def test_a_long_chain_has_as_many_levels() -> None:
    count = 500
    steps = [{"name": str(n), **({"depends_on": [str(n - 1)]} if n else {})} for n in range(count)]
    assert levels_of(flow_of(*steps))[str(count - 1)] == count


def test_who_limits_the_workers_is_said() -> None:
    flow = flow_of({"name": "a"}, runner={"max_workers": 7})
    assert plan_of(flow).workers == (7, "runner.max_workers")
    assert plan_of(flow, 2).workers == (2, "--max-workers")


def test_groups_pools_and_timing_are_limits() -> None:
    flow = flow_of(
        {"name": "a", "group": "g", "pool": "p", "timeout": 90, "until": "status == 0",
         "every": "5s", "for": "2m"},
        runner={"groups": {"g": {"concurrency": 3}}},
    )  # fmt: skip
    assert plan_of(flow).steps[0].limits == (
        "group g, at most 3 at once",
        "pool p, as Dagster's instance says",
        "called every 5 s until it is done, for at most 2 min",
        "ends after 90 s",
    )


@pytest.mark.usefixtures("folder")
def test_no_secret_is_in_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAN_TOKEN", "from-the-environment")
    flow = load_flow("shop.yaml")
    more = flow_of(
        {"name": "a", "when": "params.token", "input": {"command": ["s3cr3t-token"]}},
        {"name": "b", "when": "env.PLAN_TOKEN"},
        {"name": "c", "source": {"type": "rest", "url": "http://u:hunter22@h/hunter22"},
         "input": None},
        {"name": "d", "for_each": "{{ ['s3cr3t-token'] }}"},
        params={"token": {"default": "s3cr3t-token", "secret": True}},
    )  # fmt: skip
    for plan in (plan_of(bind(flow)), plan_of(more)):
        text = json.dumps(as_json(plan)) + "\n".join(lines_of(plan))
        for secret in ("hunter22", "s3cr3t-token", "from-the-environment"):
            assert secret not in text


def test_the_command_calls_nothing_and_makes_no_home(
    folder: Path, flowtoy: Callable[..., Any]
) -> None:
    home = folder / "home"
    done = flowtoy("plan", "shop.yaml", env={"FLOWTOY_HOME": str(home)})
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.startswith("1  orders         rest     GET https://api.example.com/orders\n")
    assert not (folder / "made").exists()
    assert not home.exists()
    told = flowtoy("plan", "shop.yaml", "--format", "json").json
    assert told == flowtoy("plan", "shop.yaml", "-j").json
    assert told["max_workers"] == {"value": 4, "from": "default"}
    load = next(step for step in told["steps"] if step["name"] == "load")
    assert (load["level"], load["fate"]) == (3, "runs")
    assert [(wait["step"], wait["needed"]) for wait in load["waits"]] == [
        ("details", True), ("changes", False)
    ]
    assert load["waits"][0]["reasons"] == [
        {"field": "input.command[1]", "name": "flows.details.email", "needed": True,
         "file": "shop.yaml", "line": 24, "column": 11}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give the files of a flow, or --retry RUN"),
        (["--origin", "runner"], "--origin needs the files of a flow"),
        (["shop.yaml", "--from", "load"], "--from goes with --retry RUN"),
        (["shop.yaml", "--max-workers", "0"], "max-workers must be at least 1, got 0"),
        (["shop.yaml", "--param", "day=1"], "there is no parameter 'day'"),
        (["shop.yaml", "--retry", "absent"], "there is no run 'absent'"),
        (["absent.yaml"], "can't read the configuration 'absent.yaml'"),
    ],
)
@pytest.mark.usefixtures("folder", "made_home")
def test_what_can_not_be_planned_is_an_error(
    arguments: list[str], message: str, flowtoy: Callable[..., Any]
) -> None:
    done = flowtoy("plan", *arguments)
    assert (done.code, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plan_of_a_retry_says_what_is_reused(
    tmp_path: Path, flowtoy: Callable[..., Any], made_home: Path
) -> None:
    (tmp_path / "flow.yaml").write_text(
        "flow:\n"
        "  - {name: ok, source: process, input: {command: [echo, fine]}, output: [{name: x}]}\n"
        "  - {name: bad, source: process, input: {command: ['false', '{{ flows.ok.x }}']}}\n"
    )
    assert flowtoy("run", "flow.yaml").code == 1
    done = flowtoy("plan", "--retry", "last")
    assert done.code == 0, done.stderr
    assert "     reused: it succeeded before" in done.stdout
    assert "     runs: it failed: false exited with code 1" in done.stdout
    assert len(flowtoy("runs", "-j").json) == 1, "nothing was run"
    told = flowtoy("plan", "flow.yaml", "--retry", "last", "--from", "ok", "-j").json
    assert [step["retry"] for step in told["steps"]] == [
        "runs: you asked to start from it", "runs: it failed: false exited with code 1"
    ]


def test_the_calls_at_a_runs_end_are_shown_and_nothing_secret_in_them(tmp_path: Path) -> None:
    path = tmp_path / "nightly.yaml"
    path.write_text("""\
sources:
  chat: {type: rest, url: "https://chat.example.com/hooks?token=pa55word", method: POST}
notify:
  - {on: [recovered, failure], source: chat, input: {json: {text: "{{ run.state }}"}}}
  - {on: success, source: process, input: {command: [echo, done]}}
flow:
  - {name: load, source: process, input: {command: [date]}}
""")  # language 19.6
    plan = plan_of(load_flow(path))
    lines = ["".join(text for _, text in line) for line in plan_lines(plan)]
    assert lines[-2:] == [
        "   on failure, recovered: rest  POST https://chat.example.com/hooks",
        "   on success: process  echo (1 argument)",
    ]
    ends = [call["on"] for call in as_json(plan)["notify"]]
    assert ends == [["failure", "recovered"], ["success"]]
    assert "pa55word" not in json.dumps(as_json(plan))

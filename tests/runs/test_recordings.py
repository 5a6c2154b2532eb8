"""Runs that are recorded, and runs that are answered from a recording: nothing is called."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import UsageError, load_flow, run_flow
from flowtoy_dagster.loader import with_executor
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.retry import plan_retry
from flowtoy_dagster.runs.run import FlowRun
from flowtoy_dagster.store.cursors import cursors_of

pytestmark = pytest.mark.usefixtures("made_home")

SECRETS = ("s3cret-of-the-api", "learned-t0ken", "91827364", "session-c00kie")
FLOW = """\
params: {day: {type: string, default: "2026-11-01"}}
sources:
  api:
    type: rest
    base_url: "{{ env.API }}"
    headers: {X-Token: "{{ env.API_TOKEN }}", X-Run: "{{ run.id }} {{ run.started_at }}"}
flow:
  - name: login
    source: api
    retry: {max: 2, delay: 0}
    input: {url: /login, method: PUT, json: {who: "{{ params.day }}"}}
    output:
      - {name: token, type: jmespath, value: token}
      - {name: pin, type: jmespath, value: pin, secret: true}
  - name: orders
    source: api
    incremental: {cursor_path: id, initial_value: 0, commit: step}
    input:
      url: /orders
      params: {since: "{{ incremental.start_value }}"}
      paginator: {type: cursor, cursor_path: next, cursor_param: after}
    output:
      - {name: ids, type: jmespath, value: "[*].id"}
      - {name: rows, type: file, format: jsonl, path: rows.jsonl}
  - name: details
    source: process
    for_each: {in: "{{ flows.orders.ids }}", key: "{{ item }}", max_failures: 1}
    input:
      command:
        - sh
        - -c
        - 'echo "$1 $2"; date +%N; [ "$1" != 2 ] || exit 3'
        - sh
        - "{{ item }}"
        - "{{ flows.login.token }} {{ flows.login.pin }}"
    output: [{name: text, value: stdout}]
  - name: packed
    source: process
    input: {command: [sh, -c, "printf '\\\\377%s' \\"$API_TOKEN\\" > $FLOWTOY_OUTPUTS/x.bin"]}
    output: [{name: x, type: file, value: x.bin}]
"""


class Api:
    """An API that has no time for the first login, and that counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.logins = 0

    def __call__(self, asked: Any) -> tuple[int, Mapping[str, str], bytes]:
        self.asked += 1
        headers = {"Content-Type": "application/json", "Set-Cookie": f"sid={SECRETS[3]}"}
        self.logins += asked.path == "/login"
        if asked.path == "/login" and self.logins == 1:
            return 503, headers, b"{}"
        if asked.path == "/login":
            body: Any = {"token": SECRETS[1], "pin": int(SECRETS[2]), "at": self.asked}
        elif "after=" in asked.path:
            body = {"rows": [{"id": 2}], "next": None, SECRETS[0]: asked.headers["X-Token"]}
        else:
            body = {"rows": [{"id": 1}], "next": "two"}
        return 200, headers, json.dumps(body).encode()


@pytest.fixture
def api(
    serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Api:
    monkeypatch.chdir(tmp_path)
    found = Api()
    monkeypatch.setenv("API", serve(found))
    monkeypatch.setenv("API_TOKEN", SECRETS[0])
    Path("flow.yaml").write_text(FLOW, encoding="utf-8")
    return found


def run(executor: str = "in_process", **options: Any) -> FlowRun:
    return run_flow(with_executor(load_flow("flow.yaml"), executor), 2, **options)


def shown(done: FlowRun) -> dict[str, Any]:
    """The outputs as people see them, without the file that had a secret in it."""
    found = {}
    for name, text in done.output_texts():
        found[name] = json.loads(text.read()) if text is not None else None
    found.pop("packed")
    return found


def reasons(done: FlowRun) -> list[str | None]:
    return [step.error for step in done.status.steps.values()]


def test_a_replay_gives_the_outputs_of_the_recorded_run_and_calls_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    recorded = run("warm", record="rec")
    assert recorded.success, reasons(recorded)
    assert recorded.status.steps["login"].attempt == 2
    calls = api.asked
    files = [path for path in Path("rec").rglob("*") if path.is_file()]
    names = {path.relative_to("rec").as_posix() for path in files}
    assert {"login/1-001.json", "login/2-001.json", "orders/1-002.json",
            "details/items/2/1-001.json", "recording.json"} <= names
    for path in files:
        for secret in SECRETS:
            assert secret.encode() not in path.read_bytes(), path
    binary = json.loads(Path("rec/packed/1-001.json").read_text())["answer"]["files"]["x.bin"]
    assert base64.b64decode(binary["base64"]) == b"\xff***"

    Path("rows.jsonl").unlink()
    cursor = cursors_of(home).read("flow", "orders")
    assert cursor is not None
    # Another secret than that of the recorded run, and a cursor that the recorded run has moved.
    monkeypatch.setenv("API_TOKEN", "another-one")
    replayed = run("multiprocess", replay="rec")
    assert replayed.success, (reasons(replayed), replayed.unrecorded)
    assert api.asked == calls
    assert shown(replayed) == shown(recorded)
    assert Path("rows.jsonl").read_text() == '{"id":1}\n{"id":2}\n'
    assert cursors_of(home).read("flow", "orders") == cursor
    counts = replayed.status.steps["details"].items
    assert counts is not None
    assert (counts.succeeded, counts.failed) == (1, 1)


def test_a_call_that_differs_or_was_not_recorded_fails_the_replay_with_the_difference(
    api: Api,
) -> None:
    Path("mine").mkdir()
    Path("mine/notes").write_text("x")
    with pytest.raises(UsageError, match="mine' is not empty\n    give a folder that does not"):
        run(record="mine")
    Path("odd").mkdir()
    Path("odd/recording.json").write_text("{}")
    with pytest.raises(UsageError, match=r"odd/recording\.json' names no format: it is not of a"):
        run(replay="odd")
    with pytest.raises(UsageError, match=r"no recording in '.*mine': it has no"):
        run(replay="mine")
    with pytest.raises(UsageError, match="either recorded or replayed"):
        run(record="new", replay="rec")
    with pytest.raises(UsageError, match="'workers' runs steps on other machines"):
        run("workers", record="new")
    assert not Path("new").exists()

    Path("rec").mkdir()
    assert run(record="rec").success
    with pytest.raises(UsageError, match="rec' has a recording"):
        run(record="rec")
    calls = api.asked
    text = FLOW.replace("- name: login", "- name: login2\n    on_error: continue", 1)
    text = text.replace("flows.login.", "flows.login2.").replace("since:", "sinse:")
    Path("flow.yaml").write_text(text, encoding="utf-8")
    done = run(replay="rec")
    assert not done.success
    assert api.asked == calls
    login, orders = done.status.steps["login2"], done.status.steps["orders"]
    assert "/login, which was not recorded (login2/1-001.json)" in str(login.error)
    assert login.attempt == 1  # it is not tried again
    assert "differs from the recorded one (orders/1-001.json)" in str(orders.error)
    assert "params.since: recorded 0, now absent" in str(orders.error)
    assert "params.sinse: not recorded, now 0" in str(orders.error)

    Path("rec/recording.json").write_text('{"format": 7}')
    with pytest.raises(UsageError, match="has the format 7"):
        run(replay="rec")
    Path("rec/recording.json").write_text("{")
    with pytest.raises(UsageError, match=r"recording\.json' is not JSON"):
        run(replay="rec")


class Other:
    """A provider of another package: it raises, or gives data."""

    calls = 0

    def __init__(self, configuration: dict[str, Any]) -> None:
        self._words = configuration.get("words")

    def call(self, payload: Any = None) -> Any:
        Other.calls += 1
        if payload == "raise":
            raise ValueError("no such table")
        return {"words": self._words, "number": Other.calls, "big": 1 << 80}


def test_providers_of_other_packages_are_recorded_and_what_may_be_secret_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flowtoy_dagster.providers.kind import provider_kind_of
    from flowtoy_dagster.providers.kinds import PROVIDERS

    monkeypatch.chdir(tmp_path)
    # As if its entry point had been loaded.
    monkeypatch.setattr(PROVIDERS, "builtin", {**PROVIDERS.builtin, "other": "nowhere:Other"})
    monkeypatch.setitem(PROVIDERS._loaded, "other", provider_kind_of("other", Other))
    text = """\
flow:
  - {name: a, source: {type: other, words: [x]}, output: [{name: all, type: json}]}
  - {name: b, source: other, input: raise, on_error: continue}
  - name: unread
    source: process
    on_error: continue
    input: {command: [sh, -c, "cat printed; exit 3"]}
    output: [{name: token, type: jmespath, value: token}]
  - {name: c, source: process, on_error: continue, input: {command: [echo, one]}}
"""
    Path("flow.yaml").write_text(text)
    # The step fails before its secret output is taken out of what it printed.
    Path("printed").write_text("the t0k3n is abcdefgh")
    recorded = run(record="rec")
    assert recorded.success, reasons(recorded)
    answer = json.loads(Path("rec/unread/1-001.json").read_text())["answer"]
    assert answer == {"exit": 3, "stdout": "***", "stderr": "***"}

    calls = Other.calls
    replayed = run(replay="rec")
    assert Other.calls == calls
    assert replayed.success, replayed.unrecorded
    assert replayed.outputs == recorded.outputs
    assert reasons(replayed) == reasons(recorded)
    assert "raised ValueError: no such table" in str(reasons(recorded)[1])

    # A call that differs is no success, although the flow tolerates that its step fails.
    Path("flow.yaml").write_text(text.replace("[echo, one]", "[echo, two]"))
    done = run(replay="rec")
    assert done.status.state == "succeeded"
    assert not done.success
    assert done.unrecorded == (
        "step 'c': its call differs from the recorded one (c/1-001.json): "
        'command[1]: recorded "one", now "two"',
    )
    (call,) = done.unrecorded_calls
    assert (call.step, call.item, call.attempt) == ("c", None, 1)
    with History() as history, pytest.raises(UsageError, match="is a replay"):
        plan_retry(history, history.find("last"))


TELLING = """\
runner: {cwd: flow}
flow:
  - name: orders
    source: process
    incremental: {cursor_path: id, initial_value: 0, commit: run}
    input: {command: [sh, -c, 'echo asked >> asked; echo "$1"', sh, '[{"id": 1}, {"id": 5}]']}
    output: [{name: rows, type: json}]
notify:
  - {on: [success], source: process, input: {command: [sh, -c, 'echo told >> "$1"', sh,
     "{{ flow.dir }}/told"]}}
  - {on: [success], source: process, input: {command: [sh, -c, "echo told >> here"]}}
"""


def test_a_replay_tells_nobody_and_moves_no_cursor_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    # language 19.6, 22.3
    folder, elsewhere = tmp_path / "flows", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "flow.yaml").write_text(TELLING)
    monkeypatch.chdir(elsewhere)
    flow = with_executor(load_flow("../flows/flow.yaml"), "in_process")
    recorded = run_flow(flow, record="rec")
    assert recorded.success, reasons(recorded)

    def done() -> list[str]:
        return [(folder / name).read_text() for name in ("asked", "told", "here")]

    assert done() == ["asked\n", "told\n", "told\n"]
    cursor = cursors_of(home).read(flow.name, "orders")
    assert cursor is not None
    assert (cursor.value, cursor.run_id) == (5, recorded.run_id)

    replayed = run_flow(flow, replay="rec")
    assert replayed.success, (reasons(replayed), replayed.unrecorded)
    assert shown_outputs(replayed) == shown_outputs(recorded)
    assert done() == ["asked\n", "told\n", "told\n"]
    assert cursors_of(home).read(flow.name, "orders") == cursor
    with History() as history:
        end = history.status(history.find("last")).steps["orders"].cursor
    assert end is not None
    assert (end.state, end.reason) == ("unchanged", "a replay moves no cursor")


def shown_outputs(done: FlowRun) -> Any:
    return {name: step["rows"] for name, step in done.outputs.items()}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"exit": "zero"}, "is not valid: exit: expected a whole number, got 'zero'"),
        ({"stdout": None}, "is not valid: stdout: expected text, got nothing (null)"),
        (None, "is not a regular file"),
    ],
)
def test_an_answer_that_was_edited_wrongly_is_named(
    change: dict[str, Any] | None, reason: str, tmp_path: Path
) -> None:
    from flowtoy_dagster.errors import StepError
    from flowtoy_dagster.flow.graph import Source, Step
    from flowtoy_dagster.steps.context import StepContext
    from flowtoy_dagster.steps.scope import RunInfo
    from flowtoy_dagster.store.recordings.calls import call_of, hash_of
    from flowtoy_dagster.store.recordings.recording import Recording
    from flowtoy_dagster.store.recordings.replayer import Replayer

    step = Step(0, "a", Source("process", {"command": ["ls"]}))
    context = StepContext(step=step, run=RunInfo("r", "f", lambda: 0.0))
    context.work.configuration = {"command": ["ls"]}
    recording, noted = Recording(tmp_path / "rec", "replay"), []
    place = recording.folder / "a/1-001.json"
    place.parent.mkdir(parents=True)
    if change is None:
        os.mkfifo(place)
    else:
        call = call_of(context, {})
        answer = {"exit": 0, "stdout": "", "stderr": "", **change}
        place.write_text(json.dumps({"call": call, "hash": hash_of(call), "answer": answer}))
    with pytest.raises(StepError) as told:
        Replayer(recording, noted.append).exchange(context, {}, dict)
    assert reason in told.value.message
    assert len(noted) == 1


SECRET_KEYS = """\
runner: {executor: EXECUTOR}
flow:
  - name: tokens
    source: process
    input: {command: [printf, '["alpha-s3cret", "beta-s3cret", "gamma-s3cret"]']}
    output: [{name: all, type: json, secret: true}]
  - name: each
    source: process
    for_each: {in: "{{ flows.tokens.all }}", key: "of {{ item }}"}
    input: {command: [sh, -c, 'echo "$1" | cut -c1-$2', sh, "{{ item }}", "{{ loop.index }}"]}
    output: [{name: text, value: stdout}]
"""


@pytest.mark.parametrize("executor", ["in_process", "warm"])
def test_a_loop_with_secret_keys_can_be_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("flow.yaml").write_text(SECRET_KEYS.replace("EXECUTOR", executor))
    recorded = run_flow("flow.yaml", record="rec")
    assert recorded.outputs["each"] == {"text": ["a\n", "be\n", "gam\n"]}
    names = sorted(path.parent.name for path in Path("rec/each").rglob("*.json"))
    assert names == [f"of %2A%2A%2A~{index}" for index in range(3)]
    assert not [path for path in Path("rec").rglob("*.json") if "s3cret" in path.read_text()]
    replayed = run_flow("flow.yaml", replay="rec")
    assert replayed.success, (reasons(replayed), replayed.unrecorded)
    assert replayed.outputs["each"] == recorded.outputs["each"]
    # The same call in another place of the loop is another one.
    place = Path("rec/each/items/of %2A%2A%2A~1/1-001.json")
    place.unlink()
    missed = run_flow("flow.yaml", replay="rec")
    assert len(missed.unrecorded) == 1
    assert "(item 'of ***~1')" in missed.unrecorded[0]


def test_a_recorded_test_of_a_loop_with_secret_keys_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flowtoy: Callable[..., Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("flow.yaml").write_text(SECRET_KEYS.replace("EXECUTOR", "in_process"))
    done = flowtoy("test", "--record", "quiet", "flow.yaml")
    assert done.code == 0, done.stderr
    text = Path("flow.test.yaml").read_text()
    assert "of ***~2" in text
    assert "s3cret" not in text
    assert flowtoy("test", ".").code == 0


def test_a_call_that_differs_is_shown_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flowtoy: Callable[..., Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    flow = """\
        flow:
          - {name: a, source: process, input: {command: [echo, WORD]}, on_error: continue}
          - name: b
            source: process
            for_each: [1, 2]
            input: {command: [echo, WORD]}
        """
    Path("flow.yaml").write_text(flow.replace("WORD", "one"))
    assert flowtoy("run", "flow.yaml", "--record", "rec").code == 0
    Path("flow.yaml").write_text(flow.replace("WORD", "two"))
    done = flowtoy("run", "flow.yaml", "--replay", "rec")
    assert done.code == 1
    assert done.stderr.count("(a/1-001.json): command[1]: recorded") == 1
    assert done.stderr.count("(b/items/0/1-001.json): command[1]: recorded") == 1
    assert done.stderr.count("(b/items/1/1-001.json): command[1]: recorded") == 1

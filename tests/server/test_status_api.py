"""The status document in each phase of a run, and one reading of the events for many readers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serving_commands import check_document, gated

from flowtoy_dagster.errors import NoRunError
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.runs.create import create_run
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.live_view import RunView
from flowtoy_dagster.runs.status.status_document import read_status, status_document

STEP_KEYS = {
    "state", "started_at", "ended_at", "notes", "place", "skip_reason", "outputs", "depends_on",
    "attempt", "waits_for", "items", "cursor", "warnings", "timeline",
}


@pytest.fixture
def history(made_home: Path) -> Iterator[History]:
    """The runs of this test's home."""
    with History(made_home) as opened:
        yield opened


def document_of(view: RunView) -> Any:
    """The document that a view gives, which fits its schema."""
    view.refresh()
    document = json.loads(view.status_json)
    check_document(document)
    return document


def outputs_of(view: RunView, step: str | None = None) -> Any:
    """The outputs that a view gives."""
    return json.loads(b"".join(view.outputs_json(step)))


def test_a_run_that_was_only_made_is_pending(history: History, write: Callable[..., Path]) -> None:
    flow = load_flow(write("""
        name: nothing yet
        flow:
          - {name: a, source: env, output: [{name: all, type: raw}]}
          - {name: b, source: env, depends_on: a}
        """))
    _, run = create_run(history, flow, 2)
    view = RunView(history, lambda: run.run_id)
    document = document_of(view)
    assert (document["state"], document["name"]) == ("pending", "nothing yet")
    assert document["dagster_run_id"] == run.run_id
    assert document["run_id"] > 1_600_000_000_000
    assert document["steps"] == {
        "a": {"state": "pending", "started_at": None, "ended_at": None, "notes": [],
              "place": None, "skip_reason": None,
              "outputs": ["all"], "depends_on": [], "attempt": 0,
              "waits_for": None, "items": None, "cursor": None,
              "warnings": [], "timeline": []},
        "b": {"state": "pending", "started_at": None, "ended_at": None, "notes": [],
              "place": None, "skip_reason": None,
              "outputs": [], "depends_on": ["a"], "attempt": 0,
              "waits_for": None, "items": None, "cursor": None,
              "warnings": [], "timeline": []},
    }
    assert outputs_of(view) == {}
    history.instance.report_run_canceled(run)
    view = RunView(history, lambda: run.run_id)
    assert document_of(view)["state"] == "cancelled"
    assert outputs_of(view) == {"a": None, "b": None}


def test_what_is_served_follows_the_run(
    serving: Callable[..., Any], write: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("API_TOKEN", "hidden-from-all")
    flow = write(
        "name: phases\nflow:\n"
        + gated("first", tmp_path, 'echo "token $API_TOKEN"; echo "{{ env.API_TOKEN }}" >&2')
        + gated("flaky", tmp_path, "echo alas >&2; exit 4",
                retry={"max": 1, "delay": 0}, on_error="continue")
        + "  - {name: after, source: env, depends_on: flaky}\n"
        + gated("last", tmp_path, "exit 5")
        + "  - {name: never, source: env, depends_on: last}\n"
    )
    served = serving("serve", flow, "--port", "0", "--max-workers", "3")

    running = served.wait_for(first="running", flaky="running", last="running")
    assert running["state"] == "running"
    assert all(set(step) == STEP_KEYS for step in running["steps"].values())
    assert served.ask("/outputs").json == {}

    (tmp_path / "first").touch()
    served.wait_for(first="succeeded")
    # language 13.2
    assert served.ask("/outputs").json == {"first": {"text": "token ***\n"}}
    assert served.ask("/outputs?step=first").json == {"first": {"text": "token ***\n"}}
    assert served.ask("/outputs?step=last").json == {}

    (tmp_path / "flaky").touch()
    flaky = served.wait_for(flaky="failed")["steps"]["flaky"]
    assert flaky["attempt"] == 2
    assert flaky["notes"][0] == "sh exited with code 4: alas"
    (tmp_path / "last").touch()
    document = served.wait_for_run("failed")
    assert {name: step["state"] for name, step in document["steps"].items()} == {
        "first": "succeeded", "flaky": "failed", "after": "succeeded", "last": "failed",
        "never": "skipped",
    }
    assert document["steps"]["never"]["notes"] == ["'last' failed"]
    outputs = served.ask("/outputs")
    assert list(outputs.json) == ["first", "flaky", "after", "last", "never"]
    assert outputs.json["last"] is None
    assert b"hidden" not in outputs.body + served.ask("/status").body
    assert served.end() == 1


def test_a_run_that_is_retried_has_the_outputs_of_the_run_before(
    flowtoy: Callable[..., Any], write: Callable[..., Path], tmp_path: Path, history: History
) -> None:
    flow = write(f"""
        flow:
          - name: good
            source: process
            input: {{command: [echo, kept]}}
            output: [{{name: text, value: stdout}}]
          - name: bad
            source: process
            input: {{command: [cat, {tmp_path}/missing]}}
        """)
    assert flowtoy("run", flow, "-q").code == 1
    first = history.find("last").run_id
    (tmp_path / "missing").touch()
    assert flowtoy("retry", "last", "-q").code == 0
    second = history.find("last").run_id
    shown = [first]
    view = RunView(history, lambda: shown[0])
    assert document_of(view)["state"] == "failed"
    assert outputs_of(view) == {"good": {"text": "kept\n"}, "bad": None}
    # A view follows where it is told to; what it read a moment ago is good enough meanwhile.
    shown[0] = second
    view = RunView(history, lambda: shown[0])
    document = document_of(view)
    assert (document["state"], document["dagster_run_id"]) == ("succeeded", second)
    assert document["steps"]["good"]["state"] == "succeeded"
    assert document["steps"]["good"]["ended_at"] < document["started_at"]
    assert outputs_of(view) == {"good": {"text": "kept\n"}, "bad": {}}
    status = read_status(document)
    assert status_document(status) == document
    shown[0] = "no-such-run"
    with pytest.raises(NoRunError, match="there is no run 'no-such-run'"):
        RunView(history, lambda: shown[0]).refresh()


@pytest.mark.parametrize("asked_before", [[], [None], ["good"], ["good", None]])
def test_a_run_that_is_pruned_has_no_outputs_any_more(
    flowtoy: Callable[..., Any], write: Callable[..., Path], history: History,
    asked_before: list[str | None],
) -> None:
    # status-api.md: 404 for a run that was deleted meanwhile
    flow = write("flow: [{name: good, source: process, input: {command: [echo, kept]}, "
                 "output: [{name: text, value: stdout}]}, {name: other, source: env}]")
    assert flowtoy("run", flow, "-q").code == 0
    run_id = history.find("last").run_id
    view = RunView(history, lambda: run_id)
    assert document_of(view)["state"] == "succeeded"
    for step in asked_before:
        assert outputs_of(view, step)["good"] == {"text": "kept\n"}
    assert flowtoy("runs", "prune", "--keep", "0").code == 0
    for step in (None, "good", "other"):
        with pytest.raises(NoRunError, match="has been deleted"):
            view.outputs_json(step)
    assert document_of(view)["state"] == "succeeded"


def test_many_readers_at_once_cost_one_reading(
    flowtoy: Callable[..., Any], write: Callable[..., Path], history: History,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert flowtoy("run", write("flow: [{name: a, source: env}]"), "-q").code == 0
    run_id = history.find("last").run_id
    readings = []
    read = history.instance.get_records_for_run

    def counted(*arguments: Any) -> Any:
        readings.append(arguments)
        return read(*arguments)

    # Only counts: the reading itself is real.
    monkeypatch.setattr(history.instance, "get_records_for_run", counted)
    view = RunView(history, lambda: run_id)
    threads = [threading.Thread(target=view.refresh) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(readings) == 1
    assert view.status().success
    view.status().state = "running"
    assert view.status().success, "what a reader gets is a copy"

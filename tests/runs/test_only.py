"""`flowtoy run --only`: some steps and nothing else, with what other steps left in a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import UsageError, load_flow, run_flow
from flowtoy_dagster.cli.run import Wanted
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.retry import plan_retry, retry_run
from flowtoy_dagster.runs.run import FlowRun, start
from flowtoy_dagster.runs.selection.only import Selection, select
from flowtoy_dagster.store.cursors import cursors_of

pytestmark = pytest.mark.usefixtures("made_home")

FLOW = """\
name: shop
runner: {executor: in_process}
params: {word: {type: string, default: hello}}
flow:
  - name: rows
    source: process
    incremental: {cursor_path: id, initial_value: 0}
    input: {command: [sh, -c, "echo rows >> called; cat table"]}
    output: [{name: n, type: jmespath, value: "[0].id"}]
  - name: text
    source: process
    input: {command: [sh, -c, 'echo text >> called; echo "$1 $2"', x, "{{ params.word }}",
                      "{{ flows.rows.n }}"]}
    output: [{name: said, value: stdout}]
  - name: load
    source: process
    on_error: continue
    input: {command: [sh, -c, 'echo load >> called; [ -e ok ] && echo "$1"', x,
                      "{{ flows.text.said }}"]}
    output: [{name: said, value: stdout}]
  - name: report
    source: process
    depends_on: [load]
    input: {command: [sh, -c, "echo report >> called"]}
"""


def called() -> list[str]:
    path = Path("called")
    found = path.read_text().split() if path.exists() else []
    path.write_text("")
    return found


def look(history: History, names: Sequence[str], run: str = "last", *params: str) -> Selection:
    return select(history, history.find(run), load_flow("flow.yaml"), names, params)


def run(history: History, chosen: Selection) -> FlowRun:
    return start(history, chosen.flow, 1, reuse=chosen.reuse)


def test_only_the_named_steps_run_with_what_another_run_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    text = FLOW
    Path("flow.yaml").write_text(text)
    Path("table").write_text('[{"id": 1}]')
    first = run_flow("flow.yaml", params={"word": "good day"})
    assert first.status.steps["report"].state == "succeeded", [
        step.error for step in first.status.steps.values()
    ]
    called()
    with History() as history:
        for names, told in {
            ("texts",): "no step 'texts'\n    did you mean 'text'",
            ("report", "x"): "no step 'x'",
        }.items():
            with pytest.raises(UsageError, match=told):
                look(history, names)
        assert called() == []

        Path("ok").touch()
        chosen = look(history, ["load"])
        assert chosen.lines() == [f"text  taken from run {first.run_id[:8]}", "load  runs"]
        done = run(history, chosen)
        assert called() == ["load"]
        assert done.success
        # Parameters are as they were, and what was taken over is marked.
        assert done.outputs["load"] == {"said": "good day 1\n\n"}
        steps = done.status.steps
        assert [steps[name].reused for name in steps] == [True, True, False, True]

        # What was not part of it is no failure of this run, and is not called a success.
        again = run(history, look(history, ["text"], first.run_id, "word=bye"))
        assert called() == ["text"]
        assert again.outputs["text"] == {"said": "bye 1\n"}
        assert again.status.steps["load"].state == "skipped"
        assert str(again.status.steps["load"].error).startswith(
            f"it was left out; in run {first.run_id[:8]} it failed: "
        )
        assert again.outputs["load"] is None

        # What comes after the cursor's step has not seen what it read.
        held = cursors_of(home).read("shop", "rows")
        Path("table").write_text('[{"id": 2}]')
        rows = run(history, look(history, ["rows"], first.run_id))
        assert rows.status.steps["rows"].cursor is not None
        assert rows.status.steps["rows"].cursor.reason == "'text' did not run after it"
        assert cursors_of(home).read("shop", "rows") == held

        Path("flow.yaml").write_text(text.replace("name: said, value", "name: says, value"
                                                  ).replace("text.said", "text.says"))
        with pytest.raises(UsageError) as error:
            look(history, ["load"], first.run_id)
        assert str(error.value) == (
            f"step 'load' needs the output 'says' of 'text', which run {first.run_id[:8]} does not"
            " have\n    name these steps with --only too, or another run with --with"
        )
        Path("flow.yaml").write_text(text.replace("on_error: continue", "on_error: fail"))
        with pytest.raises(UsageError, match=r"'report' needs 'load', which failed in run .*: sh"):
            look(history, ["report"], first.run_id)
        Path("flow.yaml").write_text(text.replace("name: shop", "name: shed"))
        with pytest.raises(UsageError, match="of the flow 'shop', not of 'shed'"):
            look(history, ["load"], first.run_id)


def test_only_and_with_go_together() -> None:
    with pytest.raises(UsageError, match="add --only STEP"):
        Wanted((), (), "last", (), ())
    with pytest.raises(UsageError, match="add --with RUN, such as --with last"):
        Wanted((), ("a",), None, (), ())


def test_names_after_the_first_are_no_files(flowtoy: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text("flow: [{name: a, source: env}, {name: b, source: env}]")
    done = flowtoy("run", "flow.yaml", "--only", "a", "b", "--with", "last")
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr == (
        "there is no file 'b'\n    for several steps, repeat the option: --only b\n"
    )


def test_a_retry_runs_again_what_was_taken_although_it_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    # language 15.5
    monkeypatch.chdir(tmp_path)
    Path("flow.yaml").write_text(FLOW)
    Path("table").write_text('[{"id": 1}]')
    run_flow("flow.yaml")
    called()
    with History() as history:
        run(history, look(history, ["load"], "last", "word=bye"))
        assert called() == ["load"]
        Path("ok").touch()
        plan = plan_retry(history, history.find("last"))
        assert plan.reasons["text"] == "it differs from what ran"
        assert any("bye" in line for line in plan.differences["text"])
        assert "rows" not in plan.reasons
        done = retry_run(history, plan, 1)
        assert done.outputs["load"] == {"said": "bye 1\n\n"}
        plan = plan_retry(history, history.find("last"), from_step="report")
        assert dict(plan.differences) == {}

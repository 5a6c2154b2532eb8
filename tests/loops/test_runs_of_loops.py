"""Runs of flows with `for_each` on Dagster's engine: records, events, executors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.engine.jobs.events.loops import SHOWN_ITEMS
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.items import RunItems
from flowtoy_dagster.runs.run import run_flow

ROWS = [{"id": f"k{number}", "n": number} for number in range(6)]


def flow(executor: str, **more: Any) -> dict[str, Any]:
    command = ["sh", "-c", 'echo "$1"; [ "$1" != 3 ]', "-", "{{ item.n }}"]
    each = {
        "name": "each",
        "for_each": {"in": ROWS, "key": "{{ item.id }}", "max_failures": 1},
        "source": "process",
        "input": {"command": command},
        "output": [{"name": "n", "type": "json"}],
        **more,
    }
    see = {
        "name": "see",
        "source": "env",
        "output": [
            {"name": "n", "value": "{{ flows.each.n }}"},
            {"name": "items", "value": "{{ steps.each['items'] }}"},
            {"name": "counts", "value": "{{ steps.each.counts }}"},
        ],
    }
    return {"name": "loop", "runner": {"executor": executor}, "flow": [each, see]}


@pytest.mark.parametrize("executor", ["in_process", "warm", "multiprocess"])
def test_every_executor_gives_the_same(executor: str, made_home: Path) -> None:
    # language 18.8, 18.10
    done = run_flow(flow(executor), 3)
    assert done.success, [step.error for step in done.status.steps.values()]
    see = (done.outputs["see"] or {})
    assert done.outputs["each"] == {"n": [0, 1, 2, 4, 5]}
    assert see["n"] == [0, 1, 2, 4, 5]
    assert see["counts"] == {"total": 6, "succeeded": 5, "failed": 1, "skipped": 0}
    assert see["items"] == [
        {
            "index": row["n"], "key": row["id"], "attempts": 1,
            "state": "failed" if row["n"] == 3 else "succeeded",
            "error": "sh exited with code 1" if row["n"] == 3 else None,
            "outputs": {} if row["n"] == 3 else {"n": row["n"]},
        }
        for row in ROWS
    ]  # fmt: skip
    items = done.status.steps["each"].items
    assert items is not None
    assert (items.total, items.failed, items.failures) == (
        6, 1, (("k3", "sh exited with code 1"),)
    )


def test_a_command_that_ends_late_does_not_end_those_of_other_items(made_home: Path) -> None:
    """In a worker, which adopts what commands leave behind."""
    script = 'if [ "$1" = 0 ]; then exec sleep 60; fi; sleep 4; printf 5'
    command = ["sh", "-c", script, "-", "{{ item.n }}"]
    changes = {"input": {"command": command}, "timeout": "{{ 2 if item.n == 0 else 60 }}"}
    config = flow("warm", **changes)
    config["flow"].pop()
    done = run_flow(config, 6)
    assert done.success, [step.error for step in done.status.steps.values()]
    assert done.outputs["each"] == {"n": [5] * 5}


def test_the_event_log_does_not_grow_with_the_items(made_home: Path) -> None:
    # language 18.10
    sizes, tables = [], []
    for count in (10, 1000):
        each = {
            "name": "each", "source": "env",
            "for_each": {"in": f"{{{{ range({count}) | list }}}}", "max_failures": "100%"},
            "output": [{"name": "n", "value": "{{ 1 // (item - 7) }}"}],
        }  # fmt: skip
        done = run_flow({"runner": {"executor": "in_process"}, "flow": [each]}, 2)
        assert done.success, [step.error for step in done.status.steps.values()]
        with History() as history:
            events = history.instance.all_logs(done.run_id)
        sizes.append(len(events))
        for entry in events:
            event = entry.dagster_event
            if event is not None and event.event_type_value == "STEP_OUTPUT":
                tables.append(event.step_output_data.metadata["items"].value)
    assert sizes[0] == sizes[1]
    assert [len(table.records) for table in tables] == [10, SHOWN_ITEMS]
    # Failures first
    assert [record.data["state"] for record in tables[1].records][:2] == ["failed", "succeeded"]
    assert tables[1].records[0].data["key"] == "7"


@pytest.mark.parametrize("retries", [0, 1])
def test_a_worker_that_dies_is_tried_again_without_the_items_that_had_succeeded(
    retries: int, made_home: Path, tmp_path: Path
) -> None:
    # language 18.7: the step as a whole is tried again then, where `retry` allows it
    script = 'cd "$1"; echo $2 >> calls; [ $2 != 4 ] || [ -e died ] || ' \
             "{ touch died; kill -9 $PPID; }; echo $2"
    done = run_flow({
        "flow": [{
            "name": "each", "for_each": {"in": [1, 2, 3, 4, 5, 6], "concurrency": 1},
            "source": "process", "retry": {"max": retries, "delay": 0},
            "input": {"command": ["sh", "-c", script, "-", str(tmp_path), "{{ item }}"]},
            "output": [{"name": "n", "type": "json"}],
        }],
    })
    assert done.success == bool(retries), done.status.steps["each"].error
    calls = (tmp_path / "calls").read_text().split()
    assert calls == (["1", "2", "3", "4", "4", "5", "6"] if retries else ["1", "2", "3", "4"])
    if retries:
        assert done.outputs is not None
        assert done.outputs["each"]["n"] == [1, 2, 3, 4, 5, 6]


def test_a_failed_loop_fails_the_run_and_says_how_many_failed(
    flowtoy: Callable[..., Any], tmp_path: Path
) -> None:
    # language 18.7, 18.11
    config = flow("warm", for_each={"in": ROWS, "key": "{{ item.id }}"})
    (tmp_path / "loop.yaml").write_text(json.dumps(config))
    done = flowtoy("run", tmp_path / "loop.yaml")
    assert done.code == 1
    assert "reason: 1 of 6 failed; the first is 'k3': sh exited with code 1" in done.stderr
    shown = flowtoy("runs", "show", "last")
    assert "1 of 6 failed; the first is 'k3'" in shown.stdout


def test_what_is_tolerated_is_told_where_the_state_is_shown(
    flowtoy: Callable[..., Any], tmp_path: Path
) -> None:
    # language 18.7, 18.11
    (tmp_path / "loop.yaml").write_text(json.dumps(flow("in_process")))
    done = flowtoy("run", tmp_path / "loop.yaml")
    assert done.code == 0, done.stderr
    line = next(line for line in done.stderr.splitlines() if "each  succeeded" in line)
    assert line.endswith(", 1 of 6 failed")
    assert "1 of 6 failed" in flowtoy("runs", "show", "last").stdout
    # What items print is in the step's log, in whole lines.
    logs = flowtoy("runs", "logs", "last", "each").stdout
    assert sorted(logs.split()) == ["0", "1", "2", "3", "4", "5"]


def test_a_secret_output_of_every_item_is_hidden(made_home: Path) -> None:
    # language 18.12
    config = flow("in_process", output=[{"name": "n", "value": "stdout", "secret": True}])
    config["flow"].pop()
    config["flow"][0]["input"]["command"][2] = 'echo "secret-of-$1"'
    done = run_flow(config, 2)
    assert done.success, [step.error for step in done.status.steps.values()]
    texts = dict(done.output_texts())
    assert json.loads(texts["each"].read()) == {"n": ["***"] * 6}
    assert done.outputs["each"]["n"][1] == "secret-of-1\n"
    with History() as history:
        told = "".join(str(entry) for entry in history.instance.all_logs(done.run_id))
        printed = b"".join(part for _, _, part in history.captured(history.find("last"), "each"))
    assert "secret-of-" not in told
    assert b"secret-of-" not in printed


def test_what_other_steps_know_to_be_secret_is_hidden_in_items(
    made_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # language 13.1, 18.12
    monkeypatch.setenv("MY_TOKEN", "word-of-the-variable")
    config = {
        "flow": [
            {"name": "list", "source": "process",
             "input": {"command": ["echo", '["word-of-a-step"]']},
             "output": [{"name": "words", "value": "@", "secret": True}]},
            {"name": "each", "source": {"type": "env", "vars": []},
             "for_each": {"in": "{{ flows.list.words + [env.MY_TOKEN] }}", "key": "{{ item }}"},
             "output": [{"name": "said", "value": "{{ 'it is ' ~ item }}"}]},
        ],
        "runner": {"executor": "in_process"},
    }
    done = run_flow(config, 2)
    assert done.success, [step.error for step in done.status.steps.values()]
    monkeypatch.delenv("MY_TOKEN")
    with History() as history:
        items = RunItems(history, history.find("last"), "each")
        facts = [(fact["key"], fact["outputs"]) for fact in items.facts()]
        rows, _ = items.rows(None, "", 10)
    assert facts == [("***", {"said": "it is ***"})] * 2
    assert [row["key"] for row in rows] == ["***"] * 2


def test_the_status_document_tells_of_items_and_is_read_back(made_home: Path) -> None:
    # language 18.11
    import jsonschema

    from flowtoy_dagster.runs.status.status_document import SCHEMA, read_status, status_document

    done = run_flow(flow("in_process"), 2)
    document = status_document(done.status)
    assert document["steps"]["each"]["items"] == {
        "total": 6, "succeeded": 5, "failed": 1, "skipped": 0, "reused": 0,
        "failures": [{"key": "k3", "error": "sh exited with code 1"}],
    }  # fmt: skip
    assert document["steps"]["see"]["items"] is None
    document["run_id"] = 1
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert read_status(document).steps["each"].items == done.status.steps["each"].items


def test_a_file_whose_records_are_damaged_fails_the_step_with_its_line(made_home: Path) -> None:
    # language 18.1, 20.2
    script = """printf '{"a": 1}\\n{"a":' > "$FLOWTOY_OUTPUTS/x.jsonl" """
    done = run_flow({
        "runner": {"executor": "in_process"},
        "flow": [
            {"name": "file", "source": {"type": "process", "command": ["sh", "-c", script]},
             "output": [{"name": "f", "type": "file", "value": "x.jsonl", "format": "jsonl"}]},
            {"name": "each", "for_each": "{{ flows.file.f }}",
             "source": {"type": "process", "command": ["echo", "{{ item.a }}"]}},
        ],
    }, 2)  # fmt: skip
    error = done.status.steps["each"].error or ""
    assert error.startswith("for_each: line 2 of the file '")
    assert error.endswith("' is not JSON: unexpected end of data at character 6")

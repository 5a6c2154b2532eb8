"""Runs whose history is in PostgreSQL: what `flowtoy` does with them, and what is stored."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.parse
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import postgres_server as servers  # type: ignore[import-not-found]

from flowtoy_dagster.runs.history import History

EXAMPLES = Path(__file__).parents[3] / "examples"
FAILS_AT_FIRST = """
    flow:
      - name: before
        source: process
        input: {command: [echo, the first]}
        output: [{name: text, value: stdout}]
      - name: in the middle
        source: process
        depends_on: before
        input: {command: [sh, -c, "test -e fixed || { echo not yet >&2; exit 3; }"]}
      - name: after
        source: process
        depends_on: in the middle
        input: {command: "echo {{ flows.before.text }}"}
        output: [{name: text, value: stdout}]
"""


def test_the_mixed_example_runs(flowtoy: Callable[..., Any], database: Any) -> None:
    command = [sys.executable, "-m", "flowtoy_dagster", "run", "mixed.yaml", "-j"]
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "shop_api.py"), "--", *command],
        capture_output=True, text=True, cwd=EXAMPLES, timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["combine_data"]["combined"]) == 5
    assert database.sql("SELECT pipeline_name, status FROM runs") == "mixed|SUCCESS"


def test_the_commands_of_history_and_retry_work(
    database: Any, flowtoy: Callable[..., Any], write: Callable[..., Path], tmp_path: Path
) -> None:
    # runtime 11
    failed = flowtoy("run", write(FAILS_AT_FIRST), "-q")
    assert failed.code == 1
    assert "sh exited with code 3: not yet" in failed.stderr
    shown = flowtoy("runs", "show", "last", "--json").json
    states = {name: step["state"] for name, step in shown["steps"].items()}
    assert states == {"before": "succeeded", "in the middle": "failed", "after": "skipped"}
    assert flowtoy("runs", "logs", "last", "before").stdout == "the first\n"
    (tmp_path / "fixed").touch()
    again = flowtoy("retry", "last", "-j")
    assert again.code == 0, again.stderr
    assert again.json["after"] == {"text": "the first\n\n"}
    assert flowtoy("runs", "outputs", "last", "-j").json == again.json
    listed = flowtoy("runs", "--json").json
    assert [run["state"] for run in listed] == ["succeeded", "failed"]
    assert listed[0]["retry_of"] == listed[1]["run_id"]
    started = "SELECT count(*) FROM event_logs WHERE dagster_event_type = 'STEP_START'"
    assert database.sql(f"{started} AND step_key = 'before'") == "1"


def test_eight_runs_at_once_lose_no_event(
    database: Any, flowtoy: Callable[..., Any], write: Callable[..., Path], commands: Any
) -> None:
    # runtime 12. `commands` is asked for so that it is not made in eight threads.
    steps = "\n".join(
        f"- {{name: s{n}, source: process, input: {{command: ['true']}}}}" for n in range(5)
    )
    path = write(f"flow:\n{steps}\n")
    with ThreadPoolExecutor(8) as threads:
        commands = [threads.submit(flowtoy, "run", path, "--max-workers", "2") for _ in range(8)]
    for command in commands:
        assert command.result().code == 0, command.result().stderr
    with History() as history:
        runs = history.instance.get_runs()
        stories = [
            Counter(e.dagster_event_type for e in history.instance.all_logs(run.run_id))
            for run in runs
        ]
    assert [run.status.value for run in runs] == ["SUCCESS"] * 8
    assert stories == [stories[0]] * 8
    assert {stories[0][kind] for kind in stories[0] if kind.name in (  # type: ignore[union-attr]
        "STEP_START", "STEP_OUTPUT", "STEP_SUCCESS", "LOGS_CAPTURED",
    )} == {5}


def contents(database: Any) -> Iterator[tuple[str, str]]:
    """Every value of every table, with what is compressed of it as text."""
    dump = database.server.dump(database.name)
    yield "dump", dump
    for number, line in enumerate(dump.splitlines()):
        for word in line.replace("'", " ").split():
            if word.startswith(r"\x"):
                data = bytes.fromhex(word.removeprefix(r"\x"))
                with contextlib.suppress(zlib.error):
                    yield f"line {number}", zlib.decompress(data).decode()


def test_no_secret_gets_into_the_database(
    database: Any, flowtoy: Callable[..., Any], write: Callable[..., Path], home: Path
) -> None:
    # language 13; runtime 3
    address = os.environ["FLOWTOY_STORAGE"]
    path = write("""
        runner: {on_error: continue}
        sources:
          keyed: {type: process, env: {API_KEY: written-in-the-flow}}
        flow:
          - name: tells
            source: keyed
            input: {command: "echo {{ env.MY_TOKEN }}; printenv; cat /proc/$PPID/environ"}
            output: [{name: text, value: stdout}]
          - name: fails
            source: process
            input: {command: [sh, -c, "echo $0 >&2; exit 1", "{{ env.MY_TOKEN }}"]}
          - name: makes a token and fails
            source: process
            input: {command: [sh, -c, "printf '%s-in-flight\\n' made | tee /dev/stderr; exit 1"]}
            output: [{name: token, value: access_token}]
    """)
    secrets = ["made-in-flight", "from-the-environment", "written-in-the-flow",
               servers.PASSWORD, servers.QUOTED, address, urllib.parse.quote(servers.PASSWORD)]
    done = flowtoy("run", path, "-j", env={
        "MY_TOKEN": "from-the-environment", "START_PYTHON": "1",
    })
    assert done.code == 0, done.stderr
    # The step's own environment is without the address; that of the process that started it
    # still has it, and what comes from there is hidden.
    assert "FLOWTOY_STORAGE=***" in done.json["tells"]["text"]
    assert "\nFLOWTOY_STORAGE=" not in done.json["tells"]["text"].partition("\0")[0]
    texts = [("stdout", done.stdout), ("stderr", done.stderr), *contents(database)]
    assert sum(place.startswith("line") for place, _ in texts) >= 2
    texts += [
        (str(file), file.read_text(errors="replace"))
        for file in home.rglob("*")
        if file.is_file() and file.suffix != ".json"
        and home / "flowtoy-records" not in file.parents
    ]
    assert len(texts) > 8
    for place, text in texts:
        assert [secret for secret in secrets if secret in text] == [], place


def test_a_worker_that_is_killed_fails_its_step_alone(
    database: Any, flowtoy: Callable[..., Any], write: Callable[..., Path]
) -> None:
    # runtime 8
    path = write("""
        runner: {on_error: continue}
        flow:
          - {name: kills, source: process, input: {command: [sh, -c, "kill -9 $PPID; sleep 9"]}}
          - name: other
            source: process
            input: {command: [echo, fine]}
            output: [{name: text, value: stdout}]
          - {name: later, source: process, depends_on: kills, input: {command: [echo, too]}}
    """)
    done = flowtoy("run", path, "-j")
    assert done.code == 0, done.stderr
    assert "was killed by signal 9 (SIGKILL)" in done.stderr
    assert done.json["other"] == {"text": "fine\n"}
    with History() as history:
        run = history.find("last")
        steps = history.status(run).steps
        assert {name: step.state for name, step in steps.items()} == {
            "kills": "failed", "other": "succeeded", "later": "succeeded",
        }
        assert run.status.value == "SUCCESS"
    assert database.connections() == 0

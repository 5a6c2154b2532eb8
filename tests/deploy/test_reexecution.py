"""Some steps of a run executed again on Dagster's page, which lets any be chosen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FLOW = """
flow:
  - {name: a, source: process, input: {command: [echo, hi]}, output: [{name: text, value: stdout}]}
  - {name: the b, source: process, input: {command: ["false", "{{ flows.a.text }}"]},
     output: [{name: text, value: stdout}]}
  - {name: c, source: process, input: {command: [echo, "{{ flows['the b'].text }}"]}}
  - {name: d, source: process, input: {command: [echo, "{{ flows.a.text }}"]}}
"""
PROGRAM = """
import sys
from pathlib import Path
import dagster as dg
from flowtoy_dagster import build_job, load_flow
from flowtoy_dagster.loader import with_executor

def job():
    return build_job(with_executor(load_flow(str(Path(__file__).with_name("flow.yaml"))), EXECUTOR))

def execute(instance, **options):
    with dg.execute_job(dg.reconstructable(job), instance, **options) as result:
        failure = next((each for each in result.all_events if each.is_job_failure), None)
        error = failure and failure.event_specific_data.error
        print(result.success, (error.message if error else "").strip())
        return result.run_id

if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        first = execute(instance)
        for chosen in (["c"], ["d", "c"], ["d"]):
            execute(instance, reexecution_options=dg.ReexecutionOptions(first, chosen))
"""


Run = Callable[[str, str], "subprocess.CompletedProcess[str]"]


@pytest.fixture(params=["warm", "multiprocess", "in_process"])
def run(
    request: pytest.FixtureRequest, made_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Runs a program that executes a flow beside it, some steps of it again, on an executor."""
    monkeypatch.setenv("DAGSTER_HOME", str(made_home))
    program = tmp_path / "program.py"

    def start(flow: str, code: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "flow.yaml").write_text(flow)
        program.write_text(code.replace("EXECUTOR", repr(request.param)))
        return subprocess.run(
            [sys.executable, str(program)], capture_output=True, text=True, timeout=200,
            check=False, cwd=tmp_path,
        )

    return start


def test_a_step_whose_input_was_never_given_fails_the_run_at_once(run: Run) -> None:
    # language 9.7
    done = run(FLOW, PROGRAM)
    needed = ("False flowtoy_dagster.errors.RunError: step 'c' needs 'the b', which is not executed"
              " in this run and has given no result before")
    assert done.stdout.splitlines()[1:] == [needed, needed, "True "], done.stderr


CLOSED = """
runner: {max_workers: 1} # c is skipped for b before z fails
flow:
  - {name: b, on_error: skip, source: process, input: {command: ["false"]},
     output: [{name: text, value: stdout}]}
  - {name: c, source: process, input: {command: [echo, "{{ flows.b.text }}"]}}
  - {name: z, source: process, input: {command: [test, -e, OK]}}
  - {name: clean, run_if: always, depends_on: [c, z], source: process,
     input: {command: [sh, -c, 'echo "$@" >> cleaned', -, "{{ steps.c.state }}",
       "{{ steps.z.state }}"]}}
"""
AGAIN = PROGRAM.partition("if __name__")[0] + """
if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        first = execute(instance)
        Path("OK").touch()
        again = dg.ReexecutionOptions.from_failure(first, instance)
        execute(instance, reexecution_options=again)
        execute(instance, reexecution_options=dg.ReexecutionOptions(first, ["clean"]))
"""


def test_a_closing_step_is_executed_again_after_steps_that_never_started(
    run: Run, tmp_path: Path
) -> None:
    # language 19.3
    done = run(CLOSED, AGAIN)
    shown = [line.split(" ")[0] for line in done.stdout.splitlines()]
    assert shown == ["False", "True", "True"], done.stderr
    states = (tmp_path / "cleaned").read_text().splitlines()
    assert states[:2] == ["skipped failed", "skipped succeeded"]
    assert len(states) == 3

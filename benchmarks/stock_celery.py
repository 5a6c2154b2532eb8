"""A job for Dagster's own executor for Celery; as a program, prints how long its last run took.

It is executed by a Python that has dagster-celery and not flowtoy, from a copy beside a file with
its parameters: see `remote.py`.
"""

import json
import subprocess
from pathlib import Path

import dagster as dg
from dagster_celery import celery_executor

STEPS, COMMAND, IS_CHAIN = json.loads(Path(__file__).with_suffix(".json").read_text())


def _op(number: int) -> dg.OpDefinition:
    def run(context: dg.OpExecutionContext) -> int:
        return subprocess.run(COMMAND, check=True).returncode

    @dg.op(name=f"s{number}", ins={"before": dg.In(dg.Nothing)})
    def waiting(context: dg.OpExecutionContext) -> int:
        return run(context)

    @dg.op(name=f"s{number}")
    def first(context: dg.OpExecutionContext) -> int:
        return run(context)

    return waiting if IS_CHAIN and number else first


@dg.job(executor_def=celery_executor)
def job() -> None:
    """Steps of one command each."""
    before = None
    for number in range(STEPS):
        op = _op(number)
        before = op(before) if IS_CHAIN and number else op()


def main() -> None:
    """Print the seconds from the first step's start to the last one's end."""
    with dg.DagsterInstance.get() as instance:
        (run,) = instance.get_runs(limit=1)
        assert run.status == dg.DagsterRunStatus.SUCCESS, run.status
        stats = instance.get_run_step_stats(run.run_id)
        print(max(one.end_time for one in stats) - min(one.start_time for one in stats))


if __name__ == "__main__":
    main()

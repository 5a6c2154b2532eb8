"""Dagster's own Celery executor, in an environment of its own: for benchmarks/remote.py.

`python stock_celery.py together|slow|chain` runs steps and prints the seconds from the first one's
begin to the last one's end; `celery -A stock_celery worker` is a worker for it. STOCK_BROKER is the
address of the broker, STOCK_STEPS says how many steps there are.
"""

from __future__ import annotations

import os
import subprocess
import sys

import dagster as dg
from dagster_celery import celery_executor
from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_task

BROKER = os.environ["STOCK_BROKER"]
BACKEND = BROKER if BROKER.startswith("redis") else "rpc://"
STEPS = int(os.environ["STOCK_STEPS"])
app = make_app({"broker": BROKER, "backend": BACKEND})
create_task(app)


def _job(name: str, command: list[str], *, is_chain: bool) -> dg.JobDefinition:
    def op(number: int) -> dg.OpDefinition:
        ins = {"before": dg.In(dg.Nothing)} if is_chain and number else {}

        @dg.op(name=f"{name}_{number}", ins=ins, out=dg.Out(dg.Nothing))
        def run_command() -> None:
            subprocess.run(command, check=True)

        return run_command

    executor = celery_executor.configured({"broker": BROKER, "backend": BACKEND})

    @dg.job(name=name, executor_def=executor)
    def commands() -> None:
        before = None
        for number in range(STEPS):
            before = op(number)(before) if is_chain and number else op(number)()

    return commands


together = _job("together", ["true"], is_chain=False)
slow = _job("slow", ["sleep", "0.2"], is_chain=False)
chain = _job("chain", ["true"], is_chain=True)


def job_named(name: str) -> dg.JobDefinition:
    """One of the jobs."""
    return {"together": together, "slow": slow, "chain": chain}[name]


def main() -> None:
    """Execute a job, and print the span of its steps."""
    job = dg.build_reconstructable_job("stock_celery", "job_named", (sys.argv[1],))
    with dg.DagsterInstance.get() as instance:
        done = dg.execute_job(job, instance)
        if not done.success:
            sys.exit("the run has failed")
        times = [
            entry.timestamp for entry in instance.all_logs(done.run_id)
            if entry.dagster_event
            and entry.dagster_event.event_type_value in ("STEP_START", "STEP_SUCCESS")
        ]
    print(max(times) - min(times))


if __name__ == "__main__":
    main()

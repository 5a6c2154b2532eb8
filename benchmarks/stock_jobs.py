"""The job that stock Dagster executes: the same flow, on the multiprocess executor as shipped.

`BENCHMARK_FLOW=flow.yaml python -m dagster job execute -f benchmarks/stock_jobs.py -a job`
"""

from __future__ import annotations

import os

import dagster as dg

from flowtoy_dagster.definitions import build_job

FLOW_VARIABLE = "BENCHMARK_FLOW"

job = build_job(os.environ[FLOW_VARIABLE], executor=dg.multiprocess_executor)

"""What the fork server imports before it forks workers.

`PRELOADED_IN` is the process that imported this module: in a worker that was forked after the
import it is the fork server, in any other it is the worker itself.
"""
# ruff: noqa: F401 - importing is what this module is for

import os

import dagster._core.executor.multiprocess

import flowtoy_dagster.engine.compute_logs
import flowtoy_dagster.engine.storage
import flowtoy_dagster.engine.workers
import flowtoy_dagster.providers.env
import flowtoy_dagster.providers.process

PRELOADED_IN = os.getpid()

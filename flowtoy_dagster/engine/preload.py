"""What the fork server imports before it forks workers.

`PRELOADED_IN` is the process that imported this module: in a worker that was forked after the
import it is the fork server, in any other it is the worker itself.
"""

import os

import dagster._core.executor.multiprocess  # noqa: F401 - what a stock worker needs first

import flowtoy_dagster.definitions
import flowtoy_dagster.engine.compute_logs
import flowtoy_dagster.engine.storage
import flowtoy_dagster.engine.workers
import flowtoy_dagster.providers.process

PRELOADED_IN = os.getpid()

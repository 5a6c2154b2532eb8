"""What the fork server imports before it forks workers.

`PRELOADED_IN` is the process that imported this module: in a worker that was forked after the
import it is the fork server, in any other it is the worker itself.
"""
# ruff: noqa: F401 - importing is what this module is for

import os

from flowtoy_dagster.engine.executors.warm.loading.lazy_dialects import index_options
from flowtoy_dagster.engine.executors.warm.loading.lazy_imports import deferred, without_contents

with (
    deferred(
        "alembic",
        "alembic.command",
        "alembic.config",
        "alembic.runtime",
        "alembic.runtime.environment",
        "alembic.runtime.migration",
        "alembic.script",
        "click",
        "coloredlogs",
        "dagster._utils.schedules",
        "docstring_parser",
        "filelock",
        "structlog",
        "tomllib",
        "tqdm",
        "unittest",
        "unittest.mock",
        "watchdog.observers",
        "watchdog.observers.polling",
    ),
    without_contents("dagster._daemon"),
    index_options(),
):
    # What opening an instance and building a plan would import in each worker.
    import dagster._core.definitions.repository_definition.repository_data_builder
    import dagster._core.executor.multiprocess
    import dagster._core.instance.factory
    import dagster._core.secrets.env_file
    import dagster._core.storage.root
    import dagster._core.storage.sql
    import dagster._core.storage.sqlite_storage
    import dagster._core.utility_ops
    import dagster._core.workspace.autodiscovery
    import dagster._utils.test.definitions

import flowtoy_dagster.engine.executors.warm.worker
import flowtoy_dagster.engine.storage.logs.compute_logs
import flowtoy_dagster.engine.storage.sqlite
import flowtoy_dagster.providers.env
import flowtoy_dagster.providers.process.provider

PRELOADED_IN = os.getpid()

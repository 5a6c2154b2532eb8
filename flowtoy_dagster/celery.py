"""The application for Celery's own commands: `celery -A flowtoy_dagster.celery worker`."""

from flowtoy_dagster.engine.executors.brokers.celery.kind import CeleryKind
from flowtoy_dagster.engine.executors.brokers.celery.worker import worker_app
from flowtoy_dagster.engine.executors.brokers.deployment import deployment_here
from flowtoy_dagster.errors import FlowtoyError
from flowtoy_dagster.terminal import say

try:
    CeleryKind().check_home()
    app = worker_app(CeleryKind().address(), deployment_here())
except FlowtoyError as error:
    say(f"error: {error}")
    raise SystemExit(error.exit_code) from None

"""The application for Celery's own commands: `celery -A flowtoy_dagster.celery worker`."""

from flowtoy_dagster.engine.executors.brokers.celery.kind import CeleryKind
from flowtoy_dagster.engine.executors.brokers.celery.worker import worker_app

app = worker_app(CeleryKind().address())

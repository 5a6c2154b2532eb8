"""The address of the Postgres storage in the `dagster.yaml` of deployments of 0.1.0."""

from flowtoy_dagster.engine.storage.postgres import WarmPostgresStorage

__all__ = ["WarmPostgresStorage"]

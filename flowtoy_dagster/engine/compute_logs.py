"""The address of the log manager in the `dagster.yaml` of homes that 0.1.0 made."""

from flowtoy_dagster.engine.storage.logs.compute_logs import DirectComputeLogManager

__all__ = ["DirectComputeLogManager"]

"""Dagster's instance of a home, for a web server and for other processes."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from dagster._core.run_coordinator import DefaultRunCoordinator
from dagster_shared.serdes import deserialize_value, serialize_value

from flowtoy_dagster.engine.storage.instances import (
    instance_facts,
    open_instance,
    same_instance,
    serving_instance,
)
from flowtoy_dagster.runs.processes.dagster_launcher import LAUNCHER, FlowtoyRunLauncher

SETTINGS = """
run_queue: {max_concurrent_runs: 1}
telemetry: {enabled: true}
nux: {enabled: true}
python_logs: {python_log_level: INFO}
local_artifact_storage:
  module: dagster.core.storage.root
  class: LocalArtifactStorage
  config: {base_dir: elsewhere}
"""


def test_a_web_servers_instance_is_the_homes_but_queues_nothing_and_asks_nobody(
    tmp_path: Path,
) -> None:
    (tmp_path / "dagster.yaml").write_text(SETTINGS)
    with serving_instance(tmp_path, LAUNCHER) as instance:
        assert isinstance(instance.run_launcher, FlowtoyRunLauncher)
        assert isinstance(instance.run_coordinator, DefaultRunCoordinator)
        assert (instance.telemetry_enabled, instance.nux_enabled) == (False, False)
        assert instance.python_log_level == "INFO"
        assert instance.storage_directory() == "elsewhere/storage"
        facts = json.loads(json.dumps(instance_facts(instance)))
    with same_instance(facts) as again:
        assert again.get_ref() == instance.get_ref()


def test_a_run_has_no_store_of_definitions_state_and_others_have(tmp_path: Path) -> None:
    """It needs none, and Dagster imports fsspec to make one."""
    with open_instance(tmp_path) as instance:
        assert instance.defs_state_storage is None
        reference = instance.get_ref()
        assert type(reference) is InstanceRef
        assert deserialize_value(serialize_value(reference), InstanceRef) == reference
        with dg.DagsterInstance.from_ref(reference) as other:
            assert other.defs_state_storage is not None
    with serving_instance(tmp_path, LAUNCHER) as serving:
        assert serving.defs_state_storage is not None

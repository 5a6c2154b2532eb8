"""Dagster's instance of a home folder: for a web server, and passed on to other processes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import ConfigurableClassData
from dagster._utils.hosted_user_process import recon_job_from_origin

_QUIET = {"telemetry": {"enabled": False}, "nux": {"enabled": False}}
_COORDINATOR = ConfigurableClassData("dagster._core.run_coordinator", "DefaultRunCoordinator", "{}")


def serving_instance(home: Path, launcher: tuple[str, str]) -> dg.DagsterInstance:
    """The instance for a web server that starts the runs that are asked for there itself.

    What the home's `dagster.yaml` says of storage and logs is kept. Runs start at once, since no
    daemon is there to take them out of a queue, and nothing is sent to anybody.

    Args:
        home: a home folder.
        launcher: module and name of the class that starts runs.
    """
    ref = InstanceRef.from_dir(str(home))
    ref = ref._replace(
        run_coordinator_data=_COORDINATOR,
        run_launcher_data=ConfigurableClassData(*launcher, "{}"),
        settings={**ref.settings, **_QUIET},
    )
    return dg.DagsterInstance.from_ref(ref)


def instance_facts(instance: dg.DagsterInstance) -> Mapping[str, Any]:
    """What another process opens the same instance by, as JSON data. It may hold passwords."""
    return instance.get_ref().to_dict()


def same_instance(facts: Mapping[str, Any]) -> dg.DagsterInstance:
    """The instance that `instance_facts` told of, opened in this process."""
    return dg.DagsterInstance.from_ref(InstanceRef.from_dict(facts))


def job_of(run: dg.DagsterRun) -> ReconstructableJob:
    """The job of a run, as every process of it builds it."""
    assert run.job_code_origin is not None, f"run {run.run_id} has no job"
    return recon_job_from_origin(run.job_code_origin)

"""A flow as a component of a `dg` project."""

from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from flowtoy_dagster.deployment.discovery import FOLDERS_FLOW, FlowFiles, job_name_of
from flowtoy_dagster.deployment.location import FlowLocation, JobMaker

NEW_FLOW = """\
# `flowtoy run flow.yaml` checks and runs it, without a deployment.
flow:
  - name: say_hello
    source: process
    input:
      command: [echo, "Hello from flowtoy"]
    output:
      - {name: greeting, value: stdout}
"""


class FlowScaffolder(dg.Scaffolder[Any]):
    """Makes a component's folder: `defs.yaml`, and a flow to begin with."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Write the files."""
        path = request.target_path / f"{FOLDERS_FLOW}.yaml"
        if not path.exists():
            path.write_text(NEW_FLOW, encoding="utf-8")
        dg.scaffold_component(request, {"flow": path.name})


@dg.scaffold_with(FlowScaffolder)
class FlowtoyFlowComponent(dg.Component, dg.Model, dg.Resolvable):
    """A flow, of one YAML file or several that are merged, as a job.

    The flow is a file of its own: in `defs.yaml`, Dagster would render its templates.
    """

    flow: str | list[str] = Field(
        description="The flow's file, or several that are merged from left to right."
    )
    job_name: str | None = Field(
        default=None, description="The job's name; by default made of the component's place."
    )
    max_workers: int | None = Field(
        default=None, ge=1, description="How many steps may run at once, in place of the flow's."
    )
    tags: dict[str, str] | None = Field(default=None, description="Added to the flow's tags.")

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What `dg list components` shows of it."""
        return dg.ComponentTypeSpec(
            description="A flow of YAML as a job.", produces=["job", "schedule", "sensor"]
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The flow's job, schedules and sensors.

        Raises:
            ConfigError: the flow can't be loaded; says where.
            HomeError: the home folder, in which its configuration is saved, can't be used.
        """
        names = [self.flow] if isinstance(self.flow, str) else self.flow
        paths = tuple(context.path / name for name in names)
        place = context.path.relative_to(context.defs_module_path).parts
        job = self.job_name or job_name_of(place or (paths[0].stem,))
        files = FlowFiles(paths, _flow_name(paths[0]), job)
        maker = JobMaker(tags=self.tags, max_workers=self.max_workers)
        location = FlowLocation(f"flowtoy:{job}", lambda: [files], maker, strict=True)
        return location.definitions()


def _flow_name(path: Path) -> str:
    return path.parent.name if path.stem == FOLDERS_FLOW else path.stem

"""Runs, and what `flowtoy run` prints of them."""

from __future__ import annotations

from flowtoy_dagster import run_flow
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.progress.words import change_lines
from flowtoy_dagster.runs.run import FlowRun
from flowtoy_dagster.runs.status.models import Change


def run_with_lines(flow: Flow) -> tuple[FlowRun, list[str]]:
    """Run a flow; the run, and the lines that are printed while it goes on."""
    lines: list[str] = []
    width = max(len(step.name) for step in flow.steps)

    def note(change: Change) -> None:
        lines.extend(change_lines(change, width, flow))

    return run_flow(flow, on_change=note), lines

"""What `flowtoy run` shows on stderr while it runs."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

from flowtoy_dagster.flow.graph import Flow

if TYPE_CHECKING:
    from flowtoy_dagster.runs.status import Change, RunStatus


class ProgressLines:
    """A line for each change of a step's state."""

    def __init__(self, flow: Flow, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._width = min(40, max(len(step.name) for step in flow.steps))
        self._started = time.monotonic()

    def show(self, change: Change) -> None:
        """Print one change."""
        step = change.step
        moment = time.localtime(change.timestamp)
        milliseconds = int(change.timestamp * 1000) % 1000
        stamp = f"{time.strftime('%H:%M:%S', moment)}.{milliseconds:03d}"
        self._print(f"{stamp}  {step.name:<{self._width}}  {_what(change)}")
        if step.state == "failed":
            if step.called:
                self._print(f"    called: {step.called}")
            self._print(f"    reason: {step.error}")
            for line in step.stderr.splitlines():
                self._print(f"    stderr: {line}")

    def summarize(self, status: RunStatus) -> None:
        """Print the last line: the counts, the time, and where to look."""
        elapsed = seconds(time.monotonic() - self._started)
        self._print(
            f"{status.state}: {counts(status)} in {elapsed}; flowtoy runs show {status.run_id[:8]}"
        )

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


def _what(change: Change) -> str:
    step = change.step
    if change.retry_in is not None:
        return f"attempt {step.attempt} failed, next in {seconds(change.retry_in)}: {change.reason}"
    if step.state == "running":
        return "running" if step.attempt == 1 else f"running, attempt {step.attempt}"
    if step.state == "skipped":
        return f"skipped: {step.error}" if step.error else "skipped"
    if step.elapsed is None:
        return step.state
    return f"{step.state} {'in' if step.state == 'succeeded' else 'after'} {seconds(step.elapsed)}"


def counts(status: RunStatus) -> str:
    """How many steps ended how: `3 succeeded, 1 failed`."""
    return ", ".join(
        f"{status.count(state)} {state}"
        for state in ("succeeded", "failed", "skipped")
        if status.count(state) or state == "succeeded"
    )


def seconds(value: float) -> str:
    """A time span for people."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"

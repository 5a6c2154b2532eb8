"""Processes that carry runs for another process. No Dagster in here: they import it meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Any

from flowtoy_dagster.machine.own_module import module_command

WORKER = "flowtoy_dagster.runs.processes.run_process_main"


class RunProcess:
    """A process that will carry a run; while there is none, it imports what runs need.

    It is in a session of its own, so that a Ctrl-C in the terminal reaches this process alone. When
    this process is gone, it ends.

    Args:
        output: where it prints what it has to say, steps aside; by default on our stderr.
    """

    def __init__(self, output: int | IO[Any] | None = None) -> None:
        target = sys.stderr.fileno() if output is None else output
        self._process = subprocess.Popen(
            module_command(WORKER),
            stdin=subprocess.PIPE,
            stdout=target,
            stderr=target,
            start_new_session=True,
        )
        self._say({"path": [entry for entry in sys.path if isinstance(entry, str)]})

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def carry(
        self,
        run_id: str,
        run_config: Mapping[str, Any],
        instance: Mapping[str, Any],
        saved: Sequence[str] | None = None,
    ) -> None:
        """Tell it to carry a run.

        Args:
            run_id: a run that was created for this process.
            run_config: the run's configuration, in Dagster's sense.
            instance: where the run is: what `instance_facts` gives.
            saved: what the run's job is rebuilt from, the arguments of `rebuild_job`, where it
                is the job of a saved configuration.
        """
        request = {"run_id": run_id, "run_config": run_config, "instance": instance}
        self._say({**request, "saved": saved})

    def _say(self, request: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        # By a pipe, since arguments and the environment can be seen by others.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def wait(self) -> int:
        """Wait until it has ended; gives its exit code or minus its signal."""
        status = self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        return status

    def interrupt(self) -> None:
        """Ask it to end the run, and itself."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once; the run's workers follow by themselves."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

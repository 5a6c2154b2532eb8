"""Where a flow is, as its steps use it (language 6.3, 10.6)."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import NamedTuple

from flowtoy_dagster.errors import StepError, TemplateError, system_reason
from flowtoy_dagster.flow.graph import Flow


class FlowFolder(NamedTuple):
    """The folder of the flow's first file.

    Attributes:
        path: the folder; None where nothing of the flow depends on it, so that it was not kept.
        is_base: whether relative paths start from it (`runner.cwd: flow`).
        recorded: of a replay, the folder of the run that was recorded.
    """

    path: str | None = None
    is_base: bool = False
    recorded: str | None = None

    @classmethod
    def of(cls, flow: Flow) -> FlowFolder:
        """That of a flow."""
        return cls(flow.folder, flow.folder is not None and flow.runner.cwd == "flow")

    @property
    def base(self) -> Path | None:
        """What relative paths start from; None for the working directory of the process."""
        return Path(self.path) if self.is_base and self.path is not None else None

    def dir(self) -> str:
        """What `flow.dir` gives; raises TemplateError where this machine has no such folder."""
        if self.recorded is not None:
            return self.recorded
        if self.path is None:
            raise TemplateError("the flow does not use 'flow.dir', so its folder was not kept")
        reason = self.why_absent()
        if reason is not None:
            raise TemplateError(reason)
        return self.path

    def check(self) -> None:
        """See that relative paths can start from it, where calls are made; raises StepError."""
        reason = self.why_absent() if self.is_base and self.recorded is None else None
        if reason is not None:
            raise StepError(reason)

    def why_absent(self) -> str | None:
        """Why this machine can't use the folder, and what to do; None where it can."""
        try:
            os.stat(os.path.join(self.path or "", "."))  # raises where it can't be entered, too
        except OSError as error:
            return (
                f"the flow's folder '{self.path}' can't be used on {socket.gethostname()}: "
                f"{system_reason(error)}; 'runner.cwd: flow' and 'flow.dir' need it under the same "
                "path on each machine that runs steps"
            )
        return None

"""What steps print, into files, without helper processes."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dagster._core.storage.compute_log_manager import CapturedLogContext
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._serdes import ConfigurableClassData


class DirectComputeLogManager(LocalComputeLogManager):
    """Dagster's local log files, written by the step itself.

    Dagster's own starts two `tail` and two watching processes a step, to repeat on the console
    what goes into the files. Here stdout and stderr are the files while a step runs, so the UI
    and `flowtoy runs logs` read them live.
    """

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "DirectComputeLogManager":
        return cls(inst_data=inst_data, **config_value)

    @contextlib.contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        paths = [self.get_captured_local_path(log_key, kind) for kind in ("out", "err")]
        os.makedirs(os.path.dirname(paths[0]), mode=0o700, exist_ok=True)
        with _redirected(1, paths[0], sys.stdout), _redirected(2, paths[1], sys.stderr):
            yield CapturedLogContext(log_key)
        with open(self.complete_artifact_path(log_key), "a"):
            """The file's being there tells that no more will come."""


@contextlib.contextmanager
def _redirected(descriptor: int, path: str, stream: Any) -> Iterator[None]:
    """Let a file descriptor be a file for a while."""
    _flush(stream)
    kept = os.dup(descriptor)
    try:
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(target, descriptor)
        os.close(target)
        yield
    finally:
        _flush(stream)
        os.dup2(kept, descriptor)
        os.close(kept)


def _flush(stream: Any) -> None:
    with contextlib.suppress(Exception):
        stream.flush()

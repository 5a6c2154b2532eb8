"""What commands print, repeated for whatever captures the output of an op."""

import os

from flowtoy_dagster.engine.storage.logs.log_bound import LogBound
from flowtoy_dagster.steps.state.mask import MaskedStreams, StepMask


class OutputRepeater:
    """Repeats what a step's command prints on our own stdout and stderr, which are captured.

    Secrets are hidden here too: in a deployment something else may capture what we print. They are
    hidden before anything is cut, so that no half of one is left.
    """

    def __init__(self, mask: StepMask) -> None:
        self._mask = mask
        self._bounds = {"stdout": LogBound(), "stderr": LogBound()}
        self._streams = MaskedStreams(mask)

    def __call__(self, stream: str, data: bytes) -> None:
        """Take bytes that a command has printed to `stdout` or `stderr`."""
        shown = self._streams.take(stream, data)
        self._print(stream, self._bounds[stream].add(shown))

    def close(self) -> None:
        """Print what was held back, and the last part of what was too much.

        What still waits for secret outputs, which nobody knows now, is not printed.
        """
        for stream, bound in self._bounds.items():
            rest = bound.add(self._streams.rest(stream))
            self._print(stream, rest + bound.close())

    def _print(self, stream: str, data: bytes) -> None:
        """Write bytes to a stream; masked again, as more secrets may be known by now."""
        left = memoryview(self._mask.octets(data))
        while left:
            left = left[os.write(1 if stream == "stdout" else 2, left) :]

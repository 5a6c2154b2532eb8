"""A wall clock that nobody sets: seconds since 1970 that pass as the monotonic clock's do.

Spans between two of its times are right, whatever becomes of the machine's clock meanwhile.
"""

import functools
import os
import time
from pathlib import Path

_OFFSET = time.time() - time.monotonic()


def steady_time() -> float:
    """Seconds since 1970, by the machine's clock as it was when this process began."""
    return _OFFSET + time.monotonic()


@functools.cache
def monotonic_place() -> str:
    """Where the monotonic clock is the same: a start of the machine, a namespace of time.

    A process never changes it.

    Returns:
        an empty text where the system does not know.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    try:
        return f"{boot}-{os.readlink('/proc/self/ns/time')}"
    except OSError:
        return boot  # a system without such namespaces

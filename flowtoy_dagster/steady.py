"""A wall clock that nobody sets: seconds since 1970 that pass as the monotonic clock's do.

Spans between two of its times are right, whatever becomes of the machine's clock meanwhile.
"""

import time

_OFFSET = time.time() - time.monotonic()


def steady_time() -> float:
    """Seconds since 1970, by the machine's clock as it was when this process began."""
    return _OFFSET + time.monotonic()

"""The clock of a run: the machine's when the run was made, which nobody sets from then on.

All events of a run are stored with its times, in whatever process they come up. So spans are right
everywhere they are shown, also where the machine's clock was set while the run went on.
"""

import time
from collections.abc import Mapping

from flowtoy_dagster.machine.steady import monotonic_place

CLOCK_TAG = "flowtoy/clock"
"""The tag of a run that holds `offset/place/run id`."""


def clock_tag(run_id: str) -> str:
    """The tag's value for a run that is made now."""
    return f"{time.time() - time.monotonic():.6f}/{monotonic_place()}/{run_id}"


def offset_of(tags: Mapping[str, str], run_id: str) -> float | None:
    """Seconds from the monotonic clock to a run's.

    Returns:
        None where that is not known: the run's monotonic clock is not that of this process, as on
        another machine or after a restart.
    """
    offset, _, rest = tags.get(CLOCK_TAG, "").partition("/")
    place, _, owner = rest.rpartition("/")
    # A re-execution inherits the tags of its parent.
    if owner != run_id or not place or place != monotonic_place():
        return None
    try:
        return float(offset)
    except ValueError:
        return None


def run_time(tags: Mapping[str, str], run_id: str) -> float:
    """Seconds since 1970 by a run's clock; by the machine's where the run's is not known."""
    offset = offset_of(tags, run_id)
    return time.time() if offset is None else offset + time.monotonic()

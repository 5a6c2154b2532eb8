"""Tags that Dagster or flowtoy reads (language 2.1): what may be in them.

Any other tag is a label, and has no effect.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

from flowtoy_dagster.flow.files.suggestions import show
from flowtoy_dagster.flow.schema.fields import Misplaced

MOST_PRIORITY = 1_000_000_000
"""The highest priority, and without its sign the lowest: databases have 32 bits for the sum."""
MOST_RUN_RETRIES = 1_000_000
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_STRATEGIES = ("FROM_FAILURE", "ALL_STEPS", "FROM_ASSET_FAILURE")
_BOOLEANS = ("true", "false")
_WRITTEN_BY_DAGSTER = frozenset(
    f"dagster/{name}"
    for name in (
        "asset_evaluation_id", "auto_retry_run_id", "backfill", "did_retry", "failure_reason",
        "from_ui", "is_asset_resume_retry", "is_resume_retry", "parent_backfill_id",
        "parent_run_id", "retry_number", "root_backfill_id", "root_run_id", "run_key",
        "schedule_name", "sensor_name", "solid_selection", "step_selection", "tick", "will_retry",
    )
)  # fmt: skip


def check_step_tags(tags: Mapping[str, str]) -> Mapping[str, str]:
    """The tags of a step.

    Raises:
        Misplaced: a tag that is read has a value that can't be used, or is not the user's to set.
    """
    return _check(tags, _STEP_TAGS)


def check_run_tags(tags: Mapping[str, str]) -> Mapping[str, str]:
    """The tags of a flow's runs.

    Raises:
        Misplaced: as for steps.
    """
    return _check(tags, _RUN_TAGS)


def _check(
    tags: Mapping[str, str], checks: Mapping[str, Callable[[str], str | None]]
) -> Mapping[str, str]:
    for key, value in tags.items():
        if key.startswith(("flowtoy/", ".dagster/")) or key in _WRITTEN_BY_DAGSTER:
            owner = "flowtoy" if key.startswith("flowtoy/") else "Dagster"
            raise Misplaced(
                f"the tag '{key}' is set by {owner} itself", (key,), "give the tag another name"
            )
        if key == "dagster/concurrency_key" and checks is _STEP_TAGS:
            message = f"the tag '{key}' is not used: a step's pool has a key of its own"
            raise Misplaced(message, (key,), f"write 'pool: {value}' next to 'tags'")
        expected = checks[key](value) if key in checks else None
        if expected is not None:
            message = f"the tag '{key}' must be {expected}, got {show(value)}"
            raise Misplaced(message, (key,), "Dagster reads this tag", at_key=False)
    return tags


def _priority(value: str) -> str | None:
    if _WHOLE.fullmatch(value) and abs(int(value)) <= MOST_PRIORITY:
        return None
    return f"a whole number from -{MOST_PRIORITY} to {MOST_PRIORITY}"


def _retries(value: str) -> str | None:
    if _WHOLE.fullmatch(value) and 0 <= int(value) <= MOST_RUN_RETRIES:
        return None
    return f"a whole number from 0 to {MOST_RUN_RETRIES}"


def _seconds(value: str) -> str | None:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    return None if 0 < number < math.inf else "a number of seconds above 0"


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str | None]:
    return lambda value: None if value in choices else " or ".join(choices)


_STEP_TAGS: Mapping[str, Callable[[str], str | None]] = {
    "dagster/priority": _priority,
    "dagster-celery/priority": _priority,
}
_RUN_TAGS: Mapping[str, Callable[[str], str | None]] = {
    **_STEP_TAGS,
    "dagster-celery/run_priority": _priority,
    "dagster/max_retries": _retries,
    "dagster/retry_strategy": _one_of(_STRATEGIES),
    "dagster/retry_on_asset_or_op_failure": _one_of(_BOOLEANS),
    "dagster/max_runtime": _seconds,
    "dagster/max_runtime_seconds": _seconds,
}

"""How many steps of a run may do the same at once (language 17), in Dagster's words.

A step that shares a limit has a tag, and the executor's configuration limits the tag's value.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from flowtoy_dagster.flow.graph import Flow, Step

SOURCE_TAG = "flowtoy/source"
GROUP_TAG = "flowtoy/group"
Limits = list[dict[str, Any]]
"""As the configuration of Dagster's executors has them: `key`, `value` and `limit`."""


def limit_tags(flow: Flow, step: Step) -> dict[str, str]:
    """The tags of the limits that a step shares."""
    tags = {}
    name = step.source.name
    if name is not None and name in _limited_sources(flow):
        tags[SOURCE_TAG] = name
    if step.group is not None:
        tags[GROUP_TAG] = step.group
    return tags


def items_at_once(flow: Flow, step: Step) -> int | None:
    """How many items of a repeated step its source allows at once; None where it allows any.

    Dagster counts the step as one use of the source. So its items come one at a time where other
    steps of the flow may use the source meanwhile; nothing waits for another then, and the limit
    holds for items and steps together.
    """
    most = _limited_sources(flow).get(step.source.name or "")
    if most is None:
        return None
    users = [other for other in flow.steps if other.source.name == step.source.name]
    return most if len(users) == 1 else 1


def tag_limits(flow: Flow) -> Limits:
    """The limits of a flow's run."""
    groups = {name: group.concurrency for name, group in flow.runner.groups.items()}
    return [
        {"key": key, "value": name, "limit": most}
        for key, limits in ((SOURCE_TAG, _limited_sources(flow)), (GROUP_TAG, groups))
        for name, most in limits.items()
    ]


def describe_limits(flow: Flow, workers: int) -> str:
    """The limits of a flow's run, for the log."""
    words = {SOURCE_TAG: "source", GROUP_TAG: "group"}
    parts = [f"{workers} in all"]
    parts += [f"{words[limit['key']]} '{limit['value']}' {limit['limit']}"
              for limit in tag_limits(flow)]
    pools = sorted({step.pool for step in flow.steps if step.pool is not None})
    parts += [f"pool '{pool}' as Dagster's instance says" for pool in pools]
    return "steps at once: " + ", ".join(parts)


def has_pools(job: dg.JobDefinition) -> bool:
    """Whether a step of a job runs in a pool."""
    return any(node.definition.pools for node in job.nodes)


def free_slots(instance: dg.DagsterInstance, run_id: str) -> None:
    """Give back the slots of pools that an ended run still holds: nobody else would."""
    storage = instance.event_log_storage
    if storage.supports_global_concurrency_limits:
        storage.free_concurrency_slots_for_run(run_id)


def _limited_sources(flow: Flow) -> Mapping[str, int]:
    return {
        name: source.concurrency
        for name, source in flow.sources.items()
        if source.concurrency is not None
    }

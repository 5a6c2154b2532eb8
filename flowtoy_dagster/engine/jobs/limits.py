"""How many steps of a run may do the same at once (language 17), in Dagster's words.

A step that shares a limit has a tag, and the executor's configuration limits the tag's value.
"""

import contextlib
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


def calls_at_once(flow: Flow, step: Step, run_config: Any) -> int | None:
    """How many calls of a step's source go on at once in a run; None where it allows any.

    Args:
        flow: the run's.
        step: a step of it.
        run_config: the run's configuration in Dagster's sense, which may change the limits.
    """
    name = step.source.name or ""
    with contextlib.suppress(KeyError, TypeError):
        given = run_config["execution"]["config"]["tag_concurrency_limits"]
        found = [one["limit"] for one in given
                 if (one["key"], one["value"]) == (SOURCE_TAG, name)]
        return min(found, default=None)
    return _limited_sources(flow).get(name)


def counts_calls(flow: Flow, step: Step) -> bool:
    """Whether the calls of a step's source are counted: items of a loop share it with others.

    Dagster's limits count steps, of which one that is repeated makes many calls at once.
    """
    users = [other for other in flow.steps if other.source.name == step.source.name]
    return len(users) > 1 and any(other.for_each is not None for other in users)


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


def pool_limits(instance: dg.DagsterInstance) -> dict[str, tuple[int, int]]:
    """For each pool with a limit: how many steps of it may run at once, and how many do."""
    storage = instance.event_log_storage
    found = {}
    for limit in sorted(storage.get_pool_limits(), key=lambda limit: limit.name):
        used = storage.get_concurrency_info(limit.name).active_slot_count
        found[limit.name] = limit.limit, used
    return found


def limit_pool(instance: dg.DagsterInstance, pool: str, most: int) -> None:
    """Set how many steps of a pool may run at once, in all runs of the instance."""
    instance.event_log_storage.set_concurrency_slots(pool, most)


def _limited_sources(flow: Flow) -> Mapping[str, int]:
    return {
        name: source.concurrency
        for name, source in flow.sources.items()
        if source.concurrency is not None
    }

"""Which workers take steps, as the table says in which they show that they live."""

from __future__ import annotations

import os
from collections.abc import Iterator

from flowtoy_dagster.engine.health.database import Reader, reading
from flowtoy_dagster.errors import HomeError
from flowtoy_dagster.health import Health
from flowtoy_dagster.masking.mask import STORAGE_VARIABLE

PART = "workers"
_LONGEST_LIST = 20
_AGENTS = """
SELECT host, queue, slots, extract(epoch FROM clock_timestamp() - seen)::float8 AS age
FROM flowtoy_agents ORDER BY age, queue, host
"""
_UNCLAIMED = """
SELECT count(*) FROM flowtoy_leases AS step JOIN flowtoy_leases AS carrier
ON carrier.run_id = step.run_id AND carrier.turn = 0
WHERE step.turn > 0 AND step.holder IS NULL AND NOT step.ended
AND carrier.seen > clock_timestamp() - make_interval(secs => %s)
AND NOT EXISTS (SELECT FROM flowtoy_queue AS queue
    WHERE queue.run_id = step.run_id AND queue.turn = step.turn)
"""
"""Steps of runs that go on, which nobody has, and which do not wait in the database's queue."""
_WAITING = "SELECT queue, count(*) FROM flowtoy_queue GROUP BY queue ORDER BY queue"


def examine_workers(executor: str, lease: float, *, is_wanted: bool) -> Iterator[Health]:
    """What is known of the workers that take steps for an executor.

    Args:
        executor: as its workers show it before their queues, with a colon; empty where these
            take steps from the database.
        lease: seconds within which a worker that lives was seen.
        is_wanted: whether runs need workers unless they say otherwise.
    """
    if not os.environ.get(STORAGE_VARIABLE):
        return  # where they are wanted, it is said of the executor
    try:
        with reading() as reader:
            yield from _found(reader, executor, lease, is_wanted)
    except HomeError:
        """The examination of the database says why."""


def _found(
    reader: Reader, executor: str, lease: float, is_wanted: bool
) -> Iterator[Health]:
    there = reader.has("flowtoy_agents") and reader.has("flowtoy_queue")
    agents = [
        (host, queue.replace(executor, ""), slots, age)
        for host, queue, slots, age in (reader.rows(_AGENTS) if there else [])
        if queue.partition(",")[0].rpartition(":")[0] == executor.rstrip(":")
    ]
    whose = f"of {executor.rstrip(':')} " if executor else ""
    living = [agent for agent in agents if agent[3] <= lease]
    queues = {queue for _, listed, _, _ in living for queue in listed.split(",")}
    for host, queue, slots, age in living[:_LONGEST_LIST]:
        yield Health(PART, "ok", f"{whose}on {host}: up to {slots} steps at once from queue "
                                 f"'{queue}', seen {max(0.0, age):.0f} s ago")
    if len(living) > _LONGEST_LIST:
        yield Health(PART, "ok", f"and {len(living) - _LONGEST_LIST} more")
    here = {(host, queue) for host, queue, _, _ in living}
    gone = [agent for agent in agents if agent[3] > lease and agent[:2] not in here]
    for host, queue, _, age in gone[:_LONGEST_LIST]:
        # A worker that ends as it should removes its row.
        text = (f"{whose}on {host}: gone without an end; it took steps of queue '{queue}' and "
                f"was seen {_span(age)} ago")
        if queues.issuperset(queue.split(",")):
            yield Health(PART, "off", text)
        else:
            yield Health(PART, "fault", text, f"start one: {_command(executor, queue)}")
    for queue, count in reader.rows(_WAITING) if there and not executor else []:
        if queue not in queues:
            yield Health(PART, "fault",
                         f"{count} steps wait in queue '{queue}', of which no worker takes steps",
                         f"start one: {_command(executor, queue)}")
    if not living:
        unclaimed = reader.one(_UNCLAIMED, [lease]) if there and executor else 0
        waits = f"; {unclaimed} steps wait for a worker" if unclaimed else ""
        fix = f"start one: {_command(executor, 'default')}"
        yield Health(PART, "fault" if is_wanted else "off", f"no worker {whose}takes steps{waits}",
                     fix if is_wanted else None)


def _command(executor: str, listed: str) -> str:
    queue = listed.partition(",")[0]
    command = f"flowtoy worker --executor {executor.rstrip(':')}" if executor else "flowtoy worker"
    return command if queue == "default" else f"{command} --queue {queue}"


def _span(seconds: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"

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
_WAITING = "SELECT queue, count(*) FROM flowtoy_queue GROUP BY queue ORDER BY queue"


def examine_workers(command: str, lease: float, *, is_wanted: bool) -> Iterator[Health]:
    """What is known of the workers that take steps.

    Args:
        command: starts one, for the queue `default`.
        lease: seconds within which a worker that lives was seen.
        is_wanted: whether runs need workers unless they say otherwise.
    """
    if not os.environ.get(STORAGE_VARIABLE):
        return  # where they are wanted, it is said of the executor
    try:
        with reading() as reader:
            yield from _found(reader, command, lease, is_wanted)
    except HomeError:
        """The examination of the database says why."""


def _found(
    reader: Reader, command: str, lease: float, is_wanted: bool
) -> Iterator[Health]:
    there = reader.has("flowtoy_agents") and reader.has("flowtoy_queue")
    agents = reader.rows(_AGENTS) if there else []
    living = [agent for agent in agents if agent[3] <= lease]
    queues = {queue for _, listed, _, _ in living for queue in listed.split(",")}
    for host, queue, slots, age in living[:_LONGEST_LIST]:
        yield Health(PART, "ok", f"on {host}: up to {slots} steps at once from queue '{queue}', "
                                 f"seen {max(0.0, age):.0f} s ago")
    if len(living) > _LONGEST_LIST:
        yield Health(PART, "ok", f"and {len(living) - _LONGEST_LIST} more")
    here = {(host, queue) for host, queue, _, _ in living}
    gone = [agent for agent in agents if agent[3] > lease and agent[:2] not in here]
    for host, queue, _, age in gone[:_LONGEST_LIST]:
        # A worker that ends as it should removes its row.
        text = (f"on {host}: gone without an end; it took steps of queue '{queue}' and was seen "
                f"{_span(age)} ago")
        if queues.issuperset(queue.split(",")):
            yield Health(PART, "off", text)
        else:
            yield Health(PART, "fault", text, f"start one: {_command(command, queue)}")
    for queue, count in reader.rows(_WAITING) if there else []:
        if queue not in queues:
            yield Health(PART, "fault",
                         f"{count} steps wait in queue '{queue}', of which no worker takes steps",
                         f"start one: {_command(command, queue)}")
    if not living:
        fix = f"start one: {_command(command, 'default')}"
        yield Health(PART, "fault" if is_wanted else "off", "no worker takes steps",
                     fix if is_wanted else None)


def _command(command: str, listed: str) -> str:
    # Workers behind a broker show their queues with the executor's name in front.
    executor, _, queue = listed.partition(",")[0].rpartition(":")
    command = f"{command} --executor {executor}" if executor else command
    return command if queue == "default" else f"{command} --queue {queue}"


def _span(seconds: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"

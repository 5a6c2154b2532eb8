"""Which workers take steps, as the table says in which they show that they live."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from flowtoy_dagster.engine.health.database import Reader, reading
from flowtoy_dagster.engine.sites.site import Site
from flowtoy_dagster.engine.storage.home import home_folder
from flowtoy_dagster.errors import HomeError
from flowtoy_dagster.health import Health, State
from flowtoy_dagster.masking.mask import STORAGE_VARIABLE

PART = "workers"
_LONGEST_LIST = 20
_AGENTS = """
SELECT host, queue, slots, extract(epoch FROM clock_timestamp() - seen)::float8 AS age,
    to_jsonb(agent) ->> 'site'
FROM flowtoy_agents AS agent ORDER BY age, queue, host
"""
"""The tables may be of an older version, which has no column `site`."""
_UNCLAIMED = """
SELECT count(*) FROM flowtoy_leases AS step JOIN flowtoy_leases AS carrier
ON carrier.run_id = step.run_id AND carrier.turn = 0
WHERE step.turn > 0 AND step.holder IS NULL AND NOT step.ended
AND carrier.seen > clock_timestamp() - make_interval(secs => %s)
AND NOT EXISTS (SELECT FROM flowtoy_queue AS queue
    WHERE queue.run_id = step.run_id AND queue.turn = step.turn)
"""
"""Steps of runs that go on, which nobody has, and which do not wait in the database's queue."""
_WAITING = """
SELECT queue, to_jsonb(message) ->> 'route' AS route, count(*) FROM flowtoy_queue AS message
GROUP BY 1, 2 ORDER BY 1, 2
"""


@dataclass(frozen=True)
class _Agent:
    """A worker, as it shows itself.

    Attributes:
        host: where it is.
        queues: from which it takes steps, with a comma between them.
        slots: how many steps it runs at once.
        age: seconds since it was seen.
        site: what its machine has; None where it does not say it.
    """

    host: str
    queues: str
    slots: int
    age: float
    site: Site | None

    @property
    def routes(self) -> set[tuple[str, str | None]]:
        """The queues, each with the route of the messages that are taken from it."""
        route = self.site.route if self.site is not None else None
        return {(queue, route) for queue in self.queues.split(",")}


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
            there = reader.has("flowtoy_agents") and reader.has("flowtoy_queue")
            agents = _agents(reader, executor) if there else []
            living = [agent for agent in agents if agent.age <= lease]
            yield from _answers(executor, living, _site_here())
            yield from _gone(executor, living, [one for one in agents if one.age > lease])
            if there and not executor:
                yield from _waiting(reader, living)
            if not living:
                unclaimed = reader.one(_UNCLAIMED, [lease]) if there and executor else 0
                yield _nobody(executor, unclaimed, is_wanted=is_wanted)
    except HomeError:
        """The examination of the database says why."""


def _agents(reader: Reader, executor: str) -> list[_Agent]:
    return [
        _Agent(host, queues.replace(executor, ""), slots, age, Site.decode(site))
        for host, queues, slots, age, site in reader.rows(_AGENTS)
        if queues.partition(",")[0].rpartition(":")[0] == executor.rstrip(":")
    ]


def _site_here() -> Site | None:
    """What this machine has; None where its files can't be read, which is said of these."""
    with contextlib.suppress(HomeError, OSError):
        return Site.seen_here(home_folder())
    return None


def _answers(executor: str, living: list[_Agent], here: Site | None) -> Iterator[Health]:
    """The workers that live, and how they differ from this machine."""
    for agent in living[:_LONGEST_LIST]:
        where = f"{_whose(executor)}on {agent.host}"
        yield Health(PART, "ok", f"{where}: up to {agent.slots} steps at once from queue "
                                 f"'{agent.queues}', seen {max(0.0, agent.age):.0f} s ago")
    if len(living) > _LONGEST_LIST:
        yield Health(PART, "ok", f"and {len(living) - _LONGEST_LIST} more")
    if here is not None:
        yield from _differences(executor, living, here)


def _differences(executor: str, living: list[_Agent], here: Site) -> Iterator[Health]:
    """What is not on machines of workers as it is here.

    One that takes no steps of runs here is no fault where others of its queues do: so it is in the
    middle of an update, and where deployments with files of their own share a database.
    """
    misfits = {id(agent): list(here.misfits(agent.site)) for agent in living}
    taken = {queue for one in living if not misfits[id(one)] for queue in one.queues.split(",")}
    for agent in living[:_LONGEST_LIST]:
        name = f"the one {_whose(executor)}on {agent.host}"
        state: State = "warning" if taken.issuperset(agent.queues.split(",")) else "fault"
        for found in misfits[id(agent)]:
            yield Health(PART, state, f"{name} {found.text}", found.fix)
        for found in here.variations(agent.site):
            yield Health(PART, "warning", f"{name} {found.text}", found.fix)


def _gone(executor: str, living: list[_Agent], gone: list[_Agent]) -> Iterator[Health]:
    """Those that did not end as they should: then their row would be removed."""
    queues = {queue for agent in living for queue in agent.queues.split(",")}
    here = {(agent.host, agent.queues) for agent in living}
    missed = [agent for agent in gone if (agent.host, agent.queues) not in here]
    for agent in missed[:_LONGEST_LIST]:
        text = (f"{_whose(executor)}on {agent.host}: gone without an end; it took steps of queue "
                f"'{agent.queues}' and was seen {_span(agent.age)} ago")
        if queues.issuperset(agent.queues.split(",")):
            yield Health(PART, "off", text)
        else:
            yield Health(PART, "fault", text, f"start one: {_command(executor, agent.queues)}")


def _waiting(reader: Reader, living: list[_Agent]) -> Iterator[Health]:
    """Queues of the database in which steps wait that none of the workers takes."""
    queues = {queue for agent in living for queue in agent.queues.split(",")}
    routes = set().union(*(agent.routes for agent in living))
    for queue, route, count in reader.rows(_WAITING):
        if queue not in queues:
            yield Health(PART, "fault",
                         f"{_waits(count)} in queue '{queue}', of which no worker takes steps",
                         f"start one: {_command('', queue)}")
        elif (queue, route) not in routes:
            yield Health(PART, "fault",
                         f"{_waits(count)} in queue '{queue}', whose workers have other files "
                         "or another version than the run",
                         "run `flowtoy doctor` where the run was started: it says what differs")


def _nobody(executor: str, unclaimed: int, *, is_wanted: bool) -> Health:
    waits = f"; {_waits(unclaimed)} for a worker" if unclaimed else ""
    fix = f"start one: {_command(executor, 'default')}"
    return Health(PART, "fault" if is_wanted else "off",
                  f"no worker {_whose(executor)}takes steps{waits}", fix if is_wanted else None)


def _waits(steps: int) -> str:
    return "1 step waits" if steps == 1 else f"{steps} steps wait"


def _whose(executor: str) -> str:
    return f"of {executor.rstrip(':')} " if executor else ""


def _command(executor: str, listed: str) -> str:
    queue = listed.partition(",")[0]
    command = f"flowtoy worker --executor {executor.rstrip(':')}" if executor else "flowtoy worker"
    return command if queue == "default" else f"{command} --queue {queue}"


def _span(seconds: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"

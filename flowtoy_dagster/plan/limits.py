"""What bounds a step and a run, in words."""

from __future__ import annotations

from collections.abc import Iterator

from flowtoy_dagster.flow.graph import Flow, Step, worker_count
from flowtoy_dagster.flow.schema.rates import show_rates


def workers_of(flow: Flow, given: int | None) -> tuple[int, str]:
    """How many steps may run at once (language 10.5), and who says so; raises UsageError."""
    of_flow = "default" if flow.runner.max_workers is None else "runner.max_workers"
    return worker_count(flow, given), of_flow if given is None else "--max-workers"


def limits_of_run(flow: Flow) -> Iterator[str]:
    """The limits of a whole run, besides its workers."""
    if flow.runner.timeout is not None:
        yield f"the run ends after {_span(flow.runner.timeout)}"
    if flow.runner.executor is not None:
        yield f"executor {flow.runner.executor}"
    if flow.grace:
        yield f"steps with run_if have {_span(flow.grace)} when the run is ended"


def limits_of(flow: Flow, step: Step, workers: int) -> Iterator[str]:
    """The limits of a step in a run with so many workers."""
    source = flow.sources.get(step.source.name or "")
    if source is not None:
        told = [f"source {step.source.name}"]
        told += [show_rates(source.rates)] if source.rates else []
        told += [f"at most {source.concurrency} at once"] if source.concurrency else []
        yield ", ".join(told)
    group = flow.runner.groups.get(step.group or "")
    if group is not None:
        yield f"group {step.group}, at most {group.concurrency} at once"
    if step.pool is not None:
        yield f"pool {step.pool}, as Dagster's instance says"
    if step.queue is not None:
        yield f"on workers of queue {step.queue}"
    yield from _of_items(flow, step, workers)
    if step.retry is not None:
        yield _retry(step)
    if step.until is not None:
        limit = f", for at most {_span(step.until.limit)}" if step.until.limit is not None else ""
        yield f"called every {_span(step.until.every)} until it is done{limit}"
    if step.timeout is not None:
        yield f"ends after {_span(step.timeout)}"


def _of_items(flow: Flow, step: Step, workers: int) -> Iterator[str]:
    each = step.for_each
    if each is None:
        return
    most = workers if each.concurrency is None else each.concurrency
    source = flow.sources.get(step.source.name or "")
    if isinstance(most, int) and source is not None and source.concurrency is not None:
        most = min(most, source.concurrency)
    yield f"at most {most} item{'' if most == 1 else 's'} at once"
    if each.batch is not None:
        yield f"{each.batch} entries make an item"
    if each.max_failures:
        items = "1 item" if str(each.max_failures) == "1" else f"{each.max_failures} items"
        yield f"{items} may fail"


def _retry(step: Step) -> str:
    retry = step.retry
    assert retry is not None
    backoff = "" if retry.backoff == "constant" else f", {retry.backoff}"
    only = f", on {', '.join(retry.on)}" if retry.on else ""
    return f"up to {retry.max} retries, {_span(retry.delay)} apart{backoff}{only}"


def _span(value: float | str) -> str:
    if isinstance(value, str):
        return value
    if value >= 60 and value % 60 == 0:
        return f"{value // 60:g} min"
    return f"{value:g} s"

"""A plan as lines for people."""

from __future__ import annotations

from collections.abc import Iterator

from flowtoy_dagster.plan.model import Plan, PlannedStep, Reason, Wait
from flowtoy_dagster.terminal import plain

Part = tuple[str, str]
"""A style (`bold`, `dim`, `warn`, `bad`, `good`, or empty) and a text."""
_WIDEST = 32


def plan_lines(plan: Plan) -> Iterator[list[Part]]:
    """A line for each step, more lines for why and within which limits; then the whole run's."""
    names = [plain(step.name) for step in plan.steps]
    width = min(_WIDEST, max(map(len, names)))
    types = max(len(plain(step.type)) for step in plan.steps)
    digits = len(str(plan.steps[-1].level))
    indent = " " * (digits + 2)
    for step, name in zip(plan.steps, names, strict=True):
        head = f"{step.level:>{digits}}  "
        parts: list[Part] = [("dim", head), ("bold", f"{name:<{width}}"),
                             ("dim", f"  {plain(step.type):<{types}}  "), *_what(step)]
        yield parts
        for style, told in _notes(step):
            yield [("", indent + "  "), (style, plain(told))]
    most, origin = plan.workers
    yield [("", f"{indent}at most {most} at once "), ("dim", f"({origin})")]
    for limit in plan.limits:
        yield [("", indent + plain(limit))]
    for call in plan.notify:
        yield [("", f"{indent}on {', '.join(call.on)}: "), ("dim", f"{plain(call.type)}  "),
               ("", plain(call.call))]


def _what(step: PlannedStep) -> list[Part]:
    if step.fate == "skipped":
        return [("warn", f"skipped: {plain(step.reason or '')}")]
    if step.fate == "fails":
        return [("bad", f"fails: {plain(step.reason or '')}")]
    call = plain(step.call)
    return [("", f"for each of {plain(step.for_each)}: {call}" if step.for_each else call)]


def _notes(step: PlannedStep) -> Iterator[Part]:
    if step.retry:
        yield "good" if step.retry.startswith("reused") else "warn", step.retry
    for wait in step.waits:
        yield from (("", told) for told in _why(wait))
    if step.condition is not None and step.fate != "fails":
        known = {"runs": " is true", "skipped": " is false"}.get(step.fate, "")
        yield "dim", f"when {step.condition}{known if step.decided_by else ''}"
    for limit in step.limits:
        yield "dim", limit


def _why(wait: Wait) -> Iterator[str]:
    """Why a step waits for another: each name once, with all places that have it."""
    by_name: dict[tuple[str | None, bool], list[Reason]] = {}
    for reason in wait.reasons:
        by_name.setdefault((reason.name, reason.needed), []).append(reason)
    for (name, needed), reasons in by_name.items():
        places = "; ".join(dict.fromkeys(map(_place, reasons)))
        if name is None:
            yield f"after {wait.step} {places}"
            continue
        shown = name.removeprefix("flows.")
        yield f"needs {shown} {places}" if needed else f"{shown} is optional {places}"


def _place(reason: Reason) -> str:
    at = reason.place
    field = "for_each" if reason.field == "for_each.in" else reason.field
    return f"({field})" + (f" {at.file}:{at.line}" if at else "")

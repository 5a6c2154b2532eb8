"""A flow to its plan. Nothing is called, and no home is opened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import get_args

from flowtoy_dagster.flow.graph import Flow, Notification, Step
from flowtoy_dagster.flow.schema.models import RunEnd
from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets
from flowtoy_dagster.flow.templates.conditions import shown_condition
from flowtoy_dagster.flow.templates.render import is_template
from flowtoy_dagster.masking.mask import Mask
from flowtoy_dagster.plan.conditions import Outlook, outlooks
from flowtoy_dagster.plan.levels import in_order, levels_of
from flowtoy_dagster.plan.limits import limits_of, limits_of_run, workers_of
from flowtoy_dagster.plan.model import Plan, PlannedNotification, PlannedStep, Reason, Wait
from flowtoy_dagster.providers.kinds import describe

_LONGEST = 200
"""Characters of what a step calls."""


def plan_of(
    flow: Flow, workers: int | None = None, retry: Mapping[str, str] | None = None
) -> Plan:
    """What a run of a flow would do.

    Args:
        flow: with the values of its parameters.
        workers: how many steps may run at once; by default as the flow says.
        retry: what a retry would do with each step, in words.
    """
    mask = FlowSecrets(flow).mask(os.environ)
    ordered, levels = in_order(flow), levels_of(flow)
    known = outlooks(flow, ordered)
    most = workers_of(flow, workers)
    steps = tuple(
        _planned(
            step, levels[step.name], known[step.name], mask,
            (retry or {}).get(step.name), list(limits_of(flow, step, most[0])),
        )
        for step in ordered
    )
    notify = tuple(_notified(notification, mask) for notification in flow.notifications)
    return Plan(flow.name, most, tuple(map(mask.text, limits_of_run(flow))), steps, notify)


def _notified(notification: Notification, mask: Mask) -> PlannedNotification:
    ends = tuple(end for end in get_args(RunEnd) if end in notification.on)
    source = notification.call.source
    return PlannedNotification(ends, source.type, mask.shortened(describe(source), _LONGEST))


def _planned(
    step: Step, level: int, outlook: Outlook, mask: Mask, retry: str | None, limits: list[str]
) -> PlannedStep:
    return PlannedStep(
        step.name,
        level,
        step.source.type,
        mask.shortened(describe(step.source), _LONGEST),
        _repeated_for(step, mask),
        outlook.fate,
        mask.text(outlook.reason) if outlook.reason else None,
        mask.text(shown_condition(step.when)) if step.when is not None else None,
        outlook.decided_by,
        _waits(step),
        tuple(map(mask.text, [*_when_it_closes(step), *limits])),
        mask.text(retry) if retry else None,
    )


def _when_it_closes(step: Step) -> list[str]:
    told = {"failure": "runs only after a failure", "always": "runs whatever happens before it"}
    return [told[step.run_if]] if step.is_closing else []


def _repeated_for(step: Step, mask: Mask) -> str | None:
    if step.for_each is None:
        return None
    written = step.for_each.iterated
    if is_template(written):
        return mask.shortened(shown_condition(written).removeprefix("flows."), _LONGEST)
    return f"{len(written)} items"


def _waits(step: Step) -> tuple[Wait, ...]:
    return tuple(
        Wait(
            dependency.step,
            tuple(
                Reason(mention.reason, mention.name, mention.is_needed, mention.place)
                for mention in dependency.mentions
            ),
        )
        for dependency in step.dependencies
    )

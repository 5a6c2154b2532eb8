"""A draft's parameters, schedules and limits: what they declare, and every problem with them."""

from __future__ import annotations

import re
from typing import Any

from flowtoy_dagster.flow.compile.catalog import ExecutorCatalog
from flowtoy_dagster.flow.compile.validate import Draft, salvage
from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.flow.files.suggestions import nearest, not_showing, show
from flowtoy_dagster.flow.schema.cron import check_cron
from flowtoy_dagster.flow.schema.fields import is_free
from flowtoy_dagster.flow.schema.models import ScheduleConfig, SourceConfig
from flowtoy_dagster.flow.schema.params import Param, ParamConfig
from flowtoy_dagster.masking.names import is_secret_name

_NAME = re.compile(r"[^\W\d][\w-]*")


def declare(draft: Draft) -> None:
    """Read `params` and `schedule`, and check what steps say of limits."""
    raw = draft.document.root.plain()
    _read_params(draft, raw.get("params"))
    _read_schedules(draft, raw.get("schedule"))
    _check_limits(draft, raw.get("runner"))
    _check_waits(draft)


def _read_params(draft: Draft, raw: Any) -> None:
    if raw is None:
        return
    if not isinstance(raw, dict):
        draft.problems.error(("params",), f"expected a mapping, got {show(raw)}",
                             "write params: {day: {type: string}}")
        draft.param_names = None
        return
    draft.param_names = frozenset(name for name in raw if not is_free(name))
    for name, value in raw.items():
        if is_free(name):
            continue
        place = ("params", name)
        if not _NAME.fullmatch(name):
            message = f"{show(name)} can't be a parameter's name"
            hint = "letters, digits, '_' and '-', beginning with a letter"
            draft.problems.error(place, message, hint, key=True)
            continue
        declared = value.get("secret") if isinstance(value, dict) else None
        with not_showing(declared is True or (declared is None and is_secret_name(name))):
            config, broken = salvage(draft, ParamConfig, value, place, {"type": "string"})
        if config is None or broken:
            continue
        secret = is_secret_name(name) if config.secret is None else config.secret
        if secret and config.enum is not None:
            draft.problems.error((*place, "enum"), "a secret parameter takes no enum", key=True)
            continue
        mark = draft.document.root.nearest(place, key=True)
        draft.params[name] = Param(name, config, secret, mark)


def _read_schedules(draft: Draft, raw: Any) -> None:
    if raw is None:
        return
    if not isinstance(raw, (dict, list)):
        message = f"expected a mapping or a list of them, got {show(raw)}"
        hint = _cron_hint(raw) if isinstance(raw, str) else None
        draft.problems.error(("schedule",), message, hint)
        return
    found = []
    for index, value in enumerate(raw if isinstance(raw, list) else [raw]):
        place = ("schedule", index) if isinstance(raw, list) else ("schedule",)
        schedule, broken = salvage(draft, ScheduleConfig, value, place, {"cron": "@daily"})
        if schedule is not None:
            if "params" not in broken:
                _check_scheduled_params(draft, schedule, place)
            found.append(schedule)
    draft.schedules = tuple(found)


def _cron_hint(text: str) -> str:
    try:
        check_cron(text)
    except ValueError as error:
        return getattr(error, "hint", None) or "write schedule: {cron: '0 3 * * *'}"
    return f"write schedule: {{cron: '{text}'}}"


def _check_scheduled_params(
    draft: Draft, schedule: ScheduleConfig, place: KeyPath
) -> None:
    """Reject a schedule whose runs could not begin."""
    for name, value in schedule.params.items():
        where = (*place, "params", name)
        param = draft.params.get(name)
        if draft.param_names is not None and name not in draft.param_names:
            message = f"there is no parameter '{name}'"
            draft.problems.error(where, message, nearest(name, draft.param_names).hint, key=True)
        elif param is not None and param.secret:
            message = f"a schedule can't give the secret parameter '{name}'"
            draft.problems.error(where, message, "declare 'env: VARIABLE' for it", key=True)
        elif param is not None and (problem := param.why_not(value)):
            hint = param.config.hint_on(value)
            draft.problems.error(where, f"the parameter '{name}': {problem}", hint)
    for param in draft.params.values():
        if param.name not in schedule.params and not (param.has_default or param.config.env):
            message = f"the schedule gives no value for the parameter '{param.name}'"
            hint = "declare 'env: VARIABLE' for it" if param.secret else (
                "write it under the schedule's 'params', or give the parameter a default"
            )
            draft.problems.error(place, message, hint)


def _check_limits(draft: Draft, runner: Any) -> None:
    groups = runner.get("groups") if isinstance(runner, dict) else None
    known = list(groups) if isinstance(groups, dict) else []
    for step in [*draft.steps, *(each.call for each in draft.notifications)]:
        source = step.config.source
        if isinstance(source, SourceConfig) and source.concurrency is not None:
            message = "no other step uses this source, so its concurrency limits nothing"
            hint = "name the source under 'sources', or use a group"
            place = (*step.path, "source", "concurrency")
            draft.problems.error(place, message, hint, key=True)
        if isinstance(source, SourceConfig) and source.rate is not None:
            message = "a rate belongs to a named source"
            hint = "name the source under 'sources'; all flows of the home that name it share it"
            draft.problems.error((*step.path, "source", "rate"), message, hint, key=True)
        group = step.config.group
        if group is not None and group not in known:
            message = f"there is no group '{group}'"
            hint = nearest(group, known).hint if known else (
                f"declare it: 'runner: {{groups: {{{group}: {{concurrency: 2}}}}}}'"
            )
            draft.problems.error(("flow", step.index, "group"), message, hint)


def check_queues(draft: Draft, executor: str | None, known: ExecutorCatalog) -> None:
    """Report queues of steps where the flow names an executor that has none."""
    if executor is None or known.has_queues(executor):
        return
    for step in draft.steps:
        if step.config.queue is not None:
            message = f"the executor '{executor}' has no queues"
            hint = "name one that has workers on other machines, or leave 'queue' out"
            draft.problems.error((*step.path, "queue"), message, hint, key=True)


def _check_waits(draft: Draft) -> None:
    """Report `every` and `for` of steps that are called once (language 19.4)."""
    for step in draft.steps:
        if step.config.until is not None or "until" in step.broken:
            continue
        for key, value in (("every", step.config.every), ("for", step.config.for_)):
            if value is not None:
                message = f"'{key}' needs 'until', which says when the step is done"
                draft.problems.error(("flow", step.index, key), message, key=True)

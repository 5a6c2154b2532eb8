"""The parameters of a flow as a form, and what was chosen in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.flow.param_values import bind
from flowtoy_dagster.flow.schema.params import Param
from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets
from flowtoy_dagster.flow.templates.values import to_json


class ChoiceError(UsageError):
    """Values of parameters that can't be taken.

    Attributes:
        fields: the reason for each parameter.
    """

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.fields = dict(fields)
        super().__init__("\n".join(f"{name}: {reason}" for name, reason in fields.items()))


def fields_of(flow: Flow) -> list[dict[str, Any]]:
    """A field for each parameter of a flow; the values of secret ones are not in it.

    Args:
        flow: with the values that a run was made with; they are the fields' texts.
    """
    mask = FlowSecrets(flow).mask(os.environ)
    return [mask.data(_field(flow, param)) for param in flow.params.values()]


def _field(flow: Flow, param: Param) -> dict[str, Any]:
    config = param.config
    found: dict[str, Any] = {
        "name": param.name,
        "type": config.type,
        "description": config.description or "",
        "secret": param.secret,
        "required": not param.has_default,
        "nullable": param.may_be_null,
        "variable": config.env,
        "given": _has_value(flow, param),
    }
    if not param.secret:
        values = flow.values.public if flow.values else {}
        found["text"] = _text(param, values.get(param.name, config.default))
        found["default"] = _text(param, config.default)
        found["enum"] = [_text(param, each) for each in config.enum] if config.enum else None
    return found


def _text(param: Param, value: Any) -> str | None:
    """A value as somebody would write it; None for null."""
    if value is None:
        return None
    return value if isinstance(value, str) else to_json(param.native(value))


def _has_value(flow: Flow, param: Param) -> bool:
    """Whether a parameter has a value although nobody gives one."""
    known = {**flow.values.public, **flow.values.secret} if flow.values else {}
    return (
        (param.name in known and param.why_not(known[param.name]) is None)
        or (param.config.env or "") in os.environ
        or param.has_default
    )


def choose(flow: Flow, texts: Mapping[str, str | None]) -> Flow:
    """A flow with the values that were chosen; those that were not are as they were.

    Args:
        flow: with the values of the run before.
        texts: by name, as somebody writes them; None for null.

    Raises:
        ChoiceError: with a reason for each parameter that is wrong or missing; without secret
            values.
        ConfigError: a value that nobody has chosen is wrong.
    """
    values, wrong = dict[str, Any](), dict[str, str]()
    for name, text in texts.items():
        param = flow.params.get(name)
        if param is None:
            wrong[name] = "the flow has no such parameter"
            continue
        try:
            values[name] = _read(param, text)
        except ValueError as error:
            wrong[name] = str(error)
    for param in flow.params.values():
        if param.name not in texts and not _has_value(flow, param):
            wrong[param.name] = "a value is missing"
    if wrong:
        raise ChoiceError(wrong)
    return bind(flow, values, before=flow.values)


def _read(param: Param, text: str | None) -> Any:
    if text is not None:
        return param.read(text)
    problem = param.why_not(None)
    if problem is not None:
        raise ValueError(problem)
    return None

"""What is made of answers that the author knows: `response_actions` (language 21.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from flowtoy_dagster.flow.schema.fields import Strict, Templated, Text, Whole
from flowtoy_dagster.flow.templates.names import ANSWER_NAMES
from flowtoy_dagster.providers.base import Headers
from flowtoy_dagster.providers.rest.pages.expressions import checked

_CONDITIONS = ("status_code", "content", "when")


def _answer_expression(value: Any) -> Any:
    return None if value is None else checked(value, ANSWER_NAMES)


class ResponseAction(Strict):
    """What to do with an answer for which all of the conditions hold.

    Attributes:
        status_code: the status of the answer.
        content: a text in the body.
        when: an expression over response, headers and status_code.
        action: ignore, fail or retry.
    """

    status_code: Templated[Annotated[Whole, Field(ge=100, le=599)]] | None = None
    content: Templated[Annotated[Text, Field(min_length=1)]] | None = None
    when: Annotated[Any, BeforeValidator(_answer_expression)] = None
    action: Literal["ignore", "fail", "retry"]

    @model_validator(mode="after")
    def _has_a_condition(self) -> ResponseAction:
        if all(getattr(self, name) is None for name in _CONDITIONS):
            raise ValueError("one of 'status_code', 'content' and 'when' is required")
        return self

    def matches(self, status: int, text: str, names: Mapping[str, Any], key: str) -> bool:
        """Whether it is meant for an answer; raises PageError where `when` fails."""
        if self.status_code is not None and self.status_code != status:
            return False
        if self.content is not None and self.content not in text:
            return False
        return self.when is None or bool(self.when.is_true(f"{key}.when", names))


def action_for(
    actions: Sequence[ResponseAction], status: int, text: str, data: Any,
    headers: Mapping[str, str],
) -> tuple[str, str] | None:  # fmt: skip
    """The first action that is meant for an answer, and its place in the configuration.

    Raises:
        PageError: a condition fails.
    """
    names = {"response": data, "headers": Headers(headers), "status_code": status}
    for index, action in enumerate(actions):
        key = f"response_actions[{index}]"
        if action.matches(status, text, names, key):
            return action.action, key
    return None

"""Conditions: one expression of a template that gives true or false (language 19.1)."""

from __future__ import annotations

from typing import Any

import jinja2

from flowtoy_dagster.flow.files.suggestions import show
from flowtoy_dagster.flow.templates.render import in_braces, only_expression, parse
from flowtoy_dagster.flow.templates.words.syntax_words import why_no_expression


class ConditionError(ValueError):
    """What is no condition.

    Attributes:
        hint: how to fix it, where that is likely.
    """

    def __init__(self, message: str, hint: str | None) -> None:
        super().__init__(message)
        self.hint = hint


def condition(written: Any) -> str:
    """A condition as a template of exactly one expression.

    Args:
        written: an expression, with or without `{{ }}`; true or false.

    Raises:
        ValueError: it is none.
    """
    if isinstance(written, bool):
        return "{{ true }}" if written else "{{ false }}"
    if not isinstance(written, str):
        raise ValueError(f"expected an expression such as 'params.full', got {show(written)}")
    text = written.strip()
    if not text:
        raise ValueError("must not be empty")
    template = in_braces(text)
    try:
        only = only_expression(parse(template))
    except jinja2.TemplateSyntaxError as error:
        reason, hint = why_no_expression(error, template, text)
        raise ConditionError(f"not a valid expression: {reason}", hint) from None
    except RecursionError:
        raise ValueError("not a valid expression: nested too deeply") from None
    if only is None:
        raise ValueError(
            "a condition is one expression: write it alone, or within one pair of '{{ }}'"
        )
    return template


def shown_condition(template: str) -> str:
    """A condition as people read it: the expression alone, on one line."""
    text = template.strip()
    inner = text[2:-2] if text.startswith("{{") and text.endswith("}}") else text
    return " ".join(inner.strip("-+ \n").split())

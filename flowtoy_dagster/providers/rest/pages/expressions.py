"""Expressions about one answer: rendered when it is there, not before the call."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BeforeValidator

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.files.suggestions import nearest, show
from flowtoy_dagster.flow.schema.fields import Misplaced
from flowtoy_dagster.flow.templates.names import PAGE_NAMES, ROOTS
from flowtoy_dagster.flow.templates.references import TemplateMistake, free_names, references
from flowtoy_dagster.flow.templates.render import in_braces, is_template, render
from flowtoy_dagster.flow.templates.words.syntax_words import in_expression
from flowtoy_dagster.providers.rest.pages.paths import PageError


@dataclass(frozen=True)
class Expression:
    """An expression about an answer.

    Attributes:
        template: the expression as a template.
        scope: what the names of the flow's own stand for.
    """

    template: str
    scope: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def value(self, key: str, names: Mapping[str, Any]) -> Any:
        """What it gives.

        Args:
            key: the key of the configuration that holds it, for errors.
            names: what its own names stand for.

        Raises:
            PageError: it fails.
        """
        try:
            return render(self.template, {**self.scope, **names})
        except TemplateError as error:
            raise PageError(f"'{key}': {error.message}") from None

    def is_true(self, key: str, names: Mapping[str, Any]) -> bool:
        """Whether it holds; raises PageError where it gives neither true nor false."""
        value = self.value(key, names)
        if not isinstance(value, bool):
            raise PageError(f"'{key}' must give true or false, and gave {show(value)}")
        return value


def checked(value: Any, names: Collection[str]) -> Expression:
    """An expression as written, checked.

    Raises:
        ValueError: it can't work, whatever the answer is.
    """
    if isinstance(value, Expression):
        return value
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected an expression, got {show(value)}")
    template = in_braces(value)
    try:
        references(template)
    except TemplateMistake as mistake:
        message = str(mistake).replace("not a valid template", "not a valid expression")
        message = in_expression(message, template, value)
        raise Misplaced(message, (), mistake.hint, at_key=False) from None
    for name in free_names(template):
        if name not in names:
            hint = nearest(name, [*names, *ROOTS]).hint
            raise Misplaced(f"'{name}' is not a name", (), hint, at_key=False)
    if not is_template(value) and (found := references(template)):
        root = min(reference.root for reference in found)
        message = f"'{root}' can be used in an expression with braces only"
        raise Misplaced(message, (), f"write \"{template}\"", at_key=False)
    return Expression(template)


def _page_expression(value: Any) -> Any:
    return None if value is None else checked(value, PAGE_NAMES)


PageExpression = Annotated[Any, BeforeValidator(_page_expression)]
_PLACES = (("paginator", "stop_when"), ("paginator", "cursor"), ("auth", "template"))


def bound(configuration: Mapping[str, Any], scope: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration whose expressions about answers know the flow's names.

    They are no templates any more for those who render the rest.
    """
    found = dict(configuration)
    for key, inner in _PLACES:
        within = found.get(key)
        written = within.get(inner) if isinstance(within, dict) else None
        if isinstance(written, str) and written.strip():
            found[key] = {**found[key], inner: Expression(in_braces(written), scope)}
    actions = found.get("response_actions")
    if isinstance(actions, (list, tuple)):
        found["response_actions"] = [_bound_condition(action, scope) for action in actions]
    return found


def _bound_condition(action: Any, scope: Mapping[str, Any]) -> Any:
    written = action.get("when") if isinstance(action, dict) else None
    if not isinstance(written, str) or not written.strip():
        return action
    return {**action, "when": Expression(in_braces(written), scope)}

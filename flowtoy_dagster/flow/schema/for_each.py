"""`for_each`: one step that is repeated for many items (language 18)."""

from __future__ import annotations

import re
from collections.abc import Collection
from fractions import Fraction
from typing import Annotated, Any

import jinja2
from jinja2 import nodes
from pydantic import AfterValidator, BeforeValidator, Field

from flowtoy_dagster.flow.files.suggestions import show
from flowtoy_dagster.flow.schema.fields import Misplaced, Strict, Templated, Whole
from flowtoy_dagster.flow.templates.names import (
    BATCH,
    ITEM,
    LOOP,
    OUTPUT_NAMES,
    ROOTS,
)
from flowtoy_dagster.flow.templates.render import is_template, only_expression, parse

_SHARE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*%")
_COUNT = re.compile(r"\s*\d{1,18}\s*", re.ASCII)
_PAYLOAD_NAMES = ("input", "json", "raw", "jmespath")
_TAKEN = (*ROOTS, LOOP, *OUTPUT_NAMES, *_PAYLOAD_NAMES)


def _check_iterated(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, dict):
        return value
    if is_template(value):
        _check_gives_items(value)
        return value
    message = f"expected a list, a mapping or a template that gives one, got {show(value)}"
    if isinstance(value, str) and value.split(".")[0] in ROOTS:
        # Conditions are written without braces.
        raise Misplaced(message, (), f'write "{{{{ {value} }}}}"', at_key=False)
    raise ValueError(message)


def _check_gives_items(template: str) -> None:
    """See that a template can give a list: one with something beside its braces gives text."""
    try:
        is_alone = only_expression(parse(template)) is not None
    except jinja2.TemplateSyntaxError:
        return  # reported with its line
    if not is_alone:
        hint = "write one {{ … }} with nothing beside it"
        if template != template.strip():
            hint += ", no space or line break either: '>-' instead of '|'"
        message = f"expected a list, and {show(template)} gives a text"
        raise Misplaced(message, (), hint, at_key=False)


def _check_name(value: str) -> str:
    if value in _TAKEN:
        raise ValueError(f"an item can't be named '{value}': templates have that name already")
    try:
        is_name = value.isidentifier() and isinstance(
            only_expression(parse(f"{{{{ {value} }}}}")), nodes.Name
        )
    except jinja2.TemplateSyntaxError:
        is_name = False
    if not is_name:
        raise ValueError(f"an item's name is made of letters, digits and '_', got {show(value)}")
    return value


def _check_key(value: str) -> str:
    if not is_template(value):
        raise Misplaced(
            f"a key must differ from item to item, and {show(value)} is the same for all",
            (), "write a template such as {{ item.id }}", at_key=False,
        )
    return value


def _check_failures(value: Any) -> Any:
    if isinstance(value, str):
        if _COUNT.fullmatch(value):
            return int(value)  # of a template, such as one of `env`
        found = _SHARE.fullmatch(value.strip())
        if found is not None and Fraction(found[1]) <= 100:
            return f"{found[1]}%"
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError(f"expected a number of items, or a share such as '2%', got {show(value)}")


class ForEachConfig(Strict):
    """What a step is repeated for, and how (language 18).

    Attributes:
        iterated: the list or mapping, or a template that gives one.
        name: how templates call the item.
        key: a template that identifies an item; by default their position.
        concurrency: how many items are worked on at once; by default as many as the run has
            workers.
        max_failures: how many items may fail, or which share of them.
        stop_after: failures in a row after which no more items are tried; 0 is never.
        batch: how many entries of the list make one item.
    """

    iterated: Annotated[Any, BeforeValidator(_check_iterated)] = Field(alias="in")
    name: Annotated[str, AfterValidator(_check_name)] = Field(alias="as", default=ITEM)
    key: Annotated[str, AfterValidator(_check_key)] | None = None
    concurrency: Templated[Annotated[Whole, Field(ge=1)]] | None = None
    max_failures: Templated[Annotated[Any, BeforeValidator(_check_failures)]] = 0
    stop_after: Templated[Annotated[Whole, Field(ge=0)]] = 20
    batch: Templated[Annotated[Whole, Field(ge=1)]] | None = None

    @property
    def names(self) -> Collection[str]:
        """The names that the step's templates know besides the roots."""
        return (self.name, LOOP) if self.batch is None else (self.name, LOOP, BATCH)

    def tolerates(self, failed: int, total: int) -> bool:
        """Whether so many failed items of so many are no failure of the step."""
        if isinstance(self.max_failures, str):
            return failed * 100 <= total * Fraction(self.max_failures.rstrip("%"))
        return failed <= int(self.max_failures)


def long_form(value: Any) -> Any:
    """`for_each` as a mapping (language 18.1).

    Raises:
        ValueError: it is neither a mapping, nor a list or a template.
    """
    if isinstance(value, (dict, ForEachConfig)):
        return value
    return {"in": _check_iterated(value)}

"""Templates: what they are, and what they give.

Only strings of the configuration are templates. A string that is exactly one `{{ expression }}`
gives the expression's value as it is; any other template gives text (language 6.2).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import jinja2
from jinja2 import nodes

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.templates.bounds import BUDGET, Rounds
from flowtoy_dagster.flow.templates.jinja import environment, lenient_environment
from flowtoy_dagster.flow.templates.missing_parts import missing_part
from flowtoy_dagster.flow.templates.values import native, plain, text, to_json
from flowtoy_dagster.flow.templates.words.python_words import in_plain_words
from flowtoy_dagster.flow.templates.words.syntax_words import why_no_template

__all__ = ["is_template", "parse", "render", "render_all", "text", "to_json"]

_VALUE = "flowtoy_value"
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
"""What `'\\ud83d'` gives in a text of Jinja2's, where JSON puts two halves together."""
_WHOLE_CHARACTER = "write the character itself, or '\\U' and its 8 digits"


def is_template(value: Any) -> bool:
    """Whether a string of the configuration is a template rather than text."""
    return isinstance(value, str) and ("{{" in value or "{%" in value or "{#" in value)


def in_braces(written: str) -> str:
    """An expression as a template: its braces may be left out."""
    return written if is_template(written) else "{{ " + written.strip() + " }}"


def parse(source: str) -> nodes.Template:
    """The syntax tree of a template.

    Raises:
        jinja2.TemplateSyntaxError: it is not a template.
    """
    tree = environment.parse(source)
    if "\\u" in source:
        for constant in tree.find_all(nodes.Const):
            if isinstance(constant.value, str) and _HALF_CHARACTER.search(constant.value):
                reason = f"a text has half a character; {_WHOLE_CHARACTER}"
                raise jinja2.TemplateSyntaxError(reason, constant.lineno)
    return tree


@functools.lru_cache(maxsize=4096)
def _compile(source: str, lenient: bool) -> tuple[jinja2.Template, nodes.Expr | None]:
    within = lenient_environment if lenient else environment
    # A block scalar ends with a newline that nobody means.
    only = only_expression(parse(source.removesuffix("\n")))
    if only is None:
        return within.from_string(source), None
    # Assigning the expression's value and reading it back keeps its type.
    target = nodes.Name(_VALUE, "store", lineno=1)
    body = nodes.Template([nodes.Assign(target, only, lineno=1)], lineno=1)
    body.set_environment(within)
    return within.from_string(body), only


def only_expression(tree: nodes.Template) -> nodes.Expr | None:
    """The expression that a template is made of, if it is exactly one."""
    if len(tree.body) == 1 and isinstance(tree.body[0], nodes.Output):
        parts = tree.body[0].nodes
        if len(parts) == 1 and not isinstance(parts[0], nodes.TemplateData):
            return parts[0]
    return None


def render(source: str, context: Mapping[str, Any], *, lenient: bool = False) -> Any:
    """The value of one template string.

    Args:
        source: the template.
        context: what its names stand for.
        lenient: missing names give nothing instead of an error.

    Raises:
        TemplateError: a name is missing, or an operation fails; says why.
    """
    try:
        template, expression = _compile(source, lenient)
        if expression is None:
            return template.render({**context, BUDGET: Rounds()})
        scope = template.new_context({**context, BUDGET: Rounds()})
        for _ in template.root_render_func(scope):
            pass
        value = scope.vars[_VALUE]
        if not isinstance(expression, (nodes.Name, nodes.Getattr, nodes.Getitem)):
            # Only what a template puts together can hold what is no data, or is missing.
            return plain(value)
        return native(value)
    except jinja2.TemplateSyntaxError as error:
        reason = in_plain_words(why_no_template(error, source)[0])
        raise TemplateError(f"not a valid template: {reason}") from None
    except jinja2.exceptions.SecurityError as error:
        raise TemplateError(f"not allowed in a template: {error}") from None
    except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise TemplateError(_message_of(error, source, context)) from None
    except (RecursionError, MemoryError) as error:
        raise TemplateError(f"too large or too deep: {type(error).__name__}") from None
    except TemplateError:
        raise
    except Exception as error:  # noqa: BLE001 - filters raise whatever their work on a value raises
        raise TemplateError(_of_unknown(error)) from None


def _message_of(error: Exception, source: str, context: Mapping[str, Any]) -> str:
    if isinstance(error, jinja2.UndefinedError) and error.message:
        # Why the name is missing, as `Names` has said it; or what has no such part.
        return missing_part(source, context, error.message) or in_plain_words(error.message)
    return in_plain_words(str(error)) or type(error).__name__


def _of_unknown(error: Exception) -> str:
    told = in_plain_words(str(error))
    return told if told != str(error) else f"{type(error).__name__}: {error}".rstrip(": ")


def render_all(
    value: Any, context: Mapping[str, Any], field: str = "", *, lenient: bool = False
) -> Any:
    """Every template in a structure rendered; keys and other values stay as they are.

    Args:
        value: a value of the configuration.
        context: what names stand for.
        field: the path of `value`, for errors.
        lenient: missing names give nothing instead of an error.
    """
    if isinstance(value, dict):
        return {
            key: render_all(
                item, context, f"{field}.{key}" if field else str(key), lenient=lenient
            )
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [
            render_all(item, context, f"{field}[{index}]", lenient=lenient)
            for index, item in enumerate(value)
        ]
    if not is_template(value):
        return value
    try:
        return render(value, context, lenient=lenient)
    except TemplateError as error:
        raise TemplateError(error.message, error.field or field) from None

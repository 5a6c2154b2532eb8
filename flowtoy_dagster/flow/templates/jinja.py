"""The one Jinja2 environment: sandboxed, with JSON text, and filters of the language's own."""

from __future__ import annotations

import base64
import functools
import json
import math
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import jinja2
import jmespath
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.filters import make_attrgetter
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, modifies_known_mutable
from markupsafe import Markup

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.templates import bounds
from flowtoy_dagster.flow.templates.file_records import file_records
from flowtoy_dagster.flow.templates.filters.bounded import lipsum, within_bounds
from flowtoy_dagster.flow.templates.filters.formats import filling, format_filter, percent
from flowtoy_dagster.flow.templates.filters.lists import of_lists
from flowtoy_dagster.flow.templates.filters.texts import of_texts
from flowtoy_dagster.flow.templates.jmespath_runtime import Expression
from flowtoy_dagster.flow.templates.names import Missing, Names
from flowtoy_dagster.flow.templates.values import native, text, to_json
from flowtoy_dagster.flow.templates.words.jmespath_words import why_malformed, why_not_applied
from flowtoy_dagster.json_text import loads

_JMESPATH_NOISE = re.compile(r"^(Invalid|Bad) jmespath expression: |(, for expression)?:$")
_PYTHONS_OWN = (
    ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError
)
_COUNTED = "__counted__"
_DEFAULTS = ("default_value", "boolean")
"""The arguments of the filter `default`."""
TEXT_SINK = "__text_sink__"
"""Context key: a function that replaces how an expression's value becomes text."""


class _CodeGenerator(CodeGenerator):
    """Makes `~` join texts as templates print them, and any constant be itself."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - Jinja2 calls it
        self.write("environment.concat_texts((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


    def visit_Filter(self, node: nodes.Filter, frame: Frame) -> None:  # noqa: N802
        # A fallback is looked at only where it is needed (language 19.2).
        given: dict[str, nodes.Expr] = dict(
            zip(_DEFAULTS, (nodes.Const(""), nodes.Const(False)), strict=True)
        )
        given.update(zip(_DEFAULTS, node.args, strict=False))
        given.update({str(pair.key): pair.value for pair in node.kwargs})
        if node.name not in ("default", "d") or node.node is None or len(given) > len(_DEFAULTS):
            super().visit_Filter(node, frame)
            return
        self.write("environment.value_or(")
        self.visit(node.node, frame)
        for name in _DEFAULTS:
            self.write(", lambda: ")
            self.visit(given[name], frame)
        self.write(")")

    def visit_Const(self, node: nodes.Const, frame: Frame) -> None:  # noqa: N802
        # Jinja2 computes what is constant and writes `inf`, which is no name of Python's.
        self.write(_literal(node.as_const(frame.eval_ctx)))


def _literal(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    if isinstance(value, tuple):
        return "(" + "".join(f"{_literal(item)}, " for item in value) + ")"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, dict):
        parts = (f"{_literal(key)}: {_literal(item)}" for key, item in value.items())
        return "{" + ", ".join(parts) + "}"
    return repr(value)


class Environment(ImmutableSandboxedEnvironment):
    """Jinja2's sandbox with item lookup before attributes, JSON text, and bounds."""

    code_generator_class = _CodeGenerator
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        for loop in source.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, _COUNTED, [], [], None, None, lineno=loop.lineno)
            loop.iter.set_environment(self)
        return super()._generate(source, *args, **kwargs)

    def unsafe_undefined(self, obj: Any, attribute: str) -> jinja2.Undefined:
        """What stands for something that templates must not reach."""
        if modifies_known_mutable(obj, attribute):
            kind = "mapping" if isinstance(obj, Mapping) else "list"
            hint = f"a template can't change a {kind} by '{attribute}'; it may make a new one"
            return self.undefined(hint=hint, exc=SecurityError)
        return super().unsafe_undefined(obj, attribute)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """What an operator gives."""
        if operator == "%" and isinstance(left, str):
            return percent(left, right)
        bounds.check_operation(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """What stands for a method `format` or `format_map`; None for anything else."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None or isinstance(value.__self__, Markup):
            return wrapped
        return filling(self, value)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """What calling something gives."""
        bounds.check_call(function, args, kwargs)
        return super().call(context, function, *args, **kwargs)

    def value_or(
        self, value: Any, fallback: Callable[[], Any], is_boolean: Callable[[], Any]
    ) -> Any:
        """What the filter `default` gives."""
        if isinstance(value, jinja2.Undefined) or (is_boolean() and not value):
            return fallback()
        return value

    def concat_texts(self, parts: tuple[Any, ...]) -> str:
        """What `~` gives."""
        found = [text(part) for part in parts]
        bounds.check_length(sum(map(len, found)))
        return "".join(found)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """What `obj.attribute` gives."""
        return self._look_up(obj, attribute, super().getattr)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """What `obj[argument]` gives."""
        return self._look_up(obj, argument, super().getitem)

    def _look_up(self, obj: Any, name: Any, otherwise: Callable[[Any, Any], Any]) -> Any:
        if isinstance(obj, Mapping):
            try:
                return obj[name]
            except (KeyError, TypeError):
                if isinstance(obj, Names) and name not in ("items", "keys", "values", "get"):
                    return self.undefined(hint=obj.why_missing(name))
        found = otherwise(obj, name)
        if _is_absent(found) and isinstance(obj, (Mapping, list)):
            return self.undefined(hint=_why_not_in(obj, name))
        return found


def _is_absent(found: Any) -> bool:
    """Whether a name is not there, which is something else than out of reach."""
    return isinstance(found, jinja2.Undefined) and found._undefined_exception is not SecurityError


def _why_not_in(obj: Any, name: Any) -> str:
    if isinstance(obj, list):
        if isinstance(name, str):
            return f"a list has no '{name}': its items have numbers, the first is [0]"
        return f"there is no [{name}] in a list of {len(obj)} item{'' if len(obj) == 1 else 's'}"
    keys = ", ".join(f"'{key}'" for key in list(obj)[:8])
    return f"there is no key '{name}'; the keys are {keys or 'none'}"


@jinja2.pass_context
def _finalize(context: Context, value: Any) -> str:
    sink = context.get(TEXT_SINK)
    return sink(value) if sink else text(value)


def _fromjson(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return value
    try:
        return loads(text(value))
    except ValueError as error:
        raise TemplateError(f"fromjson: not valid JSON: {error}") from None


def search(expression: str, data: Any) -> Any:
    """What a jmespath expression finds in data.

    Raises:
        TemplateError: the expression is malformed or meets a value of a wrong type.
    """
    if expression is None or isinstance(expression, (bool, int, float, list, dict)):
        raise TemplateError("jmespath: an expression is text, in quotes")
    try:
        compiled = _compiled_jmespath(expression)
    except ValueError as error:
        reason = _why_malformed(expression, error)
        raise TemplateError(f"jmespath '{expression}': {reason}") from None
    try:
        return compiled.search(data)
    except jmespath.exceptions.JMESPathTypeError as error:
        raise TemplateError(f"jmespath '{expression}': {why_not_applied(error)}") from None
    except jmespath.exceptions.JMESPathError as error:
        message = " ".join(str(error).split())
        raise TemplateError(f"jmespath '{expression}': {message}") from None
    except _PYTHONS_OWN as error:
        message = f"{type(error).__name__}: {error}"
        raise TemplateError(f"jmespath '{expression}': {message}") from None


def unfiltered(expression: str, data: Any) -> Any:
    """What the first filter of an expression, which `search` has taken, is applied to."""
    return _compiled_jmespath(expression).unfiltered(data)


def _jmespath(value: Any, expression: str) -> Any:
    return search(expression, native(value))


@functools.lru_cache(maxsize=1024)
def _compiled_jmespath(expression: str) -> Expression:
    try:
        return Expression(expression)
    except jmespath.exceptions.JMESPathError:
        raise
    except ValueError:
        raise ValueError("a number in the jmespath expression is too long") from None


def check_jmespath(expression: str) -> None:
    """Raise ValueError where an expression is malformed."""
    try:
        _compiled_jmespath(expression)
    except jmespath.exceptions.JMESPathError as error:
        reason = _why_malformed(expression, error)
        raise ValueError(f"malformed jmespath expression '{expression}': {reason}") from None


def _why_malformed(expression: str, error: ValueError) -> str:
    reason = None
    if isinstance(error, jmespath.exceptions.JMESPathError):
        reason = why_malformed(expression, error)
    return reason or _JMESPATH_NOISE.sub("", str(error).splitlines()[0])


def _b64encode(value: Any) -> str:
    return base64.b64encode(text(value).encode()).decode()


def _b64decode(value: Any) -> str:
    try:
        return base64.b64decode(text(value), validate=True).decode()
    except UnicodeDecodeError:
        raise TemplateError("b64decode: what the base64 holds is not text in UTF-8") from None
    except ValueError:
        raise TemplateError("b64decode: the text is not base64") from None


class ShellQuoted(str):
    """Text quoted for a shell that remembers what it was made from."""

    __slots__ = ("original",)
    original: str


def _shquote(value: Any) -> str:
    original = text(value)
    quoted = ShellQuoted(shlex.quote(original))
    quoted.original = original
    return quoted


def _join(value: Any, d: Any = "", attribute: str | int | None = None) -> str:
    # The names of the arguments are Jinja2's.
    items = value if attribute is None else map(make_attrgetter(environment, attribute), value)
    return text(d).join(bounds.within_length((text(item) for item in items), len(text(d))))


def _sum(value: Any, attribute: str | int | None = None, start: Any = 0) -> Any:
    # The names of the arguments are Jinja2's.
    items = value if attribute is None else map(make_attrgetter(environment, attribute), value)
    if not isinstance(start, list):
        return sum(items, start)
    # Python copies what it has for each list, and can't be interrupted meanwhile.
    joined = list(start)
    for item in items:
        if not isinstance(item, list):
            raise TypeError(f"can only concatenate list (not {type(item).__name__}) to list")
        bounds.check_length(len(joined) + len(item))
        joined += item
    return joined


def _tojson(value: Any, indent: int | None = None) -> str:
    compact = to_json(value)
    if indent is None:
        return compact
    encoder = json.JSONEncoder(ensure_ascii=False, indent=indent)
    bounds.check_widths([indent])
    return "".join(bounds.within_length(encoder.iterencode(loads(compact))))


@jinja2.pass_context
def _counted(context: Context, items: Any) -> Any:
    rounds = context.get(bounds.BUDGET)
    return rounds.counted(items) if rounds else items


environment = Environment(undefined=Missing, finalize=_finalize, keep_trailing_newline=True)
environment.filters.update(within_bounds(environment.filters))
environment.filters.update(of_texts(environment.filters))
environment.filters.update(of_lists(environment.filters))
environment.filters.update(
    format=format_filter,
    fromjson=_fromjson,
    jmespath=_jmespath,
    records=file_records,
    b64encode=_b64encode,
    b64decode=_b64decode,
    shquote=_shquote,
    string=text,
    tojson=_tojson,
    join=_join,
    sum=_sum,
)
environment.filters[_COUNTED] = _counted
environment.globals["lipsum"] = lipsum
lenient_environment = environment.overlay(undefined=jinja2.ChainableUndefined)

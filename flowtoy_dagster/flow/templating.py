"""The one template environment: Jinja2, sandboxed, with JSON text and native values.

Only strings of the configuration are templates. A string that is exactly one `{{ expression }}`
gives the expression's value as it is; any other template gives text (language 6.2).
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NoReturn

import jinja2
import jmespath
import orjson
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.suggestions import nearest

ROOTS = ("flows", "steps", "sources", "env", "run")
_VALUE = "flowtoy_value"
TEXT_SINK = "__text_sink__"
"""Context key: a function that replaces how an expression's value becomes text."""


class Missing(jinja2.Undefined):
    """A name that is not there: may be tested, is an error when it is used (language 6.4).

    What is looked up in it is missing for the same reason.
    """

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        if self._undefined_obj is jinja2.utils.missing:
            return f"'{self._undefined_name}' is not a name; {nearest(self._undefined_name, ROOTS)}"
        kind = _kind(self._undefined_obj)
        return f"{kind} has no '{self._undefined_name}'"

    def _fail(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise jinja2.UndefinedError(self._undefined_message)

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(name)
        return self

    def __getitem__(self, key: Any) -> Any:
        return self

    __str__ = __iter__ = __len__ = __eq__ = __ne__ = __hash__ = _fail  # type: ignore[assignment]
    __contains__ = __call__ = __int__ = __float__ = __lt__ = __le__ = __gt__ = __ge__ = _fail
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = _fail
    __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = _fail
    __neg__ = __pos__ = __complex__ = _fail

    def __bool__(self) -> bool:
        return False


class Names(Mapping[str, Any]):
    """A mapping that a template sees, whose absent names say why they are absent.

    Args:
        values: what is there; a value may be computed by giving `load`.
        why: from an absent name to the reason that an error gives.
        load: from a name and its entry in `values` to what the template gets.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        why: Callable[[str], str],
        load: Callable[[str, Any], Any] | None = None,
    ) -> None:
        self._values = values
        self._why = why
        self._load = load

    def __getitem__(self, name: str) -> Any:
        value = self._values[name]
        return self._load(name, value) if self._load else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def why_missing(self, name: object) -> str:
        """Why `name` is not there."""
        return self._why(str(name))


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return {"str": "text", "int": "a number", "float": "a number", "bool": "true or false"}.get(
        type(value).__name__, f"a {type(value).__name__}"
    )


def text(value: Any) -> str:
    """A value as a template prints it: text as it is, null as nothing, else JSON."""
    if isinstance(value, str):
        return str(value)
    if value is None:
        return ""
    if isinstance(value, jinja2.Undefined):
        return str(value)
    return to_json(value)


def to_json(value: Any) -> str:
    """A value as compact JSON.

    Raises:
        TemplateError: JSON can't hold it (a function, for example).
    """
    try:
        return orjson.dumps(value, default=_json_default, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError as error:
        # orjson holds 64 bits; Python's own encoder any integer.
        try:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError):
            kind = type(value).__name__
            raise TemplateError(f"a value of type '{kind}' can't be rendered: {error}") from None


def _json_default(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, jinja2.Undefined):
        str(value)
    if isinstance(value, (Collection, Iterator)):
        return list(value)
    raise TypeError(f"'{type(value).__name__}' is not a value")


def native(value: Any) -> Any:
    """The value of an expression as plain JSON-able data; missing values are errors."""
    if isinstance(value, jinja2.Undefined):
        return str(value)
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, list, dict)):
        return value
    return json.loads(to_json(value))


def _refuse_missing_within(value: Any) -> None:
    if isinstance(value, jinja2.Undefined):
        str(value)
    elif isinstance(value, dict):
        for item in value.values():
            _refuse_missing_within(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _refuse_missing_within(item)


class _CodeGenerator(CodeGenerator):
    """Makes `~` join texts as templates print them."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.concat_texts((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class Environment(SandboxedEnvironment):
    """Jinja2's sandbox with item lookup before attributes and JSON text."""

    code_generator_class = _CodeGenerator

    def concat_texts(self, parts: tuple[Any, ...]) -> str:
        return "".join(text(part) for part in parts)

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self._look_up(obj, attribute, super().getattr)

    def getitem(self, obj: Any, argument: Any) -> Any:
        return self._look_up(obj, argument, super().getitem)

    def _look_up(self, obj: Any, name: Any, otherwise: Callable[[Any, Any], Any]) -> Any:
        if isinstance(obj, Mapping):
            try:
                return obj[name]
            except (KeyError, TypeError):
                if isinstance(obj, Names) and name not in ("items", "keys", "values", "get"):
                    return self.undefined(hint=obj.why_missing(name))
        found = otherwise(obj, name)
        if isinstance(found, jinja2.Undefined) and type(obj) in (dict, list):
            return self.undefined(hint=_why_not_in(obj, name))
        return found


def _why_not_in(obj: Any, name: Any) -> str:
    if isinstance(obj, list):
        return f"'{name}' is not in a list of {len(obj)} items"
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
        return orjson.loads(text(value))
    except orjson.JSONDecodeError as error:
        raise TemplateError(f"fromjson: not valid JSON: {error}") from None


def search(expression: str, data: Any) -> Any:
    """What a jmespath expression finds in data.

    Raises:
        TemplateError: the expression is malformed or meets a value of a wrong type.
    """
    try:
        return _compiled_jmespath(expression).search(data)
    except jmespath.exceptions.JMESPathError as error:
        message = " ".join(str(error).split())
        raise TemplateError(f"jmespath '{expression}': {message}") from None


def _jmespath(value: Any, expression: str) -> Any:
    return search(expression, native(value))


@functools.lru_cache(maxsize=1024)
def _compiled_jmespath(expression: str) -> Any:
    return jmespath.compile(expression)


def check_jmespath(expression: str) -> None:
    """Raise ValueError where an expression is malformed."""
    try:
        _compiled_jmespath(expression)
    except jmespath.exceptions.JMESPathError as error:
        lines = str(error).splitlines()
        raise ValueError(f"malformed jmespath expression '{expression}': {lines[0]}") from None


def _b64encode(value: Any) -> str:
    return base64.b64encode(text(value).encode()).decode()


def _b64decode(value: Any) -> str:
    try:
        return base64.b64decode(text(value), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise TemplateError(f"b64decode: {error}") from None


class ShellQuoted(str):
    """Text quoted for a shell that remembers what it was made from."""

    original: str

    def __new__(cls, value: str) -> ShellQuoted:
        quoted = super().__new__(cls, shlex.quote(value))
        quoted.original = value
        return quoted


def _shquote(value: Any) -> str:
    return ShellQuoted(text(value))


def _join(value: Any, separator: Any = "", attribute: str | None = None) -> str:
    items = value
    if attribute is not None:
        items = [environment.getattr(item, attribute) for item in value]
    return text(separator).join(text(item) for item in items)


environment = Environment(undefined=Missing, finalize=_finalize, keep_trailing_newline=True)
environment.filters.update(
    fromjson=_fromjson,
    jmespath=_jmespath,
    b64encode=_b64encode,
    b64decode=_b64decode,
    shquote=_shquote,
    string=text,
    tojson=to_json,
    join=_join,
)
_lenient = environment.overlay(undefined=jinja2.ChainableUndefined)


def is_template(value: Any) -> bool:
    """Whether a string of the configuration is a template rather than text."""
    return isinstance(value, str) and ("{{" in value or "{%" in value or "{#" in value)


def parse(source: str) -> nodes.Template:
    """The syntax tree of a template.

    Raises:
        jinja2.TemplateSyntaxError: it is not a template.
    """
    return environment.parse(source)


@functools.lru_cache(maxsize=4096)
def _compile(source: str, lenient: bool) -> tuple[jinja2.Template, nodes.Expr | None]:
    within = _lenient if lenient else environment
    # A block scalar ends with a newline that nobody means.
    only = _only_expression(parse(source.removesuffix("\n")))
    if only is None:
        return within.from_string(source), None
    # Assigning the expression's value and reading it back keeps its type.
    target = nodes.Name(_VALUE, "store", lineno=1)
    body = nodes.Template([nodes.Assign(target, only, lineno=1)], lineno=1)
    body.set_environment(within)
    return within.from_string(body), only


def _only_expression(tree: nodes.Template) -> nodes.Expr | None:
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
            return template.render(context)
        scope = template.new_context(dict(context))
        for _ in template.root_render_func(scope):
            pass
        value = scope.vars[_VALUE]
        if not isinstance(expression, (nodes.Name, nodes.Getattr, nodes.Getitem)):
            # Only what a template puts together can hold a missing value.
            _refuse_missing_within(value)
        return native(value)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(f"not a valid template: {error.message}") from None
    except jinja2.exceptions.SecurityError as error:
        raise TemplateError(f"not allowed in a template: {error}") from None
    except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise TemplateError(str(error) or type(error).__name__) from None
    except (RecursionError, MemoryError) as error:
        raise TemplateError(f"too large or too deep: {type(error).__name__}") from None


def render_all(value: Any, context: Mapping[str, Any], field: str = "") -> Any:
    """Every template in a structure rendered; keys and other values stay as they are.

    Args:
        value: a value of the configuration.
        context: what names stand for.
        field: the path of `value`, for errors.
    """
    if isinstance(value, dict):
        return {
            key: render_all(item, context, f"{field}.{key}" if field else str(key))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [render_all(item, context, f"{field}[{i}]") for i, item in enumerate(value)]
    if not is_template(value):
        return value
    try:
        return render(value, context)
    except TemplateError as error:
        raise TemplateError(error.message, error.field or field) from None

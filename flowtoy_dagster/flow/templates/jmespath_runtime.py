"""JMESPath as its specification has it, where jmespath.py lets Python's own rules show through.

What differs from the package: `true` is never 1, also within lists and in `contains`; a text is a
number only as JSON writes numbers; a text and a number have no order (null); a wrong type is an
error for every argument; a slice with the step 0, an expression reference outside of a function and
a literal that JSON can't hold are errors; unknown functions and wrong numbers of arguments are
errors before anything runs. As in the package, two texts can be ordered, which the specification
leaves out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import Any, ClassVar

import jmespath
import jmespath.parser
from jmespath import exceptions, functions, visitor

from flowtoy_dagster.json_text import dumps

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return bool(one == other)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool | None]:
    def ordered(one: Any, other: Any) -> bool | None:
        for kinds in (str, (int, float)):
            if isinstance(one, kinds) and isinstance(other, kinds):
                return compare(one, other)
        return None

    return ordered


class _Functions(functions.Functions):
    """The functions of JMESPath, with its own idea of types."""

    def call_function(self, function_name: str, resolved_args: Iterable[Any]) -> Any:
        # Mappings of other kinds (the headers of an answer) are objects too.
        given = [dict(arg) if isinstance(arg, dict) else arg for arg in resolved_args]
        return super().call_function(function_name, given)

    def _type_check(self, actual: list[Any], signature: Any, function_name: str) -> None:
        # The last of a variadic function's is that of all that follow.
        for index, argument in enumerate(actual):
            allowed = signature[min(index, len(signature) - 1)]["types"]
            if allowed:
                self._type_check_single(argument, allowed, function_name)  # type: ignore[attr-defined]
            elif isinstance(argument, visitor._Expression):
                raise exceptions.JMESPathError(
                    f"{function_name}() takes a value, and was given an expression (&name)"
                )

    def _create_key_func(
        self, expref: Any, allowed_types: Any, function_name: str
    ) -> Callable[[Any], Any]:
        """What gives the key of an item: the keys of all items are numbers, or all are texts."""
        kinds: set[str] = set()

        def key_of(item: Any) -> Any:
            key = expref.visit(expref.expression, item)
            kind = self._convert_to_jmespath_type(type(key).__name__)  # type: ignore[attr-defined]
            kinds.add(kind)
            if kind not in ("number", "string") or len(kinds) > 1:
                raise exceptions.JMESPathTypeError(
                    function_name, key, ", ".join(sorted(kinds)), ["keys"]
                )
            return key

        return key_of

    @functions.signature({"types": ["array", "string"]}, {"types": []})
    def _func_contains(self, subject: Any, search: Any) -> bool:
        if isinstance(subject, str):
            return isinstance(search, str) and search in subject
        return any(equal(item, search) for item in subject)

    @functions.signature({"types": []})
    def _func_to_number(self, arg: Any) -> int | float | None:
        if isinstance(arg, (int, float)) and not isinstance(arg, bool):
            return arg
        if not isinstance(arg, str) or not _NUMBER.fullmatch(arg):
            return None
        try:
            number = float(arg) if set(arg) & set(".eE") else int(arg)
        except ValueError:
            return None  # more digits than Python reads
        return number if isinstance(number, int) or math.isfinite(number) else None

    @functions.signature({"types": []})
    def _func_to_string(self, arg: Any) -> str:
        return arg if isinstance(arg, str) else dumps(arg).decode()


FUNCTIONS = frozenset(_Functions.FUNCTION_TABLE)
"""The names of all functions."""


class _Interpreter(visitor.TreeInterpreter):
    COMPARATOR_FUNC: ClassVar[dict[str, Callable[[Any, Any], Any]]] = {
        "eq": equal,
        "ne": lambda one, other: not equal(one, other),
        "lt": _ordered(lambda one, other: one < other),
        "gt": _ordered(lambda one, other: one > other),
        "lte": _ordered(lambda one, other: one <= other),
        "gte": _ordered(lambda one, other: one >= other),
    }

    def visit_comparator(self, node: Any, value: Any) -> Any:
        left, right = (self.visit(child, value) for child in node["children"])
        # Booleans are numbers to Python only.
        ordering = node["value"] not in ("eq", "ne")
        if ordering and (isinstance(left, bool) or isinstance(right, bool)):
            return None
        return self.COMPARATOR_FUNC[node["value"]](left, right)


class Expression:
    """A compiled expression.

    Raises:
        jmespath.exceptions.JMESPathError: it can't be right, whatever it is applied to.
    """

    def __init__(self, written: str) -> None:
        self.tree = jmespath.parser.Parser().parse(written).parsed
        unknown = next(_wrong_calls(self.tree), None)
        if unknown is not None:
            raise exceptions.JMESPathError(unknown)
        self._mistake = next(_mistakes(self.tree), None)

    def search(self, data: Any) -> Any:
        """What it finds in data; raises JMESPathError or one of Python's own errors."""
        if self._mistake is not None:
            raise exceptions.JMESPathError(self._mistake)
        return _visited(self.tree, data)

    def unfiltered(self, data: Any) -> Any:
        """What its first filter (`items[?active]`) is applied to; None where it has none."""
        node = self.tree
        while node["type"] != "filter_projection":
            first = next(iter(node.get("children", ())), None)
            if not isinstance(first, dict):
                return None
            node = first
        return _visited(node["children"][0], data)


def _visited(tree: Any, data: Any) -> Any:
    return _Interpreter(visitor.Options(custom_functions=_Functions())).visit(tree, data)


def _wrong_calls(node: Any) -> Iterator[str]:
    if node["type"] == "function_expression":
        yield from _function_mistakes(node["value"], len(node["children"]))
    for child in node.get("children", ()):
        if isinstance(child, dict):
            yield from _wrong_calls(child)


def _mistakes(node: Any, parent: str = "") -> Iterator[str]:
    """What fails whatever the data is."""
    kind = node["type"]
    if kind == "slice":
        if node["children"][2:] == [0]:
            yield "the step of a slice can't be 0"
        return
    if kind == "literal":
        for number in _floats(node["value"]):
            if not math.isfinite(number):
                yield f"JSON can't hold the number {number}"
        return
    if kind == "expref" and parent != "function_expression":
        yield "'&' makes an argument of a function, and no value"
    for child in node.get("children", ()):
        if isinstance(child, dict):
            yield from _mistakes(child, kind)


def _function_mistakes(name: str, count: int) -> Iterator[str]:
    known = _Functions.FUNCTION_TABLE.get(name)
    if known is None:
        near = get_close_matches(name, _Functions.FUNCTION_TABLE, 1)
        yield f"there is no function '{name}'" + (f": did you mean '{near[0]}'?" if near else "")
        return
    wanted = len(known["signature"])
    if bool(known["signature"]) and known["signature"][-1].get("variadic"):
        if count < wanted:
            yield f"{name}() takes at least {wanted} arguments, got {count}"
    elif count != wanted:
        yield f"{name}() takes {wanted} argument{'' if wanted == 1 else 's'}, got {count}"


def _floats(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _floats(item)

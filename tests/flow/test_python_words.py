"""What Python and Jinja2 say of values is told in the words of the language."""

from __future__ import annotations

import re

import pytest

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.templates.jinja import environment
from flowtoy_dagster.flow.templates.render import parse, render

PYTHONS = re.compile(
    r"object|NoneType|None\b|\bdict\b|\bstr\b|(?<!\| )\bint\b|__|tuple|codec|\w+\(\)|\w+Error\b"
    r"|sequence|iterab|unpack|positional|keyword|hashab|instance|conversion specifier|\barg\b"
)
VALUES = ("none", "5", "1.5", "true", "'abc'", "[1, 'a', none]", "[]", "{'a': 1}", "[{'a': 1}, {}]")
ARGUMENTS = ("", "1", "1.5", "'a'", "none", "[1]", "{'a': 1}", "1, 2", "x=1", "1, 2, 3, 4, 5, 6, 7")


def told(template: str) -> str:
    try:
        render(template, {})
    except TemplateError as error:
        return error.message
    return ""


def found(templates: list[str]) -> dict[str, str]:
    """The messages that show Python, each with a template that gives it."""
    messages = {told(template): template for template in templates}
    return {message: template for message, template in messages.items() if PYTHONS.search(message)}


@pytest.mark.parametrize("name", [n for n in environment.filters if not n.startswith("__")])
def test_no_filter_shows_python(name: str) -> None:
    calls = [f"{name}({arguments})" if arguments else name for arguments in ARGUMENTS]
    assert found([f"{{{{ {value} | {call} }}}}" for value in VALUES for call in calls]) == {}


@pytest.mark.parametrize("name", [n for n in environment.tests if n.isidentifier()])
def test_no_test_shows_python(name: str) -> None:
    calls = [f"{name}({arguments})" if arguments else name for arguments in ARGUMENTS]
    assert found([f"{{{{ {value} is {call} }}}}" for value in VALUES for call in calls]) == {}


@pytest.mark.parametrize("operator", ["+", "-", "*", "/", "//", "%", "**", "~", "<", "in", "=="])
def test_no_operator_shows_python(operator: str) -> None:
    assert found([f"{{{{ {left} {operator} {right} }}}}" for left in VALUES for right in VALUES]
                 ) == {}  # fmt: skip


@pytest.mark.parametrize("value", [str, dict, list], ids=["text", "mapping", "list"])
def test_no_method_shows_python(value: type) -> None:
    written = {str: "'a b'", dict: "{'a': 1}", list: "[1]"}[value]
    names = [name for name in dir(value) if not name.startswith("_") and name != "encode"]
    assert found(
        [f"{{{{ {written}.{name}({call}) }}}}" for name in names for call in ARGUMENTS]
    ) == {}  # fmt: skip


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ [1, 2] | urlencode }}", "urlencode: of a list, it takes pairs of a name and a value"),
        ("{{ [1] | xmlattr }}", "xmlattr: it takes a mapping of attributes and their values"),
        ("{{ '{:,.2f}'.format(none) }}", "null can't be formatted so"),
        ("{{ '{:d}'.format('a') }}", "'d' can't format a text"),
        ("{{ '{total}'.format(x=1) }}", "there is no value for 'total'"),
        ("{{ '%(total)s' % {'x': 1} }}", "there is no value for 'total'"),
        ("{{ '{'.format() }}", "a '{' stands alone in the text; write it twice"),
        ("{{ '{} {0}'.format(1) }}", "'{}' and '{0}' can't stand in the same text"),
        ("{{ 'abc' * 1.5 }}", "a text or a list is repeated by a whole number, not by a number"),
        ("{{ {[1]: 1} }}", "a list can't be a key or a name: a text is needed"),
        ("{{ 'a b'.split(5) }}", "a text is needed, not a number"),
        ("{{ 'a'.startswith(none) }}", "a text is needed, not null"),
        ("{{ 2.0 ** 5000 }}", "the number is too large"),
        ("{{ 'inf' | float | round | int // 1 }}{{ 10 ** 400 * 1.5 }}", "the number is too large"),
        ("{{ 0 ** -1 }}", "0 can't be raised to a negative power"),
        ("{{ cycler() }}", "at least one item is needed"),
        ("{{ [1] | dictsort }}", "a mapping is needed, not a list"),
        ("{{ 5 | items }}", "a mapping is needed"),
        ("{{ dict([1]) }}", "pairs of a name and a value are needed (item 0)"),
        ("{{ dict('a') }}", "pairs of a name and a value are needed (item 0)"),
        ("{% for a, b in [[1]] %}{% endfor %}", "there are 2 names and only 1 values for them"),
        ("{% for a, b in [[1, 2, 3]] %}{% endfor %}", "there are more than 2 values for 2 names"),
        ("{% for a, b in [1] %}{% endfor %}", "a number can't be taken apart into several names"),
        ("{% macro m(a) %}{% endmacro %}{{ m(b=1) }}", "the macro 'm' has no argument 'b'"),
        ("{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "too many arguments were given: the macro"),
        ("{{ 5 is in 'abc' }}", "'in' looks for a text in a text, not for a number"),
        ("{{ [1] | map(1) | list }}", "there is no filter '1'"),
        ("{{ 'a' | b64decode }}", "b64decode: the text is not base64"),
        ("{{ 'é' | b64decode }}", "b64decode: the text is not base64"),
        ("{{ '/w==' | b64decode }}", "b64decode: what the base64 holds is not text in UTF-8"),
        ("{{ ('%c' % 55357) | b64encode }}", "the text has half a character"),
        ("{{ ('%c' % 55357) | urlencode }}", "the text has half a character"),
        ("{{ {'a': 1} | attr('b') }}", "a mapping has no 'b'"),
        ("{{ [1][::0] }}", "the step of a slice can't be 0"),
        ("{{ [1].index(2) }}", "2 is not in the list"),
    ],
)
def test_it_is_said_what_is_needed(template: str, message: str) -> None:
    assert told(template).startswith(message)


@pytest.mark.parametrize("written", [r"{{ '\ud83d\ude00' }}", r"{% set x = 'a' ~ '\udc00' %}"])
def test_half_a_character_is_no_template(written: str) -> None:
    with pytest.raises(Exception, match="half a character; write the character itself, or"):
        parse(written)


def test_whole_characters_may_be_written_by_their_numbers() -> None:
    assert render(r"{{ '\u00e4\U0001f600' }}", {}) == "ä😀"

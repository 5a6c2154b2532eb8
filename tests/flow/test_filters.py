"""Filters that replace Jinja2's own take the same arguments."""

from __future__ import annotations

import inspect

import pytest
from jinja2.filters import FILTERS

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.templates.jinja import environment
from flowtoy_dagster.flow.templates.render import render

REPLACED = [name for name, own in FILTERS.items() if environment.filters[name] is not own]

NAMED = sorted({*REPLACED} - {
    "e", "escape", "format", "items", "map", "reject", "rejectattr", "select", "selectattr",
})  # fmt: skip
"""Those of them whose arguments have names."""


@pytest.mark.parametrize("name", REPLACED)
def test_a_replaced_filter_takes_the_arguments_of_jinja2s(name: str) -> None:
    def arguments(function: object) -> list[tuple[str, object]]:
        taken = list(inspect.signature(function).parameters.values())  # type: ignore[arg-type]
        passed = ("eval_ctx", "environment", "env", "context")
        taken = [one for one in taken if one.name not in passed]
        return [(one.name, one.default) for one in taken[1:]]

    own, jinjas = dict(arguments(environment.filters[name])), dict(arguments(FILTERS[name]))
    if name in ("groupby", "unique"):  # nothing is lost or joined by its case
        assert (own.pop("case_sensitive"), jinjas.pop("case_sensitive")) == (True, False)
    assert own == jinjas


@pytest.mark.parametrize("name", NAMED)
def test_each_argument_may_be_given_by_its_name(name: str) -> None:
    function = FILTERS[name]
    passed = ("eval_ctx", "environment", "env", "context")
    names = [n for n in inspect.signature(function).parameters if n not in passed][1:]
    given = {"attribute": 0, "old": "a", "new": "b", "linecount": 2, "slices": 2, "width": 5}
    arguments = ", ".join(f"{n}=given.{n}" if n in given else f"{n}=default.{n}" for n in names)
    defaults = {n: inspect.signature(function).parameters[n].default for n in names}
    value = {"sum": [[1]], "xmlattr": {"a": 1}, "groupby": [[1]]}.get(name, "a b")
    template = f"{{{{ value | {name}({arguments}) | list | length > 0 }}}}"
    template = template.replace("| list | length", "") if name in ("sum", "wordcount") else template
    assert render(template, {"value": value, "given": given, "default": defaults}) is True


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ rows | join(', ', attribute='a.b') }}", "1, 2"),
        ("{{ rows | join(attribute='a.b', d='-') }}", "1-2"),
        ("{{ [[1, 2], [3, 4]] | join('+', 1) }}", "2+4"),
        ("{{ [1.5, none, true] | join('/') }}", "1.5//true"),
        ("{{ {'b': 1, 'a': '<é>'} | tojson }}", '{"b":1,"a":"<é>"}'),
        ("{{ {'b': [1]} | tojson(indent=2) }}", '{\n  "b": [\n    1\n  ]\n}'),
        ("{{ {'b': [1]} | tojson(1) }}", '{\n "b": [\n  1\n ]\n}'),
    ],
)
def test_their_arguments_do_what_jinja2s_do(template: str, text: str) -> None:
    assert render(template + "{{ '' }}", {"rows": [{"a": {"b": 1}}, {"a": {"b": 2}}]}) == text


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ ('inf' | float) > rows | length }}", True),
        ("{{ [('-inf' | float), 1] | min < 0 }}", True),
        ("{{ {'a': 'inf' | float}.a == 1e400 }}", True),
        ("{{ (1e400, (2,)) | last | first }}", 2),
        ("{% set low = 'inf' | float %}{{ [low, 3] | min }}", "3"),
    ],
)
def test_infinity_is_a_number_within_a_template(template: str, value: object) -> None:
    assert render(template, {"rows": []}) == value


# language 6.2

NO_NUMBERS = (True, None, [1, None, "ä"], {"b": True, "a": [None]})
OF_TEXTS = (
    "capitalize", "center(40)", "e", "escape", "forceescape", "indent", "lower",
    "replace('l', 'L')", "safe", "striptags", "title", "trim", "truncate(9)", "upper",
    "urlize", "wordcount", "wordwrap(5)",
)  # fmt: skip


@pytest.mark.parametrize("name", OF_TEXTS)
@pytest.mark.parametrize("value", [*NO_NUMBERS, 5, 1e22])
def test_a_filter_of_texts_takes_any_value_as_the_template_prints_it(
    name: str, value: object
) -> None:
    assert render(f"{{{{ x | {name} }}}}", {"x": value}) == render(
        f"{{{{ x | string | {name} }}}}", {"x": value}
    )


@pytest.mark.parametrize("place", ["%s", "%5s", "%.2s", "{}", "{:>9}", "{:.3}", "{!s:^9}", "{0!s}"])
@pytest.mark.parametrize("value", NO_NUMBERS)
def test_a_place_for_a_text_is_filled_as_the_template_prints_the_value(
    place: str, value: object
) -> None:
    context = {"form": place, "x": value}
    filled = "form % (x,)" if "%" in place else "form.format(x)"
    assert render(f"{{{{ {filled} }}}}", context) == render(
        f"{{{{ {filled.replace('(x', '(x | string')} }}}}", context
    )


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ 'abc' | replace(old='b', new=none) }}", "ac"),
        ("{{ 'a1' | replace(1, [true]) }}", "a[true]"),
        ("{{ 'aXa' | replace('a', 'b', 1) }}", "bXa"),
        ("{{ 'aXa' | replace('a', 'b', count=1) }}", "bXa"),
        ("{{ [['a', true], ['b', none]] | urlencode }}", "a=true&b="),
        ("{{ {'a b': {'c': 1}} | urlencode }}", "a+b=%7B%22c%22%3A1%7D"),
        ("{{ {'a': none, 'b': true, 'c': [1]} | xmlattr }}", ' b="true" c="[1]"'),
        ("{{ '<' | e | upper }}", "&LT;"),
        ("{{ '<' | e | e }}", "&lt;"),
        ("{{ '%(a)s %(b)s' % {'a': none, 'b': {'c': true}} }}", ' {"c":true}'),
        ("{{ '%s' % {'a': none} }}", '{"a":null}'),
        ("{{ '%s and %d' % (true, true) }}", "true and 1"),
        ("{{ '%s' | format([true]) }}", "[true]"),
        ("{{ '%(a)s' | format(a=false) }}", "false"),
        ("{{ '{0[a]} {b.c}'.format({'a': none}, b={'c': false}) }}", " false"),
        ("{{ '{a}'.format_map({'a': [none]}) }}", "[null]"),
        ("{{ '{:d} {:.1f}'.format(true, 2) }}", "1 2.0"),
        ("{{ '%s' % 1.5 }} {{ '{:,}'.format(1234) }}", "1.5 1,234"),
    ],
)
def test_texts_are_made_of_any_value_by_one_rule(template: str, value: str) -> None:
    assert render(template, {}) == value


@pytest.mark.parametrize(
    "template",
    [
        "{{ ('{0}' * 10**6).format(rows) }}",
        "{{ ('%(a)s' * 10**6) % {'a': rows} }}",
        "{{ ('%(a)s' * 10**6) | format(a=rows) }}",
    ],
)
def test_texts_of_lists_count_towards_the_bound_of_a_format(template: str) -> None:
    with pytest.raises(TemplateError, match="more than 67108864 characters"):
        render(template, {"rows": [1] * 100})

"""Templates: native values, JSON text, and what is missing (language 6)."""

from __future__ import annotations

import datetime as dt
import json
from collections import UserDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.templates.names import Names
from flowtoy_dagster.flow.templates.render import is_template, render, render_all
from flowtoy_dagster.flow.templates.values import text
from flowtoy_dagster.json_text import loads

texts = st.text(st.characters(codec="utf-8"))
braces = st.sampled_from(["{{ 7 * 7 }}", "{% if x %}", "{# c #}", "{{ env.HOME }}", "{{", "%}"])
EMPTY = Names({}, lambda name: f"no '{name}' here")


def typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    return [typed(i) for i in value] if isinstance(value, list) else (type(value), value)


# language 6.2


@given(json_values())
def test_an_expression_alone_keeps_any_json_value(value: Any) -> None:
    assert typed(render("{{ x }}", {"x": value})) == typed(value)
    assert typed(render("{{ x['y'] }}\n", {"x": {"y": value}})) == typed(value)
    assert typed(render("{{ [x, {'k': x}] }}", {"x": value})) == typed([value, {"k": value}])


@given(json_values())
def test_any_json_value_has_a_text(value: Any) -> None:
    expected = value if isinstance(value, str) else "" if value is None else None
    shown = render("<{{ x }}>", {"x": value})[1:-1]
    assert shown == text(value)
    assert shown == expected if expected is not None else json.loads(shown) == value


@given(texts, braces, texts)
def test_data_that_looks_like_a_template_is_never_evaluated(a: str, b: str, c: str) -> None:
    # language 6.1
    data = f"{a}{b}{c}"
    assert render("{{ x }}", {"x": data}) == data
    assert render("<{{ x }}>", {"x": data}) == f"<{data}>"
    assert render_all({"k": ["{{ x }}"]}, {"x": [data]}) == {"k": [[data]]}
    assert render("{{ x | fromjson }}", {"x": json.dumps([data])}) == [data]


@given(json_values())
def test_json_is_parsed_as_python_does(value: Any) -> None:
    written = json.dumps(value)
    assert typed(loads(written)) == typed(json.loads(written))


@pytest.mark.parametrize(
    "written", ["", "{", "NaN", "[Infinity]", '"\\ud800"', f'[{"1" * 30}, "\\ud800"]', "[" * 3000]
)
def test_what_is_not_json_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(written)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ 1 }}", 1),
        ("{{1}}\n", 1),
        ("{{- 1 -}}", 1),
        (" {{ 1 }}", " 1"),
        ("{{ 1 }}{{ 2 }}", "12"),
        ("{% if true %}{{ 1 }}{% endif %}", "1"),
        ("{{ none }}", None),
        ("x{{ none }}", "x"),
        ("x{{ true }}", "xtrue"),
        ("x{{ 1.0 }}", "x1.0"),
        ("x{{ {'a': [1, 'é']} }}", 'x{"a":[1,"é"]}'),
        ("{{ (1, 2) }}", [1, 2]),
        ("{{ [1, 2] | map('string') }}", ["1", "2"]),
        ("{{ {1: 2} }}", {"1": 2}),
        ("{{ 'a' ~ [1] ~ none ~ true }}", "a[1]true"),
        ("{{ {'items': 1}.items }}", 1),
        ("{{ 'a' if true }}", "a"),
        ("{{ {'a': 1} | tojson }}", '{"a":1}'),
        ("{{ [[1], [], [2, 3]] | sum(start=[]) }}", [1, 2, 3]),
        ("{{ [{'n': [1]}, {'n': [2]}] | sum('n', []) }}", [1, 2]),
        ("{{ [{'n': 1}, {'n': 2.5}] | sum(attribute='n', start=1) }}", 4.5),
        # Takes a minute where each list is copied to the next.
        ("{{ ([[1, 2]] * 200000) | sum(start=[]) | length }}", 400000),
    ],
)
def test_templates_render(template: str, expected: Any) -> None:
    assert typed(render(template, {})) == typed(expected)


# language 6.4


@pytest.mark.parametrize(
    "template",
    [
        "{{ n.x }}", "<{{ n.x }}>", "{{ n.x.deep['er'] }}", "{{ n.x + 1 }}", "{{ 1 - n.x }}",
        "{{ n.x | length }}", "{{ n.x | upper }}", "{% for i in n.x %}{% endfor %}",
        "{{ n.x ~ '' }}",
        "{{ n.x == 1 }}", "{{ n.x > 1 }}", "{{ 1 in n.x }}", "{{ n.x() }}", "{{ -n.x }}",
        "{{ [n.x] }}", "<{{ [n.x] }}>", "<{{ {'k': [n.x]} }}>", "{{ {'k': [n.x]} }}",
        "{{ n.x | tojson }}", "{{ [n.x] | join }}",
        "{{ n.x | int }}", "{{ n.x | b64encode }}", "{{ n.x | jmespath('a') }}",
    ],
)  # fmt: skip
def test_a_missing_name_is_an_error_where_it_is_used(template: str) -> None:
    with pytest.raises(TemplateError, match="no 'x' here"):
        render(template, {"n": EMPTY})


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ n.x is defined }}", False),
        ("{{ n.x is undefined }}", True),
        ("{{ n.x.y.z is defined }}", False),
        ("{{ n.x | default(5) }}", 5),
        ("{{ n.x.y | default('d') }}", "d"),
        ("{{ n.x or 5 }}", 5),
        ("{{ not n.x }}", True),
        ("{{ 1 if n.x else 2 }}", 2),
        ("{% if n.x %}a{% else %}b{% endif %}", "b"),
    ],
)
def test_a_missing_name_may_be_tested(template: str, expected: Any) -> None:
    assert render(template, {"n": EMPTY}) == expected


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ flows.a.x[3].id }}", "flows.a.x is a number, and has no [3]"),
        ("n: {{ flows.a['my key'].q }}", "flows.a['my key'] is null, and has no 'q'"),
        ("{{ 1 + flows.a.m.nope.z }}", "flows.a.m: there is no key 'nope'; the keys are 'k'"),
        ("{{ flows.a.rows[3].id }}", "flows.a.rows: there is no [3] in a list of 1 item"),
        ("{{ flows.a.rows.id }}", "flows.a.rows: a list has no 'id': its items have numbers, "
         "the first is [0]"),
        ("{{ flows.a.x[3] | default(none) }}{{ flows.a.m.k.v }}",
         "flows.a.m.k is text, and has no 'v'"),
        ("{% for row in flows.a.rows %}{{ row.x }}{% endfor %}",
         "there is no key 'x'; the keys are 'id'"),
        ("{{ params.nobody.x }}", "it was not given"),
    ],
)
def test_an_error_of_a_part_names_the_reference(template: str, message: str) -> None:
    # language 6.4
    values = {"x": 1, "rows": [{"id": 1}], "m": {"k": "v"}, "my key": None}
    context = {"flows": {"a": values}, "params": Names({}, lambda name: "it was not given")}
    with pytest.raises(TemplateError) as raised:
        render(template, context)
    assert raised.value.message == message


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ flos }}", "'flos' is not a name; did you mean 'flows'?"),
        ("{{ {'a': 1}.b }}", "there is no key 'b'; the keys are 'a'"),
        ("{{ [1][3] }}", r"there is no \[3\] in a list of 1 item$"),
        ("{{ [1, 2][3] }}", r"there is no \[3\] in a list of 2 items$"),
        ("{{ {'a': 1}[0:2] }}", "a mapping has no slices: those are of lists and texts"),
        ("{{ {'a': 1}[:'a'] | length }}", "a mapping has no slices"),
        ("{{ more.X }}", "there is no key 'X'; the keys are 'y'"),
        ("{{ 'a'.split }}", r"^a method is no value: '\(\)' after its name calls it$"),
        ("{{ [dict] }}", r"a function is no value: '\(\)' after its name calls it"),
        ("{{ namespace() }}", "^a namespace can't be rendered: it is not data$"),
        ("{{ {}.items | length }}", "a method has no length"),
        ("{{ none.x }}", "null has no 'x'"),
        ("{{ 'text'.x }}", "text has no 'x'"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ '{' | fromjson }}", "fromjson: not valid JSON"),
        ("{{ '!' | b64decode }}", "b64decode"),
        ("{{ {} | jmespath('a[') }}", "jmespath 'a\\['"),
        ("{{ ''.__class__ }}", "'__class__' of a text is out of reach of templates"),
        ("{{ ''.__class__.__mro__ }}", "'__class__' of a text is out of reach"),
        ("{{ range(10 ** 9) }}", "."),
        ("{{ range }}", "a function is no value"),
        ("{{ when }}", "'datetime' can't be rendered"),
        ("at {{ when }}", "'datetime' can't be rendered"),
        ("{{ raw }}", "'bytes' can't be rendered"),
        ("at {{ [raw] }}", "can't be rendered"),
        ("at {{ nan }}", "JSON can't hold the number nan"),
        ("{{ 'x' | round }}", "'round' can't be used on a text"),
        ("{{ none | abs }}", r"'abs' can't be used on null"),
        ("{{ -'x' }}", "'-' can't be used on a text"),
        ("{{ [[1], 2] | sum(start=[]) }}", r"'\+' can't be used on a list and a number"),
        ("{{ nan }}", "JSON can't hold the number nan"),
        ("{{ 1e308 * 10 }}", "JSON can't hold the number inf"),
        ("{{ [1, {'a': -1e308 * 10}] }}", r"can't hold the number -inf \(at \[1\]\.a\)"),
    ],
)
def test_errors_say_what_is_wrong(template: str, message: str) -> None:
    # language 6.1, 6.4, 7.3
    more = UserDict({"y": 1})
    context = {"when": dt.datetime(2024, 1, 1), "raw": b"x", "nan": float("nan"), "more": more}
    with pytest.raises(TemplateError, match=message):
        render(template, context)


def test_a_sandboxed_template_can_not_reach_python() -> None:
    # language 6.1
    for template in (
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ x.append(1) }}{{ x.__class__.__base__.__subclasses__() }}",
        "{{ ''.format.__func__ }}",
    ):
        with pytest.raises(TemplateError):
            render(template, {"x": []})


def test_errors_name_the_field() -> None:
    # language 6.4
    with pytest.raises(TemplateError) as raised:
        render_all({"headers": {"A": ["x", "{{ n.x }}"]}}, {"n": EMPTY}, "input")
    assert str(raised.value) == "input.headers.A[1]: no 'x' here"


def test_lenient_templates_give_nothing_for_what_is_missing() -> None:
    # language 11.3
    assert render("<{{ n.x.y }}{{ z }}>", {"n": {}}, lenient=True) == "<>"


@pytest.mark.parametrize("value", ["a", "{ { x } }", "", None, 1, ["{{ x }}"], {"{{": 1}])
def test_what_has_no_template_is_left_as_it_is(value: Any) -> None:
    assert not is_template(value)
    if not isinstance(value, list):
        assert render_all(value, {}) == value


def test_keys_are_no_templates() -> None:
    assert render_all({"{{ x }}": "{{ 1 }}"}, {}) == {"{{ x }}": 1}


# language 6.5


@given(json_values())
def test_filters_undo_each_other(value: Any) -> None:
    assert render("{{ x | tojson | fromjson }}", {"x": value}) == value
    assert render("{{ x | b64encode | b64decode }}", {"x": value}) == text(value)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{{ 1 + 'b' }}", "'+' can't be used on a number and a text: texts are joined with '~'"),
        ("{{ 'b' + 1 }}", "'+' can't be used on a text and a number: texts are joined with '~'"),
        ("{{ [1] + 'b' }}", "'+' can't be used on a list and a text: texts are joined with '~'"),
        ("{{ {} - 1 }}", "'-' can't be used on a mapping and a number"),
        ("{{ none * 2 }}", "'*' can't be used on null and a number"),
        ("{{ 'b' < 1 }}", "a text and a number can't be compared with '<'"),
        ("{{ [2, 'b'] | sort }}", "a text and a number can't be compared with '<'"),
        ("{{ 5 | list }}", "a number has no items: a list or a mapping is needed"),
        ("{% for x in none %}{% endfor %}", "null has no items: a list or a mapping is needed"),
        ("{{ 'a' in 5 }}", "'in' can't look into a number: a list, a mapping or a text is needed"),
        ("{{ 5 | length }}", "a number has no length"),
        ("{{ range('a') }}", "a whole number is needed, not a text"),
        ("{{ 3() }}", "a number can't be called"),
        ("{{ 'x' | filesizeformat }}", "the text 'x' is no number"),
        ("{{ 'a' | replace(1) }}", "an argument is missing: 'new'"),
        ("{{ ['a'] | map('upper', 1) | list }}", "too many arguments were given"),
        ("{{ 'a' | upper(x=1) }}", "there is no argument 'x'"),
        ("{{ 'a'.center() }}", "an argument is missing"),
        ("{{ 'a'.upper(1) }}", "too many arguments were given"),
        ("{{ ', '.join([1]) }}", "a text is needed, not a number (item 0)"),
        ("{{ '%d' | format('a') }}", "'%d' needs a number, not a text"),
        ("{{ '%x' % 'a' }}", "'%x' needs a number, not a text"),
        ("{{ '%s %s' % 'a' }}", "the text has more places ('%s') than there are values"),
        ("{{ 'a' % 1 }}", "the text has fewer places ('%s') than there are values"),
        ("{{ '%(a)s' % 1 }}", "the text has places with names ('%(a)s'): name the values, as in"),
        ("{{ '%' % 1 }}", "nothing follows a '%' in the text; write '%%' for a '%'"),
        ("{{ '%q' % 1 }}", "'%q' is no place for a value; write '%%' for a '%'"),
        ("{{ '{}'.format() }}", "the text has more places ('{}') than there are values"),
        ("{{ [] | first }}", "there is no first item: the list is empty"),
        ("{{ [] | random }}", "there is no random item: the list is empty"),
        ("{{ 'abcdef' | truncate(1) }}", "the length must be at least 3, not 1"),
        ("{{ 'a' | wordwrap(0) }}", "the width must be at least 1, not 0"),
        ("{{ 1 % 0 }}", "division by zero"),
        ("{{ 1.5 % 0 }}", "division by zero"),
        ("{{ 1 // 0 }}", "division by zero"),
        ("{{ 1 is divisibleby 0 }}", "division by zero"),
        ("{{ [1] | map('up' ~ 'er') | list }}", "there is no filter 'uper'"),
        ("{{ [1] | select('ev' ~ 'enn') | list }}", "there is no test 'evenn'"),
    ],
)
def test_operations_on_wrong_types_are_told_in_the_words_of_the_language(
    template: str, told: str
) -> None:
    with pytest.raises(TemplateError) as error:
        render(template, {})
    assert str(error.value).startswith(told)

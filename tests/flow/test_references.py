"""References are read from a template's syntax tree (language 8.2)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtoy_dagster.flow.templates.references import (
    Reference,
    TemplateMistake,
    asked_names,
    free_names,
    references,
)

NAMES = ["a", "fetch-users", "étape", "2nd", "in put", "x.y", "items", "get"]
names = st.sampled_from(NAMES)


def steps_in(template: str) -> set[str | None]:
    return {reference.step for reference in references(template)}


@st.composite
def mentions(draw: st.DrawFn) -> tuple[str, str]:
    """An expression that refers to a step, and the step's name."""
    name = draw(names)
    quoted = f"'{name}'"
    paths = [f"flows[{quoted}].out", f"steps[{quoted}].state", f"flows[{quoted}]['out']"]
    if name.isidentifier() and name.isascii():
        paths += [f"flows.{name}.out", f"flows.{name}['out']", f"steps.{name}.outputs.out"]
    shape = draw(
        st.sampled_from(
            ["{}", "{} | default('none')", "({} if 1 else 2)", "[{}, 1]", "{{'k': {}}}", "not {}",
             "{} ~ 'flows.nobody'", "({}) is defined", "1 + ({} | length)",
             "'x' | replace('y', {})", "range({})", "x[{}]"]
        )
    )
    return shape.format(draw(st.sampled_from(paths))), name


@st.composite
def templates(draw: st.DrawFn) -> tuple[str, set[str]]:
    """A template, and the names that it refers to."""
    parts, expected = [], set()
    for expression, name in draw(st.lists(mentions(), min_size=1, max_size=4)):
        wrapper = draw(
            st.sampled_from(
                ["{{{{ {} }}}}", "{{% if {} %}}x{{% endif %}}", "{{% set v = {} %}}",
                 "{{% for i in [{}] %}}{{{{ i }}}}{{% endfor %}}",
                 "{{% with w = {} %}}{{{{ w }}}}{{% endwith %}}",
                 "{{% filter upper %}}{{{{ {} }}}}{{% endfilter %}}"]
            )
        )
        parts.append(wrapper.format(expression))
        expected.add(name)
    noise = draw(
        st.lists(
            st.sampled_from(
                ["flows.nobody.x", "{# flows.nobody.x #}", "{{ 'flows.nobody.x' }}",
                 "{% raw %}{{ flows.nobody.x }}{% endraw %}", "{{ other.flows.nobody }}",
                 "{{ {'flows': 1}.flows }}", "text\n"]
            )
        )
    )
    return "".join(draw(st.permutations(parts + noise))), expected


@given(templates())
def test_exactly_the_steps_that_a_template_names_are_found(case: tuple[str, set[str]]) -> None:
    template, expected = case
    assert steps_in(template) == expected


@given(st.text())
def test_any_text_is_a_template_or_a_mistake(text: str) -> None:
    with contextlib.suppress(TemplateMistake):
        assert all(reference.line >= 1 for reference in references(text))


@pytest.mark.parametrize(
    "template",
    [
        "{{ flows }}", "{{ flows | length }}", "{{ flows[name].x }}", "{{ flows['a' ~ b].x }}",
        "{% for s in flows %}{{ s }}{% endfor %}", "{% set f = flows %}{{ f.a.x }}",
        "{{ flows.items() }}", "{{ flows.get('a') }}", "{{ steps.values() | list }}",
    ],
)  # fmt: skip
def test_flows_taken_whole_is_a_reference_to_no_step_by_name(template: str) -> None:
    assert None in steps_in(template)


def test_a_computed_index_is_looked_into_too() -> None:
    assert steps_in("{{ flows[flows.a.x].y }}") == {None, "a"}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ flows.a.users }}", Reference("flows", "a", output="users")),
        ("{{ flows['a']['users'][0].id }}", Reference("flows", "a", output="users")),
        ("{{ flows.a }}", Reference("flows", "a")),
        ("{{ flows.a[name] }}", Reference("flows", "a")),
        ("{{ flows.a.items() }}", Reference("flows", "a")),
        ("{{ flows.items.x }}", Reference("flows", "items", output="x")),
        ("{{ steps.a.state }}", Reference("steps", "a", attribute="state")),
        ("{{ steps.a.outputs.x }}", Reference("steps", "a", output="x", attribute="outputs")),
        ("{{ steps.a.result.code }}", Reference("steps", "a", attribute="result")),
        ("{{ sources.api.url }}", Reference("sources", "api", output="url")),
    ],
)
def test_references_tell_the_output_and_the_attribute(template: str, expected: Reference) -> None:
    assert references(template) == {expected}


@pytest.mark.parametrize(
    ("template", "part", "line"),
    [
        ("a\n{{ flows.a.", "not a valid template", 2),
        ("{{ x | nofilter }}", "no filter 'nofilter'", 1),
        ("\n\n{{ x is notest }}", "no test 'notest'", 3),
        ("{{ x | map('uper') | list }}", "no filter 'uper'", 1),
        ("{{ x | select('evenn') | list }}", "no test 'evenn'", 1),
        ("{{ x | reject('evenn') | list }}", "no test 'evenn'", 1),
        ("{{ x | selectattr('a', 'equalsto', 1) | list }}", "no test 'equalsto'", 1),
        ("{{ x | rejectattr('a', 'equalsto', 1) | list }}", "no test 'equalsto'", 1),
        ("{% include 'x' %}", "'include' can't be used", 1),
        ("{% set steps = 1 %}", "'steps' can't be assigned", 1),
        ("{% macro m(env) %}{% endmacro %}", "'env' can't be assigned", 1),
        ("{{ steps.a.stat }}", "has no 'stat'", 1),
        ("{{ steps.a.result.cod }}", "has no 'cod'", 1),
        ("{{ (" + "(" * 5000 + "1", "not a valid template", 1),
    ],
)
def test_mistakes_tell_their_line(template: str, part: str, line: int) -> None:
    with pytest.raises(TemplateMistake, match=part.replace("(", r"\(")) as raised:
        references(template)
    assert raised.value.line == line


@pytest.mark.parametrize(
    "template",
    [
        "{{ x | map(attribute='uper') | list }}", "{{ x | map(params.name) | list }}",
        "{{ x | select | list }}", "{{ x | selectattr('evenn') | list }}",
        "{{ x | join('uper') }}", "{{ x | map('upper') | select('even') | list }}",
    ],
)
def test_what_names_no_filter_and_no_test_is_none(template: str) -> None:
    references(template)


def test_references_tell_their_line() -> None:
    found = {r.step: r.line for r in references("a\n{{ flows.a.x }}\n\n{{ flows.b.x }}")}
    assert found == {"a": 2, "b": 4}


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("{{ folw.a.x }}\n{{ nobody }}", {"folw": 1, "nobody": 2}),
        ("{{ flow.dir }}", {}),
        ("{{ flows.a.x ~ env.X ~ run.id }}", {}),
        ("{{ x }}{% set x = 1 %}", {}),
        ("{% for a, b in c %}{{ a }}{{ loop.index }}{% endfor %}", {"c": 1}),
        ("{% macro m(a) %}{{ a }}{{ caller() }}{% endmacro %}{{ m(range(3)) }}", {}),
        ("{{ a[b].c | default(d) }}", {"a": 1, "b": 1, "d": 1}),
        ("{{ {'a': 1}.a }}{# b #}{% raw %}{{ c }}{% endraw %}", {}),
    ],
)
def test_names_that_nothing_gives_are_free(template: str, names: dict[str, int]) -> None:
    # language 6.3
    assert free_names(template) == names


@pytest.mark.parametrize(
    ("template", "tested"),
    [
        ("{{ a.b.c is defined }}", {("a",), ("a", "b")}),
        ("{{ a | default(b) }}", {("a",)}),
        ("{% if a %}{{ b }}{% elif c %}{% endif %}", {("a",), ("c",)}),
        ("{{ a if not b else c }}", {("b",)}),
        ("{{ a.x or b and c }}", {("a",), ("a", "x"), ("b",), ("c",)}),
        ("{{ sources['x y'][z] is undefined }}", {("sources",), ("sources", "x y")}),
        ("{% if a == 1 %}{% endif %}{{ b is string }}{{ c | upper }}", set()),
    ],
)
def test_what_a_template_asks_for_first_may_be_missing(
    template: str, tested: set[tuple[str, ...]]
) -> None:
    # language 6.4
    assert asked_names(template) - {()} == tested

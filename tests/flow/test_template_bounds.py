"""What a template may make, and that it changes nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.templates import bounds
from flowtoy_dagster.flow.templates.names import Names
from flowtoy_dagster.flow.templates.render import render


# language 6.1
@pytest.mark.parametrize(
    "template",
    [
        "{{ 'x' * 10**9 }}", "{{ 10**9 * 'x' }}", "{{ [1] * 10**9 }}", "{{ 9 ** (9 ** 9) }}",
        "{{ '%1000000000d' % 1 }}", "{{ '%*d' % (10**9, 1) }}", "{{ '%1000000000d' | format(1) }}",
        "{{ '{:1000000000}'.format(1) }}", "{{ '{:{}}'.format(1, 10**9) }}",
        "{{ 'a'.center(10**9) }}", "{{ 'a' | center(10**9) }}", "{{ 'a'.zfill(10**9) }}",
        "{{ ('a' * 10**5).replace('', 'b' * 10**5) }}", "{{ 'a' | indent(10**9, true) }}",
        "{{ 'a\tb'.expandtabs(10**9) }}", "{{ [1] | batch(10**9, 0) | list }}",
        "{{ {'a': 1} | tojson(indent=10**9) }}",
        "{{ [[[[1, 2], 3], 4], 5] | tojson(indent=10**7) }}",
        "{{ ''.join([long, long]) }}", "{{ '{}{}'.format(long, long) }}",
        "{{ ('{0}' * 10**4).format(text) }}",
        "{{ '{a}{a}'.format(a=long) }}", "{{ '{a}{a}'.format_map({'a': long}) }}",
        "{{ '%s%s' % (long, long) }}", "{{ '%(a)s%(a)s' % {'a': long} }}",
        "{{ '%s%s' | format(long, long) }}", "{{ '%(a)s%(a)s' | format(a=long) }}",
        "{{ text.translate({120: 'b' * 10**5}) }}", "{{ (1).to_bytes(10**9, 'big') }}",
        "{{ [[text] * 10**3] * 10**3 }}", "{{ {'a': [text] * 10**3}.values() | list * 10**3 }}",
        "{{ range(10**5) | join('x' * 10**5) }}",
        "{{ (['x' * 10**5] * 10**4) | join }}",
        "{{ ('\\n' * 10**4) | indent(10**4, blank=true) }}",
        "{{ ('\\n' * 10**4) | indent('x' * 10**4, blank=true) }}",
        "{{ 'a b c' | wordwrap(1, wrapstring='x' * 10**8) }}", "{{ lipsum(n=10**9) }}",
        "{{ ('a ' * 10**4) | wordwrap(1, wrapstring='x' * 10**5) }}",
        "{% set ns = namespace(s='xx') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}"
        "{% endfor %}",
        "{% set ns = namespace(s='xx') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}"
        "{% endfor %}",
    ],
)  # fmt: skip
def test_one_operation_makes_no_more_than_memory_holds(template: str) -> None:
    with pytest.raises(TemplateError, match="would have more than"):
        render(template, {"text": "x" * 10**4, "long": "x" * 4 * 10**7})


# language 6.1
@pytest.mark.parametrize("rows", [range(11), [1] * 11], ids=["range", "list"])
def test_all_loops_of_a_template_together_are_bounded(
    rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MOST_ROUNDS", 100)
    template = "{% for a in rows %}{% for b in rows %}.{% endfor %}{% endfor %}"
    assert render(template, {"rows": rows[:9]}) == "." * 81
    with pytest.raises(TemplateError, match="go round 100 times at most"):
        render(template, {"rows": rows})


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{% for r in rows %}{{ loop.index }}/{{ loop.length }}{{ loop.last }} {% endfor %}",
         "1/2false 2/2true "),
        ("{% for r in rows if r > 1 %}{{ r }}{% endfor %}", "3"),
        ("{% for r in [] %}{% else %}none{% endfor %}", "none"),
        ("{% for r in [1, [2, [3]]] recursive %}{{ loop(r) if r is iterable else r }}{% endfor %}",
         "123"),
        ("{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}", "a1"),
        ("{{ 'a' * 3 }}{{ 2 ** 8 }}{{ '%03d' % 7 }}{{ '{:>3}'.format('b') }}", "aaa256007  b"),
        ("{{ '{0}{0}{a}'.format('x', a=[1]) }}{{ '%s-%s' % (1, 'b') }}{{ '%(a)s' % {'a': 'c'} }}"
         "{{ 'ab'.translate({97: 'x', 98: none, -1: 'y'}) }}{{ (1).to_bytes(2, 'big') | length }}"
         "{{ '-'.join(['a', 'b']) }}{{ [[1]] * 2 }}", "xx[1]1-bcx2a-b[[1],[1]]"),
        ("{{ 'abc'.replace('b', 'x') }}{{ 'a' | center(3) }}{{ [1] + [2] }}", "axc a [1,2]"),
        ("{% set ns = namespace(low='inf' | float) %}{% for r in rows %}{% if r < ns.low %}"
         "{% set ns.low = r %}{% endif %}{% endfor %}{{ ns.low }}", "1"),
    ],
)  # fmt: skip
def test_bounded_loops_and_operations_do_what_they_always_did(
    template: str, expected: str
) -> None:
    assert render(template, {"rows": [3, 1]}) == expected


# language 6.1
@pytest.mark.parametrize(
    "expression",
    ["rows.append(3)", "rows.extend([3])", "rows.clear()", "rows.pop()", "rows.sort()",
     "rows.insert(0, 3)", "rows.reverse()", "row.update({'b': 2})", "row.pop('a')",
     "row.setdefault('b', 2)", "row.clear()", "row['popitem']()"],
)  # fmt: skip
def test_a_template_changes_nothing(expression: str) -> None:
    context = {"rows": [2, 1], "row": {"a": 1}}
    before = copy.deepcopy(context)
    with pytest.raises(TemplateError, match=r"a template can't change a (list|mapping) by '"):
        render("{{ " + expression + " }}", context)
    assert context == before


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("flows.items() | list", [["a", 1]]), ("flows.keys() | list", ["a"]),
        ("flows.values() | list", [1]), ("flows.get('a')", 1), ("flows.get('b', 2)", 2),
    ],
)  # fmt: skip
def test_names_can_be_gone_through_as_mappings(expression: str, expected: Any) -> None:
    # language 6.3
    flows = Names({"a": 1}, lambda name: f"no step '{name}'")
    assert render("{{ " + expression + " }}", {"flows": flows}) == expected


# language 6.4
@pytest.mark.parametrize(
    "template",
    ["{{ rows | dictsort }}", "{{ none | dictsort }}", "{{ 'abc' | wordwrap(1.5) }}",
     "{{ rows | xmlattr }}", "{{ cycler() }}", "{{ rows | map('nofilter') | list }}"],
)  # fmt: skip
def test_any_error_of_a_filter_is_an_error_of_the_template(template: str) -> None:
    with pytest.raises(TemplateError):
        render(template, {"rows": [1]})

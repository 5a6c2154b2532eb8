"""Filters that replace Jinja2's own take the same arguments."""

from __future__ import annotations

import inspect

import pytest
from jinja2.filters import FILTERS

from flowtoy_dagster.flow.templates.jinja import environment
from flowtoy_dagster.flow.templates.render import render

REPLACED = [name for name, own in FILTERS.items() if environment.filters[name] is not own]


@pytest.mark.parametrize("name", REPLACED)
def test_a_replaced_filter_takes_the_arguments_of_jinja2s(name: str) -> None:
    def arguments(function: object) -> list[tuple[str, object]]:
        taken = list(inspect.signature(function).parameters.values())  # type: ignore[arg-type]
        passed = ("eval_ctx", "environment", "context")
        taken = [one for one in taken if one.name not in passed]
        return [(one.name, one.default) for one in taken[1:]]

    assert arguments(environment.filters[name]) == arguments(FILTERS[name])


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

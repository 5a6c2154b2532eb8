"""Templates that are broken, or stand where none is rendered: what to write is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowtoy_dagster.errors import ConfigError
from flowtoy_dagster.loader import load_flow

CALL = "source: process, input: {command: [date]}"
NOT_RENDERED = "no template is rendered here: write the value itself"


def error_of(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_flow(path)
    return str(error.value)


# language 6.1
@pytest.mark.parametrize("text", [
    f"flow: [{{name: a, {CALL}, on_error: '{{{{ params.x }}}}'}}]",
    f"flow: [{{name: a, {CALL}, output: [{{name: b, value: stdout, secret: '{{{{ 1 }}}}'}}]}}]",
    f"flow: [{{name: a, {CALL}}}]\nrunner: {{max_workers: '{{{{ params.x }}}}'}}",
    f"flow: [{{name: a, {CALL}}}]\nrunner: {{timeout: '{{{{ params.x }}}}'}}",
    f"flow: [{{name: a, {CALL}}}]\nsources: {{api: {{type: env, rate: '{{{{ params.x }}}}'}}}}",
    f"flow: [{{name: a, {CALL}, incremental: {{cursor_path: n, order: '{{{{ params.x }}}}'}}}}]",
    "flow: [{name: a, source: {type: rest, url: 'http://x', decode: ['{{ params.x }}']}}]",
])
def test_a_template_as_a_value_that_none_can_give_says_so(tmp_path: Path, text: str) -> None:
    found = error_of(tmp_path / "f.yaml", f"params: {{x: 1}}\n{text}\n")
    assert NOT_RENDERED in found
    assert "f.yaml:" in found


# language 19.1
def test_an_expression_with_two_templates_has_the_reason_of_its_own(tmp_path: Path) -> None:
    text = f"flow: [{{name: a, {CALL}, when: '{{{{ true }}}} and {{{{ true }}}}'}}]\n"
    assert NOT_RENDERED not in error_of(tmp_path / "f.yaml", text)


# language 6.1
def test_templates_in_names_and_tags_are_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("""\
name: a {{ params.x }}
tags: {team: "{{ params.x }}", plain: text}
params: {x: 1}
sources:
  "{{ params.x }}": {type: env}
flow:
  - name: "{{ params.x }}"
    tags: {a: "{{ params.x }}"}
    description: "{{ params.x }} may be spoken of"
    source: {type: process, command: [echo, "[]"]}
    output:
      - {name: "{{ params.x }}", value: "{{ params.x }}"}
      - {name: rows, type: file, format: csv, columns: [a, "{{ params.x }}"]}
""")
    found = [str(warning.location) for warning in load_flow(path).warnings]
    places = [place.rpartition("f.yaml:")[2] for place in found]
    assert places == ["1:7", "2:14", "5:3", "7:11", "8:15", "12:16"]


# language 18.1
@pytest.mark.parametrize(("written", "told"), [
    ("'{{ [1] }} x'", "gives a text\n    write one {{ … }} with nothing beside it"),
    ("{in: '{{ [1] }},'}", "gives a text"),
    ("'{% if true %}{{ [1] }}{% endif %}'", "gives a text"),
    ("|\n      {{ [1] }}", "no space or line break either: '>-' instead of '|'"),
])
def test_a_loop_over_a_template_that_gives_text_is_an_error(
    tmp_path: Path, written: str, told: str
) -> None:
    text = f"flow:\n  - name: a\n    for_each: {written}\n    source: env\n"
    found = error_of(tmp_path / "f.yaml", text)
    assert "f.yaml:3:" in found
    assert told in found


# language 18.1
def test_the_long_form_of_a_loop_in_a_list_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    for loop, count in (("[{in: [1], as: x}]", 1), ("[{in: [1], of: 2}]", 0), ("[{a: 1}]", 0)):
        path.write_text(f"flow: [{{name: a, {CALL}, for_each: {loop}}}]\n")
        assert len(load_flow(path).warnings) == count


@pytest.mark.parametrize(("template", "told"), [
    ("{{ a", "it ends before '}}'\n    '{{' is closed by '}}'"),
    ("{{ a }", "'}' is not expected there\n    '{{' is closed by '}}'"),
    ("{{ a ] }}", "']' is not expected there"),
    ("{{ (1 }}", "'(' is not closed by ')'"),
    ("{{ a | default( }}", "'(' is not closed by ')'"),
    ("{{ {1: 2] }}", "'{' is not closed by '}'"),
    ("{{ a. }}", "a name is missing after '.'"),
    ("{{ if a }}", "'a' is not expected there\n    a statement is written {% ... %}"),
    ("{{ 'abc }}", "the text that begins at character 4 is not closed\n    write ' at its end"),
    ('{{ "abc }}', 'the text that begins at character 4 is not closed\n    write " at its end'),
    ("{{ f(a=1, 2) }}", "an argument without a name stands behind one that has a name"),
    ("{{ a is b is c }}", "what 'is' gives can't be tested by another 'is'"),
    ("{% endif %}", "'{% endif %}' has no open '{% if %}' before it"),
    ("{% if a %}{% endfor %}", "'{% endfor %}' has no open '{% for %}' before it"),
    (
        "{% if a %}{% else if b %}{% endif %}",
        "'if' is not expected there\n    'else if' is written 'elif'",
    ),
    ("{% for 1 in [1] %}{% endfor %}", "nothing can be assigned to a value: a name is missing"),
    ("{% %}", "the name of a statement is missing after '{%'"),
    ("{# a", "'{#' is not closed by '#}'"),
])
def test_a_broken_template_is_told_in_words_of_the_language(
    tmp_path: Path, template: str, told: str
) -> None:
    step = f"name: a\n    source: process\n    input:\n      stdin: >-\n        {template}"
    text = f"flow:\n  - {step}\n"
    found = error_of(tmp_path / "f.yaml", text)
    assert f"not a valid template: {told}" in found
    assert "nexpected" not in found
    assert "token" not in found

"""Mistakes of the kinds in `test_mistakes`, in other places and with other words."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowtoy_dagster.errors import ConfigError
from flowtoy_dagster.flow.schema.durations import seconds
from flowtoy_dagster.flow.templates.jinja import search
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.outputs.kinds import OUTPUTS
from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.providers.kind import ResultView

RUNS = "    source: process\n    input: {command: [echo, hi]}\n"
STEP = f"  - name: a\n{RUNS}"
QUOTED = "must be quoted"
SOURCE_AND_VALUE = [
    "3:5: a space is missing after the ':' of 'source:'\n    write 'source: ...'"
]


def step(value: str) -> str:
    return f"flow:\n  - name: a\n    source: process\n    input: {{command: {value}}}\n"


def output(rest: str) -> str:
    return f"flow:\n{STEP}    output: [{{name: x, {rest}}}]\n"


def template(text: str) -> str:
    return (
        f"flow:\n{STEP}    output: [{{name: x, value: stdout}}]\n"
        f"  - {{name: b, source: process, input: {{command: [echo, '{text}']}}}}\n"
    )


def rest(keys: str) -> str:
    return f"flow:\n  - {{name: a, source: rest, input: {{{keys}}}}}\n"


MISTAKES = {
    template("{{ flows.a.x | split }}"): ["no filter 'split'", "value.split(',')"],
    template("{{ flows.a.x | strip }}"): ["no filter 'strip'", "did you mean 'trim'?"],
    template("{{ flows.a.x | urlquote }}"): ["no filter 'urlquote'", "did you mean 'urlencode'?"],
    template("{{ run.started_at | date }}"): ["no filter 'date'", "run.started_at[:10]"],
    template("{{ flows.a.x is null }}"): ["no test 'null'", "did you mean 'none'?"],
    template("{{ flows.a.x is empty }}"): ["no test 'empty'", "write 'not value'"],
    # YAML
    step("`date`"): ["4:22: not valid YAML: a value can't begin with '`'", f"'`' {QUOTED}"],
    step("%date"): ["4:22: not valid YAML: a value can't begin with '%'", f"'%' {QUOTED}"],
    step("*.csv"): ["not valid YAML: a value can't begin with '*'", f"'*' {QUOTED}"],
    step("[echo, hi"): ["4:31: not valid YAML: the '[' of line 4, column 22, is not closed"],
    f"{step('[echo]')[:-2]}\n  - name: b\n": ["5:3: not valid YAML: the '{' of line 4, column 12"],
    step(r'["a\d"]'): [r"4:25: not valid YAML: '\d' has no meaning in double quotes", r"write \\"],
    step("'it's'"): ["4:26: not valid YAML: the text in quotes ends before 's'", "write ' twice"],
    "flow:\n  - name: a\n    source: process\n     input: {command: ls}\n": [
        "4:6: this key is indented by 5 spaces, the one above it by 4"
    ],
    "flow:\n  - name: a\n   - name: b\n": [
        "3:4: this item is indented by 3 spaces, the one above it by 2"
    ],
    "flow:\n - name: a\n   source: process\n- name: b\n": [
        "4:1: this item is indented by 0 spaces, the one above it by 1"
    ],
    'flow:\n  - name: "a" b\n': ["text after the closing quote", "write '...' around the whole"],
    "flow:\n  - name: 'a' b\n": ["text after the closing quote", 'write "..." around the whole'],
    "flow:\n  - name: 'it's'\n": ["2:15: not valid YAML: the text in quotes ends before 's'"],
    "flow:\n  - name: a\n    source:{type: process, timeout: 3}\n": SOURCE_AND_VALUE,
    "flow:\n  - name: a\n    source:{type: process}\n": SOURCE_AND_VALUE,
    "flow:\n  - name: a\n    source:'a: b'\n": SOURCE_AND_VALUE,
    "flow:\n  - {name:a, source: env}\n": ["2:6: a space is missing after the ':' of 'name:'"],
    step("[env], env: {A:1}"): ["4:35: a space is missing after the ':' of 'A:'", "write 'A: ...'"],
    "flow:\n  - name: a\n    depends_on: - b\n": ["3:17: not valid YAML: '- ' begins a list in a"],
    "flow\n  - name: a\n": ["1:1: a ':' is missing in this line"],
    step("!echo hi"): ["'!echo' is not allowed"],
    step(r'"\ud83d"'): ["the escape after '\\' stands for no character"],
    "flow: | text\n  x\n": ["write the text in the lines below it"],
    # shapes and keys
    f"flows:\n{STEP}": ["1:1: unknown key 'flows'\n    did you mean 'flow'?"],
    "flow:\n  a: {source: process}\n": ["2:3: expected a list of steps", "a mapping for each step"],
    "flow:\n  - a: {source: process}\n": ["write the name as a value: '- name: a'"],
    "flow:\n  - {name: a, uses: process}\n": ["unknown key 'uses'\n    did you mean 'source'?"],
    f"flow:\n{STEP}    retry: {{count: 3, wait: 5}}\n": [
        "unknown key 'count'\n    did you mean 'max'?", "did you mean 'delay'?"
    ],
    f"flow:\n{STEP}    depends_on: a and b\n  - name: b\n{RUNS}": [
        "several names are a list: [a, b]"
    ],
    f"params: [day]\nflow:\n{STEP}": ["write params: {day: {type: string}}"],
    f"notify: me@x.example\nflow:\n{STEP}": ["write notify: [{on: failure, source: ...}]"],
    f"sources: {{b: rest}}\nflow:\n{STEP}": ["1:14: expected a mapping", "write b: {type: ...}"],
    f"sources: {{b: {{type: http}}}}\nflow:\n{STEP}": ["'http'\n    did you mean 'rest'?"],
    f"runner: {{executor: threads}}\nflow:\n{STEP}": ["did you mean 'in_process'?"],
    f"params: {{x: {{type: date}}}}\nflow:\n{STEP}": ["did you mean 'string'?"],
    rest('url: "http://x", header: {A: b}, querystring: {a: 1}'): [
        "did you mean 'headers' for 'header', 'params' for 'querystring'?"
    ],
    rest('uri: "http://x", verb: POST, body: x'): ["'url' for 'uri', 'method' for 'verb'"],
    "flow:\n  - {name: a, source: process, input: {cmd: ls}}\n": ["did you mean 'command'?"],
    "flow:\n  - {name: a, source: process, input: ls}\n": ["write a mapping with the keys of"],
    # URLs
    rest("url: 'htp://x'"): ["'htp' is no scheme that can be called\n    did you mean 'http'?"],
    rest("url: http//x"): ["did you mean 'https://x'?"],
    rest("url: 'localhost:8000/x'"): ["did you mean 'http://localhost:8000/x'?"],
    rest("url: '%SHOP%/x'"): ["'%SHOP%' is not replaced in a URL\n    write {{ env.SHOP }}"],
    # outputs
    output("type: csv"): ["write 'type: file' and the format beside it"],
    output("type: number"): ["leave out 'type'"],
    output("value: 'a[?b = 1]'"): ["'=' is no operator: values are compared with '=='"],
    output("value: 'a[?b == 1]'"): ["a number is written in backticks: `1`"],
    output("value: $.a"): ["leave that out, the data is where an expression begins"],
    output("value: a or b"): ["'or' is written '||'"],
    output("value: '[0]. '"): ["after '.' at its end the name of a key is missing"],
    output("value: a b"): ["'b' at character 3 is not expected there"],
    output("value: 'a[?b == true]'"): ["warning: true without backticks", "write `true`"],
    output("value: a | length"): ["warning: 'length' after '|'", "written length(@)"],
    # templates
    template("{{ flows.a.x && true }}"): ["'&' at character 14", "'&&' is written 'and'"],
    template("{{ flows.a.x ? 1 : 2 }}"): ["one if condition else other"],
    template("{% flows.a.x %}"): ["no statement 'flows'", "a value is written {{ ... }}"],
    template("{% if flows.a.x %}y"): ["'{% if %}' is not closed", "'{% endif %}' at its end"],
    template("{{ len(flows.a.x) }}"): ["write it as a filter, such as 'value | length'"],
    template("{{ secrets.TOKEN }}"): ["did you mean 'env'?"],
    template("{{ needs.a.x }}"): ["outputs of steps are under 'flows': write flows.STEP.NAME"],
    template("{{ a.x }}"): ["write flows.a.x"],
    template("${{ flows.a.x }}"): ["warning: the '$' before '{{' stays in the text"],
    f"flow:\n{STEP}    when: params.x && true\n": ["'&' at character 10", "written 'and'"],
    f"flow:\n{STEP}    when: env.A = 'x'\n": ["values are compared with '=='"],
    f"flow:\n{STEP}    when: env.A ==\n": ["not a valid expression: it ends too early"],
    template("{{ items }}"): ["only templates of a step with 'for_each' have it"],
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_reported_with_what_to_write(text: str, tmp_path: Path) -> None:
    # language 1.5
    (tmp_path / "f.yaml").write_text(text, encoding="utf-8")
    try:
        flow = load_flow(tmp_path / "f.yaml")
        found = "\n".join(line for warning in flow.warnings for line in warning.warning_lines())
    except ConfigError as error:
        found = str(error)
    for part in MISTAKES[text]:
        assert part in found
    for of_a_parser in ("while scanning", "while parsing", "token", "['q", "Encountered"):
        assert of_a_parser not in found


@pytest.mark.parametrize(
    "text",
    [
        template("costs ${{ flows.a.x }}"), output("value: 'a | b'"), output("value: a || length"),
        output("value: \"a[?b == 'true'] | length(@)\""), output("value: 'a[?b == true.x]'"),
        rest("url: 'HTTPS://x.example'"), rest("url: '{{ env.A }}://x'"),
    ],
)  # fmt: skip
def test_what_is_only_like_a_mistake_is_not_warned_of(text: str, tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text(text, encoding="utf-8")
    assert load_flow(tmp_path / "f.yaml").warnings == ()


@pytest.mark.parametrize(
    ("given", "written"),
    [("1h30m", "90m"), ("5 minutes", "5m"), ("1.5 hours and 2 s", "5402s"), ("90 sec", "90s")],
)
def test_a_duration_of_words_says_what_to_write(given: str, written: str) -> None:
    with pytest.raises(ValueError, match="expected a duration") as error:
        seconds(given)
    assert getattr(error.value, "hint", None) == f"write {written}"


ROWS = {"rows": [{"id": 1, "on": {"a": 2}}, {"id": 2}], "n": 1, "empty": [], "word": "a",
        "nothing": None}


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("rows[].nam", "there is no 'nam' among 'id', 'on'"),
        ("rows[0].i.d", "there is no 'i' among 'id', 'on'; did you mean 'id'?"),
        ("rows[?id == `1`].on.b", "there is no 'b' among 'a'"),
        ("rows[:1].on.b | [0]", "there is no 'b' among 'a'"),
        ("row", "the data has 'rows', 'n', 'empty', 'word', 'nothing'; did you mean 'rows'?"),
        ("result.n", "JMESPath begins in the result: write 'n'"),
        ("rows[?id == `3`].id", None), ("empty[].x", None), ("rows[].on.a", None),
        ("rows[5].id", None), ("empty.x", None),
        ("rows.id", "a list has no 'id': write '[].id' for that of each of its items"),
        ("word.id", "a text has no 'id'"), ("word | id", "a text has no 'id'"),
        ("n.x", "a number, true or false has no 'x'"), ("nothing.x", None),
    ],
)  # fmt: skip
def test_an_expression_that_finds_nothing_says_which_key_is_nowhere(
    expression: str, reason: str | None
) -> None:
    # language 7.3
    view = ResultView(ProviderResult(True, data=ROWS), ROWS, ROWS)
    told = OUTPUTS["jmespath"].doubt(expression, view, search(expression, ROWS))
    assert told == (reason and f"'{expression}' finds nothing: {reason}") or reason in (told or "")


def test_a_name_in_a_list_finds_nothing_and_is_told() -> None:
    # language 7.2
    view = ResultView(ProviderResult(True, data=[{"id": 1}]), [{"id": 1}], [{"id": 1}])
    told = OUTPUTS["jmespath"].doubt("id", view, search("id", [{"id": 1}]))
    assert told == (
        "'id' finds nothing: a list has no 'id': write '[].id' for that of each of its items"
    )


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("length(n)", "length() takes text, a list or a mapping, and was given a number"),
        ("sum(rows)", "sum() takes a list of numbers, and was given a list with a mapping in it"),
    ],
)
def test_a_function_that_takes_another_type_says_which(expression: str, reason: str) -> None:
    with pytest.raises(Exception, match=r"jmespath '") as error:
        search(expression, ROWS)
    assert str(error.value).endswith(f": {reason}")

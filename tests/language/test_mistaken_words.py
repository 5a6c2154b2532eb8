"""Words of other tools, quotes and characters at a wrong place: what to write instead is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowtoy_dagster.errors import ConfigError
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.providers.rest.urls import shown

ECHO = "{name: a, source: process, input: {command: [echo, hi]}}"
ERRORS = {
    "retry in other words": (
        "flow:\n  - {name: a, source: process, retry: {attempts: 3}, input: {command: [date]}}\n",
        "2:40: unknown key 'attempts'\n    did you mean 'max'?",
    ),
    "a key of the runner": (
        f"max_workers: 4\nflow:\n  - {ECHO}\n",
        "1:1: unknown key 'max_workers'\n    'max_workers' belongs under 'runner'",
    ),
    "files that a file includes": (
        f"include: other.yaml\nflow:\n  - {ECHO}\n",
        "several files are merged where they are given: flowtoy run base.yaml local.yaml",
    ),
    "a token": (
        "flow:\n  - {name: a, source: {type: rest, url: 'http://x', auth: {token: t0k}}}\n",
        "unknown key 'token'\n    did you mean 'bearer'?",
    ),
    "auth as a word": (
        "flow:\n  - {name: a, source: {type: rest, url: 'http://x', auth: bearer}}\n",
        "expected a mapping, got 'bearer'\n    write auth: {bearer: \"{{ env.API_TOKEN }}\"}",
    ),
    "a source by the word of others": (
        "flow:\n  - {name: a, source: shell, input: {command: [date]}}\n",
        "there is no source 'shell'\n    did you mean 'process'?",
    ),
    "a day of the week in full": (
        f'schedule: {{cron: "0 6 * * monday"}}\nflow:\n  - {ECHO}\n',
        "invalid weekday 'monday' (write 'mon')",
    ),
    "for_each without braces": (
        f"flow:\n  - {ECHO}\n  - {{name: b, source: process, for_each: flows.a.x,"
        " input: {command: [date]}}\n",
        "got 'flows.a.x'\n    write \"{{ flows.a.x }}\"",
    ),
    "a key of the loop beside it": (
        "flow:\n  - {name: b, source: process, for_each: [1], concurrency: 2,"
        " input: {command: [date]}}\n",
        "2:47: unknown key 'concurrency'\n    'concurrency' belongs under 'for_each'",
    ),
    "a key of the step in its loop": (
        "flow:\n  - {name: b, source: process, for_each: {in: [1], retry: 2},"
        " input: {command: [date]}}\n",
        "2:52: unknown key 'retry'\n    'retry' belongs to the step, beside 'for_each'",
    ),
    "a parameter that is required": (
        f"params: {{x: {{required: true}}}}\nflow:\n  - {ECHO}\n",
        "1:14: unknown key 'required'\n    a parameter that has no 'default' is required",
    ),
    "a key of the step in the runner": (
        f"runner: {{retry: 3}}\nflow:\n  - {ECHO}\n",
        "1:10: unknown key 'retry'\n    'retry' belongs to a step",
    ),
    "the place of a file in other words": (
        "flow:\n  - {name: a, source: env,"
        " output: [{name: b, type: file, format: csv, filename: x}]}\n",
        "unknown key 'filename'\n    did you mean 'path'?",
    ),
    "a file without a name": (
        "flow:\n  - {name: a, source: env,"
        " output: [{name: b, type: file, format: csv, path: ''}]}\n",
        "2:78: must not be empty",
    ),
    "a column twice": (
        "flow:\n  - {name: a, source: env,"
        " output: [{name: b, type: file, format: csv, columns: [x, x]}]}\n",
        "2:85: the column 'x' is listed twice",
    ),
    "a pool without a name": (
        "flow:\n  - {name: a, source: env, pool: ''}\n", "2:34: must not be empty"
    ),
    "a key of the flow": (
        "flow:\n  - {name: b, source: process, notify: [], input: {command: [date]}}\n",
        "2:32: unknown key 'notify'\n    'notify' belongs to the flow, beside 'flow'",
    ),
    "a rate in other words": (
        f"sources: {{api: {{type: env, rate_limit: 3/s}}}}\nflow:\n  - {ECHO}\n",
        "unknown key 'rate_limit'\n    did you mean 'rate'?",
    ),
    "where the records of pages are, in other words": (
        "flow:\n  - {name: a, source: {type: rest, url: 'http://x', data_path: rows}}\n",
        "unknown key 'data_path'\n    did you mean 'data_selector'?",
    ),
    "a list in other words": (
        "flow:\n  - {name: b, source: process, for_each: {items: [1]}, input: {command: [date]}}\n",
        "2:43: unknown key 'items'\n    did you mean 'in'?",
    ),
    "an item in a named source": (  # language 18.2
        "sources: {s: {type: process, command: [echo, '{{ item }}']}}\n"
        "flow:\n  - {name: b, source: s, for_each: [1]}\n",
        "1:46: 'item' is not a name\n    the templates of a named source don't know the item",
    ),
    "an item that has another name": (  # language 18.2
        "flow:\n  - {name: b, source: process, for_each: {in: [1], as: row},"
        " input: {command: [echo, '{{ item }}']}}\n",
        "'item' is not a name\n    this step calls it 'row'",
    ),
    "a rate of a step": (  # language 19.5
        "flow:\n  - {name: b, source: process, rate: 10/s, input: {command: [date]}}\n",
        "2:32: unknown key 'rate'\n    'rate' belongs to a source, under 'sources'",
    ),
    "a rate as a number": (  # language 19.5
        "sources: {s: {type: process, rate: 10}}\nflow:\n"
        "  - {name: b, source: s, input: {command: [date]}}\n",
        "got the number 10; did you mean '10/s'?",
    ),
    "a rate in words": (  # language 19.5
        "sources: {s: {type: process, rate: 10 per second}}\nflow:\n"
        "  - {name: b, source: s, input: {command: [date]}}\n",
        "got '10 per second'; did you mean '10/s'?",
    ),
    "until with an interval": (  # language 19.4
        "flow:\n  - {name: b, source: process, until: result.x, interval: 3s,"
        " input: {command: [date]}}\n",
        "unknown key 'interval'\n    did you mean 'every'?",
    ),
    "what notifies, by when": (  # language 19.6
        f"flow:\n  - {ECHO}\nnotify:\n  - {{when: failure, source: process,"
        " input: {command: [date]}}\n",
        "unknown key 'when'\n    did you mean 'on'?",
    ),
    "a key as the value of another": (
        "flow:\n  - {name: a, source: process, on_error: retry, input: {command: [date]}}\n",
        "2:42: 'retry' is not one of 'fail', 'skip', 'continue'\n"
        "    'retry' is a key of a step: 'retry: 3'",
    ),
    "incremental without more": (
        "flow:\n  - {name: a, source: process, incremental: true, input: {command: [date]}}\n",
        "expected a mapping, got true\n    write incremental: {cursor_path: updated_at, ",
    ),
    "JSON of an output as JMESPath has it": (
        "flow:\n  - {name: a, source: process, input: {command: [date]},"
        " output: [{name: o, value: '{{ json.x }}'}]}\n",
        "'json' is not a name\n    JSON that a step got is 'result.data', that of a command "
        "'result.data.json'",
    ),
    "the time": (
        "flow:\n  - {name: a, source: process, input: {command: [echo, '{{ now() }}']}}\n",
        "'now' is not a name\n    the time at which the run began is run.started_at",
    ),
    "what the run does not have": (
        "flow:\n  - {name: a, source: process, input: {command: [echo, '{{ run.date }}']}}\n",
        "2:56: 'run' has no 'date'\n    did you mean 'started_at'?",  # language 6.3
    ),
    "what the run has at its end alone": (
        "flow:\n  - {name: a, source: process, input: {command: [echo, '{{ run.error }}']}}\n",
        "'run' has no 'error'\n    only templates of 'notify' have it",  # language 19.6
    ),
    "jq": (
        "flow:\n  - {name: a, source: process, input: {command: [date]},"
        " output: [{name: x, value: '.items[].id'}]}\n",
        "it begins with '.': leave that out, the data is where an expression begins",
    ),
    "a key with a hyphen in JMESPath": (
        "flow:\n  - {name: a, source: process, input: {command: [date]},"
        " output: [{name: x, value: 'rows[].user-id'}]}\n",
        "a key with '-' is written in double quotes: \"user-id\"",
    ),
    "text of several lines that is not indented": (
        "flow:\n  - name: a\n    source: process\n    input:\n      command: |\n      echo hi\n",
        "6:7: the text of '|' is not indented more than its key\n    indent each of its lines",
    ),
    "a colon of another width": (
        "flow:\n  - name\uff1aa\n    source: process\n",
        "a ':' is missing in this line\n    '\uff1a' (U+FF1A) is another character than ':'",
    ),
    "a character that nobody sees": (
        "flow:\n  - na\u200bme: a\n    source: process\n    input: {command: [date]}\n",
        "did you mean 'name'? there is a character that nobody sees in it (U+200B)",
    ),
    "a comment in a list": (
        "flow:\n  - name: a\n    source: process\n    input: {command: [echo, a #b]}\n",
        "the '[' is not closed in its line\n    ' #' begins a comment, up to the end of its line",
    ),
    "quotes in a template in quotes": (
        'flow:\n  - {name: a, source: process, input: {command: [echo, "{{ "x" | upper }}"]}}\n',
        "2:61: the text in quotes ends before 'x'\n    within '...' write ' twice",
    ),
    "quotes in a template": (
        'flow:\n  - name: a\n    source: rest\n    input:\n      url: "{{ env["X"] }}/y"\n',
        "the text in quotes ends before 'X'\n    within '...' write ' twice",
    ),
}
WARNINGS = {
    "a pipe in a list": (
        "command: [ls, '|', wc]",
        "2:54: warning: '|' is an argument like others, for no shell reads this command",
    ),
    "a file for the output": (
        "command: [date], args: ['>', out.txt]", "write the command as one text instead of a list"
    ),
    "a shell's variable": (
        "command: [ls, '${HOME}/data']",
        "'${HOME}' is not replaced\n    no shell reads this command: write {{ env.HOME }}",
    ),
    "a shell's home": (
        "command: [ls, '~/data']", "'~' is not replaced in a path\n    write '{{ env.HOME }}/data'"
    ),
    "one brace for two": (
        "command: [echo, 'of {params.day}']",
        "'{params.day}' is not replaced\n    write {{ params.day }}, if that is meant",
    ),
    "one brace for two, in a list of a payload": (
        "command: [echo], stdin: {a: ['{ flows.b.x[0] }']}", "'{ flows.b.x[0] }' is not replaced",
    ),
    "a state that none is": (
        "command: [echo, \"{{ run.state == 'success' }}\"]",
        "'run.state' is never 'success'\n    did you mean 'succeeded'?",
    ),
    "YAML's words in a source of a step": (
        "command: [date], env: {FLAG: yes}", "yes is true in YAML 1.1"
    ),
}
SILENT = [
    "command: [sh, -c, 'ls ~/x | wc > $HOME/y']",
    "command: [find, ., -name, '*.csv', -exec, cat, '{}', '+']",
    "command: [awk, '{print $1}', x]",
    "command: 'ls ~/x | wc'",
    "command: [python, x.py, $5.00, a~b, a|b]",
    "command: [expr, '1', '|', '2']",
    """command: [echo, '${env.X}', '{}', '{params}', '{a.b}', '{{ {"a": run.id} }}']""",
    "command: [echo, \"{{ run.state != 'failed' }}\", \"{{ run.stat | default('x') }}\"]",
]


@pytest.mark.parametrize(("text", "told"), ERRORS.values(), ids=ERRORS)
def test_what_to_write_is_said(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_flow(path)
    assert told in str(error.value)


def warnings_of(path: Path, text: str) -> str:
    path.write_text(text)
    return "\n".join(line for one in load_flow(path).warnings for line in one.warning_lines())


@pytest.mark.parametrize("where", ["input", "source"])
@pytest.mark.parametrize(("call", "told"), WARNINGS.values(), ids=WARNINGS)
def test_what_is_hardly_meant_is_a_warning(
    tmp_path: Path, call: str, told: str, where: str
) -> None:
    step = f"source: process, input: {{{call}}}"
    if where == "source":
        step = f"source: {{type: process, {call}}}"
        told = told.removeprefix("2:54: ")
    assert told in warnings_of(tmp_path / "f.yaml", f"flow:\n  - {{name: a, {step}}}\n")


@pytest.mark.parametrize("call", SILENT)
def test_what_may_well_be_meant_is_none(tmp_path: Path, call: str) -> None:
    text = f"flow:\n  - {{name: a, source: process, input: {{{call}}}}}\n"
    assert warnings_of(tmp_path / "f.yaml", text) == ""


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("paginate: {type: page}", "did you mean 'paginator'? for data write {type: value"),
        ("query: {a: 1}", "did you mean 'params'?"),
        ("query: '{ shops }', variables: {a: 1}", ""),
        ("type: value, value: {query: {a: 1}}", ""),
        ("json: '[1, 2]'", "this is sent as a text in quotes, not as the JSON in it"),
        ("json: 'one'", ""),
        ("json: {a: '[1]'}", ""),
    ],
)
def test_data_that_looks_like_a_request_is_a_warning(
    tmp_path: Path, call: str, told: str
) -> None:
    text = f"flow:\n  - {{name: a, source: {{type: rest, url: 'http://x'}}, input: {{{call}}}}}\n"
    found = warnings_of(tmp_path / "f.yaml", text)
    assert told in found if told else found == ""  # language 5


def test_states_of_steps_are_compared_with_those_that_there_are(tmp_path: Path) -> None:
    text = f"""\
flow:
  - {ECHO}
  - name: b
    source: process
    when: steps.a.state == 'success' or steps['a'].state in ['skipped', 'ok'] or 'x' == run.name
    input: {{command: [date]}}
"""
    assert warnings_of(tmp_path / "f.yaml", text).splitlines() == [
        f"{tmp_path / 'f.yaml'}:5:11: warning: 'steps.a.state' is never 'success'",
        "    did you mean 'succeeded'?",
        f"{tmp_path / 'f.yaml'}:5:11: warning: 'steps.a.state' is never 'ok'",
        "    it is 'succeeded', 'failed', 'skipped'",
    ]


@pytest.mark.parametrize(
    "step",
    [
        "source: {type: rest, url: 'http://x', auth: h1dden-t0ken}",
        "source: {type: rest, url: 'http://x', auth: {basic: 'ann:h1dden-t0ken'}}",
        "source: {type: rest, url: 'ann:h1dden-t0ken@example.org/x'}",
        "source: {type: rest, url: 'ftp://ann:h1dden-t0ken@example.org/x'}",
    ],
)
def test_credentials_at_a_wrong_place_are_not_shown(tmp_path: Path, step: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(f"flow:\n  - {{name: a, {step}}}\n")
    with pytest.raises(ConfigError) as error:
        load_flow(path)
    assert "h1dden" not in str(error.value)  # language 13


def test_a_url_that_a_template_gives_is_shown_without_its_user() -> None:
    found = [shown(f"{scheme}ann:h1dden@example.org/x?y") for scheme in ("", "//", "https://")]
    assert found == ["example.org/x", "//example.org/x", "https://example.org/x"]
    assert shown("https://example.org/@ann") == "https://example.org/@ann"


def test_the_values_that_a_secret_parameter_may_have_are_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(
        "params: {api_token: {enum: [h1dden-1, h1dden-2], default: h1dden-3}}\n"
        f"flow:\n  - {ECHO}\n"
    )
    with pytest.raises(ConfigError, match="it is not one of those in 'enum'") as error:
        load_flow(path)
    assert "h1dden" not in str(error.value)  # language 15.4

"""Mistakes that newcomers make: the message has the place, the reason and what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowtoy_dagster.errors import ConfigError
from flowtoy_dagster.flow.places import place_of, unset_variables
from flowtoy_dagster.loader import load_flow

MISTAKES = {
    'jmespath that ends too early': (
        """\
flow:
  - name: a
    source: process
    input: {command: [echo, "[]"]}
    output: [{name: x, value: "[?a == "}, {name: y, value: "a | "}, {name: z, value: "a[?b"}]
""",
        [
            "5:31: malformed jmespath expression '[?a == ': after '==' at its end a value is"
            " missing, such as 'open' in single quotes",
            "'a | ': after '|' at its end an expression is missing",
            "'a[?b': '[' is not closed by ']'",
        ],
    ),
    'data as a body': (
        """\
flow:
  - {name: a, source: rest, input: {url: "http://x/y", method: POST, body: {a: 1}}}
""",
        [
            "2:76: 'body' takes a file, and nothing else\n    write 'json' for data",
        ],
    ),
    'another name for flow': (
        """\
steps:
  - {name: a, source: process, input: {command: [echo, hi]}}
""",
        [
            "1:1: unknown key 'steps'\n    did you mean 'flow'?",
        ],
    ),
    'run on a step': (
        """\
flow:
  - name: a
    run: echo hi
""",
        [
            "unknown key 'run'\n    write 'source: process' and 'input: {command: ...}'",
            "write what the step calls, such as 'source: process'",
        ],
    ),
    'output in an input': (
        """\
flow:
  - name: a
    source: process
    input:
      command: [echo, hi]
      output: [{name: x, value: stdout}]
""",
        [
            "6:7: 'output' is a key of the step, not of its input",
            "move it one level to the left",
        ],
    ),
    'command on a step': (
        """\
flow:
  - name: a
    source: process
    command: [echo, hi]
""",
        [
            "4:5: unknown key 'command'\n    'command' belongs under 'input', or in the source",
        ],
    ),
    'no colon': (
        """\
flow:
  - name hello
    source: process
""",
        [
            "2:5: a ':' is missing after 'name'",
        ],
    ),
    'no space after a colon': (
        """\
flow:
  - name:hello
    source: process
""",
        [
            "2:5: a space is missing after the ':' of 'name:'",
        ],
    ),
    'indentation': (
        """\
flow:
  - name: a
    source: process
   input: {command: [echo, hi]}
""",
        [
            '4:4: this key is indented by 3 spaces, the one above it by 4',
        ],
    ),
    'a value with @': (
        """\
schedule: {cron: @daily}
flow:
  - {name: a, source: process, input: {command: [echo, hi]}}
""",
        [
            '1:18: ',
            "a value that begins with '@' must be quoted",
        ],
    ),
    'an open quote': (
        """\
flow:
  - name: a
    source: process
    input: {command: [echo, "hi]}
""",
        [
            '4:29: the quote that opens here is not closed',
        ],
    ),
    'typographic quotes': (
        """\
flow:
  - name: a
    source: process
    input: {command: “echo hi”}
""",
        [
            'warning: “ is a typographic quote',
        ],
    ),
    'a list of sources': (
        """\
sources:
  - {name: api, type: rest}
flow:
  - {name: a, source: process, input: {command: [echo, hi]}}
""",
        [
            "expected a mapping, got a list",
            "write a name for each: sources: {api: {type: rest}}",
        ],
    ),
    'a mapping of outputs': (
        """\
flow:
  - name: a
    source: process
    input: {command: [echo, hi]}
    output: {x: stdout}
""",
        [
            'write output: [{name: result, value: stdout}]',
        ],
    ),
    'names of outputs': (
        """\
flow:
  - name: a
    source: process
    input: {command: [echo, hi]}
    output: [stdout]
""",
        [
            'write output: [{name: result, value: stdout}]',
        ],
    ),
    'no source': (
        """\
flow:
  - name: a
    input: {command: [echo, hi]}
""",
        [
            "write what the step calls, such as 'source: process'",
        ],
    ),
    'non-breaking spaces': (
        """\
flow:
  - name: a
    source: process
\u00a0\u00a0\u00a0\u00a0input: {command: [echo, hi]}
""",
        [
            '4:1: the line begins with spaces of another kind (U+00A0)',
        ],
    ),
    'type text': (
        """\
flow:
  - name: a
    source: process
    input: {command: [echo, hi]}
    output: [{name: x, type: text}]
""",
        [
            "leave out 'type' and write 'value: stdout'",
        ],
    ),
    'double quotes in jmespath': (
        """\
flow:
  - name: a
    source: process
    input: {command: [echo, hi]}
    output: [{name: x, value: '[?s == "open"].id'}]
""",
        [
            'warning: "open" in double quotes is the name of a key in JMESPath',
            "a text is written in single quotes: 'open'",
        ],
    ),
    'json with a value': (
        """\
flow:
  - name: a
    source: process
    input: {command: [echo, hi]}
    output: [{name: x, type: json, value: x}]
""",
        [
            "leave out 'type'",
        ],
    ),
    'names in one text': (
        """\
flow:
  - {name: a, source: process, input: {command: [echo, hi]}}
  - {name: c, source: process, input: {command: [echo, hi]}}
  - {name: b, source: process, input: {command: [echo, hi]}, depends_on: "a, c"}
""",
        [
            'several names are a list: [a, c]',
        ],
    ),
    'no root': (
        """\
flow:
  - {name: a, source: process, input: {command: [echo, 1]}, output: [{name: x, value: stdout}]}
  - {name: b, source: process, input: {command: [echo, "{{ a.x }}"]}}
""",
        [
            "a step's outputs are under 'flows': write flows.a.x",
        ],
    ),
    'outputs of a step': (
        """\
flow:
  - {name: a, source: process, input: {command: [echo, 1]}, output: [{name: x, value: stdout}]}
  - {name: b, source: process, input: {command: [echo, "{{ flows.a.outputs.x }}"]}}
""",
        [
            "leave out '.outputs': flows.a.x",
        ],
    ),
    'a hyphen': (
        """\
flow:
  - name: fetch-users
    source: process
    input: {command: [echo, 1]}
    output: [{name: x, value: stdout}]
  - {name: b, source: process, input: {command: [echo, "{{ flows.fetch-users.x }}"]}}
""",
        [
            "'-' is minus in a template: write flows['fetch-users']",
        ],
    ),
    'a variable of a shell': (
        """\
flow:
  - {name: a, source: rest, input: {url: "${SHOP}/users"}}
""",
        [
            "'${SHOP}' is not replaced in a URL\n    write {{ env.SHOP }}",
        ],
    ),
    'an open template': (
        """\
flow:
  - {name: a, source: process, input: {command: [echo, 1]}, output: [{name: x, value: stdout}]}
  - {name: b, source: process, input: {command: [echo, "{{ flows.a.x }"]}}
""",
        [
            "'{{' is closed by '}}'",
        ],
    ),
    'no type': (
        """\
sources:
  api: {base_url: "http://x.example"}
flow:
  - {name: a, source: api, input: {url: /x}}
""",
        [
            "write which provider is called, such as 'type: rest'",
        ],
    ),
    'no scheme': (
        """\
flow:
  - {name: a, source: rest, input: {url: api.example.com/users}}
""",
        [
            "the URL has no scheme, such as 'https://'\n    did you mean 'https://api.example.com/users'?",
        ],
    ),
    'a list of headers': (
        """\
flow:
  - {name: a, source: rest, input: {url: "http://x.example/", headers: [{A: b}]}}
""",
        [
            'write headers: {Accept: text/csv}',
        ],
    ),
    'query for params': (
        """\
flow:
  - {name: a, source: rest, input: {url: "http://x.example/", query: {a: 1}}}
""",
        [
            "did you mean 'params'?",
        ],
    ),
    'cd': (
        """\
flow:
  - {name: a, source: process, input: {command: cd /tmp}}
""",
        [
            "warning: 'cd' is a word of the shell, not a program\n    set the folder with 'cwd'",
        ],
    ),
    'days': (
        """\
flow:
  - {name: a, source: process, input: {command: [echo, hi]}, timeout: 1d}
""",
        [
            'there are no days: write 24h',
        ],
    ),
    'ignore': (
        """\
flow:
  - {name: a, source: process, input: {command: [echo, hi]}, on_error: ignore}
""",
        [
            "did you mean 'continue'?",
        ],
    ),
    'a schedule in words': (
        """\
schedule: every day
flow:
  - {name: a, source: process, input: {command: [echo, hi]}}
""",
        [
            "each day at midnight is '@daily'",
        ],
    ),
    'a zone in letters': (
        """\
schedule: {cron: "0 3 * * *", timezone: CEST}
flow:
  - {name: a, source: process, input: {command: [echo, hi]}}
""",
        [
            "time zones are named for places, such as 'Europe/Zurich'",
        ],
    ),
    'truth of YAML 1.1': (
        """\
flow:
  - {name: a, source: process, input: {command: [echo, NO, on, yes]}}
""",
        [
            '2:56: warning: NO is false in YAML 1.1',
            'on is true',
            'yes is true',
        ],
    ),
    'octal numbers': (
        """\
flow:
  - {name: a, source: process, input: {command: [echo, 0755, 01234]}}
""",
        [
            '0755 is the number 493 in YAML 1.1 (octal)',
        ],
    ),
    'a version': (
        """\
flow:
  - {name: a, source: process, input: {command: [echo, 1.10, 1e3]}}
""",
        [
            '1.10 is the number 1.1',
        ],
    ),
    'a time of day': (
        """\
flow:
  - {name: a, source: process, input: {command: [echo, 12:30:00]}}
""",
        [
            '12:30:00 is the number 45000',
        ],
    ),
    'a number of workers': (
        """\
runner: 4
flow:
  - {name: a, source: process, input: {command: [echo, hi]}}
""",
        [
            'write runner: {max_workers: 4}',
        ],
    ),
    'retry in an input': (
        """\
flow:
  - {name: a, source: rest, input: {url: "http://x.example/", retry: {attempts: 3}}}
""",
        [
            "'retry' is a key of the step, not of its input",
        ],
    ),
    'headers on a step': (
        """\
flow:
  - {name: a, source: rest, input: {url: "http://x.example/"}, headers: {A: b}}
""",
        [
            "'headers' belongs under 'input', or in the source",
        ],
    ),
    'url on a step': (
        """\
flow:
  - {name: a, source: rest, url: "http://x.example/"}
""",
        [
            "'url' belongs under 'input', or in the source",
        ],
    ),
}
ABSENT = {
    "another name for flow": "at least one step",
    "command on a step": "needs a 'command'",
    "url on a step": "needs a 'url'",
    "output in an input": "mixes",
}
"""What would be a second message for the same mistake."""


def report(text: str, folder: Path) -> str:
    """Every error and warning of a flow, as they are printed."""
    (folder / "f.yaml").write_text(text, encoding="utf-8")
    try:
        flow = load_flow(folder / "f.yaml")
    except ConfigError as error:
        return str(error)
    return "\n".join(line for warning in flow.warnings for line in warning.warning_lines())


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_reported_with_what_to_write(name: str, tmp_path: Path) -> None:
    text, expected = MISTAKES[name]
    found = report(text, tmp_path)
    for part in expected:
        assert part in found
    assert "f.yaml:" in found
    assert ABSENT.get(name, "never") not in found


WORDS_ELSEWHERE = """\
tags: {version: 1.10, stage: prod}
params:
  country: NO
  ids: {default: [0755, 1]}
  typed: {type: boolean, default: no}
  number: {type: integer, default: 0x1F}
  pin: {default: 0123, secret: true}
  api_key: 0755
  plain: 1.5
schedule:
  - {cron: "@daily", params: {ids: [12:30]}}
flow:
  - {name: a, source: process, input: {command: [ls]}, for_each: [NO, SE, 010], tags: {t: yes}}
  - {name: b, source: process, input: {command: [ls]}, for_each: {in: [on, 1.10]}}
"""


def test_words_of_yaml_are_warned_of_in_all_data(tmp_path: Path) -> None:
    # language 1.5
    found = report(WORDS_ELSEWHERE, tmp_path)
    told = [line.partition("f.yaml:")[2] for line in found.splitlines() if "f.yaml:" in line]
    assert told == [
        "1:17: warning: 1.10 is the number 1.1",
        "3:12: warning: NO is false in YAML 1.1",
        "4:19: warning: 0755 is the number 493 in YAML 1.1 (octal)",
        "7:18: warning: this value is not text in YAML 1.1",
        "8:12: warning: this value is not text in YAML 1.1",
        "11:37: warning: 12:30 is the number 750 in YAML 1.1",
        "13:67: warning: NO is false in YAML 1.1",
        "13:75: warning: 010 is the number 8 in YAML 1.1 (octal)",
        "13:91: warning: yes is true in YAML 1.1",
        "14:72: warning: on is true in YAML 1.1",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("params: {c: {type: string, default: NO}}", "1:37: expected text, got false"),
        ("params: {c: {enum: [NO, SE]}}", "1:14: a parameter of type 'boolean' takes no enum"),
        ("params: {c: {type: string, enum: [SE, 010]}}", "1:39: expected text, got the number 8"),
        ("params: {c: SE}\nschedule: {cron: '@daily', params: {c: NO}}",
         "2:40: the parameter 'c': expected text, got false"),
    ],
)
def test_what_is_no_text_says_how_it_becomes_one(text: str, told: str, tmp_path: Path) -> None:
    flow = "\nflow: [{name: a, source: process, input: {command: [ls]}}]\n"
    assert f"{told}\n    put it in quotes" in report(text + flow, tmp_path)


RIGHT = """\
sources:
  api: {type: rest, base_url: https://api.example.com, verify: yes}
flow:
  - name: a
    source: api
    input: {url: /x, params: {page: 1, q: "NO"}, json: {price: 1.10, on: true}, method: POST}
    output: [{name: open, value: "rows[?state == 'open'].id"}]
  - {name: b, source: process, input: {command: [echo, 1.5, 10, "0755", true], timeout: 1.50}}
  - {name: c, source: process, input: {command: "cd /tmp && ls"}}
  - {name: d, source: process, input: {command: cd /tmp, shell: true}}
  - {name: e, source: rest, input: {url: "{{ env.SHOP }}/x"}}
  - {name: f, source: {base: api, override: {base_url: "{{ env.SHOP }}"}}, input: {url: y}}
"""


def test_a_step_of_a_second_file_does_not_change_that_of_the_first(tmp_path: Path) -> None:
    first, second = tmp_path / "f.yaml", tmp_path / "g.yaml"
    first.write_text("flow:\n  - {name: a, source: process, input: {command: ls}}\n")
    second.write_text("flow:\n  - {name: aa, on_error: continue}\n")
    with pytest.raises(ConfigError) as error:
        load_flow([first, second])
    assert f"{second}:1:1: the steps of {second} take the place of all steps of {first}" in str(
        error.value
    )
    second.write_text("runner: 4\n")
    with pytest.raises(ConfigError) as error:
        load_flow([first, second])
    assert "take the place" not in str(error.value)


RUN = """\
sources:
  api: {type: rest, base_url: "{{ env.SHOPAPI }}", headers: {X: "{{ env.B }}"}}
  other: {type: rest, base_url: "{{ env.UNUSED }}"}
flow:
  - name: a
    source: {base: api, override: {url: /x}}
    output: [{name: x, value: "length(x)"}]
  - {name: b, source: process, input: {command: [ls, "{{ env.C | default('') }} {{ env.D }}"]}}
  - {name: c, source: process, when: "{{ params.p | default(0) }}", input: {command: "{{ env.E }}"}}
"""
MORE = """\
sources:
  api:
    type: rest
    configuration: {url: "http://y", verify: true}
flow:
  - {name: a, source: api, input: {headers: {B: "{{ [1] }}"}}}
  - {name: b, source: {type: rest,
      configuration: {url: "http://x", headers: {X: y}}}}
  - {name: c, source: {base: api, override: {
      configuration: {
        url: "http://z", expect: "{{ [200] }}"}}}}
"""


def test_what_a_step_failed_by_is_found_in_the_files(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text(RUN.replace("params.p | default(0)", "1 == 1"))
    flow = load_flow(tmp_path / "f.yaml")
    places = {
        ("a", "output 'x': jmespath 'length(x)': a number has no length"): "7:31",
        ("a", "source.headers.X: the environment variable 'B' is not set"): "2:65",
        ("a", "source.url: no"): "6:41",
        ("b", "input.command[1]: a number has no '3'"): "8:54",
    }
    for (step, reason), place in places.items():
        assert str(place_of(flow, step, reason)).removeprefix(f"{tmp_path}/f.yaml:") == place
    assert place_of(load_flow(dict(flow.config)), "a", "x") is None
    for reason in ("ls exited with code 2", "nothing.known: no", "output 'n': no"):
        assert place_of(flow, "b", reason) is None
    assert place_of(flow, "nobody", "x") is None


def test_the_nearest_place_is_told_of_what_a_template_gives_and_of_configurations(
    tmp_path: Path
) -> None:
    (tmp_path / "f.yaml").write_text(MORE)
    flow = load_flow(tmp_path / "f.yaml")
    places = {
        ("a", "input.headers.B[0]: no"): "6:49",
        ("a", "source.verify: no"): "4:46",
        ("b", "source.headers.X: no"): "8:53",
        ("b", "source.verify: no"): "7:23",
        ("c", "source.expect[1]: no"): "11:34",
        ("c", "source.verify: no"): "4:46",
    }
    found = {key: place_of(flow, *key) for key in places}
    assert {k: str(v).removeprefix(f"{tmp_path}/f.yaml:") for k, v in found.items()} == places


def test_variables_that_are_not_set_are_told_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text(RUN.replace("params.p | default(0)", "1 == 1"))
    flow = load_flow(tmp_path / "f.yaml")
    told = [
        (problem.message, problem.location.line if problem.location else None, problem.hint)
        for problem in unset_variables(flow, {"SHOP_API": "x", "B": ""})
    ]
    hint = "set it, or read it with --env-file"
    assert told == [
        ("the environment variable 'SHOPAPI' is not set", 2, f"did you mean 'SHOP_API'? {hint}"),
        ("the environment variable 'D' is not set", 8, hint),
    ]


def test_what_is_right_is_not_warned_of(tmp_path: Path) -> None:
    assert report(RIGHT, tmp_path) == ""


def test_no_message_of_a_mistake_shows_a_secret(tmp_path: Path) -> None:
    text = "sources:\n  api:\n    type: rest\n    password hunter2hunter2\n    url: http://x\n"
    found = report(text, tmp_path)
    assert "a ':' is missing after 'password'" in found
    assert "hunter2" not in found
    text = "flow:\n  - {name: a, source: process, input: {token: 0123456701234567}}\n"
    assert "0123456701234567" not in report(text, tmp_path)

"""Tests of flows: what they replace, what they compare, and what they say where they fail."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.errors import ConfigError
from flowtoy_dagster.testing.cases import Verdict, run_case
from flowtoy_dagster.testing.files import CaseReader
from flowtoy_dagster.testing.report import junit, lines_of
from flowtoy_dagster.testing.update import updated

SHOP = """\
    params:
      day: {type: string, default: "2026-11-01"}
    sources:
      crm:
        type: rest
        base_url: https://api.example.com
        headers: {Authorization: "Bearer {{ env.SHOP_TOKEN }}"}
    flow:
      - name: orders
        source: crm
        input: {url: /orders, params: {day: "{{ params.day }}"}}
        output: [{name: paid, type: jmespath, value: "[?status=='paid'].id"}]
      - name: rates
        source: crm
        retry: {max: 3, delay: 1h}
        input: {url: /rates}
        output: [{name: eur, type: jmespath, value: eur}]
      - name: details
        source: crm
        for_each: {in: "{{ [1, 2, 3] }}", key: "{{ item }}", max_failures: 3}
        input: {url: "/customers/{{ item }}"}
        output: [{name: email, type: jmespath, value: email}]
      - name: job
        source: crm
        input: {url: /job}
        until: result.status == 'done'
        every: 10m
        for: 2h
        output: [{name: result, type: jmespath, value: result}]
      - name: load
        source: process
        input: {command: [load-orders, "{{ flows.orders.paid | join('+') }}"]}
        output:
          - {name: text, value: stdout}
          - {name: report, type: file, value: report.csv}
      - name: merge
        source: process
        input: {command: [echo, "rate {{ flows.rates.eur }}"]}
        output: [{name: text, value: stdout}]
      - name: all
        source:
          type: rest
          url: https://api.example.com/all
          paginator: {type: page_number, base_page: 1, stop_after_empty_page: true}
        output: [{name: rows, type: file, format: jsonl, path: /var/lib/all.jsonl}]
"""
TEST = """\
  - name: a whole day
    params: {day: "2026-11-02"}
    env: {SHOP_TOKEN: t0ken-of-the-shop}
    mock:
      orders: {json: [{id: 1, status: paid}, {id: 2, status: open}]}
      rates:
        - {status: 503, headers: {Retry-After: "5"}}
        - {failure: connection, message: "the server closed the connection"}
        - {json: {eur: 1.1}}
      details:
        items: {"1": {json: {email: a@example.org}}, "*": {status: 404}}
      job:
        - {json: {status: running}}
        - {json: {status: running}}
        - {json: {status: done, result: 7}}
      load: {stdout: "t0ken-of-the-shop loaded", files: {report.csv: "a,b"}}
      all:
        - {json: [{n: 1}, {n: 2}]}
        - {json: [{n: 3}]}
        - {json: []}
    real: [merge]
    expect:
      state: succeeded
      steps:
        rates: {state: succeeded, attempts: 3, calls: 3}
        details: {counts: {failed: 2}}
        job: {attempts: 1, calls: 3}
        orders: {called: {url: /orders, params: {day: "2026-11-02"}}}
        load: {called: {command: [load-orders, "1"]}}
        all: {called: [{url: "https://api.example.com/all"}, {page: 2}, {page: 3}]}
      outputs:
        orders: {paid: [1]}
        job: {result: 7}
        merge: {text: "rate 1.1\\n"}
        details: {email: [a@example.org]}
      outputs_match:
        load: {text: "@ == 't0ken-of-the-shop loaded'", report: bytes == `3`}
        all: {rows: "records == `3` && path == '/var/lib/all.jsonl'"}
"""


def words(verdict: Verdict) -> str:
    return "\n".join(lines_of(verdict))


@pytest.fixture
def whole_day(check: Callable[..., list[Verdict]]) -> Verdict:
    os.environ["SHOP_TOKEN"] = "the real one"
    try:
        return check(SHOP, TEST)[0]
    finally:
        assert os.environ.pop("SHOP_TOKEN") == "the real one"


def test_only_calls_are_replaced_and_waits_take_no_time(whole_day: Verdict) -> None:
    assert words(whole_day) == ""
    assert whole_day.run.seconds == 2 * 3600  # two retries, each after an hour
    assert not os.path.exists("/var/lib/all.jsonl")
    found = {path.name for path in Path().iterdir()}
    assert found == {"flow.yaml", "flow.test.yaml"}


def test_a_step_without_an_answer_that_would_call_something_fails_the_test(
    check: Callable[..., list[Verdict]],
) -> None:
    flow = """\
    flow:
      - {name: a, source: {type: rest, url: "http://127.0.0.1:9/x"}, on_error: continue, retry: 2}
      - {name: b, source: process, on_error: continue, input: {command: [touch, made]}}
      - {name: c, source: {type: env, vars: [SOME]}, output: [{name: some, value: SOME}]}
    """
    found, passed = check(flow, """\
  - {name: open, expect: {steps: {a: {state: failed}}, outputs: {c: {some: null}}}}
  - {name: real, mock: {a: {}}, real: [b], env: {SOME: x}, expect: {outputs: {c: {some: x}}}}
""")
    assert [mismatch.path for mismatch in found.mismatches] == [("mock", "a"), ("mock", "b")]
    assert "it would call GET http://127.0.0.1:9/x, and has no mock" in words(found)
    assert "it would call touch (1 argument)" in words(found)
    assert found.run.steps["a"].attempts == 1
    assert words(passed) == ""
    assert Path("made").exists()


def test_a_list_of_answers_that_is_too_short_fails_the_test(
    check: Callable[..., list[Verdict]],
) -> None:
    flow = "flow: [{name: a, source: {type: rest, url: 'http://x/'}, retry: 2, on_error: continue}]"
    found, = check(flow, "  - {name: short, mock: {a: [{status: 500}, {status: 500}]}}\n")
    assert "its mock has 2 answers, and call 3 was made: GET http://x" in words(found)


def test_what_differs_is_shown_with_its_place_and_without_secrets(
    check: Callable[..., list[Verdict]],
) -> None:
    flow = """\
    flow:
      - name: login
        source: {type: rest, url: "https://api.example.com/login"}
        output: [{name: token, value: json, type: json}]
      - name: rows
        source: {type: rest, url: "https://x/", headers: {X: "{{ flows.login.token.id }}"}}
        output: [{name: rows, type: json}, {name: first, type: jmespath, value: "[0].name"}]
    """.replace("value: json, type: json", "type: json, secret: true")
    found, = check(flow, """\
  - name: differs
    mock:
      login: {json: {id: s3cret-value}}
      rows: {json: [{name: s3cret-value, n: 1}, {name: b, n: 2}]}
    expect:
      steps:
        rows: {state: failed, attempts: 2, called: {headers: {X: other}}, error: nothing}
      outputs:
        login: {token: {id: "***"}}
        rows: {first: ada, rows: [{name: "***", n: 1}, {name: c, n: 2}]}
""")
    text = words(found)
    assert "s3cret" not in text
    assert "flow.test.yaml:9:23: state of step 'rows'" in text
    assert "flow.test.yaml:12:23: outputs of step 'rows'\n    - \"ada\"\n    + \"***\"" in text
    assert "flow.test.yaml:12:63: outputs of step 'rows'\n    - \"c\"\n    + \"b\"" in text
    assert "-     \"X\": \"other\"\n    +     \"X\": \"***\"" in text
    assert "s3cret" not in junit([found]).decode()


def test_a_failure_that_nobody_expects_fails_the_test(
    check: Callable[..., list[Verdict]],
) -> None:
    flow = "flow: [{name: a, source: process, input: {command: [x]}}]"
    found, expected = check(flow, """\
  - {name: fails, mock: {a: {exit: 3, stderr: "no such table"}}}
  - name: expected
    mock: {a: {exit: 3, stderr: "no such table"}}
    expect: {state: failed, steps: {a: {error: no such table}}}
""")
    assert "step 'a' failed: x exited with code 3: no such table" in words(found)
    assert expected.passed


def test_the_runs_time_passes_on_the_virtual_clock(
    check: Callable[..., list[Verdict]],
) -> None:
    flow = """\
    runner: {timeout: 1h}
    flow:
      - name: slow
        source: {type: rest, url: "https://x/"}
        until: result.done
        every: 25m
      - name: quick
        source: {type: rest, url: "https://x/"}
        until: result.done
        every: 25m
      - {name: after, source: {type: env, vars: []}, depends_on: quick}
    """
    found, = check(flow, """\
  - name: two waits at the same time
    mock:
      slow: {json: {done: false}}
      quick: [{json: {done: false}}, {json: {done: true}}]
    expect:
      state: failed
      steps: {slow: {error: timeout has passed, calls: 3}, after: {state: succeeded}}
""")
    assert words(found) == ""


def test_one_answer_does_not_hold_a_test_up_for_ever(check: Callable[..., Any]) -> None:
    # language 19.4: without 'for', only the end of the run ends it
    flow = """\
    flow:
      - {name: a, source: process, input: {command: x}, until: "result.stdout == 'y'", every: 1h}
      - {name: each, source: process, depends_on: a, for_each: [1], input: {command: x}}
    """
    (found,) = check(flow, """\
  - name: x
    mock: {a: {stdout: x}, each: {}}
    expect: {state: failed, steps: {each: {counts: {total: 1}}}}
""")
    assert "step 'a'\n    10,000 calls have had the one answer of its mock" in words(found)
    assert "items of step 'each' (total)\n    the step was skipped: a step that" in words(found)


def test_what_a_step_has_that_did_not_run(check: Callable[..., Any]) -> None:
    flow = """\
    flow:
      - {name: a, source: process, on_error: continue, input: {command: x}}
      - {name: b, source: process, when: "false", input: {command: x}}
      - {name: c, source: process, input: {command: x}}
    """
    (right, wrong) = check(flow, """\
  - name: right
    mock: {a: {exit: 1}, c: {}}
    expect: {steps: {b: {attempts: 0}}, outputs: {a: null, b: null, c: {}}}
  - name: wrong
    mock: {a: {exit: 1}, c: {}}
    expect: {outputs: {a: {}, c: null}}
""")
    assert words(right) == ""
    assert "outputs of step 'a'\n    the step has failed: x exited with code 1" in words(wrong)
    assert "outputs of step 'c'\n    - null\n    + {}" in words(wrong)


def test_secrets_in_expectations_are_not_shown(check: Callable[..., Any]) -> None:
    flow = """\
    flow:
      - name: a
        source: process
        input: {command: [x, "{{ env.MY_TOKEN }}"]}
        output: [{name: text, value: stdout}]
    """
    (found,) = check(flow, """\
  - name: x
    env: {MY_TOKEN: s3cret-in-clear}
    mock: {a: {stdout: s3cret-in-clear}}
    expect:
      steps: {a: {called: {command: [s3cret-in-clear]}}}
      outputs: {a: {text: s3cret-in-clear}}
      outputs_match: {a: {text: "@ == 's3cret-in-clear' && `1`"}}
""")
    assert "what is secret is compared as '***': write that" in words(found)
    assert len(found.mismatches) == 3
    assert "s3cret" not in words(found) + junit([found]).decode()


WRONG = [
    ("  - {name: x, mocks: {}}", "mocks", "unknown key 'mocks'"),
    ("  - {name: x, mock: {b: {}}}", "b:", "there is no step 'b'"),
    ("  - {name: x, mock: {a: {jsn: 1}}}", "jsn", "unknown key 'jsn'"),
    ("  - {name: x, mock: {a: {status: ok}}}", "ok", "whole number"),
    ("  - {name: x, mock: {a: {json: 1, text: b}}}", "{json", "an answer has one body"),
    ("  - {name: x, mock: {a: [{}, 5]}}", "5", "expected what 'rest' gives"),
    ("  - {name: x, mock: {a: {items: {}}}}", "items", "unknown key 'items'"),
    ("  - {name: x, mock: {p: {stdot: b}}}", "stdot", "unknown key 'stdot'"),
    ("  - {name: x, mock: {p: {}}, real: [p]}", "p]", "has a mock, and is real"),
    ("  - {name: x, expect: {outputs: {a: {rows: 1}}}}", "rows", "has no output 'rows'"),
    ("  - {name: x, expect: {steps: {a: {stat: failed}}}}", "stat:", "unknown key 'stat'"),
    ("  - {name: x, expect: {steps: {a: {called: 5}}}}", "5", "expected a part of the call"),
    ("  - {name: x, expect: {steps: {a: {counts: {failed: 1}}}}}", "counts", "has no items"),
    ("  - {name: x, expect: {outputs_match: {a: {row: '['}}}}", "'['", "jmespath"),
    ("  - {name: x, params: {dy: 1}}", "1", "there is no parameter 'dy'"),
    ("  - {name: x}\n  - {name: x}", "x}", "two tests have the name 'x'"),
    ("  - {name: x, env: {A=B: x}}", "A=B", "'A=B' is not the name of a variable"),
    ('  - {name: x, env: {A: "\\0"}}', '"', "can't hold a null character"),
    ("  - {mock: {}}", "{mock", "the key 'name' is required"),
]


@pytest.mark.parametrize(("test", "place", "message"), WRONG, ids=[w[2] for w in WRONG])
def test_a_wrong_test_file_is_an_error_at_its_place(
    test: str, place: str, message: str, check: Callable[..., Any]
) -> None:
    flow = """\
    params: {day: {type: string, default: x}}
    flow:
      - {name: a, source: {type: rest, url: "https://x/"}, output: [{name: row, type: json}]}
      - {name: p, source: process, input: {command: [x]}}
    """
    with pytest.raises(ConfigError) as error:
        check(flow, test + "\n")
    found = {str(problem.location): problem.message for problem in error.value.problems}
    lines = test.splitlines()
    at = f"flow.test.yaml:{2 + len(lines)}:{lines[-1].index(place) + 1}"
    assert message in found.get(at, ""), found
    assert len(found) == 1


def test_update_writes_what_was_found_and_keeps_comments(
    check: Callable[..., list[Verdict]],
) -> None:
    flow = """\
    flow:
      - name: a
        source: {type: rest, url: "https://x/"}
        output: [{name: rows, type: json}, {name: n, type: jmespath, value: "length(@)"}]
    """
    verdicts = check(flow, """\
  # what it is about
  - name: old
    mock: {a: {json: [{id: 1}, {id: 2}]}}
    expect:
      steps:
        a: {attempts: 4}  # an attempt
      outputs:
        a:
          n: 3  # the number
          rows:  # the rows
            - id: 1
            - id: 7
  - name: new
    mock: {a: {json: []}}
  # the end
""")
    text = Path("flow.test.yaml").read_text(encoding="utf-8")
    new, count = updated(text, verdicts)
    assert count == 4
    assert new == text.replace("attempts: 4", "attempts: 1").replace("n: 3", "n: 2").replace(
        "id: 7", "id: 2"
    ).replace("  # the end", """\
    expect:
      state: succeeded
      outputs:
        a:
          rows: []
          n: 0
  # the end""")
    Path("flow.test.yaml").write_text(new, encoding="utf-8")
    assert all(run_case(case).passed for case in CaseReader().read("flow.test.yaml"))


def test_the_command_tells_by_its_exit_code_what_came_of_the_tests(
    check: Callable[..., list[Verdict]], flowtoy: Callable[..., Any], tmp_path: Path
) -> None:
    check("flow: [{name: a, source: {type: env, vars: []}, output: [{name: v, type: json}]}]", """\
  - {name: good, expect: {outputs: {a: {v: {}}}}}
  - {name: "bad \\u0001 & <x>", expect: {outputs: {a: {v: 1}}}}
""")
    home = {"FLOWTOY_HOME": str(tmp_path / "home"), "DAGSTER_HOME": ""}
    done = flowtoy("test", "--junit", "out.xml", env=home)
    assert done.code == 1, done.stderr
    assert "  ok      good\n  FAILED  bad  & <x>\n" in done.stdout
    assert "1 of 2 tests failed" in done.stdout
    suite = ET.fromstring(Path("out.xml").read_bytes())[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert "outputs of step 'a'" in (suite[1][0].text or "")
    assert flowtoy("test", ".", "-k", "GOOD", env=home).code == 0
    assert not (tmp_path / "home").exists()
    Path("wrong.test.yaml").write_text("flow: flow.yml\ntests: [{name: x}]\n", encoding="utf-8")
    done = flowtoy("test", env=home)
    assert done.code == 2
    assert "wrong.test.yaml:1:7: there is no flow 'flow.yml'" in done.stderr
    assert "1 of 2 tests failed" in done.stdout

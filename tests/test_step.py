"""One step from its source to its outputs, without Dagster."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.steps.attempts import StepOutcome, run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo


@dataclass
class Upstream:
    """A step that ran before."""

    state: str = "succeeded"
    error: str | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)


def run(
    step: dict[str, Any], upstream: Mapping[str, Upstream] | None = None, **top: Any
) -> StepOutcome:
    """The outcome of the last step of a flow; `upstream` are steps before it."""
    before = [
        {"name": name, "source": "env", "output": [{"name": "x"}, {"name": "y"}]}
        for name in upstream or {}
    ]
    flow = load_flow({"flow": [*before, {"name": "it", **step}], **top})
    context = StepContext(flow.step("it"), RunInfo("r1", "f", lambda: 0.0))
    return run_step(context, flow.sources, upstream or {})


def echo(*words: Any, **more: Any) -> dict[str, Any]:
    return {
        "source": "process", "input": {"command": ["printf", "%s", *words]},
        "output": [{"name": "out", "value": "stdout"}], **more,
    }  # fmt: skip


def test_a_step_gives_its_outputs_in_the_order_written() -> None:
    output = [{"name": "z", "value": "stdout"}, {"name": "a", "value": "code"}]
    outcome = run(echo("a", output=output))
    assert outcome.succeeded
    assert list(outcome.outputs.items()) == [("z", "a"), ("a", 0)]


def test_a_failed_call_has_a_reason_and_the_last_lines_of_stderr() -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i >&2; done; exit 2"
    outcome = run({"source": "process", "input": {"command": ["sh", "-c", script]}})
    assert outcome.error == "sh exited with code 2: line 12"
    assert outcome.stderr.splitlines() == [f"line {i}" for i in range(3, 13)]
    assert outcome.outputs == {}
    assert outcome.result is not None
    assert outcome.result.code == 2


# language 6.3


def test_the_run_is_known_by_id_name_and_start() -> None:
    assert run(echo("{{ run.id }} {{ run.name }} {{ run.started_at }}")).outputs == {
        "out": "r1 f 1970-01-01T00:00:00.000+00:00"
    }


def test_the_result_of_a_step_before_is_there() -> None:
    result = {"success": True, "code": 3, "notes": [], "data": {"k": [1]}, "meta": {}}
    outcome = run(
        echo("{{ steps.a.result.code }}{{ steps.a.result.data.k[0] }}{{ steps.a.state }}"),
        {"a": Upstream(result=result)},
    )
    assert outcome.outputs == {"out": "31succeeded"}


# language 6.4


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("{{ env.UNSET }}", "input.command[2]: the environment variable 'UNSET' is not set"),
        ("{{ sources.e.UNSET }}", "input.command[2]: the environment variable 'UNSET' is not set"),
        ("{{ sources.e.OTHER }}", "the source 'e' does not list the variable 'OTHER'"),
        ("{{ sources['no' ~ 'pe'].x }}", "there is no source 'nope'"),
        ("{{ sources.p.x }}", "the source 'p' has no 'x'"),
        ("{{ run['x' ~ ''] }}", "'run' has no 'x': it has id, name, started_at, failed and state"),
        (
            "{{ flows.a.x }}",
            "flows.a.x is missing: the step 'a' was not successful: it broke",
        ),
        ("{{ steps.a.outputs.x.deep }}", "flows.a.x is missing"),
        ("{{ flows.c.y }}", "the step 'c' has no output 'y'"),
        ("{{ flows.c.x.k }}", "there is no key 'k'; the keys are none"),
        ("{{ nobody.x if not nobody }}", "'nobody' is not a name"),
    ],
)
def test_an_error_says_which_name_is_missing_and_why(
    word: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNSET", raising=False)
    monkeypatch.setenv("OTHER", "1")
    upstream = {
        "a": Upstream("failed", "it broke"),
        "b": Upstream("skipped"),
        "c": Upstream(outputs={"x": {}}),
    }
    sources = {"e": {"type": "env", "vars": ["UNSET"]}, "p": {"type": "process"}}
    outcome = run(echo(word), upstream, sources=sources)
    assert outcome.error is not None
    assert reason in outcome.error


@pytest.mark.parametrize("word", ["{{ flows.b.x }}", "{{ steps.b.result.code }}"])
def test_what_needs_an_output_of_a_skipped_step_is_skipped_too(word: str) -> None:
    outcome = run(echo(word), {"b": Upstream("skipped")})
    assert outcome.error is None
    assert "'b' was skipped" in (outcome.skipped or "")


def test_sources_that_refer_to_each_other_in_a_circle_are_told() -> None:
    sources = {
        "a": {"type": "process", "command": ["ls"], "cwd": "{{ sources.b.cwd }}"},
        "b": {"type": "process", "cwd": "{{ sources.a.cwd }}"},
    }
    outcome = run({"source": "a"}, sources=sources)
    assert "in a circle: b -> a -> b" in (outcome.error or "")


def test_a_mistake_that_a_template_makes_names_the_field() -> None:
    # language 3.3
    outcome = run(echo("x", input={"command": ["ls"], "timeout": "{{ 'soon' }}"}))
    assert (outcome.error or "").startswith("input.timeout: expected a duration such as")
    source = {"type": "process", "command": ["ls"], "success_codes": "{{ 'x' }}"}
    outcome = run({"source": source})
    assert outcome.error == "source.success_codes: expected a list, got 'x'"
    source = {"type": "process", "command": ["ls", "x"], "cwd": "{{ [1] }}"}
    assert run({"source": source}).error == "source.cwd: expected text, got a list"


def test_variables_of_the_run_are_read_when_the_step_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOW", "1")
    assert run(echo("{{ env.NOW }}")).outputs == {"out": "1"}
    os.environ["NOW"] = "2"
    assert run(echo("{{ env.NOW }}")).outputs == {"out": "2"}


# language 5.2, 5.3


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        (None, "none"), ("text", "payload"), (0, "payload"), (False, "payload"), ([], "payload"),
        ({}, "payload"), ({"a": 1}, "payload"), ({"command": ["ls"]}, "request"),
        ({"command": ["ls"], "x-note": 1}, "request"), ({"x-note": 1}, "payload"),
        ({"type": "value", "value": {"command": 1}}, "payload"),
        ({"type": "body", "template": 1}, "payload"), ({"type": "parameter"}, "payload"),
        ({"type": "value", "value": None}, "payload"), ({"type": ["value"], "value": 1}, "payload"),
    ],
    ids=repr,
)  # fmt: skip
def test_an_input_is_a_payload_or_a_request(written: Any, kind: str) -> None:
    source = {"type": "process", "command": ["true"]}
    flow = load_flow({"flow": [{"name": "a", "source": source, "input": written}]})
    assert flow.step("a").input_kind == kind


def test_a_request_is_merged_over_the_source() -> None:
    source = {"type": "process", "command": ["true"], "env": {"A": "1", "B": "2"}, "args": ["x"]}
    step = {"name": "a", "source": source, "input": {"env": {"B": "3"}, "args": []}}
    found = load_flow({"flow": [step]}).step("a")
    assert found.source.configuration == {
        "command": ["true"], "env": {"A": "1", "B": "3"}, "args": []
    }
    assert found.request_keys == {"env", "args"}


def number_outside_json(**step: Any) -> StepOutcome:
    """A step whose input holds a number that JSON can't hold, made of an upstream's text."""
    return run(step, {"sensor": Upstream(outputs={"x": "NaN", "y": "inf"})})


@pytest.mark.parametrize("number", ["x", "y"])
def test_a_number_that_json_cannot_hold_fails_a_payload_for_stdin(number: str) -> None:
    outcome = number_outside_json(
        source={"type": "process", "command": ["cat"], "pass_to": "stdin"},
        input={"ratio": f"{{{{ flows.sensor.{number} | float }}}}"},
    )
    assert not outcome.succeeded
    assert re.search(r"JSON can't hold the number (nan|inf)", outcome.error or "")


@pytest.mark.parametrize(
    "word",
    ["{{ {'ratio': flows.sensor.x | float} }}", "of {{ [flows.sensor.x | float] }}",
     "{{ flows.sensor.x | float }}"],
    ids=["a mapping", "a list within text", "alone"],
)
def test_a_number_that_json_cannot_hold_fails_a_text(word: str) -> None:
    outcome = number_outside_json(source="process", input={"command": ["echo", word]})
    assert not outcome.succeeded
    assert "JSON can't hold the number nan" in (outcome.error or "")


@pytest.mark.parametrize(
    ("source", "written", "place"),
    [
        ("rest", {"url": "http://h/", "params": {"a": ["{{ 1e308 * 10 }}"]}},
         "input.params.a[0]"),
        ("rest", {"url": "http://h/", "method": "POST", "form": {"a": "{{ 1e308 * 10 }}"}},
         "input.form.a"),
        ("rest", {"url": "http://h/", "headers": {"X": "{{ 1e308 * 10 }}"}},
         "input.headers.X"),
        ("rest", {"url": "http://h/", "method": "POST", "json": {"a": "{{ 1e308 * 10 }}"}},
         "input.json.a"),
        ("process", {"command": ["cat"], "stdin": {"a": ["{{ 1e308 * 10 }}"]}}, "input.stdin.a[0]"),
        ("process", {"command": ["env"], "env": {"A": "{{ 1e308 * 10 }}"}}, "input.env.A"),
    ],
    ids=["params", "form", "headers", "json", "stdin", "env"],
)
def test_a_number_that_json_cannot_hold_is_never_sent(
    source: str, written: dict[str, Any], place: str
) -> None:
    outcome = run({"source": source, "input": written})
    assert outcome.error == f"{place}: JSON can't hold the number inf"


def test_a_variable_that_is_no_text_is_named() -> None:
    written = {"command": ["env"], "env": {"A": "{{ 10 ** 5000 }}"}}
    outcome = run({"source": "process", "input": written})
    assert (outcome.error or "").startswith("input.env.A: ")


def test_a_line_break_at_the_end_of_a_token_of_a_step_is_left_out(
    serve: Callable[..., str],
) -> None:
    """What `echo` prints is a token, and is masked without the line break too."""

    def reply(asked: Any) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, json.dumps({"authorization": asked.headers["Authorization"]}).encode()

    outcome = run(
        {"source": {"type": "rest", "url": f"{serve(reply)}/orders"},
         "input": {"auth": {"bearer": "{{ flows.login.x }}"}},
         "output": [{"name": "seen", "value": "authorization"}]},
        {"login": Upstream(outputs={"x": "abcdef123456\n"})},
    )
    assert outcome.succeeded, outcome.error
    assert outcome.outputs == {"seen": "Bearer abcdef123456"}
    mask = outcome.mask.including(outcome.secrets)
    assert mask.text("sent abcdef123456 to it") == "sent *** to it"


def test_a_line_break_within_a_token_of_a_step_is_named_as_such() -> None:
    outcome = run(
        {"source": {"type": "rest", "url": "http://127.0.0.1:9/orders"},
         "input": {"auth": {"bearer": "{{ flows.login.x }}"}}},
        {"login": Upstream(outputs={"x": "abc\ndef"})},
    )
    assert not outcome.succeeded
    assert "line break" in (outcome.error or "")
    assert "not a URL" not in (outcome.error or "")

"""Settings of a step that its templates give: what is none says so, and no secret is shown."""

from __future__ import annotations

from typing import Any

import pytest

from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.testing.environment import TestEnvironment
from flowtoy_dagster.testing.mocks import Mock, Mocks
from flowtoy_dagster.testing.run import Ended, FlowRun

TOKEN = "Zq" + "".join(f"{letter}{number}" for number in range(3) for letter in "abcdefghijkl")
AFTER_CALL = "HTTP status 500; it is not tried again, because of its settings: "


def ended(given: Any, answer: dict[str, Any] | None = None, **step: Any) -> Ended:
    """How a step ended that may use `flows.given.x` and `env.MY_TOKEN`."""
    rest = {"type": "rest", "base_url": "http://127.0.0.1"}
    flow = load_flow({"flow": [
        {"name": "given", "source": rest, "input": {"url": "/"},
         "output": [{"name": "x", "value": "x"}]},
        {"name": "it", "source": rest, "input": {"url": "/"}, **step},
    ]})
    mocks = {"given": Mock({"json": {"x": given}}), "it": Mock(answer or {"json": {}})}
    environment = TestEnvironment({"MY_TOKEN": TOKEN})
    with environment.set():
        run = FlowRun(flow, Mocks(flow, mocks, frozenset(), environment)).carry_out()
    return run.steps["it"]


X = "{{ flows.given.x }}"


@pytest.mark.parametrize(
    ("given", "step", "reason"),
    [
        (0, {"for_each": {"in": [1], "concurrency": X}},
         "for_each.concurrency: must be at least 1, got the number 0"),
        ("x", {"for_each": {"in": [1], "batch": X}},
         "for_each.batch: expected a whole number, got 'x'"),
        ([], {"for_each": {"in": [1], "stop_after": X}},
         "for_each.stop_after: expected a whole number, got a list"),
        ("x", {"for_each": {"in": [1], "max_failures": X}},
         "for_each.max_failures: expected a number of items, or a share such as '2%', got 'x'"),
        (10**400, {"timeout": X},
         "timeout: expected a duration such as 30, '500ms', '30s', '5m' or '2h', got the number of"
         " 400 digits"),
        ("x", {"retry": {"max": X}, "answer": {"status": 500}},
         AFTER_CALL + "retry.max: expected a whole number, got 'x'"),
        ("z", {"retry": {"max": 2, "backoff": X}, "answer": {"status": 500}},
         AFTER_CALL + "retry.backoff: 'z' is not one of 'constant', 'linear', 'exponential'"),
        ("x", {"when": X, "retry": {"max": X}}, "when: expected true or false, got 'x'"),
        ([200, "x"], {"input": {"url": "/", "expect": X}},
         "input.expect[1]: expected a whole number, got 'x'"),
        ({"beare": "t"}, {"input": {"url": "/", "auth": X}}, "input.auth: unknown key 'beare'"),
        ({"basic": {"username": "t"}}, {"input": {"url": "/", "auth": X}},
         "input.auth.basic: the key 'password' is required"),
        ([1, 2], {"for_each": {"in": X, "stop_after": 1}, "answer": {"status": 404}},
         "stopped after 1 failure in a row: 1 of 2 was not tried; 1 of 2 failed; the first is '0': "
         "HTTP status 404"),
    ],
)  # fmt: skip
def test_what_is_no_setting_says_what_is_expected(
    given: Any, step: dict[str, Any], reason: str
) -> None:
    # language 6.1, 10.1, 18
    done = ended(given, **step)
    assert (done.state, done.error) == ("failed", reason)


@pytest.mark.parametrize(
    "step",
    [
        {"for_each": {"in": [1, 2], "max_failures": X}},
        {"until": "true", "every": X},
        {"timeout": X},
    ],
)
def test_a_number_as_text_and_null_are_settings(step: dict[str, Any]) -> None:
    # Variables of the environment are text; null is as if the key was not there.
    given = "600" if "for_each" in step else None
    assert (ended(given, **step).error, ended("600", **step).error) == (None, None)


@pytest.mark.parametrize(
    "step",
    [
        {"timeout": "{{ env.MY_TOKEN }}"},
        {"until": "false", "every": "{{ env.MY_TOKEN }}"},
        {"for_each": {"in": [1], "max_failures": "{{ env.MY_TOKEN }}"}},
        {"input": {"url": "/", "timeout": "{{ env.MY_TOKEN }}"}},
        {"retry": {"max": 1, "delay": "{{ env.MY_TOKEN }}"}, "answer": {"status": 500}},
    ],
)
def test_a_secret_in_a_setting_is_hidden_before_it_is_cut(step: dict[str, Any]) -> None:
    # language 13.2
    error = ended(None, **step).error
    assert error is not None
    assert error.endswith("got '***'")


def test_a_total_of_any_length_is_answered() -> None:
    # language 21.1
    paged = {"url": "/", "paginator": {"type": "page_number", "total_path": "total"}}
    done = ended(None, {"json": {"items": [1], "total": "9" * 5000}}, input=paged)
    assert done.error == "page 1: 'total_path' (total) found a number of 5,000 digits"

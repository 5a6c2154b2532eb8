"""Calls whose configuration has expressions about the answer: these are text, and nothing more."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.providers.rest.pages.expressions import bound
from flowtoy_dagster.steps.loops.item_call import ItemCalls
from flowtoy_dagster.testing.environment import TestEnvironment
from flowtoy_dagster.testing.mocks import Mock, Mocks
from flowtoy_dagster.testing.run import FlowRun

ACTIONS = [{"when": "status_code == 404", "action": "ignore"}]
PAGES = {"type": "cursor", "cursor": "{{ response.next }}", "cursor_param": "after"}
FLOW = {"flow": [{
    "name": "it",
    "source": {"type": "rest", "base_url": "http://127.0.0.1"},
    "input": {"url": "/", "paginator": PAGES, "response_actions": ACTIONS},
}]}  # fmt: skip


def test_what_a_call_is_has_no_variables_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is recorded, and what `flowtoy step --dry` shows.
    monkeypatch.setenv("SOMETHING_ELSE", "of-this-machine")
    flow = load_flow(FLOW)
    environment = TestEnvironment({})
    answer = Mock({"json": {"rows": [], "next": None}})
    mocks = Mocks(flow, {"it": answer}, frozenset(), environment)
    run = FlowRun(flow, mocks).carry_out()
    assert run.steps["it"].error is None
    (call,) = mocks.calls_of("it")
    assert call["response_actions"] == [{"when": "{{ status_code == 404 }}", "action": "ignore"}]
    assert call["paginator"] == PAGES
    assert "of-this-machine" not in str(call)


def test_an_item_whose_call_has_an_expression_is_known_again() -> None:
    # language 18.9: by the call, whatever the variables are.
    step = load_flow(FLOW).step("it")

    def hash_of(scope: dict[str, Any], actions: Any = ACTIONS) -> str:
        work = SimpleNamespace(configuration=bound({"response_actions": actions}, scope), payload=1)
        context = SimpleNamespace(step=step, work=work, scope=scope)
        return ItemCalls(step, scope).hash_of(cast(Any, context))

    first = hash_of({"env": {"A": "1"}})
    assert first
    assert first == hash_of({"env": {"A": "2"}})
    assert first != hash_of({}, [{"when": "status_code == 500", "action": "ignore"}])

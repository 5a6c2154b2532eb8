"""POST and PATCH that may have been done (language 21.7)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from loopback import Server, answer, drop

from flowtoy_dagster.flow.graph import Source, Step, Until
from flowtoy_dagster.flow.schema.models import OutputConfig, RetryConfig
from flowtoy_dagster.steps.attempts import StepOutcome, run_step
from flowtoy_dagster.steps.context import Host, StepContext
from flowtoy_dagster.steps.scope import RunInfo
from flowtoy_dagster.steps.state.items import Item

# language 21.7
WHY = (
    "POST is not repeated, as it may have been done: 'idempotency_key: true' makes the server know "
    "it again, 'idempotent: true' says that twice does no harm"
)
BUSY = answer('{"error": 1}', 503)
RUN = RunInfo("r", "f", lambda: 0.0)


def context_of(
    url: str, outputs: tuple[dict[str, Any], ...] = (), retry: int = 2, **more: Any
) -> StepContext:
    configuration = {"url": url, "method": "POST", "timeout": 20, **more}
    named = tuple(OutputConfig.model_validate(output) for output in outputs)
    policy = RetryConfig(max=retry, delay=0)
    step = Step(0, "send", Source("rest", configuration), outputs=named, retry=policy)
    return StepContext(step, RUN)


def run(url: str, **more: Any) -> StepOutcome:
    return run_step(context_of(url, **more), {}, {})


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("reply", [answer("{}", 500), BUSY, drop], ids=["500", "503", "dropped"])
def test_what_may_have_been_done_is_not_repeated_and_says_why(
    server: Server, method: str, reply: Any
) -> None:
    server.answers["/"] = reply
    done = run(server.url, method=method)
    assert done.retry_in is None
    assert (done.error or "").endswith(f"; {WHY.replace('POST', method)}")


def test_a_call_that_timed_out_is_not_repeated(server: Server) -> None:
    server.answers["/"] = server.hang
    done = run(server.url, timeout="2s")
    assert (done.error, done.retry_in) == (f"timed out after 2 s; {WHY}", None)


def test_a_step_that_timed_out_in_its_call_is_not_repeated(server: Server) -> None:
    server.answers["/"] = server.hang
    context = context_of(server.url)
    context = replace(context, step=replace(context.step, timeout="2s"))
    done = run_step(context, {}, {})
    assert (done.error, done.retry_in) == (f"timed out after 2 s; {WHY}", None)


def test_a_step_whose_worker_died_is_not_repeated(server: Server) -> None:
    context = replace(context_of(server.url), host=Host(lost="its worker was killed"))
    done = run_step(context, {}, {})
    assert (done.error, done.retry_in) == (f"its worker was killed; {WHY}", None)


def test_a_call_that_succeeded_is_not_repeated_for_its_outputs(server: Server) -> None:
    done = run(server.url, outputs=({"name": "id", "value": "{{ result.id }}"},))
    assert done.retry_in is None
    assert (done.error or "").endswith(f"; {WHY}")


@pytest.mark.parametrize(
    "reply",
    [answer("{}", 429), answer("{}", 503, Retry_After="0"), answer("{}", 408)],
    ids=["429", "503 with Retry-After", "408"],
)
def test_what_was_not_done_is_repeated(server: Server, reply: bytes) -> None:
    server.answers["/"] = reply
    assert run(server.url).retry_in == 0


def test_a_refused_connection_is_repeated(refusing: str) -> None:
    assert run(f"http://{refusing}").retry_in == 0


@pytest.mark.parametrize(
    "more",
    [
        {"idempotent": True}, {"idempotency_key": True}, {"method": "PUT"}, {"method": "DELETE"},
        {"headers": {"idempotency-key": "mine"}},
        {"response_actions": [{"status_code": 500, "action": "retry"}]},
    ],
    ids=str,
)  # fmt: skip
def test_what_does_no_harm_is_repeated(server: Server, more: dict[str, Any]) -> None:
    server.answers["/"] = answer("{}", 500)
    done = run(server.url, **more)
    assert (done.retry_in, WHY in (done.error or "")) == (0, False)


def test_without_retry_nothing_is_said_of_it(server: Server) -> None:
    server.answers["/"] = answer("{}", 500)
    assert run(server.url, retry=0).error == "HTTP status 500: {}"


def test_the_key_is_that_of_the_step_and_item_in_every_run(server: Server) -> None:
    context = context_of(server.url, idempotency_key=True)
    again = replace(context, run=RunInfo("r2", "f", lambda: 0.0, root_id="r"), attempt=2)
    other = replace(context, item=Item(0, "b", {}))
    for each in (context, again, other, replace(other, attempt=2)):
        assert run_step(each, {}, {}).error is None
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert keys[0] == keys[1] != keys[2] == keys[3]


def test_each_page_has_a_key_of_its_own_also_when_it_is_read_again(server: Server) -> None:
    first, last = (answer(json.dumps({"rows": [1], "next": n})) for n in ("b", None))
    server.answers["/"] = [first, answer("{}", 500), last]
    paginator = {"type": "cursor", "cursor_path": "next", "cursor_body_path": "after"}
    assert run(server.url, paginator=paginator, idempotency_key=True).error is None
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert keys[0] != keys[1] == keys[2]


def test_a_page_that_may_have_been_done_is_not_asked_for_again(server: Server) -> None:
    server.answers["/"] = answer("{}", 500)
    paginator = {"type": "cursor", "cursor_path": "next", "cursor_body_path": "after"}
    done = run(server.url, paginator=paginator)
    assert (done.error, done.retry_in) == (f"page 1: HTTP status 500: {{}}; {WHY}", None)
    assert len(server.requests) == 1


def test_the_authors_own_key_is_sent(server: Server) -> None:
    run(server.url, idempotency_key=True, headers={"Idempotency-Key": "mine"})
    assert server.request.headers["idempotency-key"] == "mine"


def test_each_call_of_until_has_a_key_of_its_own(server: Server) -> None:
    """A server that knows a key again gives the same answer again, which was "not done"."""
    replies = [answer('{"done": false}'), answer('{"done": false}'), answer('{"done": true}')]
    keys = []
    for _ in range(2):
        server.answers["/"] = list(replies)
        context = context_of(server.url, idempotency_key=True)
        until = Until("{{ result.done }}", every=0.001, limit=None)
        done = run_step(replace(context, step=replace(context.step, until=until)), {}, {})
        assert done.succeeded, done.error
        keys.append([r.headers["idempotency-key"] for r in server.requests])
        server.requests.clear()
    assert len(set(keys[0])) == 3
    assert keys[0] == keys[1]

"""What `response_actions` make of answers (language 21.6)."""

from __future__ import annotations

from typing import Any

import pytest
from paged import PagedApi, body, status

from flowtoy_dagster.flow.graph import Source, Step
from flowtoy_dagster.flow.schema.models import OutputConfig, RetryConfig
from flowtoy_dagster.providers.kinds import InstalledProviders
from flowtoy_dagster.steps.attempts import StepOutcome, run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo

CURSOR = {"type": "cursor", "cursor_path": "meta.next", "cursor_param": "after"}
BUSY = {"items": [], "error": {"code": "busy"}, "meta": {}}


def run(api: PagedApi, action: dict[str, Any], retry: int = 0, **more: Any) -> StepOutcome:
    """The outcome of a step with one action; `retry.on` names what never happens."""
    configuration = {"url": f"{api.url}/cursor", "timeout": 20, "response_actions": [action]}
    source = Source("rest", {**configuration, **more})
    outputs = (OutputConfig.model_validate({"name": "rows", "type": "raw"}),)
    policy = RetryConfig(max=retry, delay=0, on=("599",))
    step = Step(0, "read", source, outputs=outputs, retry=policy)
    return run_step(StepContext(step, RunInfo("r", "f", lambda: 0.0)), {}, {})


# language 21.6


def test_an_ignored_answer_is_a_success_without_data(api: PagedApi) -> None:
    api.odd = {1: status(404)}
    done = run(api, {"status_code": 404, "action": "ignore"})
    assert (done.error, dict(done.outputs)) == (None, {"rows": None})
    assert done.result is not None
    assert (done.result.meta["ignored"], done.result.code) == (True, 404)


def test_an_ignored_page_ends_the_pages(api: PagedApi) -> None:
    api.odd = {2: status(404)}
    done = run(api, {"status_code": 404, "action": "ignore"}, paginator=CURSOR)
    assert done.error is None
    assert [record["id"] for record in done.outputs["rows"]] == list(range(10))
    assert done.result is not None
    assert (done.result.meta["stopped_by"], done.result.meta["pages"]) == ("ignored", 2)


@pytest.mark.parametrize(
    "action",
    [
        pytest.param({"content": "busy"}, id="content"),
        pytest.param({"when": "response.error is defined"}, id="when"),
        pytest.param({"when": "{{ status_code == 200 and 'error' in response }}"}, id="braces"),
        pytest.param({"status_code": 200, "content": "busy"}, id="both"),
    ],
)
def test_an_answer_fails_whatever_its_status(api: PagedApi, action: dict[str, Any]) -> None:
    api.odd = {2: body(BUSY)}
    done = run(api, {**action, "action": "fail"}, retry=3, paginator=CURSOR)
    assert done.error == (
        'page 2: HTTP status 200: {"items": [], "error": {"code": "busy"}, "meta": {}} '
        "(failed by 'response_actions[0]')"
    )
    assert (done.retry_in, len(api.requests)) == (None, 2)


def test_all_conditions_of_an_action_must_hold(api: PagedApi) -> None:
    done = run(api, {"status_code": 500, "content": "items", "action": "fail"})
    assert done.error is None


def test_a_page_is_read_again_where_an_action_says_so(api: PagedApi) -> None:
    api.odd = {2: body(BUSY), 3: body(BUSY)}
    action = {"when": "'error' in response", "action": "retry"}
    done = run(api, action, retry=2, paginator=CURSOR, data_selector="items")
    assert done.error is None
    assert (len(done.outputs["rows"]), len(api.requests)) == (25, 5)


def test_a_single_call_is_tried_again_by_the_step(api: PagedApi) -> None:
    api.odd = {1: status(404)}
    assert run(api, {"status_code": 404, "action": "retry"}, retry=1).retry_in == 0
    api.reset()
    api.odd = {1: status(404)}
    assert run(api, {"status_code": 404, "action": "fail"}, retry=1).retry_in is None


def test_a_condition_that_is_none_fails_the_step(api: PagedApi) -> None:
    done = run(api, {"when": "response.items | length", "action": "fail"})
    assert done.error == (
        "'response_actions[0].when' must give true or false, and gave the number 10"
    )


@pytest.mark.parametrize(
    ("action", "message", "hint"),
    [
        ({"action": "ignore"}, "one of 'status_code', 'content' and 'when' is required", None),
        ({"status_code": 404}, "the key 'action' is required", None),
        ({"status_code": 404, "action": "skip"},
         "'skip' is not one of 'ignore', 'fail', 'retry'", None),
        ({"status": 404, "content": "x", "action": "fail"}, "unknown key 'status'",
         "did you mean 'status_code'?"),
        ({"when": "recods", "action": "fail"}, "'recods' is not a name",
         "there are: 'response', 'headers', 'status_code', 'flows', 'steps', 'sources', 'params', "
         "'env', 'run', 'flow'"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_action_is_found_before_the_run(
    action: dict[str, Any], message: str, hint: str | None
) -> None:
    found = InstalledProviders().check("rest", {"url": "u", "response_actions": [action]}, True)
    assert [(finding.message, finding.hint) for finding in found] == [(message, hint)]
    assert found[0].path[:2] == ("response_actions", 0)

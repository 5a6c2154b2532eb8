"""What `flowtoy step --suggest` says to write, by the looks of one answer."""

from __future__ import annotations

from typing import Any

import pytest
from paged import paged_api

from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.providers.kind import Suggestion
from flowtoy_dagster.providers.rest.pages.suggest import suggest
from flowtoy_dagster.testing.single import Before, suggest_for, try_step


def step_of(url: str, **more: Any) -> Any:
    flow = load_flow({"flow": [{"name": "a", "source": "rest", "input": {"url": url, **more},
                                "output": [{"name": "rows", "type": "raw"}]}]})
    return flow, flow.step("a"), Before()


def test_what_is_suggested_reads_all_pages_of_an_api() -> None:
    with paged_api() as api:
        for style in ("offset", "page", "cursor", "header", "link", "relative", "links"):
            api.reset()
            found = suggest_for(*step_of(f"{api.url}/{style}"))
            assert isinstance(found, Suggestion)
            assert len(api.requests) == 1
            keys = dict(found.keys)
            if style == "cursor":  # no answer tells the name of the parameter
                assert "documentation names the parameter" in found.notes[-1]
                keys["paginator"] = {**keys["paginator"], "cursor_param": "after"}
            outcome = try_step(*step_of(f"{api.url}/{style}", **keys))
            assert outcome.error is None, (style, keys)
            assert [row["id"] for row in outcome.outputs["rows"]] == list(range(25)), (style, keys)
        found = suggest_for(*step_of(f"{api.url}/key"))
        assert isinstance(found, Suggestion)
        assert found.keys == {"data_selector": "items"}
        assert found.notes[-1] == "nothing in the answer asks for another page"
    flow = load_flow({"flow": [{"name": "a", "source": "process", "input": {"command": "x"}}]})
    outcome = suggest_for(flow, flow.step("a"), Before())
    assert "nothing to suggest for the source 'process'" in str(outcome.error)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("data", "params", "keys"),
    [
        ({"result": {"records": [{"a": 1}], "@odata.nextLink": "https://x/y"}}, {},
         {"paginator": {"type": "json_link", "next_url_path": 'result."@odata.nextLink"'},
          "data_selector": "result.records"}),
        ({"tags": ["x", "y"], "items": [{"a": 1}], "nextPageToken": "t"}, {},
         {"paginator": {"type": "cursor", "cursor_path": "nextPageToken",
                        "cursor_param": "pageToken"}, "data_selector": "items"}),
        ({"items": [{"a": 1}], "next_page_token": ""}, {},
         {"paginator": {"type": "cursor", "cursor_path": "next_page_token",
                        "cursor_param": "page_token"}, "data_selector": "items"}),
        ({"data": [{}], "page": 1, "total_pages": 4}, {"page": 1},
         {"paginator": {"type": "page_number", "base_page": 1, "total_path": "total_pages"},
          "data_selector": "data"}),
        ({"data": [{}], "totalCount": 40}, {"skip": 0, "limit": 5},
         {"paginator": {"type": "offset", "limit": 5, "offset_param": "skip",
                        "total_path": "totalCount"}, "data_selector": "data"}),
        ([{"id": 1}], {}, {}),
        ({"id": 1, "next": None, "has_next": True}, {}, {}),
        ("text", {}, {}),
        (None, {}, {}),
    ],
)
def test_keys_of_answers_are_known_by_their_names(
    data: Any, params: dict[str, Any], keys: dict[str, Any]
) -> None:
    assert suggest({"status": 200, "headers": {}, "json": data}, params).keys == keys


@pytest.mark.parametrize(
    ("answer", "reason"),
    [({"status": 401, "json": {}}, "the answer has the status 401"),
     ({"text": "<html>"}, "the answer is not JSON"),
     ({"failure": "timeout", "message": "timed out"}, "no answer came: timed out")],
)
def test_what_is_no_page_is_not_looked_at(answer: dict[str, Any], reason: str) -> None:
    found = suggest(answer, {})
    assert (found.usable, found.notes) == (False, (reason,))

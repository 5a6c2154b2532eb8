"""Reading all pages of an API (language 21.1 to 21.4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import paged
import pytest
from paged import PagedApi, changed, empty, status, without

from flowtoy_dagster.flow.graph import Source, Step
from flowtoy_dagster.flow.schema.models import OutputConfig, RetryConfig
from flowtoy_dagster.flow.schema.rates import Rate
from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.steps.attempts import StepOutcome, run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo

ITEMS = {"data_selector": "items"}
OFFSET = {"type": "offset", "limit": 10}
TOTAL = {**OFFSET, "total_path": "total"}
PAGE = {"type": "page_number"}
CURSOR = {"type": "cursor", "cursor_path": "meta.next", "cursor_param": "after"}
MORE = {**CURSOR, "has_more_path": "meta.more"}
KEY = {"type": "cursor", "cursor": "{{ records[-1].id }}", "cursor_param": "after"}
HEADER = {"type": "header_cursor", "cursor_key": "x-next", "cursor_param": "cursor"}
LINK = {"type": "json_link", "next_url_path": "next"}
LINKS = {"type": "header_link"}
ALL = list(range(25))


def run(url: str, retry: int = 0, payload: Any = None, **configuration: Any) -> StepOutcome:
    """The outcome of a step that reads from `url`."""
    outputs = (OutputConfig.model_validate({"name": "rows", "type": "raw"}),)
    source = Source("rest", {"timeout": 20, "url": url, **configuration})
    policy = RetryConfig(max=retry, delay=0)
    step = Step(0, "read", source, payload=payload, outputs=outputs, retry=policy)
    return run_step(StepContext(step, RunInfo("r", "f", lambda: 0.0)), {}, {})


def result_of(outcome: StepOutcome) -> ProviderResult:
    assert outcome.result is not None, outcome.error
    return outcome.result


def ids(outcome: StepOutcome) -> list[int]:
    assert outcome.error is None
    return [record["id"] for record in outcome.outputs["rows"]]


@dataclass(frozen=True)
class Read:
    """A case that gives records."""

    style: str
    paginator: dict[str, Any]
    stopped_by: str
    requests: int
    ids: list[int] = field(default_factory=lambda: ALL)
    odd: dict[int, paged.Odd] = field(default_factory=dict)
    retry: int = 0
    more: dict[str, Any] = field(default_factory=dict)


READ = {
    # language 21.1
    "offset ends with an empty page": Read("offset", OFFSET, "empty_page", 4, more=ITEMS),
    "offset with a total": Read("offset", TOTAL, "total", 3, more=ITEMS),
    "offset from 5": Read("offset", {**TOTAL, "offset": 5}, "total", 2, ALL[5:], more=ITEMS),
    "offset up to a maximum": Read(
        "offset", {**OFFSET, "maximum_offset": 10}, "maximum_offset", 2, ALL[:20], more=ITEMS
    ),
    "a limit that the server does not allow": Read(
        "offset", {"type": "offset", "limit": 1000}, "empty_page", 4, more=ITEMS
    ),
    "a limit that is not allowed, with a total": Read(
        "offset", {**TOTAL, "limit": 1000}, "total", 3, more=ITEMS
    ),
    "offset in the body": Read(
        "offset", {**TOTAL, "offset_body_path": "page.offset", "limit_body_path": "page.limit"},
        "total", 3, more={**ITEMS, "method": "POST", "json": {"q": 1}},
    ),
    "a total as text": Read(
        "offset", TOTAL, "total", 3, odd={1: changed(total="25")}, more=ITEMS
    ),
    "a total that only the first page has": Read(
        "offset", TOTAL, "total", 3, odd={2: without("total"), 3: without("total")}, more=ITEMS
    ),
    "a total that grows": Read(
        "offset", TOTAL, "total", 3, odd={1: changed(total=20)}, more=ITEMS
    ),
    "no records at all": Read(
        "offset", TOTAL, "total", 1, [], odd={1: paged.body({"items": [], "total": 0})},
        more=ITEMS,
    ),
    "offset with a filter that leaves some out": Read(
        "offset", OFFSET, "empty_page", 4, ALL[1:], more={"data_selector": "items[?id != `0`]"}
    ),
    "offset with a filter that leaves a page empty, and a total": Read(
        "offset", TOTAL, "total", 3, ALL[13:],
        more={"data_selector": "items[?id > `12`].{id: id} | [0:100]"},
    ),
    "page numbers with a filter that leaves all out": Read(
        "page", PAGE, "empty_page", 4, [], more={"data_selector": "items[?id < `0`] || `[]`"}
    ),
    "page numbers end with an empty page": Read("page", PAGE, "empty_page", 4, more=ITEMS),
    "page numbers with a total": Read(
        "page", {**PAGE, "total_path": "pages"}, "total", 3, more=ITEMS
    ),
    "page numbers from 1": Read(
        "page", {**PAGE, "base_page": 1, "has_more_path": "more"}, "has_more", 2, ALL[10:],
        more=ITEMS,
    ),
    "page numbers up to a maximum": Read(
        "page", {**PAGE, "maximum_page": 1}, "maximum_page", 2, ALL[:20], more=ITEMS
    ),
    "page numbers in the body": Read(
        "page", {**PAGE, "page_body_path": "page", "has_more_path": "more"}, "has_more", 3,
        more={**ITEMS, "method": "POST"},
    ),
    "an empty page in the middle, while there are more": Read(
        "page", {**PAGE, "has_more_path": "more"}, "has_more", 3, ALL[:10] + ALL[20:],
        odd={2: empty}, more=ITEMS,
    ),
    "cursor": Read("cursor", CURSOR, "no_next", 3, more=ITEMS),
    "cursor with has_more": Read("cursor", MORE, "has_more", 3, more=ITEMS),
    "cursor in the body": Read(
        "cursor", {"type": "cursor", "cursor_path": "meta.next",
                   "cursor_body_path": "variables.after"},
        "no_next", 3, more={**ITEMS, "method": "POST", "json": {"variables": {"n": 10}}},
    ),
    "cursor made of the last record": Read("key", KEY, "empty_page", 4, more=ITEMS),
    "cursor as an expression without braces": Read(
        "cursor", {"type": "cursor", "cursor": "response.meta.next", "cursor_param": "after"},
        "no_next", 3, more=ITEMS,
    ),
    "a cursor 0 is none": Read(
        "cursor", CURSOR, "no_next", 2, ALL[:20], odd={2: changed(meta__next=0)}, more=ITEMS
    ),
    "an empty page with a cursor goes on": Read(
        "cursor", CURSOR, "no_next", 3, ALL[:10] + ALL[20:], odd={2: empty}, more=ITEMS
    ),
    "an empty page with a cursor ends where that is wanted": Read(
        "cursor", {**CURSOR, "stop_after_empty_page": True}, "empty_page", 2, ALL[:10],
        odd={2: empty}, more=ITEMS,
    ),
    "has_more as text": Read(
        "cursor", MORE, "has_more", 2, ALL[:20], odd={2: changed(meta__more="False")}, more=ITEMS
    ),
    "cursor in a header": Read("header", HEADER, "no_next", 3),
    "link": Read("link", LINK, "no_next", 3, more=ITEMS),
    "relative link": Read("relative", LINK, "no_next", 3, more=ITEMS),
    "link in the header Link": Read("links", LINKS, "no_next", 3),
    "another relation": Read("links", {**LINKS, "links_next_key": "x"}, "no_next", 3),
    "single page": Read("links", {"type": "single_page"}, "single_page", 1, ALL[:10]),
    "stop_when": Read(
        "cursor", {**CURSOR, "stop_when": "records[-1].id >= 19"}, "stop_when", 2, ALL[:20],
        more=ITEMS,
    ),
    "stop_when by a header": Read(
        "cursor", {**CURSOR, "stop_when": "{{ headers['x-last'] is defined }}"}, "stop_when", 1,
        ALL[:10], odd={1: paged.header("X-Last", "1")}, more=ITEMS,
    ),
    "max_pages where that is an end": Read(
        "cursor", {**CURSOR, "max_pages": 2, "on_max_pages": "stop"}, "max_pages", 2, ALL[:20],
        more=ITEMS,
    ),
    "as many pages as max_pages": Read("cursor", {**CURSOR, "max_pages": 3}, "no_next", 3,
                                       more=ITEMS),
    # language 21.2
    "the page is the list": Read("header", HEADER, "no_next", 3),
    "the only list of the page": Read("cursor", CURSOR, "no_next", 3),
    "a selector that filters": Read(
        "cursor", CURSOR, "no_next", 3, [24], more={"data_selector": "items[?id > `23`]"}
    ),
    "a list that is null": Read(
        "cursor", CURSOR, "no_next", 3, ALL[:20], odd={3: changed(items=None)}, more=ITEMS
    ),
    "204 at the end": Read(
        "offset", OFFSET, "empty_page", 4, odd={4: status(204, b"")}, more=ITEMS
    ),
    "compressed pages": Read(
        "cursor", CURSOR, "no_next", 3, odd={1: paged.zipped, 3: paged.zipped}, more=ITEMS
    ),
    # language 21.3: a retry repeats the page
    "429 once": Read(
        "cursor", CURSOR, "no_next", 4, odd={3: status(429, Retry_After="0")}, retry=1, more=ITEMS
    ),
    "500 on two pages": Read(
        "cursor", CURSOR, "no_next", 5, odd={1: status(500), 3: status(500)}, retry=1, more=ITEMS
    ),
    "a cut body once": Read(
        "cursor", CURSOR, "no_next", 4, odd={2: paged.cut}, retry=1, more=ITEMS
    ),
    "a link to a listed host": Read(
        "link", LINK, "no_next", 3, more={**ITEMS, "hosts": ["127.0.0.1", "localhost:1"]}
    ),
    "a status that is expected": Read(
        "cursor", CURSOR, "no_next", 3, odd={2: lambda r: paged.replace(r, status=203)},
        more={**ITEMS, "expect": [200, 203]},
    ),
}


@pytest.mark.parametrize("name", READ)
def test_all_records_are_read(api: PagedApi, name: str) -> None:
    case = READ[name]
    api.odd = case.odd
    done = run(f"{api.url}/{case.style}", case.retry, paginator=case.paginator, **case.more)
    assert ids(done) == case.ids
    assert len(api.requests) == case.requests
    meta = result_of(done).meta
    assert (meta["stopped_by"], meta["records"]) == (case.stopped_by, len(case.ids))


@dataclass(frozen=True)
class Fails:
    """A case that ends with an error."""

    style: str
    paginator: Any
    error: str
    odd: dict[int, paged.Odd] = field(default_factory=dict)
    retry: int = 0
    more: dict[str, Any] = field(default_factory=lambda: ITEMS)
    requests: int | None = None


FAILS = {
    # language 21.3
    "has_more lies": Fails(
        "cursor", MORE, "page 2: 'meta.more' says that there are more pages, but nothing leads "
        "to the next one", {2: changed(meta__next=None)},
    ),
    "has_more is absent": Fails(
        "cursor", {**CURSOR, "has_more_path": "more"},
        "page 1: 'has_more_path' (more) found nothing: the page's keys are 'items', 'meta'",
    ),
    "has_more is a number": Fails(
        "cursor", {**CURSOR, "has_more_path": "meta.more"},
        "page 2: 'has_more_path' (meta.more) must find true or false, and found the number 2",
        {2: changed(meta__more=2)},
    ),
    "repeated cursor": Fails(
        "cursor", CURSOR, "page 2: its cursor to the next page is the one that page 1 had already: "
        "the pages lead in a circle", {2: changed(meta__next="c10")},
    ),
    "repeated link": Fails(
        "relative", LINK, "page 3: its link to the next page is the one that page 1 had already: "
        "the pages lead in a circle", {3: changed(next="?start=10")},
    ),
    "a server that ignores the page": Fails(
        "page", {**PAGE, "page_param": "p"}, "page 10: the last 10 pages have the same records: "
        "the server seems to ignore what asks for the next page", requests=10,
    ),
    "a server that ignores the page, all of which a filter leaves out": Fails(
        "page", {**PAGE, "page_param": "p"}, "page 10: the last 10 pages have the same records: "
        "the server seems to ignore what asks for the next page", requests=10,
        more={"data_selector": "items[?id < `0`]"},
    ),
    "link to another host": Fails(
        "link", LINK, "page 1: its link to the next page leads to another host, "
        "http://other.test (the first page is at {url}); to read it with the same credentials "
        "list it in the source: hosts: ['other.test']", {1: changed(next="http://other.test/x")},
        requests=1,
    ),
    "link that is no URL": Fails(
        "link", LINK, "page 1: the link to the next page is not a URL: 'ftp://x'",
        {1: changed(next="ftp://x")},
    ),
    "link that is a mapping": Fails(
        "link", LINK, "page 1: the link to the next page must be text, and is a mapping",
        {1: changed(next={})},
    ),
    "cursor that is a list": Fails(
        "cursor", CURSOR, "page 1: the cursor must be text or a number, and is a list",
        {1: changed(meta__next=[1])},
    ),
    "total that shrinks": Fails(
        "offset", TOTAL, "page 2: the total (total) went from 25 to 24 while the pages were read: "
        "where something is removed, what follows moves, and may be missed; run it again, or "
        "leave out 'total_path' to read up to the first empty page", {2: changed(total=24)},
    ),
    "total that is never reached": Fails(
        "offset", TOTAL, "page 4: the total (total) says 30, but only 25 records were read",
        {n: changed(total=30) for n in range(1, 5)},
    ),
    "total that is too small": Fails(
        "offset", TOTAL, "page 1: the total (total) says 0, but 10 records were read",
        {1: changed(total=0)},
    ),
    "total that is absent": Fails(
        "offset", {**OFFSET, "total_path": "count"},
        "page 1: 'total_path' (count) found nothing: the page's keys are 'items', 'total'",
    ),
    "total that is not a number": Fails(
        "offset", TOTAL, "page 1: 'total_path' (total) must find a whole number, and found 'many'",
        {1: changed(total="many")},
    ),
    "an empty page in the middle of a total": Fails(
        "offset", TOTAL, "page 3: the total (total) says 25, but only 15 records were read",
        {2: empty},
    ),
    "max_pages": Fails(
        "cursor", {**CURSOR, "max_pages": 2}, "page 2: it is the last of the 2 that 'max_pages' "
        "allows, and there are more; raise it, or end there with 'on_max_pages: stop'", requests=2,
    ),
    "stop_when that is no condition": Fails(
        "cursor", {**CURSOR, "stop_when": "records | length"},
        "page 1: 'stop_when' must give true or false, and gave the number 10",
    ),
    "stop_when that fails": Fails(
        "cursor", {**CURSOR, "stop_when": "response.nothing > 3"},
        "page 1: 'stop_when': response: there is no key 'nothing'; the keys are 'items', 'meta'",
    ),
    "429 on page 3, for ever": Fails(
        "cursor", CURSOR, "page 3: HTTP status 429: {{\"error\": \"no\"}}",
        {n: status(429) for n in range(3, 9)}, retry=2, requests=5,
    ),
    "401 in the middle": Fails(
        "cursor", CURSOR, "page 2: HTTP status 401: {{\"error\": \"no\"}}", {2: status(401)},
        retry=3, requests=2,
    ),
    "500 without retry": Fails(
        "cursor", CURSOR, "page 2: HTTP status 500: {{\"error\": \"no\"}}", {2: status(500)},
        requests=2,
    ),
    "a cut body": Fails(
        "cursor", CURSOR, "page 2: the server closed the connection in the middle of the answer",
        {2: paged.cut},
    ),
    "a page that is not JSON": Fails(
        "cursor", CURSOR, "page 2: the answer says it is JSON but is not: unexpected end of data "
        "at line 1 column 2", {2: paged.body(b"{")},
    ),
    "a status that is not expected": Fails(
        "cursor", CURSOR, "page 2: HTTP status 203: {{\"error\": \"no\"}}", {2: status(203)},
        more={**ITEMS, "expect": 200},
    ),
    # language 21.2
    "a selector that finds nothing": Fails(
        "cursor", CURSOR, "page 2: 'data_selector' (items) found nothing: the page's keys are "
        "'error'; where a page without records has no such key, write items || `[]`",
        {2: paged.body({"error": "busy"})},
    ),
    "a selector that finds a mapping": Fails(
        "cursor", CURSOR, "page 1: 'data_selector' (meta) must find a list, and found a mapping; "
        "for a single record write [meta]", more={"data_selector": "meta"},
    ),
    "two lists": Fails(
        "cursor", CURSOR, "page 1: it can't be said where its records are: it has lists in "
        "'items', 'tags', and the page's keys are 'items', 'meta', 'tags'; 'data_selector' says "
        "where they are", {1: changed(tags=[])}, more={},
    ),
    "no list": Fails(
        "cursor", CURSOR, "page 1: it can't be said where its records are: it has no list, and "
        "the page's keys are 'error'; 'data_selector' says where they are",
        {1: paged.body({"error": 1})}, more={},
    ),
    "the list of an error": Fails(
        "cursor", CURSOR, "page 2: its only list is in 'errors', while that of earlier pages was "
        "in 'items'; 'data_selector' says where the records are",
        {2: paged.body({"errors": ["busy"]})}, more={},
    ),
    "text": Fails(
        "cursor", CURSOR, "page 1: it holds no records: the page is text",
        {1: lambda _: paged.Reply(b"hello", headers={"Content-Type": "text/plain"})}, more={},
    ),
    "a body that takes no cursor": Fails(
        "cursor", {"type": "cursor", "cursor_path": "meta.next", "cursor_body_path": "after"},
        "page 2: the request can't be sent: what asks for a page is set in a body that is a JSON "
        "mapping only", more={**ITEMS, "method": "POST", "json": [1]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILS)
def test_what_would_be_short_fails_and_names_the_page(api: PagedApi, name: str) -> None:
    case = FAILS[name]
    api.odd = case.odd
    done = run(f"{api.url}/{case.style}", case.retry, paginator=case.paginator, **case.more)
    assert done.error == case.error.replace("{{", "{").replace("}}", "}").replace("{url}", api.url)
    assert done.retry_in is None
    if case.requests is not None:
        assert len(api.requests) == case.requests


# What is sent


def test_parameters_of_a_page_replace_those_of_the_call(api: PagedApi) -> None:
    run(f"{api.url}/offset", paginator=TOTAL, params={"limit": 3, "q": "x"}, **ITEMS)
    assert [request.query for request in api.requests] == [
        {"q": "x", "offset": str(at), "limit": "10"} for at in (0, 10, 20)
    ]


def test_a_link_has_its_own_query_and_the_headers_of_the_call(api: PagedApi) -> None:
    done = run(
        f"{api.url}/link", paginator=LINK, params={"size": 10}, headers={"X-Key": "k"},
        auth={"bearer": "t0ken-t0ken"}, **ITEMS,
    )
    assert ids(done) == ALL
    assert [r.query for r in api.requests] == [{"size": "10"}, {"start": "10"}, {"start": "20"}]
    assert {r.headers["x-key"] for r in api.requests} == {"k"}
    assert {r.headers["authorization"] for r in api.requests} == {"Bearer t0ken-t0ken"}


def test_values_in_a_body_keep_what_stands_next_to_them(api: PagedApi) -> None:
    paginator = {**CURSOR, "cursor_param": None, "cursor_body_path": "variables.after"}
    payload = {"query": "q", "variables": {"n": 1}}
    run(f"{api.url}/cursor", paginator=paginator, method="POST", payload=payload, **ITEMS)
    assert [request.body["variables"] for request in api.requests] == [
        {"n": 1}, {"n": 1, "after": "c10"}, {"n": 1, "after": "c20"},
    ]


def test_a_selector_without_paginator_gives_the_records_of_the_one_page(api: PagedApi) -> None:
    done = run(f"{api.url}/offset", data_selector="items[].id")
    assert done.outputs == {"rows": ALL[:10]}
    assert result_of(done).meta["stopped_by"] == "single_page"


def test_a_single_page_that_fails_is_tried_again_by_the_step(api: PagedApi) -> None:
    api.odd = {1: status(500)}
    done = run(f"{api.url}/offset", 2, **ITEMS)
    assert (done.error, done.retry_in) == ('HTTP status 500: {"error": "no"}', 0)
    assert len(api.requests) == 1


class Limiter:
    """Lets every call pass, and writes down what it is asked."""

    def __init__(self) -> None:
        self.taken = 0
        self.pauses: list[float] = []

    def take(self, key: str, rates: Any) -> float:
        self.taken += 1
        return 0.0

    def pause(self, key: str, seconds: float) -> None:
        self.pauses.append(seconds)


def test_every_page_and_every_retry_counts_for_the_rate(api: PagedApi) -> None:
    # language 19.5
    api.odd = {2: status(429, Retry_After="0.01"), 3: status(503)}
    configuration = {"url": f"{api.url}/cursor", "timeout": 20, "paginator": CURSOR}
    source = Source("rest", configuration, "api", rates=(Rate(9, 1.0),))
    outputs = (OutputConfig.model_validate({"name": "rows", "type": "raw"}),)
    step = Step(0, "read", source, outputs=outputs, retry=RetryConfig(max=2, delay=0))
    limiter = Limiter()
    context = StepContext(step, RunInfo("r", "f", lambda: 0.0), limiter=limiter)
    assert ids(run_step(context, {"api": source}, {})) == ALL
    assert limiter.taken == len(api.requests) == 5
    assert limiter.pauses == [0.01]


def test_a_failure_says_how_much_was_read(api: PagedApi) -> None:
    api.odd = {3: status(404)}
    meta = result_of(run(f"{api.url}/cursor", paginator=CURSOR, **ITEMS)).meta
    assert (meta["pages"], meta["records"], meta["status_code"]) == (2, 20, 404)

"""Small APIs that dlt's `rest_api` and the rest provider read, and what each is told of them.

With a Python that has dlt, `python dlt_apis.py URL` prints what dlt reads from a server of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

ROWS = [{"id": number, "name": f"row {number}"} for number in range(1, 8)]
TOKEN = "dlt-and-flowtoy-t0ken"
Answer = tuple[int, dict[str, str], Any]


@dataclass(frozen=True)
class Asked:
    """A request: its path below the API's own, its query, its JSON or form, its headers."""

    base: str
    path: str
    query: Mapping[str, str]
    body: Mapping[str, Any]
    headers: Mapping[str, str]

    def number(self, name: str, default: int = 0) -> int:
        """A number of the query, or of the body."""
        return int(self.query.get(name, self.body.get(name, default)))


@dataclass(frozen=True)
class Api:
    """An API.

    Attributes:
        answer: what it answers.
        ours: the rest provider's configuration.
        dlt: the endpoint of dlt's resource; where it is None, it has the keys of `ours`.
        client: keys of dlt's client.
        differs: why what dlt reads is another thing.
    """

    answer: Callable[[Asked], Answer]
    ours: Mapping[str, Any]
    dlt: Mapping[str, Any] | None = None
    client: Mapping[str, Any] = field(default_factory=dict)
    differs: str = ""

    def endpoint(self, name: str) -> dict[str, Any]:
        """The endpoint of dlt's resource."""
        keys = dict(self.dlt if self.dlt is not None else self.ours)
        return {"path": f"{name}/rows", **keys}


def page(asked: Asked, size: int = 3) -> int:
    """Where the page begins that is asked for."""
    return asked.number("page") * size


def rows(start: int, size: int = 3) -> list[dict[str, Any]]:
    """Some rows."""
    return ROWS[max(start, 0) : max(start, 0) + size]


def follows(start: int, size: int = 3) -> int | None:
    """Where the next page begins."""
    return start + size if start + size < len(ROWS) else None


def ok(body: Any, **headers: str) -> Answer:
    """A success; underscores in names of headers are hyphens."""
    return 200, {name.replace("_", "-"): value for name, value in headers.items()}, body


def by_link(make: Callable[[Asked, int | None], Answer]) -> Callable[[Asked], Answer]:
    """An API whose pages are asked for with `at`."""
    return lambda asked: make(asked, follows(asked.number("at")))


def link(asked: Asked, at: int | None, relative: bool = False) -> str | None:
    """A link to a page."""
    return None if at is None else f"{'rows' if relative else asked.base + '/rows'}?at={at}"


def header_link(asked: Asked, at: int | None, rel: str = "next") -> Answer:
    """Rows with a header `Link`."""
    found = link(asked, at)
    first = f'<{asked.base}/rows?at=0>; rel="first"'
    shown = first + (f', <{found}>; rel="{rel}"' if found else "")
    return ok(rows(asked.number("at")), Link=shown)


def guarded(is_allowed: Callable[[Asked], bool]) -> Callable[[Asked], Answer]:
    """An API that wants to know who calls, and has links."""

    def answer(asked: Asked) -> Answer:
        if asked.path == "/token":
            return ok({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600})
        if not is_allowed(asked):
            return 401, {}, {"error": "who are you"}
        return header_link(asked, follows(asked.number("at")))

    return answer


def search(asked: Asked) -> Answer:
    """A search in pages by POST."""
    at = int(asked.body.get("page", {}).get("after") or 0)
    return ok({"hits": rows(at), "next": follows(at)})


def orders(asked: Asked) -> Answer:
    """Two lists within a list."""
    return ok({"days": [{"orders": ROWS[:2]}, {"orders": ROWS[2:4]}], "count": 4})


def missing_page(asked: Asked) -> Answer:
    """The page after the last is a 404."""
    if page(asked) >= len(ROWS):
        return 404, {}, {"error": "no page"}
    return ok({"r": rows(page(asked))})


def said_in_the_body(asked: Asked) -> Answer:
    """The same with a success."""
    if page(asked) >= len(ROWS):
        return ok({"r": [], "note": "END OF LIST"})
    return ok({"r": rows(page(asked))})


def short_pages(asked: Asked) -> Answer:
    """No more than two rows a page, whatever is asked for."""
    return ok({"r": rows(asked.number("offset"), 2), "total": len(ROWS)})


BEARER = {"type": "bearer", "token": TOKEN}
BASIC = {"type": "http_basic", "username": "u", "password": "p"}
LINKS = {"paginator": "header_link"}


def key_auth(location: str) -> dict[str, Any]:
    """An API key."""
    return {"type": "api_key", "name": "X-Key", "api_key": TOKEN, "location": location}


def numbered(**keys: Any) -> dict[str, Any]:
    """Keys of a paginator of numbered pages."""
    return {"type": "page_number", **keys}


def offset(**keys: Any) -> dict[str, Any]:
    """Keys of a paginator of offsets."""
    return {"type": "offset", "limit": 3, **keys}


APIS: dict[str, Api] = {
    "json-link": Api(
        by_link(lambda asked, at: ok({"r": rows(asked.number("at")), "next": link(asked, at)})),
        {"paginator": {"type": "json_link", "next_url_path": "next"}, "data_selector": "r"},
    ),
    "json-link-relative": Api(
        by_link(lambda asked, at: ok({"r": rows(asked.number("at")),
                                      "next": link(asked, at, relative=True)})),
        {"paginator": {"type": "json_link", "next_url_path": "next"}, "data_selector": "r"},
    ),
    "json-link-nested": Api(
        by_link(lambda asked, at: ok({"r": rows(asked.number("at")), "links":
                                      {} if at is None else {"next": {"href": link(asked, at)}}})),
        {"paginator": {"type": "json_link", "next_url_path": "links.next.href"},
         "data_selector": "r"},
    ),
    "header-link": Api(by_link(header_link), LINKS),
    "header-link-other-rel": Api(
        by_link(lambda asked, at: header_link(asked, at, "more")),
        {"paginator": {"type": "header_link", "links_next_key": "more"}},
    ),
    "header-cursor": Api(
        by_link(lambda asked, at: ok(rows(asked.number("at")),
                                     **({} if at is None else {"X_Next": str(at)}))),
        {"paginator": {"type": "header_cursor", "cursor_key": "X-Next", "cursor_param": "at"}},
    ),
    "cursor": Api(
        by_link(lambda asked, at: ok({"r": rows(asked.number("at")), "meta": {"next": at}})),
        {"paginator": {"type": "cursor", "cursor_path": "meta.next", "cursor_param": "at"},
         "data_selector": "r"},
    ),
    "cursor-in-the-body": Api(
        search,
        {"method": "POST", "json": {"q": "row"}, "data_selector": "hits",
         "paginator": {"type": "cursor", "cursor_path": "next", "cursor_body_path": "page.after"}},
    ),
    "cursor-of-the-last-record": Api(
        lambda asked: ok({"r": rows(asked.number("after")),
                          "more": asked.number("after") + 3 < len(ROWS)}),
        {"data_selector": "r",
         "paginator": {"type": "cursor", "cursor": "records[-1].id", "cursor_param": "after",
                       "has_more_path": "more"}},
        {"data_selector": "r",
         "paginator": {"type": "cursor", "cursor_path": "r[-1].id", "cursor_param": "after",
                       "has_more_path": "more"}},
    ),
    "offset-total": Api(
        lambda asked: ok({"r": rows(asked.number("offset")), "total": len(ROWS)}),
        {"paginator": offset(total_path="total"), "data_selector": "r"},
    ),
    "offset-until-empty": Api(
        lambda asked: ok(rows(asked.number("skip"), asked.number("top"))),
        {"paginator": offset(offset_param="skip", limit_param="top")},
        {"paginator": offset(offset_param="skip", limit_param="top", total_path=None)},
    ),
    "offset-has-more": Api(
        lambda asked: ok({"r": rows(asked.number("offset")),
                          "more": follows(asked.number("offset")) is not None}),
        {"paginator": offset(has_more_path="more"), "data_selector": "r"},
        {"paginator": offset(has_more_path="more", total_path=None), "data_selector": "r"},
    ),
    "offset-maximum": Api(
        lambda asked: ok(rows(asked.number("offset"))),
        {"paginator": offset(maximum_offset=3)},
        {"paginator": offset(maximum_offset=6, total_path=None)},
    ),
    "offset-in-the-body": Api(
        lambda asked: ok({"r": rows(asked.number("from"), asked.number("size"))}),
        {"method": "POST", "json": {"q": 1}, "data_selector": "r",
         "paginator": offset(offset_body_path="from", limit_body_path="size")},
        {"method": "POST", "json": {"q": 1}, "data_selector": "r",
         "paginator": offset(offset_body_path="from", limit_body_path="size", total_path=None)},
    ),
    "offset-short-pages": Api(
        short_pages,
        {"paginator": offset(total_path="total"), "data_selector": "r"},
        differs="dlt goes on by `limit`, so it never asks for the rows that a page left out",
    ),
    "page-number-total": Api(
        lambda asked: ok({"r": rows(page(asked)), "pages": 3}),
        {"paginator": numbered(total_path="pages"), "data_selector": "r"},
    ),
    "page-number-from-one": Api(
        lambda asked: ok(rows((asked.number("p") - 1) * 3)),
        {"paginator": numbered(base_page=1, page_param="p")},
        {"paginator": numbered(base_page=1, page_param="p", total_path=None)},
    ),
    "page-number-has-more": Api(
        lambda asked: ok({"r": rows(page(asked)), "more": follows(page(asked)) is not None}),
        {"paginator": numbered(has_more_path="more"), "data_selector": "r"},
        {"paginator": numbered(has_more_path="more", total_path=None), "data_selector": "r"},
    ),
    "page-number-maximum": Api(
        lambda asked: ok(rows(page(asked))),
        {"paginator": numbered(maximum_page=1)},
        {"paginator": numbered(maximum_page=2, total_path=None)},
    ),
    "page-number-in-the-body": Api(
        lambda asked: ok({"r": rows(page(asked))}),
        {"method": "POST", "json": {"q": 1}, "data_selector": "r",
         "paginator": numbered(page_body_path="page")},
        {"method": "POST", "json": {"q": 1}, "data_selector": "r",
         "paginator": numbered(page_body_path="page", total_path=None)},
    ),
    "page-number-ends-with-404": Api(
        missing_page,
        {"paginator": numbered(), "data_selector": "r",
         "response_actions": [{"status_code": 404, "action": "ignore"}]},
        {"paginator": numbered(total_path=None), "data_selector": "r",
         "response_actions": [{"status_code": 404, "action": "ignore"}]},
    ),
    "page-number-ends-with-a-note": Api(
        said_in_the_body,
        {"paginator": numbered(), "data_selector": "r",
         "response_actions": [{"content": "END OF LIST", "action": "ignore"}]},
        {"paginator": numbered(total_path=None), "data_selector": "r",
         "response_actions": [{"content": "END OF LIST", "action": "ignore"}]},
    ),
    "single-page": Api(lambda asked: ok(ROWS), {"paginator": "single_page"}),
    "single-page-selected": Api(
        lambda asked: ok({"data": {"list": ROWS, "other": [1]}}),
        {"paginator": "single_page", "data_selector": "data.list"},
    ),
    "single-page-only-list": Api(
        lambda asked: ok({"count": 7, "things": ROWS}),
        {"paginator": "single_page", "data_selector": None},
        {"paginator": "single_page"},
    ),
    "lists-in-lists": Api(
        orders,
        {"paginator": "single_page", "data_selector": "days[].orders[]"},
        {"paginator": "single_page", "data_selector": "days[*].orders[*]"},
    ),
    "selector-that-finds-nothing": Api(
        lambda asked: ok({"rows": ROWS}),
        {"paginator": "single_page", "data_selector": "row"},
        differs="dlt reads no records; a path that is misspelt should not look like an empty list",
    ),
    "bearer": Api(
        guarded(lambda asked: asked.headers.get("authorization") == f"Bearer {TOKEN}"),
        {**LINKS, "auth": BEARER}, LINKS, {"auth": BEARER},
    ),
    "http-basic": Api(
        guarded(lambda asked: asked.headers.get("authorization") == "Basic dTpw"),
        {**LINKS, "auth": BASIC}, LINKS, {"auth": BASIC},
    ),
    **{
        f"api-key-in-{location}": Api(
            guarded(lambda asked: TOKEN in f"{asked.query.get('X-Key')} {asked.headers}"),
            {**LINKS, "auth": key_auth(location)}, LINKS, {"auth": key_auth(location)},
            "dlt has not written that yet" if location == "cookie" else "",
        )
        for location in ("header", "query", "cookie")
    },
    "oauth2-client-credentials": Api(
        guarded(lambda asked: asked.headers.get("authorization") == f"Bearer {TOKEN}"),
        {**LINKS, "auth": {"type": "oauth2_client_credentials", "client_id": "c",
                           "access_token_url": "/oauth2-client-credentials/token",
                           "client_secret": "s3cret", "access_token_request_data": {"a": "b"}}},
        LINKS,
        {"auth": {"type": "oauth2_client_credentials", "client_id": "c",
                  "access_token_url": "{base}/oauth2-client-credentials/token",
                  "client_secret": "s3cret", "access_token_request_data": {"a": "b"}}},
    ),
}  # fmt: skip


def reply(asked: Any) -> tuple[int, dict[str, str], bytes]:
    """The answer to a request, as the fixture `serve` hands it in and sends it."""
    parts = urlsplit(asked.path)
    _, name, rest = parts.path.split("/", 2)
    kind, text = asked.headers.get("Content-Type", ""), asked.body.decode()
    body = json.loads(text) if "json" in kind and text else dict(parse_qsl(text))
    base = f"http://{asked.headers['Host']}/{name}"
    headers = {key.lower(): value for key, value in asked.headers.items()}
    request = Asked(base, f"/{rest}", dict(parse_qsl(parts.query)), body, headers)
    status, sent, data = APIS[name].answer(request)
    return status, {"Content-Type": "application/json", **sent}, json.dumps(data).encode()


def read_with_dlt(url: str) -> dict[str, Any]:
    """What dlt reads of each API: its records, or the name of its error."""
    from dlt.sources.rest_api import rest_api_source

    found: dict[str, Any] = {}
    for name, api in APIS.items():
        written = json.dumps({"base_url": f"{url}/", **api.client})
        client = json.loads(written.replace("{base}", url))
        resource = {"name": "rows", "endpoint": api.endpoint(name)}
        try:
            source = rest_api_source({"client": client, "resources": [resource]})
            found[name] = list(source.resources["rows"])
        except Exception as error:
            found[name] = {"error": type(error.__cause__ or error).__name__}
    return found


if __name__ == "__main__":
    json.dump(read_with_dlt(sys.argv[1]), sys.stdout, indent=1, sort_keys=True)

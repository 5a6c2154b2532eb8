"""An API on loopback that speaks every style of paging, and can be made to answer oddly."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

RECORDS = [{"id": number} for number in range(25)]


@dataclass(frozen=True)
class Reply:
    """An answer; `cut` closes the connection before the last bytes."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


@dataclass(frozen=True)
class Asked:
    """A request that came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    base: str


Odd = Callable[[Reply], Reply]
Style = Callable[[Asked], Reply]


def _slice(start: int, size: int) -> list[dict[str, int]]:
    return RECORDS[start : start + size]


def by_offset(asked: Asked) -> Reply:
    given = {**asked.query, **(asked.body or {}).get("page", {})}
    start, size = int(given.get("offset", 0)), min(int(given.get("limit", 10)), 10)
    return Reply({"items": _slice(start, size), "total": len(RECORDS)})


def by_page(asked: Asked) -> Reply:
    number = int({**asked.query, **(asked.body or {})}.get("page", 0))
    start = number * 10
    return Reply({"items": _slice(start, 10), "pages": 3, "more": start + 10 < len(RECORDS)})


def by_cursor(asked: Asked) -> Reply:
    sent = asked.body if isinstance(asked.body, dict) else {}
    given = {**asked.query, **sent.get("variables", {})}
    start = int(str(given.get("after", "c0"))[1:])
    following = f"c{start + 10}" if start + 10 < len(RECORDS) else None
    more = following is not None
    return Reply({"items": _slice(start, 10), "meta": {"next": following, "more": more}})


def by_key(asked: Asked) -> Reply:
    start = int(asked.query.get("after", -1)) + 1
    return Reply({"items": _slice(start, 10)})


def by_header(asked: Asked) -> Reply:
    start = int(asked.query.get("cursor", 0))
    following = {"X-Next": str(start + 10)} if start + 10 < len(RECORDS) else {}
    return Reply(_slice(start, 10), headers=following)


def by_link(asked: Asked) -> Reply:
    start = int(asked.query.get("start", 0))
    more = start + 10 < len(RECORDS)
    following = f"{asked.base}{asked.path}?start={start + 10}" if more else None
    return Reply({"items": _slice(start, 10), "next": following})


def by_relative_link(asked: Asked) -> Reply:
    start = int(asked.query.get("start", 0))
    following = f"?start={start + 10}" if start + 10 < len(RECORDS) else ""
    return Reply({"items": _slice(start, 10), "next": following})


def by_link_header(asked: Asked) -> Reply:
    start = int(asked.query.get("start", 0))
    first = f'<{asked.path}?start=0>; rel="first"'
    link = f'{first}, <{asked.path}?start={start + 10}>; title="a, b"; rel="x NEXT"'
    return Reply(_slice(start, 10), headers={"Link": link if start < 20 else first})


STYLES: dict[str, Style] = {
    "offset": by_offset, "page": by_page, "cursor": by_cursor, "key": by_key,
    "header": by_header, "link": by_link, "relative": by_relative_link, "links": by_link_header,
}  # fmt: skip


def changed(**values: Any) -> Odd:
    """Some keys of the body changed; `a__b` is `b` within `a`."""

    def odd(reply: Reply) -> Reply:
        body = json.loads(json.dumps(reply.body))
        for name, value in values.items():
            *outer, last = name.split("__")
            within = body
            for part in outer:
                within = within[part]
            within[last] = value
        return replace(reply, body=body)

    return odd


def without(name: str) -> Odd:
    return lambda reply: replace(reply, body={k: v for k, v in reply.body.items() if k != name})


def status(code: int, body: Any = None, **headers: str) -> Odd:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Reply(body if body is not None else {"error": "no"}, code, named)


def empty(reply: Reply) -> Reply:
    return changed(items=[])(reply) if isinstance(reply.body, dict) else replace(reply, body=[])


def cut(reply: Reply) -> Reply:
    return replace(reply, cut=True)


def zipped(reply: Reply) -> Reply:
    body = gzip.compress(json.dumps(reply.body).encode())
    headers = {**reply.headers, "Content-Encoding": "gzip", "Content-Type": "application/json"}
    return replace(reply, body=body, headers=headers)


def body(value: Any) -> Odd:
    return lambda reply: replace(reply, body=value)


def header(name: str, value: str) -> Odd:
    return lambda reply: replace(reply, headers={**reply.headers, name: value})


class PagedApi:
    """Answers `/STYLE`; `odd` changes the answers of some requests, counted from 1."""

    def __init__(self) -> None:
        self.odd: dict[int, Odd] = {}
        self.requests: list[Asked] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                api.answer(self)

            do_POST = do_GET  # noqa: N815 - http.server calls it

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def reset(self) -> None:
        self.odd, self.requests = {}, []

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        content = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        place = urlsplit(handler.path)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Asked(
            handler.command, place.path, dict(parse_qsl(place.query)), headers,
            json.loads(content) if content else None, f"http://{handler.headers['Host']}",
        )  # fmt: skip
        self.requests.append(asked)
        reply = STYLES[place.path.strip("/")](asked)
        odd = self.odd.get(len(self.requests))
        reply = odd(reply) if odd else reply
        sent = reply.body
        if not isinstance(sent, bytes):
            sent = b"" if sent is None else json.dumps(sent).encode()
        handler.send_response(reply.status)
        sending = {"Content-Type": "application/json", **reply.headers}
        if reply.status != 204:
            sending["Content-Length"] = str(len(sent))
        for name, value in sending.items():
            handler.send_header(name, value)
        handler.end_headers()
        if reply.cut:
            handler.close_connection = True
            sent = sent[:-5]
        with suppress(OSError):
            handler.wfile.write(b"" if reply.status == 204 else sent)


@contextmanager
def paged_api() -> Iterator[PagedApi]:
    api = PagedApi()
    thread = threading.Thread(target=api.server.serve_forever, args=[0.02])
    thread.start()
    try:
        yield api
    finally:
        api.server.shutdown()
        thread.join()
        api.server.server_close()

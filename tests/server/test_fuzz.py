"""Requests of every form, sent to real servers: nothing is changed, and each has an answer."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_commands import Serving

FUZZ = settings(
    max_examples=150, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
METHODS = st.sampled_from(
    ["GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "QUERY", "get", "post", "TRACE"]
)
PIECES = st.sampled_from(
    ["%0A", "%0D%0A", "%00", "%2e", "..", ".", "%2F", "/", "//", "\\", ";", "%09", "%20", "%C2%85",
     "%E2%80%A8", "%3F", "#", "%250A", "x", "GRAPHQL", "?"]
)
PATHS = st.tuples(
    st.lists(PIECES, max_size=2).map("".join),
    st.sampled_from(["/graphql", "/graphq%6C", "/%67raphql", "/./graphql", "/x/../graphql",
                     "http://127.0.0.1/graphql", "graphql", "/graphql/", "/Graphql",
                     "/report_asset_materialization/x", "/logs/x/y/out", "/notebook"]),
    st.lists(PIECES, max_size=3).map("".join),
).map("".join)
KINDS = st.sampled_from(
    ["application/json", "application/graphql", "text/plain", "multipart/form-data",
     "application/x-www-form-urlencoded", "text/plain; application/json", "APPLICATION/JSON",
     "application/json, text/plain", ""]
)
FOREIGN = [("Origin", "http://evil.example"), ("Origin", "null"), ("Origin", "http://127.0.0.1:1"),
           ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Site", "same-site")]
HEADERS = st.lists(st.sampled_from([
    *FOREIGN, ("X-HTTP-Method-Override", "POST"), ("X-Original-URL", "/graphql"),
    ("X-Forwarded-Host", "localhost"), ("Sec-Fetch-Mode", "navigate"), ("Accept", "text/html"),
    ("Host", "evil.example"), ("Host", "localhost"), ("Transfer-Encoding", "identity"),
    ("Sec-Fetch-Site", "none"), ("Upgrade", "websocket"), ("Connection", "Upgrade"),
]), max_size=4)


def answer_to(served: Serving, request: bytes) -> bytes:
    """The beginning of what a server answers to bytes."""
    port = int(served.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request)
        with contextlib.suppress(ConnectionResetError):
            return connection.recv(65536)
    return b""


@pytest.fixture
def watched(serving: Callable[..., Serving], write: Callable[..., Any]) -> Iterator[Serving]:
    """A web UI whose run has ended."""
    write("flow: [{name: only, source: env}]")
    served = serving("webui", "flow.yaml", "--port", "0")
    served.wait_for_run("succeeded")
    yield served
    served.end()


def runs_of(served: Serving, change: str = "") -> Any:
    """What GraphQL answers to our own page."""
    query = change or "{ runsOrError { ... on Runs { results { runId status } } } }"
    headers = {**served.known, "Origin": served.url}
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"{served.url}/graphql", json={"query": query}, headers=headers,
                              timeout=60)
    return answer.json()["data"]


@pytest.mark.timeout(600)
def test_no_request_of_another_page_changes_anything(watched: Serving) -> None:
    cookie = watched.ask(f"/?token={watched.token}", Cookie="").headers["set-cookie"].split(";")[0]
    before = runs_of(watched)
    run_id = before["runsOrError"]["results"][0]["runId"]
    change = 'mutation { deletePipelineRun(runId: "' + run_id + '") { __typename } }'
    body = json.dumps({"query": change}).encode()

    @FUZZ
    @given(METHODS, PATHS, st.booleans(), KINDS, HEADERS)
    def ask(method: str, path: str, asked: bool, kind: str, more: list[tuple[str, str]]) -> None:
        target = path.replace(" ", "%20") + (f"?query={quote(change)}" if asked else "")
        if method == "POST" and not set(more) & set(FOREIGN):
            more = [*more, FOREIGN[0]]
        lines = [f"{method} {target} HTTP/1.1", f"Host: {watched.url.removeprefix('http://')}",
                 f"Cookie: {cookie}", f"Content-Type: {kind}", f"Content-Length: {len(body)}",
                 *(f"{name}: {value}" for name, value in more), "Connection: close", "", ""]
        first = answer_to(watched, "\r\n".join(lines).encode() + body)
        assert not first or first.startswith(b"HTTP/1.1 "), first
        assert b"DeletePipelineRunSuccess" not in first

    ask()
    assert runs_of(watched) == before
    # The change is one that our own page can make.
    answer = runs_of(watched, change)
    assert answer["deletePipelineRun"]["__typename"] == "DeletePipelineRunSuccess"


@pytest.mark.timeout(600)
def test_the_status_api_answers_whatever_is_asked(
    serving: Callable[..., Serving], write: Callable[..., Any]
) -> None:
    served = serving("serve", write("flow: [{name: only, source: env}]"), "--port", "0")
    served.wait_for_run("succeeded")
    before = served.status()

    @FUZZ
    @given(METHODS, st.sampled_from(["/status", "/outputs", "/outputs?step=", "/flow", "/"]),
           st.binary(max_size=30), HEADERS, st.booleans())
    def ask(
        method: str, path: str, more: bytes, headers: list[tuple[str, str]], known: bool
    ) -> None:
        token = [("Authorization", f"Bearer {served.token}")] if known else []
        lines = [f"{method} {path}{quote(more)} HTTP/1.1", "Host: 127.0.0.1",
                 *(f"{name}: {value}" for name, value in [*token, *headers]),
                 "Connection: close", "", ""]
        first = answer_to(served, "\r\n".join(lines).encode())
        assert first.startswith(b"HTTP/1.1 "), first
        code = int(first.split()[1])
        assert code < 500
        assert known or code != 200
        assert b"Traceback" not in first

    ask()
    for rubbish in (b"\x00" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02"):
        assert answer_to(served, rubbish + b"\r\n\r\n")[:10] in (b"HTTP/1.1 4", b"")
    assert served.status() == before
    served.wait_for_line("until Ctrl-C")
    assert served.end() == 0

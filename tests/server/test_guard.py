"""The guard before a server: each thing that it refuses, and what it lets pass."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from flowtoy_dagster.server.http.endpoint import Listener, listen
from flowtoy_dagster.server.http.guard import Guard

TOKEN = "a-token"
JSON = "application/json"
PASSED = 200
SESSION = "a-session"


def ask(
    path: str = "/",
    method: str = "GET",
    *,
    query: str = "",
    bound_to: str = "127.0.0.1",
    token: str | None = None,
    hosts: tuple[str, ...] = (),
    more: Sequence[tuple[str, str]] = (),
    **headers: str,
) -> tuple[int, dict[str, str]]:
    """How a request is answered: the status and the headers; 200 where it was passed on."""
    listener = Listener(socket.socket(), bound_to, bound_to, 8000)
    listener.socket.close()
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": PASSED, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"host": "127.0.0.1:8000", **{k.replace("_", "-"): v for k, v in headers.items()}}
    pairs = [(name.encode(), value.encode()) for name, value in given.items()]
    scope = {
        "type": "websocket" if method == "WEBSOCKET" else "http",
        "path": path,
        "query_string": query.encode(),
        "headers": pairs + [(name.encode(), value.encode()) for name, value in more],
    }
    if method != "WEBSOCKET":
        scope["method"] = method
    async def receive() -> Any:
        return {"type": "http.request", "body": b"{}"}

    guard = Guard(app, listener, hosts=hosts, token=token, writable=("/graphql",))
    guard._session = SESSION
    # It waits for nothing; a loop could not be run beside that of a browser's tests.
    with contextlib.suppress(StopIteration):
        guard(scope, receive, send).send(None)  # type: ignore[arg-type]
    first = sent[0]
    if first.get("type") == "websocket.close":
        return 403, {}
    return first["status"], {k.decode(): v.decode() for k, v in first["headers"]}


@pytest.mark.parametrize(
    ("host", "more", "code"),
    [
        ("localhost:9000", {}, PASSED),
        ("LOCALHOST", {}, PASSED),
        ("[::1]:8000", {}, PASSED),
        ("evil.example", {}, 421),
        ("evil.example:8000", {}, 421),
        ("", {}, 421),
        ("[not an address", {}, 421),
        ("192.0.2.7", {}, 421),
        ("192.0.2.7:8000", {"bound_to": "0.0.0.0"}, PASSED),
        ("evil.example", {"bound_to": "0.0.0.0"}, 421),
        (socket.gethostname(), {"bound_to": "0.0.0.0"}, PASSED),
        ("my.server.example", {"hosts": ("My.Server.Example",)}, PASSED),
    ],
)
def test_a_request_must_name_a_host_that_is_ours(host: str, more: Any, code: int) -> None:
    assert ask(host=host, **more)[0] == code


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, PASSED),
        ({"origin": "http://127.0.0.1:8000"}, PASSED),
        ({"origin": "https://localhost:9000", "host": "localhost:9000"}, PASSED),
        ({"origin": "http://127.0.0.1:8001"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "same-origin"}, PASSED),
        ({"sec_fetch_site": "none"}, PASSED),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
    ],
)
@pytest.mark.parametrize("method", ["POST", "WEBSOCKET"])
def test_what_may_change_something_comes_from_our_own_pages(
    method: str, headers: dict[str, str], code: int
) -> None:
    assert ask("/graphql", method, content_type=JSON, **headers)[0] == code


def test_a_foreign_page_may_lead_to_ours() -> None:
    assert ask("/runs/1", sec_fetch_site="cross-site", origin="http://evil.example")[0] == PASSED


@pytest.mark.parametrize(
    ("method", "path", "query", "kind", "code"),
    [
        ("GET", "/graphql", "", "", 405),
        ("HEAD", "/graphql", "", "", 405),
        ("OPTIONS", "/", "", "", 405),
        ("PUT", "/", "", JSON, 405),
        ("POST", "/graphql/", "", JSON, 405),
        ("POST", "/GRAPHQL", "", JSON, 405),
        ("WEBSOCKET", "/status", "", "", 403),
        ("GET", "/graphql", "query={version}", "", 405),
        ("POST", "/graphql", "", JSON, PASSED),
        ("POST", "/graphql", "", f"{JSON}; charset=utf-8", PASSED),
        ("POST", "/graphql", "", "text/plain", 415),
        ("POST", "/graphql", "", f"text/plain; {JSON}", 415),
        ("POST", "/graphql", "query={version}", "", 415),
        ("POST", "/status", "", JSON, 405),
        ("POST", "/report_asset_check/x", "", JSON, 405),
        ("DELETE", "/graphql", "", JSON, 405),
        ("HEAD", "/", "", "", PASSED),
    ],
)
def test_only_json_is_posted_and_only_where_it_may_be(
    method: str, path: str, query: str, kind: str, code: int
) -> None:
    assert ask(path, method, query=query, content_type=kind)[0] == code


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 401),
        ({"authorization": f"Bearer {TOKEN}"}, PASSED),
        ({"authorization": f"bearer  {TOKEN}"}, PASSED),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "Bearer "}, 401),
        ({"authorization": f"Basic {TOKEN}"}, 401),
        ({"cookie": f"flowtoy-8000={SESSION}"}, PASSED),
        ({"cookie": f"a[]=b@c; flowtoy-8000={SESSION}; other=1"}, PASSED),
        ({"cookie": f"__Host-flowtoy-8000={SESSION}"}, PASSED),
        ({"cookie": f"flowtoy-8000=of-another-server; flowtoy-8000={SESSION}"}, PASSED),
        ({"cookie": f"flowtoy-8000={TOKEN}"}, 401),
        ({"cookie": f"flowtoy-8001={SESSION}"}, 401),
        ({"cookie": "flowtoy-8000="}, 401),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "WEBSOCKET"])
def test_who_asks_must_know_the_token(method: str, headers: dict[str, str], code: int) -> None:
    path = "/status" if method == "GET" else "/graphql"
    headers = {**headers, "origin": "http://127.0.0.1:8000"}
    found = ask(path, method, token=TOKEN, content_type=JSON, **headers)[0]
    assert found == (403 if method == "WEBSOCKET" and code == 401 else code)


@pytest.mark.parametrize(
    ("path", "query", "where"),
    [
        ("/", f"token={TOKEN}", "/"),
        ("/runs/1", f"logType=stdout&token={TOKEN}&x=a%26b", "/runs/1?logType=stdout&x=a%26b"),
        ("/\\evil.example", f"token={TOKEN}", "/%5Cevil.example"),
    ],
)
def test_a_token_in_the_url_becomes_a_cookie_and_leaves_the_url(
    path: str, query: str, where: str
) -> None:
    code, headers = ask(path, query=query, token=TOKEN)
    assert (code, headers["location"]) == (303, where)
    assert headers["set-cookie"] == f"flowtoy-8000={SESSION}; Path=/; HttpOnly; SameSite=Strict"
    assert headers["cache-control"] == "no-store"


def test_behind_tls_the_cookie_has_the_form_that_no_other_server_can_set() -> None:
    _, headers = ask(query=f"token={TOKEN}", token=TOKEN, x_forwarded_proto="https")
    assert headers["set-cookie"] == (
        f"__Host-flowtoy-8000={SESSION}; Path=/; HttpOnly; SameSite=Strict; Secure"
    )


@pytest.mark.parametrize("method", ["POST", "WEBSOCKET"])
def test_who_is_known_by_a_cookie_says_from_which_page_it_asks(method: str) -> None:
    known = {"cookie": f"flowtoy-8000={SESSION}", "content_type": JSON}
    assert ask("/graphql", method, token=TOKEN, **known)[0] == 403
    assert ask("/graphql", method, token=TOKEN, sec_fetch_site="same-origin", **known)[0] == PASSED
    known = {"authorization": f"Bearer {TOKEN}", "content_type": JSON}
    assert ask("/graphql", method, token=TOKEN, **known)[0] == PASSED


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
@pytest.mark.parametrize(
    ("mode", "dest", "code"),
    [("navigate", "document", PASSED), ("navigate", "iframe", 403), ("no-cors", "script", 403),
     ("cors", "empty", 403)],
)
def test_a_page_of_another_site_loads_nothing_from_here(
    site: str, mode: str, dest: str, code: int
) -> None:
    headers = {"sec_fetch_site": site, "sec_fetch_mode": mode, "sec_fetch_dest": dest}
    assert ask("/outputs", **headers)[0] == code


@pytest.mark.parametrize(
    "path", ["/graphql\n", "/graphql\r", "\n/graphql", "//graphql", "http://x/graphql", "",
             "/x/../graphql", "/./graphql", "/x/..", "/graphql\x00", "/graphql\u2028", "/\x85"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_that_a_router_may_read_otherwise_is_not_passed_on(path: str, method: str) -> None:
    assert ask(path, method, content_type=JSON)[0] == 400


@pytest.mark.parametrize(
    "header", [("host", "127.0.0.1"), ("Origin", "http://127.0.0.1:8000"),
               ("content-type", JSON), ("Sec-Fetch-Site", "none")],
)
def test_a_header_that_decides_is_sent_once(header: tuple[str, str]) -> None:
    given = {"origin": "http://127.0.0.1:8000", "content_type": JSON, "sec_fetch_site": "none"}
    assert ask("/graphql", "POST", **given)[0] == PASSED
    assert ask("/graphql", "POST", more=[header], **given)[0] == 400


@pytest.mark.parametrize("more", [{}, {"host": "evil.example"}, {"token": TOKEN}])
def test_no_answer_may_be_framed(more: Any) -> None:
    _, headers = ask("/", **more)
    assert headers["content-security-policy"] == "frame-ancestors 'none'"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("more", [{"host": "evil.example"}, {"token": TOKEN}])
def test_a_refusal_is_never_cached(more: Any) -> None:
    code, headers = ask("/", **more)
    assert (400 <= code < 500, headers["cache-control"]) == (True, "no-store")


def test_who_comes_by_a_link_elsewhere_goes_on_from_a_page_of_ours() -> None:
    """A redirect would be asked for without the cookie, which is for our own pages alone."""
    code, headers = ask("/runs/1", query=f"token={TOKEN}", token=TOKEN, sec_fetch_site="cross-site")
    assert (code, headers["content-type"]) == (PASSED, "text/html; charset=utf-8")
    assert headers["set-cookie"].startswith(f"flowtoy-8000={SESSION}; ")


def test_a_wrong_token_in_the_url_sets_nothing() -> None:
    code, headers = ask(query="token=wrong", token=TOKEN)
    assert code == 401
    assert "set-cookie" not in headers


@pytest.mark.parametrize(
    ("host", "is_local", "url"),
    [
        ("127.0.0.1", True, "http://127.0.0.1"),
        ("localhost", True, "http://localhost"),
        ("0.0.0.0", False, f"http://{socket.gethostname()}"),
    ],
)
def test_a_listener_knows_who_can_reach_it(host: str, is_local: bool, url: str) -> None:
    listener = listen(host)
    with listener.socket:
        assert listener.is_local == is_local
        assert listener.url == f"{url}:{listener.port}"

"""Redirects: which are followed, by which method, and what of a call goes where."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from loopback import Server, answer, call, serving

from flowtoy_dagster.providers.rest.provider import RestProvider
from flowtoy_dagster.steps.state.mask import StepMask


@pytest.mark.parametrize(
    ("status", "method", "followed_by"),
    [
        (301, "POST", "GET"), (302, "POST", "GET"), (303, "POST", "GET"),
        (301, "PUT", "PUT"), (302, "DELETE", "DELETE"), (302, "PATCH", "PATCH"),
        (303, "PUT", "GET"), (303, "DELETE", "GET"), (303, "HEAD", "HEAD"), (301, "HEAD", "HEAD"),
        (307, "POST", "POST"), (308, "POST", "POST"), (307, "DELETE", "DELETE"),
    ],
)
def test_the_method_of_a_redirected_call(
    server: Server, status: int, method: str, followed_by: str
) -> None:
    server.answers["/old"] = answer("", status, Location="/new")
    body = {"json": {"a": 1}} if method in ("POST", "PUT", "PATCH") else {}
    assert call(url=f"{server.url}/old", method=method, **body).success
    sent = server.requests[1]
    assert (sent.target, sent.method) == ("/new", followed_by)
    kept = bool(body) and followed_by == method
    assert sent.body == (b'{"a":1}' if kept else b"")
    assert ("content-type" in sent.headers) == kept


def test_a_body_that_a_redirect_drops_is_a_warning(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("flowtoy"), "propagate", True)
    server.answers["/old"] = answer("", 301, Location="/new")
    call(url=f"{server.url}/old?key=s3cret", method="POST", json={"a": 1})
    assert f"POST {server.url}/old is redirected (301)" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("status", [300, 304, 305, 306])
def test_other_statuses_are_answers(server: Server, status: int) -> None:
    server.answers["/"] = answer("", status, Location="/new")
    assert call(url=server.url).code == status


def test_a_redirect_without_a_location_is_an_answer(server: Server) -> None:
    server.answers["/"] = answer("", 302)
    assert call(url=server.url).code == 302


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/c", "/c"), ("c", "/a/c"), ("../c", "/c"), ("?q=1", "/a/b?q=1"),
        ("//{host}/c", "/c"), ("http://{host}/c", "/c"), ("/c#part", "/c"), ("/ä b", "/%C3%A4%20b"),
    ],
)
def test_locations_are_relative_to_the_url(server: Server, location: str, target: str) -> None:
    written = location.format(host=server.url.partition("//")[2])
    server.answers["/a/b"] = [answer("", 302, Location=written), answer()]
    result = call(url=f"{server.url}/a/b?x=y", params={"x": "z"})
    assert server.requests[1].target == target
    assert result.meta["url"] == server.url + target


SENT = {"Cookie": "session=abcdef", "X-Trace": "1", "X-Api-Key": "k-123456", "X-Custom": "learned!"}


def test_headers_go_along_on_the_same_host(server: Server) -> None:
    server.answers["/orders"] = answer("", 301, Location="/orders/")
    assert call(url=f"{server.url}/orders", headers=SENT, auth={"bearer": "t0ken"}).success
    sent = server.requests[1].headers
    assert {name: sent.get(name.lower()) for name in SENT} == SENT
    assert sent["authorization"] == "Bearer t0ken"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_credentials_stay_with_their_host(server: Server, status: int) -> None:
    context: Any = SimpleNamespace(
        mask=StepMask(), deadline=None, tokens=None, parts=None, exchanges=None,
        folder=None,
    )
    context.mask.learn(["learned!"])
    with serving() as other:
        server.answers["/"] = answer("", status, Location=f"{other.url}/")
        headers = {**SENT, "Host": "shop.example", "authORIZATION": "Basic x"}
        RestProvider({"url": server.url, "headers": headers, "timeout": 20}).call(None, context)
        sent = other.request.headers
    assert sent["x-trace"] == "1"
    assert sent["host"] == other.url.partition("//")[2]
    hidden = ("cookie", "x-api-key", "x-custom", "authorization")
    assert not set(hidden) & set(sent)


@pytest.mark.parametrize(
    "credentials",
    [{"auth": {"bearer": "t0ken"}}, {"auth": {"basic": {"username": "u", "password": "p"}}}],
)
def test_auth_does_not_come_back_with_a_redirect_back(
    server: Server, credentials: dict[str, object]
) -> None:
    with serving() as other:
        server.answers["/"] = answer("", 302, Location=f"{other.url}/")
        other.answers["/"] = answer("", 302, Location=f"{server.url}/back")
        assert call(url=server.url, **credentials).success
    assert "authorization" not in server.requests[1].headers


def test_the_user_in_a_url_stays_with_its_host(server: Server) -> None:
    with serving() as other:
        server.answers["/"] = answer("", 302, Location="/on")
        server.answers["/on"] = answer("", 302, Location=f"{other.url}/")
        assert call(url=server.url.replace("//", "//user:pass@")).success
        assert "authorization" not in other.request.headers
    assert ["authorization" in request.headers for request in server.requests] == [True, True]


def test_a_location_chooses_no_credentials(server: Server) -> None:
    with serving() as other:
        server.answers["/"] = answer("", 302, Location=other.url.replace("//", "//me:pw@") + "/")
        result = call(url=server.url)
        assert "authorization" not in other.request.headers
    assert "me:pw" not in str(result)


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("body", [{"json": {"a": 1}}, {"data": "a"}, {"form": {"a": "1"}}])
def test_a_body_is_not_sent_to_another_host(
    server: Server, status: int, body: dict[str, object]
) -> None:
    with serving() as other:
        server.answers["/in"] = answer("", status, Location=f"{other.url}/in?x=1")
        result = call(url=f"{server.url}/in?key=s3cret", method="POST", **body)
        assert other.requests == []
    assert result.notes == (
        f"'{server.url}/in' redirects POST to another host ({other.url}): "
        "the body is not sent there",
    )


@pytest.mark.parametrize("status", [302, 303])
def test_a_call_without_its_body_goes_to_another_host(server: Server, status: int) -> None:
    with serving() as other:
        server.answers["/"] = answer("", status, Location=f"{other.url}/")
        assert call(url=server.url, method="POST", json={"a": 1}).success
        assert (other.request.method, other.request.body) == ("GET", b"")


def test_cookies_that_an_answer_sets_are_not_used(server: Server) -> None:
    server.answers["/login"] = answer("", 303, Location="/home", Set_Cookie="sid=1; Path=/")
    call(url=f"{server.url}/login")
    call(url=f"{server.url}/home")
    assert [request.headers.get("cookie") for request in server.requests] == [None] * 3


@pytest.mark.parametrize("location", ["http://[", "ftp://h/x", "file:///etc/passwd", "http://"])
@pytest.mark.parametrize("follow", [True, False])
def test_a_redirect_that_is_not_followed_may_lead_anywhere(
    server: Server, location: str, follow: bool
) -> None:
    server.answers["/"] = answer("", 302, Location=location)
    result = call(url=server.url, allow_redirects=follow, expect=302)
    assert result.success != follow


def test_thirty_redirects_are_followed(server: Server) -> None:
    server.answers.update({f"/{n}": answer("", 302, Location=f"/{n + 1}") for n in range(31)})
    server.answers["/31"] = answer('"there"')
    assert call(url=f"{server.url}/1").data == "there"
    assert call(url=f"{server.url}/0").notes == ("more than 30 redirects",)

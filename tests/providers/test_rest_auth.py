"""Kinds of `auth` (language 21.5)."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from loopback import Server, answer, call, serving
from pydantic import ValidationError

from flowtoy_dagster.flow.graph import Source, Step
from flowtoy_dagster.flow.schema.models import OutputConfig
from flowtoy_dagster.providers.kinds import InstalledProviders
from flowtoy_dagster.steps.attempts import run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo

KEY = {"type": "api_key", "api_key": "k3y-k3y-k3y"}


@pytest.mark.parametrize(
    ("auth", "value"),
    [
        ({"type": "bearer", "token": "t0ken\n"}, "Bearer t0ken"),
        ({"type": "http_basic", "username": "u", "password": "p"},
         "Basic " + base64.b64encode(b"u:p").decode()),
        (KEY, "k3y-k3y-k3y"),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)  # fmt: skip
def test_the_header_says_who_calls(server: Server, auth: dict[str, Any], value: str) -> None:
    assert call(url=server.url, auth=auth).success
    assert server.request.headers["authorization"] == value


def test_a_key_is_sent_in_a_header_of_its_own(server: Server) -> None:
    call(url=server.url, auth={**KEY, "name": "X-Key"}, headers={"X-Key": "other"})
    assert server.request.headers["x-key"] == "k3y-k3y-k3y"
    assert "authorization" not in server.request.headers


def test_a_key_is_sent_in_the_query(server: Server) -> None:
    auth = {**KEY, "name": "key", "location": "query"}
    call(url=server.url, auth=auth, params={"key": "other", "q": 1})
    assert server.request.query == [("q", "1"), ("key", "k3y-k3y-k3y")]


def test_a_key_is_sent_in_a_cookie_next_to_others(server: Server) -> None:
    auth = {**KEY, "name": "key", "location": "cookie"}
    call(url=server.url, auth=auth, headers={"Cookie": "a=b"})
    assert server.request.headers["cookie"] == "a=b; key=k3y-k3y-k3y"


def test_a_key_in_the_query_is_sent_for_every_page_once(server: Server) -> None:
    pages = ['{"d": [1], "next": "/?page=2"}', '{"d": [2], "next": "/?page=3&key=k3y-k3y-k3y"}']
    server.answers["/"] = [*map(answer, pages), answer('{"d": [3], "next": null}')]
    paginator = {"type": "json_link", "next_url_path": "next"}
    auth = {**KEY, "name": "key", "location": "query"}
    assert call(url=server.url, auth=auth, paginator=paginator).data == [1, 2, 3]
    assert [dict(r.query)["key"] for r in server.requests] == ["k3y-k3y-k3y"] * 3
    assert [len(r.query) for r in server.requests] == [1, 2, 2]


@pytest.mark.parametrize("location", ["header", "query", "cookie"])
def test_a_key_goes_to_no_other_host(server: Server, location: str) -> None:
    with serving() as other:
        server.answers["/"] = answer("", 302, Location=f"{other.url}/x")
        assert call(url=server.url, auth={**KEY, "name": "who", "location": location}).success
        received = other.request
    assert "k3y" not in f"{received.target} {received.headers}"


def test_a_key_is_masked(server: Server) -> None:
    server.answers["/"] = answer('{"error": "no access with k3y-k3y-k3y"}', 403)
    configuration = {"url": server.url, "auth": {**KEY, "name": "key", "location": "query"}}
    outputs = (OutputConfig.model_validate({"name": "rows", "type": "raw"}),)
    step = Step(0, "read", Source("rest", configuration), outputs=outputs)
    error = run_step(StepContext(step, RunInfo("r", "f", lambda: 0.0)), {}, {}).error or ""
    assert "k3y" not in error
    assert error.startswith("HTTP status 403")


@pytest.mark.parametrize(
    ("auth", "message", "hint"),
    [
        ({"type": "api_kee"}, "there is no auth of type 'api_kee'",
         "did you mean 'api_key'? the types are 'bearer', 'http_basic', 'api_key', "
         "'oauth2_client_credentials', 'oauth2_refresh', 'token'"),
        ({"type": "bearer"}, "the key 'token' is required", None),
        ({**KEY, "token": "x"}, "'api_key' has no key 'token'", "it is a key of 'bearer'"),
        ({**KEY, "location": "body"}, "'body' is not one of 'header', 'query', 'cookie'", None),
        ({"bearr": "x"}, "unknown key 'bearr'", "did you mean 'bearer'?"),
        ({}, "'auth' takes exactly one of 'basic' and 'bearer'", None),
    ],
)  # fmt: skip
def test_a_mistake_is_found_before_the_run(
    auth: dict[str, Any], message: str, hint: str | None
) -> None:
    found = InstalledProviders().check("rest", {"url": "u", "auth": auth}, True)
    assert (found[0].message, found[0].hint) == (message, hint)
    assert found[0].path[:1] == ("auth",)


def test_an_empty_key_is_an_error() -> None:
    with pytest.raises(ValidationError):
        call(url="http://127.0.0.1:9", auth={"type": "api_key", "api_key": ""})

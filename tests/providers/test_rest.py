"""The rest provider, over real sockets."""

from __future__ import annotations

import base64
import errno
import gzip
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from loopback import Server, answer, call, drop, plain, say, serving
from pydantic import ValidationError

from flowtoy_dagster.flow.schema.fields import STATIC
from flowtoy_dagster.providers.rest.provider import (
    METHODS,
    RestConfiguration,
    RestKind,
    RestProvider,
)

SHORT = 0.3
HEAD = "in the middle of the answer's headers"

# The address


def test_url_is_called_with_get(server: Server) -> None:
    call(url=f"{server.url}/users")
    assert (server.request.method, server.request.target) == ("GET", "/users")


@pytest.mark.parametrize(
    ("base", "url", "target"),
    [
        pytest.param("/api", "users", "/api/users", id="relative"),
        pytest.param("/api/", "/users", "/api/users", id="one slash between"),
        pytest.param("/api", None, "/api", id="base alone"),
        pytest.param("/api", 7, "/api/7", id="number"),
        pytest.param("/api\n", " users\n", "/api/users", id="white space around"),
        pytest.param("/api", "users?a=b:c//d", "/api/users?a=b:c//d", id="query of its own"),
    ],
)
def test_url_is_appended_to_base_url(server: Server, base: str, url: Any, target: str) -> None:
    call(base_url=server.url + base, **({} if url is None else {"url": url}))
    assert server.request.target == target


def test_absolute_url_wins_over_base_url(server: Server) -> None:
    call(base_url="http://127.0.0.1:1/api", url=f"{server.url}/users")
    assert server.request.target == "/users"


def test_call_without_url_fails() -> None:
    assert call().notes == ("a rest call needs a 'url' or a 'base_url'",)


# The request


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_sent(server: Server, method: str) -> None:
    server.answers["/"] = answer("", 204)
    assert call(url=server.url, method=method).success
    assert server.request.method == method


def test_method_may_be_in_lower_case(server: Server) -> None:
    call(url=server.url, method="post")
    assert server.request.method == "POST"


def test_headers_are_sent_as_text(server: Server) -> None:
    headers = {"X-Text": "a b", "X-Number": 5, "X-Switch": True, "X-Not-Ascii": "Zoë €"}
    call(url=server.url, headers=headers)
    got = server.request.headers
    assert [got["x-text"], got["x-number"], got["x-switch"]] == ["a b", "5", "true"]
    assert got["x-not-ascii"] == "Zoë €"


def test_null_header_is_left_out(server: Server) -> None:
    call(url=server.url, headers={"X-Absent": None})
    assert "x-absent" not in server.request.headers


def test_params_are_the_query(server: Server) -> None:
    params = {"q": "a&b é", "n": 1, "on": False, "many": ["x", 2], "none": None, "empty": ""}
    call(url=f"{server.url}/?own=1", params=params)
    assert server.request.query == [
        ("own", "1"),
        ("q", "a&b é"),
        ("n", "1"),
        ("on", "false"),
        ("many", "x"),
        ("many", "2"),
        ("empty", ""),
    ]


@pytest.mark.parametrize("value", [{"a": [1, "é"]}, [1], "text", 0, False], ids=repr)
def test_json_is_the_body(server: Server, value: Any) -> None:
    call(url=server.url, method="POST", json=value)
    assert json.loads(server.request.body) == value
    assert server.request.headers["content-type"] == "application/json"
    assert server.request.body == json.dumps(
        value, ensure_ascii=False, separators=(",", ":")
    ).encode("utf-8")


@pytest.mark.parametrize(
    ("data", "body"),
    [
        pytest.param("zażółć", "zażółć".encode(), id="text"),
        pytest.param(b"\x00\xff", b"\x00\xff", id="bytes"),
        pytest.param({"a": 1}, b'{"a":1}', id="mapping"),
        pytest.param([1, None], b"[1,null]", id="list"),
        pytest.param(5, b"5", id="number"),
        pytest.param(True, b"true", id="boolean"),
    ],
)
def test_data_is_a_text_body(server: Server, data: Any, body: bytes) -> None:
    call(url=server.url, method="POST", data=data)
    assert server.request.body == body
    assert server.request.headers["content-type"] == "text/plain; charset=utf-8"


def test_form_is_urlencoded(server: Server) -> None:
    form = {"a": "x y&z", "n": 1, "on": True, "many": ["p", "q"], "none": None}
    call(url=server.url, method="POST", form=form)
    assert server.request.body == b"a=x+y%26z&n=1&on=true&many=p&many=q"
    assert server.request.headers["content-type"] == "application/x-www-form-urlencoded"


@pytest.mark.parametrize("body", [{"json": {}}, {"data": "x"}, {"form": {"a": 1}}], ids=str)
def test_content_type_of_headers_wins(server: Server, body: dict[str, Any]) -> None:
    call(url=server.url, method="POST", headers={"content-TYPE": "application/x-own"}, **body)
    assert server.request.headers["content-type"] == "application/x-own"


def test_basic_auth_is_sent_in_utf8(server: Server) -> None:
    call(url=server.url, auth={"basic": {"username": "zoë", "password": "€:1"}})
    expected = base64.b64encode("zoë:€:1".encode()).decode()
    assert server.request.headers["authorization"] == f"Basic {expected}"


def test_bearer_token_is_sent(server: Server) -> None:
    call(url=server.url, auth={"bearer": "t0ken"})
    assert server.request.headers["authorization"] == "Bearer t0ken"


def test_auth_wins_over_the_header(server: Server) -> None:
    call(url=server.url, auth={"bearer": "t0ken"}, headers={"Authorization": "other"})
    assert server.request.headers["authorization"] == "Bearer t0ken"


def test_user_in_the_url_is_basic_auth(server: Server) -> None:
    call(url=server.url.replace("//", "//me:pw@"))
    expected = base64.b64encode(b"me:pw").decode()
    assert server.request.headers["authorization"] == f"Basic {expected}"


def test_netrc_is_not_read(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password pw\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.answers["/"] = answer("", 302, Location="/next")
    assert call(url=server.url).success
    assert ["authorization" in request.headers for request in server.requests] == [False, False]


def test_proxy_of_the_environment_is_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url.replace("//", "//me:pw@"))
    assert call(url="http://example.invalid/users").success
    assert server.request.target == "http://example.invalid/users"
    assert "proxy-authorization" in server.request.headers


# Payloads (language 11.2)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_payload_is_in_the_query_by_method(server: Server, method: str) -> None:
    server.answers["/"] = answer("", 204)
    call({"a": 1}, url=server.url, method=method)
    assert (server.request.query, server.request.body) == ([("a", "1")], b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_payload_is_the_body_by_method(server: Server, method: str) -> None:
    call({"a": 1}, url=server.url, method=method)
    assert (server.request.query, server.request.body) == ([], b'{"a":1}')


def test_input_mode_parameter_wins_over_the_method(server: Server) -> None:
    call({"a": 1}, url=server.url, method="POST", input_mode="parameter")
    assert (server.request.query, server.request.body) == ([("a", "1")], b"")


def test_input_mode_body_wins_over_the_method(server: Server) -> None:
    call({"a": 1}, url=server.url, method="GET", input_mode="body")
    assert (server.request.query, server.request.body) == ([], b'{"a":1}')
    assert server.request.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("payload", "query"),
    [
        pytest.param("x y", [("id", "x y")], id="text"),
        pytest.param("", [("id", "")], id="empty text"),
        pytest.param(7, [("id", "7")], id="number"),
        pytest.param(False, [("id", "false")], id="boolean"),
        pytest.param([1, "b", {"c": 2}], [("id", "1"), ("id", "b"), ("id", '{"c":2}')], id="list"),
        pytest.param(None, [], id="null"),
        pytest.param(
            {"t": "x", "n": 1.5, "on": True, "l": [1, "a"], "m": {"k": None}, "none": None},
            [("t", "x"), ("n", "1.5"), ("on", "true"), ("l", '[1,"a"]'), ("m", '{"k":null}')],
            id="mapping",
        ),
    ],
)
def test_payload_as_parameters(server: Server, payload: Any, query: list[tuple[str, str]]) -> None:
    call(payload, url=server.url, input_mode="parameter")
    assert server.request.query == query


def test_param_name_names_the_parameter(server: Server) -> None:
    call(7, url=server.url, param_name="user")
    assert server.request.query == [("user", "7")]


def test_payload_replaces_params_of_its_names(server: Server) -> None:
    call({"page": 2}, url=server.url, params={"page": 1, "size": 10})
    assert server.request.query == [("size", "10"), ("page", "2")]


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        pytest.param({"a": "é"}, '{"a":"é"}'.encode(), id="mapping"),
        pytest.param([1, None], b"[1,null]", id="list"),
        pytest.param('{"a": 1}', b'{"a": 1}', id="text of an object"),
        pytest.param("\n[1, 2]", b"\n[1, 2]", id="text of an array"),
        pytest.param("{a}", b'"{a}"', id="text that is not JSON"),
        pytest.param("7", b'"7"', id="text of a number"),
        pytest.param("", b'""', id="empty text"),
        pytest.param(7, b"7", id="number"),
        pytest.param(True, b"true", id="boolean"),
        pytest.param(2**70, str(2**70).encode(), id="large number"),
    ],
)
def test_payload_as_body(server: Server, payload: Any, body: bytes) -> None:
    call(payload, url=server.url, method="POST")
    assert server.request.body == body
    assert server.request.headers["content-type"] == "application/json"


def test_payload_that_json_cannot_hold_fails() -> None:
    result = call(object(), url="http://127.0.0.1:1", method="POST")
    assert not result.success
    assert result.notes[0].startswith("the request can't be sent: a value of type 'object'")


# The data


@pytest.mark.parametrize(
    "kind",
    ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"],
)
def test_json_answer_is_parsed(server: Server, kind: str) -> None:
    server.answers["/"] = answer('{"a": ["é", 1, null]}', Content_Type=kind)
    assert call(url=server.url).data == {"a": ["é", 1, None]}


@pytest.mark.parametrize(
    ("body", "data"),
    [
        pytest.param('\n{"a": 1}', {"a": 1}, id="object"),
        pytest.param("[1]", [1], id="array"),
        pytest.param("{not json", "{not json", id="only looks like it"),
        pytest.param("7", "7", id="number stays text"),
        pytest.param("hello", "hello", id="text"),
        pytest.param("", "", id="empty"),
        pytest.param("[" * 100_000, "[" * 100_000, id="too deep"),
    ],
)
def test_text_answer_that_looks_like_json_is_parsed(server: Server, body: str, data: Any) -> None:
    server.answers["/"] = plain(body)
    result = call(url=server.url)
    assert (result.success, result.data) == (True, data)


@pytest.mark.parametrize(
    "number", [2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**40, 1234567890123456789]
)
def test_large_integers_are_exact(server: Server, number: int) -> None:
    server.answers["/"] = answer(json.dumps({"n": number}))
    assert call(url=server.url).data == {"n": number}


def test_answer_without_content_type_may_be_json(server: Server) -> None:
    server.answers["/"] = b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"a": 1}'
    assert call(url=server.url).data == {"a": 1}


@pytest.mark.parametrize("status", [200, 201])
def test_empty_json_answer_is_null(server: Server, status: int) -> None:
    server.answers["/"] = answer("", status)
    result = call(url=server.url)
    assert (result.success, result.data) == (True, None)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ('{"a":}', "unexpected character, expected a JSON value at line 1 column 6"),
        ("[1,\n nul]", "invalid literal, expected 'null' at line 2 column 2"),
        ("[12345678901234567890, NaN]", "NaN is not a JSON value"),
    ],
    ids=["object", "second line", "NaN"],
)
def test_false_json_fails_with_one_note(server: Server, body: str, complaint: str) -> None:
    server.answers["/"] = answer(body)
    result = call(url=server.url)
    assert (result.success, result.code, result.data) == (False, 200, body)
    assert result.notes == (f"the answer says it is JSON but is not: {complaint}",)


def test_false_json_of_a_failure_is_not_complained_about(server: Server) -> None:
    server.answers["/"] = answer("<h1>oops</h1>", 500)
    result = call(url=server.url)
    assert (result.notes, result.data) == (("HTTP status 500: <h1>oops</h1>",), "<h1>oops</h1>")


@pytest.mark.parametrize(
    ("kind", "body", "data"),
    [
        pytest.param("text/plain; charset=latin-1", b"\xe9", "é", id="charset"),
        pytest.param("text/plain; charset=UTF-16", "é".encode("utf-16"), "é", id="utf-16"),
        pytest.param("text/plain", "é".encode(), "é", id="utf-8 by default"),
        pytest.param("text/plain", b"a\xffb", "a\ufffdb", id="replacement"),
        pytest.param("text/plain; charset=klingon", b"\xc3\xa9", "é", id="unknown charset"),
        pytest.param("text/plain; charset=base64", b"\xc3\xa9", "é", id="not a charset"),
        pytest.param("application/json", b'\xef\xbb\xbf{"a": 1}', {"a": 1}, id="byte order mark"),
        pytest.param("application/json; charset=latin-1", b'["\xe9"]', ["é"], id="JSON"),
    ],
)
def test_answers_are_decoded(server: Server, kind: str, body: bytes, data: Any) -> None:
    server.answers["/"] = answer(body, Content_Type=kind)
    assert call(url=server.url).data == data


def test_compressed_answers_are_unpacked(server: Server) -> None:
    server.answers["/"] = answer(gzip.compress(b'{"a": 1}'), Content_Encoding="gzip")
    assert call(url=server.url).data == {"a": 1}


def test_chunked_answers_are_joined(server: Server) -> None:
    chunks = b'4\r\n{"a"\r\n4\r\n: 1}\r\n0\r\n\r\n'
    server.answers["/"] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    assert call(url=server.url).data == {"a": 1}


def test_answer_to_head_has_no_data(server: Server) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
    server.answers["/"] = head
    result = call(url=server.url, method="HEAD")
    assert (result.success, result.data) == (True, None)


def test_meta_tells_of_the_answer(server: Server) -> None:
    server.answers["/a"] = plain("x", 201, X_Own="1")
    result = call(url=f"{server.url.replace('//', '//me:pw@')}/a", params={"b": 1})
    elapsed = result.meta["elapsed"]
    assert isinstance(elapsed, float)
    assert elapsed > 0
    headers = {"Content-Type": "text/plain", "Content-Length": "1", "X-Own": "1"}
    assert result.meta == {
        "status_code": 201,
        "headers": headers,
        "elapsed": elapsed,
        "url": f"{server.url}/a?b=1",
    }
    assert type(result.meta["headers"]) is dict


# Statuses


@pytest.mark.parametrize("status", [200, 204, 299])
def test_2xx_is_success(server: Server, status: int) -> None:
    server.answers["/"] = answer("", status)
    result = call(url=server.url)
    assert (result.success, result.code, result.notes) == (True, status, ())


@pytest.mark.parametrize("status", [304, 400, 404, 500])
def test_other_statuses_fail(server: Server, status: int) -> None:
    server.answers["/"] = answer("", status)
    result = call(url=server.url)
    assert (result.success, result.code) == (False, status)
    assert result.notes == (f"HTTP status {status}",)


def test_failure_has_its_body_as_note_and_data(server: Server) -> None:
    server.answers["/"] = answer('{"error":\n  "no such user"}', 404)
    result = call(url=server.url)
    assert result.notes == ('HTTP status 404: {"error": "no such user"}',)
    assert result.data == {"error": "no such user"}


def test_note_has_the_first_part_of_a_long_body(server: Server) -> None:
    server.answers["/"] = plain("x" * 1000, 500)
    assert call(url=server.url).notes == (f"HTTP status 500: {'x' * 200}",)


def test_note_has_no_control_characters(server: Server) -> None:
    server.answers["/"] = plain("a\x1b[31m\tb", 500)
    assert call(url=server.url).notes == ("HTTP status 500: a\ufffd[31m b",)


@pytest.mark.parametrize(
    ("expect", "status", "success"),
    [
        (404, 404, True),
        ([200, 404], 404, True),
        ("404", 404, True),
        ([404], 200, False),
        ([404], 500, False),
    ],
)
def test_expect_says_what_is_success(
    server: Server, expect: Any, status: int, success: bool
) -> None:
    server.answers["/"] = answer("", status)
    result = call(url=server.url, expect=expect)
    assert (result.success, result.code) == (success, status)


# Redirects


def test_redirects_are_followed(server: Server) -> None:
    server.answers["/old"] = answer("moved", 302, Location="/new")
    server.answers["/new"] = answer('{"a": 1}')
    result = call(url=f"{server.url}/old")
    assert (result.code, result.data) == (200, {"a": 1})
    assert result.meta["url"] == f"{server.url}/new"


def test_redirects_are_not_followed_when_told_so(server: Server) -> None:
    server.answers["/old"] = plain("moved", 302, Location="/new")
    result = call(url=f"{server.url}/old", allow_redirects=False)
    assert (result.success, result.code, result.data) == (False, 302, "moved")
    assert len(server.requests) == 1


def test_endless_redirects_fail(server: Server) -> None:
    server.answers["/"] = answer("", 302, Location="/")
    assert call(url=server.url).notes == ("more than 30 redirects",)


def test_redirect_does_not_carry_the_token_to_another_host(server: Server) -> None:
    with serving() as other:
        server.answers["/"] = answer("", 302, Location=f"{other.url}/")
        assert call(url=server.url, auth={"bearer": "t0ken"}).success
    assert "authorization" in server.request.headers
    assert "authorization" not in other.request.headers


@pytest.mark.parametrize("location", ["http://[", "ftp://127.0.0.1/x"])
def test_redirect_to_no_http_url_fails(server: Server, location: str) -> None:
    server.answers["/"] = answer("", 302, Location=location)
    (note,) = call(url=server.url).notes
    assert note == f"what '{server.url}' redirects to is not a URL that can be called"


def test_body_of_a_redirect_is_limited(server: Server) -> None:
    server.answers["/"] = plain("x" * 1001, 302, Location="/new")
    result = call(url=server.url, max_response_bytes=1000)
    assert result.notes == ("the answer is larger than max_response_bytes (1000)",)


# Connections


def test_connections_are_reused(server: Server) -> None:
    for method in ("GET", "HEAD", "POST", "GET"):
        server.answers["/"] = answer("", 204)
        assert call(url=server.url, method=method).success
    assert (len(server.requests), server.connections) == (4, 1)


def test_connection_of_a_failure_is_reused(server: Server) -> None:
    server.answers["/"] = answer('{"error": 1}', 500)
    call(url=server.url)
    call(url=server.url)
    assert server.connections == 1


def test_forked_process_has_its_own_connections(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(url=server.url)
    # A fork of a process with threads is a warning, so only its look is mocked.
    monkeypatch.setattr(os, "getpid", lambda: -1)
    call(url=server.url)
    assert server.connections == 2


def test_cookies_do_not_leak_into_the_next_call(server: Server) -> None:
    server.answers["/"] = answer(Set_Cookie="session=secret; Path=/")
    call(url=server.url)
    call(url=server.url)
    assert ["cookie" in request.headers for request in server.requests] == [False, False]


def test_calls_at_the_same_time_do_not_mix(server: Server) -> None:
    server.answers = {f"/{n}": answer(str(n)) for n in range(40)}
    with ThreadPoolExecutor(12) as pool:
        given = list(pool.map(lambda n: call(url=f"{server.url}/{n}").data, range(40)))
    assert given == list(range(40))
    assert server.connections <= 12


def test_call_survives_a_kept_connection_that_was_closed(server: Server) -> None:
    server.answers["/"] = [answer(), drop, answer('{"a": 1}')]
    call(url=server.url)
    assert call(url=server.url).data == {"a": 1}
    assert server.connections == 2


def test_redirect_survives_a_kept_connection_that_was_closed(server: Server) -> None:
    with serving() as other:
        server.answers["/"] = answer("", 302, Location=f"{other.url}/")
        other.answers["/"] = [answer(), drop, answer('{"a": 1}')]
        call(url=other.url)
        assert call(url=server.url).data == {"a": 1}
        assert other.connections == 2


def test_post_is_not_repeated(server: Server) -> None:
    server.answers["/"] = [answer(), drop, answer()]
    call(url=server.url)
    result = call(url=server.url, method="POST")
    assert result.notes == ("the server closed the connection before answering",)
    assert len(server.requests) == 2


def test_new_connection_that_is_dropped_is_not_tried_again(server: Server) -> None:
    server.answers["/"] = drop
    assert not call(url=server.url).success
    assert len(server.requests) == 1


# TLS


def test_tls_server_with_a_trusted_certificate_answers(
    tls_server: Server, certificate: str
) -> None:
    assert call(url=tls_server.url, verify=certificate).success


def test_tls_connections_are_reused(tls_server: Server, certificate: str) -> None:
    call(url=tls_server.url, verify=certificate)
    call(url=tls_server.url, verify=certificate)
    assert (len(tls_server.requests), tls_server.connections) == (2, 1)


@pytest.mark.parametrize("verify", [False, "false"])
def test_verify_false_trusts_everyone(tls_server: Server, verify: Any) -> None:
    assert call(url=tls_server.url, verify=verify).success


def test_certificates_of_the_environment_are_trusted(
    tls_server: Server, certificate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate)
    assert call(url=tls_server.url).success


@pytest.mark.parametrize("pair", [False, True], ids=["one file", "pair"])
def test_cert_is_shown_to_the_server(certificate: str, pair: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    cert = [certificate, certificate] if pair else certificate
    with serving(context) as server:
        assert call(url=server.url, verify=certificate, cert=cert).success
        assert not call(url=server.url, verify=certificate).success


def test_untrusted_certificate_fails(tls_server: Server) -> None:
    assert call(url=tls_server.url).notes == (
        f"TLS error with {tls_server.url}: self-signed certificate",
    )


def test_tls_with_a_server_that_has_none_fails(server: Server) -> None:
    url = server.url.replace("http:", "https:")
    (note,) = call(url=url).notes
    assert note == (
        f"TLS error with {url}: the server does not speak TLS at this port; did you mean http://?"
    )


@pytest.mark.parametrize("key", ["verify", "cert"])
def test_certificate_file_that_is_not_there_fails(tls_server: Server, key: str) -> None:
    (note,) = call(url=tls_server.url, **{key: "/no/such/file.pem"}).notes
    assert note.endswith("invalid path: /no/such/file.pem")


# The deadline: all of a call, whatever the server does


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_server_that_does_not_answer_is_left(server: Server, method: str) -> None:
    server.answers["/"] = server.hang
    result = call(url=server.url, method=method, timeout=SHORT)
    assert (result.success, result.code) == (False, None)
    assert result.notes == ("timed out after 0.3 s",)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"HTTP/1.1 200 O", id="status line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX-Long: ", id="header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", id="body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", id="body to the end"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n", id="chunk"),
        pytest.param(
            b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 9999\r\n\r\n", id="redirect"
        ),
    ],
)
def test_server_that_drips_for_ever_is_left(server: Server, head: bytes) -> None:
    server.answers["/"] = server.drip(head)
    assert call(url=server.url, timeout=SHORT).notes == ("timed out after 0.3 s",)


def wait_for_abandoned_calls() -> None:
    end = time.monotonic() + 60
    while any(thread.name == "flowtoy-rest" for thread in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_thread_of_a_call_that_was_left_ends(server: Server) -> None:
    server.answers["/"] = server.drip(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    call(url=server.url, timeout=SHORT)
    wait_for_abandoned_calls()


def test_thread_of_a_tls_call_that_was_left_ends(tls_server: Server, certificate: str) -> None:
    tls_server.answers["/"] = tls_server.drip(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    result = call(url=tls_server.url, verify=certificate, timeout=2)
    assert result.notes == ("timed out after 2 s",)
    wait_for_abandoned_calls()


def test_thread_of_a_call_over_a_proxy_that_was_left_ends(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    server.answers["/"] = server.drip(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    call(url="http://example.invalid/", timeout=SHORT)
    wait_for_abandoned_calls()


def test_interrupted_call_is_given_up(server: Server) -> None:
    def interrupt(connection: socket.socket) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        server.hang(connection)

    server.answers["/"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        call(url=server.url)
    wait_for_abandoned_calls()


def test_tls_handshake_that_hangs_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        assert call(url=url, timeout=SHORT).notes == ("timed out after 0.3 s",)
        # A reset before the handshake would make Python's ssl leave a socket open.
        wait_for_abandoned_calls()


class SlowResolver:
    """Looks up names that end with `.slow` only when it is told to."""

    def __init__(self) -> None:
        self.told = threading.Event()
        self._look_up = socket.getaddrinfo

    def __call__(self, host: str, *args: Any) -> Any:
        if not host.endswith(".slow"):
            return self._look_up(host, *args)
        self.told.wait(60)
        return self._look_up("127.0.0.1", *args)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowResolver]:
    resolver = SlowResolver()
    # No real resolver can be asked to hang.
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    yield resolver
    resolver.told.set()
    wait_for_abandoned_calls()


def test_name_look_up_that_hangs_is_left(resolver: SlowResolver) -> None:
    assert call(url="http://x.slow", timeout=SHORT).notes == ("timed out after 0.3 s",)


def test_call_that_was_left_while_connecting_is_not_sent(
    server: Server, resolver: SlowResolver
) -> None:
    url = server.url.replace("127.0.0.1", "x.slow")
    call(url=url, method="POST", timeout=SHORT)
    resolver.told.set()
    wait_for_abandoned_calls()
    assert server.requests == []


def test_call_that_was_left_spares_a_connection_that_it_gave_back(
    server: Server, resolver: SlowResolver
) -> None:
    server.answers["/"] = [answer("", 302, Location="http://x.slow/"), answer()]
    # Long enough for the redirect to be read on a busy machine.
    assert not call(url=server.url, timeout=2).success
    assert call(url=server.url).success
    assert server.connections == 1


def test_next_call_works_after_one_that_was_left(server: Server) -> None:
    server.answers["/hang"] = server.hang
    call(url=f"{server.url}/hang", timeout=SHORT)
    assert call(url=server.url).success


# Limits


@pytest.mark.parametrize("size", [999, 1000])
def test_body_within_the_limit_is_given(server: Server, size: int) -> None:
    server.answers["/"] = plain("x" * size)
    assert call(url=server.url, max_response_bytes=1000).data == "x" * size


@pytest.mark.parametrize(
    "large",
    [
        pytest.param(plain("x" * 1001), id="one byte more"),
        pytest.param(answer(gzip.compress(b"x" * 10**7), Content_Encoding="gzip"), id="packed"),
    ],
)
def test_body_over_the_limit_fails(server: Server, large: bytes) -> None:
    server.answers["/"] = large
    result = call(url=server.url, max_response_bytes=1000)
    assert result.notes == ("the answer is larger than max_response_bytes (1000)",)
    assert (result.success, result.data) == (False, None)


def test_endless_body_is_not_read_to_its_end(server: Server) -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while not server.ended.is_set():
            connection.sendall(b"x" * 65536)

    server.answers["/"] = flood
    result = call(url=server.url, max_response_bytes=100_000)
    assert result.notes == ("the answer is larger than max_response_bytes (100000)",)


# Failures in plain words


def test_refused_connection(refusing: str) -> None:
    result = call(url=f"http://me:s3cret@{refusing}/path?token=s3cret")
    assert result.notes == (f"could not connect to http://{refusing}: connection refused",)
    assert (result.success, result.code, result.data) == (False, None, None)


def test_connection_that_the_system_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(*_args: Any, **_options: Any) -> None:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    # Takes minutes in earnest.
    monkeypatch.setattr("urllib3.util.connection.create_connection", give_up)
    assert call(url="http://127.0.0.1:1").notes == (
        "could not connect to http://127.0.0.1:1: connection timed out",
    )


def test_refused_connection_of_a_proxy(refusing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:s3cret@{refusing}")
    assert call(url="http://example.invalid").notes == (
        "could not connect to the proxy for http://example.invalid: connection refused",
    )


def test_proxy_that_refuses_a_tunnel(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers["443"] = plain("no", 403)
    monkeypatch.setenv("https_proxy", server.url)
    assert call(url="https://example.invalid").notes == ("Tunnel connection failed: 403 Status",)


def test_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_args: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    # A resolver without a network may take its time to say so.
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert call(url="http://me:s3cret@x.invalid/path").notes == (
        "the name 'x.invalid' could not be resolved",
    )


@pytest.mark.parametrize(
    ("words", "note"),
    [
        pytest.param(b"", "before answering", id="nothing"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
            "in the middle of the answer",
            id="short body",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
            "in the middle of the answer",
            id="short chunk",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "in the middle of the answer",
            id="no last chunk",
        ),
        pytest.param(b"HTTP/1.1 200 OK", HEAD, id="status alone"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1", HEAD, id="half a header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n", HEAD, id="no end of headers"),
        pytest.param(b"HTTP/1.1 204 OK\r\nDate: now\r\n", HEAD, id="no end without a body"),
        pytest.param(b"HTTP/1.1 103 OK\r\n\r\n", "before answering", id="interim alone"),
    ],
)
def test_dropped_connection(server: Server, words: bytes, note: str) -> None:
    server.answers["/"] = say(words)
    assert call(url=server.url).notes == (f"the server closed the connection {note}",)


def test_reset_connection(server: Server) -> None:
    def reset(connection: socket.socket) -> None:
        linger = b"\x01\0\0\0\0\0\0\0"
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    server.answers["/"] = reset
    assert call(url=server.url).notes == ("the server closed the connection before answering",)


@pytest.mark.parametrize(
    "words",
    [
        b"hello\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: 1\r\n" * 200,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n",
        # Python's parser would leave out the headers behind such a line: a gzip body as it is.
        b"HTTP/1.1 200 OK\r\nX-A\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nX-A: 1\rX\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n X-A: 1\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=["no HTTP", "status", "200 headers", "chunk", "negative chunk", "header without a colon",
         "blank before a colon", "carriage return", "goes on with no header"],
)
def test_answer_that_is_not_http(server: Server, words: bytes) -> None:
    server.answers["/"] = say(words)
    assert call(url=server.url).notes == (f"the answer of {server.url} is not valid HTTP",)


@pytest.mark.parametrize(
    "words",
    [b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n",
     b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103\r\nA: b\r\n\r\nHTTP/1.1 100\r\n\r\n"],
    ids=["one", "three"],
)
def test_interim_answers_are_passed_by(server: Server, words: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n"
    server.answers["/"] = say(words + head + b'{"a": 1}')
    result = call(url=server.url)
    assert (result.code, result.data) == (200, {"a": 1})
    assert "Link" not in result.meta["headers"]


def test_damaged_compression(server: Server) -> None:
    server.answers["/"] = answer(b"not gzip", Content_Encoding="gzip")
    assert call(url=server.url).notes == ("the compression of the answer is damaged",)


@pytest.mark.parametrize(
    "url",
    ["users", "ftp://127.0.0.1/x", "http://", "http://[", "http://a..b/", "http://127.0.0.1:x/"],
)
def test_invalid_url(url: str) -> None:
    (note,) = call(url=f"{url}?token=s3cret").notes
    assert note == f"'{url}' is not a URL that can be called"


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"X-Own": "a\r\nX-Evil: s3cret"}, "the header 'X-Own' holds a line break"),
        ({"X-Own": "a\n"}, "the header 'X-Own' holds a line break"),
        ({"X-Own": "a\x00"}, "the header 'X-Own' holds a control character"),
        ({"X Y\r\n": "s3cret"}, "'X Y\\r\\n' is not a name that a header can have"),
        ({"": "s3cret"}, "'' is not a name that a header can have"),
    ],
)
def test_invalid_header(headers: dict[str, str], why: str) -> None:
    result = call(url="http://127.0.0.1:1", headers=headers)
    assert result.notes == (f"the request can't be sent: {why}",)


def test_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def mistake(*_args: Any) -> None:
        raise TypeError("ours")

    # The code has no mistake to show.
    monkeypatch.setattr(socket, "getaddrinfo", mistake)
    with pytest.raises(TypeError, match="ours"):
        call(url="http://127.0.0.1:1")


# The configuration


EVERYTHING: dict[str, Any] = {
    "url": "users",
    "base_url": "http://127.0.0.1",
    "method": "POST",
    "headers": {"a": "b"},
    "params": {"a": "b"},
    "json": {"a": 1},
    "data": "text",
    "form": {"a": "b"},
    "auth": {"bearer": "t0ken"},
    "timeout": "500ms",
    "verify": "ca.pem",
    "cert": ["cert.pem", "key.pem"],
    "allow_redirects": False,
    "expect": [200, 404],
    "max_response_bytes": 1000,
    "input_mode": "body",
    "param_name": "user",
    "paginator": {"type": "offset", "limit": 10},
    "data_selector": "items",
    "hosts": ["api.example.com"],
    "idempotent": True,
    "idempotency_key": False,
    "response_actions": [{"status_code": 404, "action": "ignore"}],
    "files": {"report": ["a.csv", {"path": "b.csv", "name": "c", "content_type": "text/csv"}]},
    "body": {"file": "a.csv"},
    "decode": ["gunzip", "csv"],
    "proxy": "http://user:password@proxy.example:3128",
    "cookies": True,
}


def test_request_keys_are_all_keys_as_written() -> None:
    # language 5: every key of 11.2
    assert RestKind.request_keys == frozenset(EVERYTHING)


@pytest.mark.parametrize("key", EVERYTHING)
def test_every_key_is_accepted(key: str) -> None:
    RestProvider({key: EVERYTHING[key]})


@pytest.mark.parametrize("key", EVERYTHING)
def test_every_key_may_be_a_template_as_written(key: str) -> None:
    # language 3.3
    RestConfiguration.model_validate({key: "{{ env.X }}"}, context=STATIC)


@pytest.mark.parametrize(
    "written",
    [
        {"headers": {"a": "{{ x }}"}},
        {"params": {"a": "{{ x }}", "b": ["{{ x }}", 1]}},
        {"form": {"a": "{{ x }}"}},
        {"expect": [200, "{{ x }}"]},
        {"auth": {"bearer": "{{ x }}"}},
        {"auth": {"basic": "{{ x }}"}},
        {"auth": {"basic": {"username": "{{ x }}", "password": "{{ x }}"}}},
        {"cert": ["{{ x }}", "{{ y }}"]},
        {"json": {"a": ["{{ x }}"]}},
    ],
    ids=str,
)
def test_templates_are_accepted_inside(written: dict[str, Any]) -> None:
    RestConfiguration.model_validate(written, context=STATIC)


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("heders", {}, "Extra inputs are not permitted"),
        ("json_body", {}, "Extra inputs are not permitted"),
        ("url", ["x"], "valid string"),
        (
            "method",
            "FETCH",
            "expected one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, got 'FETCH'",
        ),
        ("method", 5, "expected one of GET"),
        ("headers", "a: b", "valid dictionary"),
        ("headers", {"a": ["b"]}, "valid string"),
        ("params", {"a": {"b": 1}}, "valid string"),
        ("form", "a=b", "valid dictionary"),
        ("auth", {}, "'auth' takes exactly one of 'basic' and 'bearer'"),
        (
            "auth",
            {"bearer": "x", "basic": {"username": "a", "password": "b"}},
            "'auth' takes exactly one of 'basic' and 'bearer'",
        ),
        ("auth", {"bearer": ""}, "'auth' takes exactly one of 'basic' and 'bearer'"),
        ("auth", {"digest": "x"}, "Extra inputs are not permitted"),
        ("auth", {"basic": {"username": "x"}}, "Field required"),
        ("timeout", 0, "greater than 0"),
        ("timeout", "soon", "expected a duration such as"),
        ("timeout", "-1s", "expected a duration such as"),
        ("verify", 5, "expected true, false or the path of a file, got 5"),
        ("verify", "", "expected true, false or the path of a file, got ''"),
        ("cert", ["a", "b", "c"], "expected the path of a certificate, or a list"),
        ("cert", 5, "expected the path of a certificate, or a list"),
        ("allow_redirects", "perhaps", "valid boolean"),
        ("expect", 99, "greater than or equal to 100"),
        ("expect", [200, 600], "less than or equal to 599"),
        ("expect", [], "expected a status or a list of them, got none"),
        ("expect", True, "expected a number, got true"),
        ("max_response_bytes", 0, "greater than 0"),
        ("max_response_bytes", True, "expected a number, got true"),
        ("input_mode", "query", "'parameter' or 'body'"),
        ("param_name", "", "must not be empty"),
    ],
)
def test_wrong_value_is_refused(key: str, value: Any, complaint: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RestConfiguration.model_validate({key: value}, context=STATIC)
    (detail,) = caught.value.errors()
    assert complaint in detail["msg"]
    assert detail["loc"][0] == key


@pytest.mark.parametrize(
    ("bodies", "complaint"),
    [
        (("json", "data"), "'json' and 'data' exclude each other"),
        (("json", "form"), "'json' and 'form' exclude each other"),
        (("data", "form"), "'data' and 'form' exclude each other"),
    ],
)
def test_two_bodies_are_refused(bodies: tuple[str, str], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        RestProvider({key: EVERYTHING[key] for key in bodies})


def test_errors_of_a_configuration_do_not_show_its_values() -> None:
    with pytest.raises(ValidationError) as caught:
        RestProvider({"auth": {"basic": {"username": "me", "password": ["s3cret"]}}})
    assert "s3cret" not in str(caught.value)


def test_timeout_is_30_seconds_by_default() -> None:
    assert RestProvider({}).configuration.timeout == 30.0


@pytest.mark.parametrize(
    ("configuration", "lacking"),
    [
        ({}, "a rest call needs a 'url' or a 'base_url'"),
        ({"url": ""}, "a rest call needs a 'url' or a 'base_url'"),
        ({"url": "{{ x }}"}, None),
        ({"base_url": "http://x"}, None),
    ],
    ids=str,
)
def test_missing_says_what_a_call_lacks(configuration: dict[str, Any], lacking: str | None) -> None:
    assert RestKind().missing(configuration) == lacking


@pytest.mark.parametrize(
    ("configuration", "description"),
    [
        ({"url": "https://x/users"}, "GET https://x/users"),
        ({"url": "/users", "base_url": "https://x/", "method": "post"}, "POST https://x/users"),
        ({"url": "https://x/{{ flows.a.id }}"}, "GET https://x/{{ flows.a.id }}"),
        ({"url": "https://me:pw@x/a?token=s3cret#b"}, "GET https://x/a"),
        ({"url": "https://x/a\n  b"}, "GET https://x/a b"),
        ({"url": 5, "base_url": "https://x"}, "GET https://x/5"),
        ({"url": "https://x/" + "a" * 200}, "GET https://x/" + "a" * 200),
        ({}, "GET"),
    ],
    ids=range(8),
)
def test_describe_is_one_line_without_secrets(
    configuration: dict[str, Any], description: str
) -> None:
    assert RestKind().describe(configuration) == description


def test_templates_of_the_configuration_are_rendered() -> None:
    written = {"url": "https://x/{{ id }}", "json": {"a": "{{ list }}"}}
    rendered = RestKind().render(written, {"id": 5, "list": [1]}, None)
    assert rendered == {"url": "https://x/5", "json": {"a": [1]}}


def test_checking_a_configuration_does_not_import_requests() -> None:
    program = (
        "import sys; from flowtoy_dagster.providers.rest.provider import RestProvider;"
        "RestProvider({'url': 'http://x'}); print('requests' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout == "False\n"

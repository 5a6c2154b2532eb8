"""What a call sends: credentials, headers of any case, and the environment's proxies."""

from __future__ import annotations

import base64

import pytest
from loopback import Server, answer, call, serving
from pydantic import ValidationError

from flowtoy_dagster.flow.schema.models import OutputConfig
from flowtoy_dagster.flow.templates.render import render
from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.providers.kinds import PROVIDERS
from flowtoy_dagster.providers.rest import urls
from flowtoy_dagster.steps.outputs.extraction import extract


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_line_break_after_a_token_is_no_part_of_it(server: Server, end: str) -> None:
    assert call(url=server.url, auth={"bearer": f"t0ken{end}"}).success
    assert server.request.headers["authorization"] == "Bearer t0ken"


@pytest.mark.parametrize(
    ("auth", "key"),
    [
        ({"bearer": "a\nb"}, "auth.bearer"),
        ({"bearer": "\nb"}, "auth.bearer"),
        ({"basic": {"username": "u", "password": "p\r\nq\n"}}, "auth.basic.password"),
        ({"basic": {"username": "u\nv", "password": "p"}}, "auth.basic.username"),
    ],
)
def test_a_line_break_inside_a_credential_is_named(auth: dict[str, object], key: str) -> None:
    result = call(url="http://127.0.0.1:1/orders", auth=auth)
    assert result.notes == (f"the request can't be sent: '{key}' holds a line break",)


@pytest.mark.parametrize(
    ("userinfo", "pair"),
    [
        ("user:pass", b"user:pass"),
        ("ü:日本", "ü:日本".encode()),
        ("%C3%BC:p%40ss%3Aw", "ü:p@ss:w".encode()),
        ("u:%E9", b"u:\xe9"),
        ("token", b"token:"),
        ("a@b:c", b"a@b:c"),
    ],
)
def test_credentials_of_a_url_are_utf8(server: Server, userinfo: str, pair: bytes) -> None:
    result = call(url=server.url.replace("//", f"//{userinfo}@"))
    assert result.success
    expected = "Basic " + base64.b64encode(pair).decode()
    assert server.request.headers["authorization"] == expected
    assert result.meta["url"] == server.url + "/"


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("a/b", "a%2Fb"), ("a/../c", "a%2F..%2Fc"), ("x?y=1", "x%3Fy%3D1"), ("x#z", "x%23z"),
        ("ü ö", "%C3%BC%20%C3%B6"), ("%41", "%2541"), ("a%2Fb", "a%252Fb"), (True, "true"),
    ],
)  # fmt: skip
def test_a_quoted_value_is_one_part_of_the_path(server: Server, value: object, sent: str) -> None:
    part = render("{{ id | urlencode | replace('/', '%2F') }}", {"id": value})
    call(url=f"{server.url}/of/{part}/end")
    assert server.request.target == f"/of/{sent}/end"


def test_a_token_beyond_ascii_is_sent_as_utf8(server: Server) -> None:
    assert call(url=server.url, auth={"bearer": "schlüssel"}).success
    assert server.request.headers["authorization"] == "Bearer schlüssel"


def test_credentials_of_a_proxy_are_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as proxy:
        proxy.answers["/x"] = answer('"proxied"')
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//ü:p%C3%A4@"))
        assert call(url="http://shop.example/x").data == "proxied"
        expected = "Basic " + base64.b64encode("ü:pä".encode()).decode()
        assert proxy.request.headers["proxy-authorization"] == expected


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "SOCKS4", "ftp"])
def test_a_proxy_of_another_kind_is_named(
    server: Server, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://user:pw@127.0.0.1:1")
    (note,) = call(url=server.url).notes
    assert note.startswith(f"the environment names a proxy of the kind '{scheme}'")
    assert "pw" not in note
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert call(url=server.url).success


@pytest.mark.parametrize(
    "proxy",
    [
        "http://user:long#password@127.0.0.1:1",
        "http://user:long/password@127.0.0.1:1",
        "user:long?password@127.0.0.1:1",
        "http://user:password@",
        "http://[::1",
        "proxy.example:abc",
        "http://127.0.0.1:99999",
    ],
)
def test_a_proxy_of_the_environment_that_is_none_is_to_blame_not_the_url(
    server: Server, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    (note,) = call(url=server.url).notes
    assert note.startswith("the environment names a proxy for this URL that is not of the form ")
    assert "long" not in note


@pytest.mark.parametrize("proxy", ["127.0.0.1:1", "http://u:p@[::1]:1", "HTTP://localhost:1/"])
def test_a_proxy_of_the_environment_is_used(
    server: Server, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    (note,) = call(url=server.url).notes
    assert note.startswith("could not connect to the proxy for ")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:pass#word@h/x", "http://h/x"),
        ("http://me:pass?word@h/x", "http://h/x"),
        ("http://me:pass/word@h/x", "http://h/x"),
        ("me:pass#word@h/x", "h/x"),
        ("http://h:8080/a:b@c", "http://h:8080/a:b@c"),
        ("http://h/a:b@c", "http://h/a:b@c"),
        ("http://[::1]/a@c", "http://[::1]/a@c"),
        ("http://h:{{ env.PORT }}/a@c", "http://h:{{ env.PORT }}/a@c"),
        ("http://h?mail=a:b@c", "http://h"),
    ],
)
def test_a_password_that_holds_what_ends_a_host_is_not_shown(url: str, shown: str) -> None:
    # language 13.1, 13.2
    assert urls.shown(url) == shown


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ({"X-Trace": "a", "x-trace": None}, None),
        ({"x-trace": None, "X-Trace": "a"}, "a"),
        ({"X-Trace": "a", "X-TRACE": "b"}, "b"),
        ({"X-Trace": None}, None),
    ],
)
def test_the_last_header_of_a_name_counts_whatever_its_case(
    server: Server, headers: dict[str, str | None], sent: str | None
) -> None:
    call(url=server.url, headers=headers)
    assert server.request.headers.get("x-trace") == sent


@pytest.mark.parametrize("name", ["User-Agent", "user-agent", "ACCEPT", "Accept-Encoding"])
def test_null_leaves_out_headers_that_every_call_has(server: Server, name: str) -> None:
    call(url=server.url, headers={name: None})
    assert name.lower() not in server.request.headers


def test_null_leaves_out_the_type_of_a_body(server: Server) -> None:
    call(url=server.url, method="POST", json={}, headers={"content-type": None})
    assert "content-type" not in server.request.headers


def test_calls_say_who_they_are(server: Server) -> None:
    call(url=server.url)
    assert server.request.headers["user-agent"].startswith("flowtoy-dagster")


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding"])
def test_headers_that_follow_from_the_body_are_not_taken(name: str) -> None:
    with pytest.raises(ValidationError, match="follows from the body"):
        call(url="http://127.0.0.1:1", headers={name: "5"})


@pytest.mark.parametrize("name", ["content-type", "Content-Type", "CONTENT-TYPE"])
@pytest.mark.parametrize("sent", ["Content_Type", "content_type"])
def test_headers_of_an_answer_are_found_whatever_their_case(
    server: Server, name: str, sent: str
) -> None:
    server.answers["/"] = answer("[]", **{"Content_Type": "text/x", sent: "application/json"})
    result = call(url=server.url)
    for value in (f'meta.headers."{name}"', f"{{{{ meta.headers['{name}'] }}}}"):
        output = OutputConfig.model_validate({"name": "x", "value": value})
        assert "application/json" in taken(output, result)


def taken(output: OutputConfig, result: ProviderResult) -> str:
    value = extract(output, PROVIDERS["rest"], result, {})
    assert isinstance(value, str)
    return value


def test_a_header_of_several_lines_is_one_text(server: Server) -> None:
    server.answers["/"] = b"HTTP/1.1 200 OK\r\nX-Long: a\r\n  b\r\nContent-Length: 0\r\n\r\n"
    assert call(url=server.url).meta["headers"]["X-Long"] == "a b"


def test_headers_of_one_name_are_joined(server: Server) -> None:
    server.answers["/"] = b"HTTP/1.1 200 OK\r\nX-A: a\r\nX-A: b\r\nContent-Length: 0\r\n\r\n"
    assert call(url=server.url).meta["headers"]["X-A"] == "a, b"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["json", "data"])
def test_a_body_never_has_null_for_a_number(number: float, key: str) -> None:
    body = {key: {"rows": [{"ratio": number, "none": None}]}}
    (note,) = call(url="http://127.0.0.1:1", method="POST", **body).notes
    assert note.endswith(f"JSON can't hold the number {number} (at rows[0].ratio)")

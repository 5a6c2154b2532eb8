"""Uploads, bodies of files, `decode`, `proxy`, `cookies`, traces (language 21.8, 21.9)."""

from __future__ import annotations

import gzip
import os
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest
from loopback import Server, answer, call, drop, plain, serving
from token_api import run

from flowtoy_dagster.providers.kinds import InstalledProviders
from flowtoy_dagster.providers.rest.bodies.local_files import below
from flowtoy_dagster.providers.rest.bodies.uploads import FileBody, file_body
from flowtoy_dagster.providers.rest.provider import RestConfiguration


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRACEPARENT", raising=False)
    (tmp_path / "a.csv").write_bytes(b"id\r\n1\r\n")
    (tmp_path / "big").write_bytes(os.urandom(300_000))
    return tmp_path


def parts_of(received: Any) -> list[tuple[Any, ...]]:
    """The parts of a multipart body: name, file name, type, content."""
    head = f"Content-Type: {received.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + received.body)
    found = []
    for part in message.get_payload():
        assert not isinstance(part, str)
        name = part.get_param("name", header="content-disposition")
        kind = part.get_content_type() if "Content-Type" in part else None
        found.append((name, part.get_filename(), kind, part.get_payload(decode=True)))
    return found


def test_files_are_sent_as_a_form(server: Server, folder: Path) -> None:
    files = {"report": {"path": "a.csv", "name": 'r "1".csv', "content_type": "text/x"},
             "more": ["a.csv", {"path": "big"}]}  # fmt: skip
    done = call(url=server.url, method="POST", files=files, form={"title": "ü", "tags": [1, 2]})
    assert done.success, done.notes
    content = b"id\r\n1\r\n"
    assert parts_of(server.request) == [
        ("title", None, None, "ü".encode()), ("tags", None, None, b"1"),
        ("tags", None, None, b"2"), ("report", "r %221%22.csv", "text/x", content),
        ("more", "a.csv", "text/csv", content),
        ("more", "big", "application/octet-stream", (folder / "big").read_bytes()),
    ]  # fmt: skip
    assert int(server.request.headers["content-length"]) == len(server.request.body)


def test_a_file_is_the_body(server: Server, folder: Path) -> None:
    call(url=server.url, method="PUT", body={"file": "big", "content_type": "image/x"})
    assert server.request.body == (folder / "big").read_bytes()
    assert server.request.headers["content-type"] == "image/x"
    assert server.request.headers["content-length"] == "300000"
    assert "transfer-encoding" not in server.request.headers


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE", "GET"])
def test_an_empty_file_has_a_length_too(server: Server, folder: Path, method: str) -> None:
    (folder / "none").write_bytes(b"")
    assert call(url=server.url, method=method, body={"file": "none"}).success
    assert server.request.body == b""
    assert "transfer-encoding" not in server.request.headers
    assert server.request.headers.get("content-length", "0" * (method == "GET")) == "0"


def test_a_file_is_opened_anew_whenever_it_is_sent(server: Server, folder: Path) -> None:
    """A kept connection that was closed, a redirect, a challenge, a retry."""
    server.answers["/kept"] = [answer(), drop, answer()]
    for _ in range(2):
        assert call(url=f"{server.url}/kept", method="PUT", body={"file": "a.csv"}).success
    server.answers["/moved"] = answer("", 307, Location="/to")
    assert call(url=f"{server.url}/moved", method="POST", body={"file": "a.csv"}).success
    challenge = 'Digest realm="r", nonce="n", qop="auth"'
    server.answers["/digest"] = [answer("{}", 401, WWW_Authenticate=challenge), answer()]
    auth = {"provider": "requests.auth:HTTPDigestAuth", "username": "u", "password": "p"}
    files = {"a": "a.csv"}
    assert call(url=f"{server.url}/digest", method="POST", files=files, auth=auth).success
    bodies = [request.body for request in server.requests]
    assert bodies[:5] == [b"id\r\n1\r\n"] * 5
    assert len(bodies) == 7
    assert bodies[5] == bodies[6]
    assert b"id\r\n1\r\n" in bodies[6]


@pytest.mark.parametrize(
    ("keys", "note"),
    [
        ({"body": {"file": "none.csv"}}, "'body.file': there is no file 'none.csv'"),
        ({"files": {"a": "none.csv"}}, "'files.a': there is no file 'none.csv'"),
        ({"files": {"a": ["a.csv", "none.csv"]}}, "'files.a[1]': there is no file 'none.csv'"),
        ({"body": {"file": "."}}, "'body.file': '.' is not a regular file"),
        ({"body": {"file": "/dev/zero"}}, "'body.file': '/dev/zero' is not a regular file"),
        ({"body": {"file": "a\0b"}}, "'body.file' is not a path"),
    ],
)
def test_a_file_that_can_not_be_sent_is_named(
    server: Server, keys: dict[str, Any], note: str
) -> None:
    result = call(url=server.url, method="POST", **keys)
    assert result.notes == (f"the request can't be sent: {note}",)
    assert result.meta["sent"] is False
    assert server.requests == []


def test_a_file_that_changes_while_it_is_sent_fails(server: Server, folder: Path) -> None:
    from flowtoy_dagster.providers.rest.bodies.uploads import FilePart
    from flowtoy_dagster.providers.rest.content import UnsendableError

    for size in (0, 3, 999):
        with pytest.raises(UnsendableError, match=r"'a\.csv' has changed while it was sent"):
            list(FilePart("body.file", "a.csv", size).pieces())


KINDS = ("gunzip", "csv", "jsonl", "json")
ROWS = "id,name\r\n1,Ada\r\n2,\"Grace\nHopper, \"\"Adm\"\"\"\r\n\r\n3,\r\n"
AS_ROWS = [{"id": "1", "name": "Ada"}, {"id": "2", "name": 'Grace\nHopper, "Adm"'},
           {"id": "3", "name": ""}]  # fmt: skip


@pytest.mark.parametrize(
    ("decode", "body", "data"),
    [
        ("csv", ROWS, AS_ROWS),
        (["gunzip", "csv"], gzip.compress(ROWS.encode()), AS_ROWS),
        (["csv"], "\ufeffid\n1\n", [{"id": "1"}]),
        (["csv"], "", []),
        (["csv"], "id,x\n", []),
        (["jsonl"], '{"a": 1}\n\n[2]\n3', [{"a": 1}, [2], 3]),
        (["jsonl"], '{"a": "\u2028"}\r\n', [{"a": "\u2028"}]),
        (["gunzip", "jsonl"], gzip.compress(b"1\n") + gzip.compress(b"2\n"), [1, 2]),
        (["gunzip", "gunzip", "json"], gzip.compress(gzip.compress(b'{"a": 1}')), {"a": 1}),
        (["gunzip"], gzip.compress(b"plain"), "plain"),
        (["json"], "7", 7),
        (["json"], "", None),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value and value[0] in KINDS
    else "",
)  # fmt: skip
def test_a_body_is_decoded(server: Server, decode: Any, body: Any, data: Any) -> None:
    server.answers["/"] = plain(body)
    done = call(url=server.url, decode=decode)
    assert (done.data, done.notes) == (data, ())


@pytest.mark.parametrize(
    ("decode", "body", "headers", "note"),
    [
        (["gunzip", "csv"], gzip.compress(b"id\n" + os.urandom(99))[:-9], {},
         "'gunzip': the answer is cut: its compressed data ends too early"),
        (["gunzip"], gzip.compress(b"abc")[:-4] + b"0000", {},
         "'gunzip': the compression of the answer is damaged"),
        (["gunzip"], b"", {}, "the answer is empty: 'gunzip' has nothing to unpack"),
        (["gunzip"], b"plain", {}, "the answer is not compressed with gzip"),
        (["gunzip"], gzip.compress(b"plain"), {"Content_Encoding": "gzip"},
         "the answer is not compressed with gzip: its Content-Encoding was undone already, so "
         "leave out 'gunzip'"),
        (["gunzip"], gzip.compress(b"0" * 10_000), {},
         "the answer is larger than max_response_bytes (5000)"),
        (["csv"], "a,b\n1,2\n3\n", {}, "line 3 of the answer has 1 fields, and the header has 2"),
        (["csv"], "a,b\n\"1\n\",2\n3,4,5\n", {},
         "line 4 of the answer has 3 fields, and the header has 2"),
        (["csv"], "a,b\n\"1,2\n", {},
         "line 2 of the answer is not valid CSV: unexpected end of data"),
        (["csv"], "a,a\n1,2\n", {}, "line 1 of the answer: the header has 'a' twice"),
        (["csv"], "a,\n1,2\n", {}, "line 1 of the answer: column 2 of the header has no name"),
        (["csv"], b"a\n1\n\xff\n", {}, "line 3 of the answer is not valid utf-8"),
        (["jsonl"], '1\n{"a": \n', {}, "line 2 of the answer is not JSON: "),
        (["json"], "<html>", {}, "the answer is not JSON: "),
    ],
    ids=lambda value: value if isinstance(value, str) and "the answer" in value else "",
)  # fmt: skip
def test_a_body_that_is_not_what_it_should_be_fails(
    server: Server, decode: Any, body: Any, headers: dict[str, str], note: str
) -> None:
    server.answers["/"] = plain(body, **headers)
    done = call(url=server.url, decode=decode, max_response_bytes=5000)
    assert not done.success
    assert done.notes[0].startswith(note), done.notes
    server.answers["/"] = plain("not found", 404)
    assert call(url=server.url, decode=decode).notes == ("HTTP status 404: not found",)


def test_records_of_pages_are_decoded(server: Server) -> None:
    server.answers["/"] = [plain("id\n1\n2\n"), plain("id\n3\n"), plain("id\n")]
    paginator = {"type": "page_number"}
    done = call(url=server.url, decode="csv", paginator=paginator)
    assert done.data == [{"id": "1"}, {"id": "2"}, {"id": "3"}]


@pytest.mark.parametrize(
    ("keys", "path", "message"),
    [
        ({"decode": ["csv", "gunzip"]}, ("decode",), "'gunzip' comes before one of"),
        ({"decode": []}, ("decode",), "expected a list of gunzip, csv, jsonl, json"),
        ({"decode": "zip"}, ("decode", 0), "'zip' is not one of"),
        ({"files": {"a": {"name": "x"}}}, ("files", "a", 0), "the key 'path' is required"),
        ({"files": {"a": "x"}, "json": 1}, (), "'json' and 'files' exclude each other"),
        ({"body": {"file": "x"}, "form": {"a": 1}}, (), "'form' and 'body' exclude each other"),
        ({"body": {"path": "x"}}, ("body",), "'body' takes a file, and nothing else"),
        ({"body": {"fil": "x"}}, ("body", "fil"), "unknown key 'fil'"),
        ({"proxy": "socks5://u:s3cret@h"}, ("proxy",), "expected false, or the URL of a proxy"),
        ({"proxy": "proxy:3128"}, ("proxy",), "expected false, or the URL of a proxy"),
    ],
)
def test_a_mistake_is_found_before_the_run(
    keys: dict[str, Any], path: tuple[Any, ...], message: str
) -> None:
    found = InstalledProviders().check("rest", {"url": "u", **keys}, True)
    assert any(one.path == path and message in one.message for one in found), found
    assert "s3cret" not in str(found)


def test_a_proxy_is_used_and_its_password_is_secret(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "*")
    proxy = server.url.replace("://", "://user:pr0xy-s3cret@")
    server.answers["/rows"] = answer('{"e": "no pr0xy-s3cret"}', 403)
    outcome = run("http://shop.invalid", None, None, proxy=proxy)
    assert outcome.error == 'HTTP status 403: {"e": "no ***"}'
    assert server.request.target == "http://shop.invalid/rows"
    assert server.request.headers["proxy-authorization"].startswith("Basic ")


def test_a_proxy_that_is_not_there_is_named_without_its_password(refusing: str) -> None:
    outcome = run("http://shop.invalid", None, None, proxy=f"http://user:pr0xy-s3cret@{refusing}")
    assert outcome.error is not None
    assert "the proxy for http://shop.invalid" in outcome.error
    assert "s3cret" not in outcome.error


def test_no_proxy_is_used_where_the_flow_says_so(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert call(url=server.url, proxy=False).success


def test_cookies_are_sent_again_within_one_call(server: Server) -> None:
    server.answers["/"] = [
        answer('{"d": [1], "next": "/?p=2"}', Set_Cookie="sid=0123456789abcdef; Path=/"),
        answer('{"d": [2], "next": null}'),
    ]
    paginator = {"type": "json_link", "next_url_path": "next"}
    keys = {"paginator": paginator, "headers": {"Cookie": "own=1"}}
    assert call(url=server.url, cookies=True, **keys).data == [1, 2]
    sent = [request.headers["cookie"] for request in server.requests]
    assert sent == ["own=1", "own=1; sid=0123456789abcdef"]
    server.answers["/"] = answer()
    call(url=server.url, cookies=True)
    assert "cookie" not in server.requests[-1].headers


def test_cookies_of_a_login_redirect_stay_with_their_host(server: Server) -> None:
    with serving() as other:
        target = other.url.replace("127.0.0.1", "localhost")
        server.answers["/"] = answer("", 302, Location="/in", Set_Cookie="sid=secret-session-1")
        server.answers["/in"] = answer("", 302, Location=f"{target}/x")
        assert call(url=server.url, cookies=True).success
        assert server.requests[1].headers["cookie"] == "sid=secret-session-1"
        assert "cookie" not in other.request.headers


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_trace_of_the_environment_is_passed_on(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", PARENT)
    monkeypatch.setenv("TRACESTATE", "a=b")
    with serving() as other:
        server.answers["/there"] = answer("", 302, Location=f"{other.url}/x")
        call(url=server.url)
        call(url=server.url, headers={"TraceParent": "mine"})
        call(url=server.url, headers={"traceparent": None})
        call(url=f"{server.url}/there")
        elsewhere = other.request.headers
    traces = [(r.headers.get("traceparent"), r.headers.get("tracestate")) for r in server.requests]
    assert traces == [(PARENT, "a=b"), ("mine", None), (None, None), (PARENT, "a=b")]
    assert not {"traceparent", "tracestate"} & elsewhere.keys()


@pytest.mark.parametrize(
    "value", ["", "x", PARENT[:-1], "ff" + PARENT[2:], f"00-{'0' * 32}-b7ad6b7169203331-01"]
)
def test_a_trace_that_is_none_is_not_sent(
    server: Server, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("TRACEPARENT", value)
    call(url=server.url)
    assert "traceparent" not in server.request.headers


def test_a_file_in_an_object_store_is_sent(server: Server) -> None:  # language 21.8
    import fsspec

    fsspec.filesystem("memory").pipe("/lake/rows.csv", b"id\n1\n")
    url = "memory://lake/rows.csv"
    for keys in ({"body": {"file": url}}, {"files": {"a": url}}):
        result = call(url=server.url, method="PUT", **keys)
        assert result.notes == ()
        assert b"id\n1\n" in server.requests[-1].body
    body, kind = file_body(FileBody.model_validate({"file": url}))
    # Where it is sent again, from the beginning.
    assert [body.stream().read() for _ in range(2)] == [b"id\n1\n"] * 2
    assert kind == "text/csv"
    settings = RestConfiguration.model_validate({"url": server.url, "body": {"file": url}})
    placed = below(settings, Path("/flow")).body
    assert placed is not None
    assert placed.file == url


@pytest.mark.parametrize(("url", "note"), [
    ("memory://lake/none.csv", "there is no file 'memory://lake/none.csv'"),
    ("ftp://lake/a.csv", "the file 'ftp://lake/a.csv' can't be read: files at 'ftp://' are not "
                         "supported; use a path, or one of 'gs://', 'memory://', 's3://'"),
])
def test_a_file_that_is_not_in_a_store_is_named(server: Server, url: str, note: str) -> None:
    result = call(url=server.url, method="PUT", body={"file": url})
    assert result.notes == (f"the request can't be sent: 'body.file': {note}",)
    assert server.requests == []

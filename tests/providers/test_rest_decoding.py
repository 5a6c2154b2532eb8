"""Compressed, chunked and cut answers: whole, or a failure that says why."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest
from loopback import Server, answer, call, plain, say

ROWS = "".join(f"{i},item {i},{i * 7919 % 1000}\n" for i in range(5000)).encode()
CUT = ("the answer is cut: its compressed data ends too early",)
DAMAGED = ("the compression of the answer is damaged",)


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKED = {
    "gzip": gzip.compress(ROWS),
    "x-gzip": gzip.compress(ROWS),
    "deflate": zlib.compress(ROWS),
    "Deflate": raw_deflate(ROWS),
    "deflate, gzip": gzip.compress(zlib.compress(ROWS)),
    "gzip, identity": gzip.compress(ROWS),
}


@pytest.mark.parametrize("coding", PACKED)
def test_compressed_bodies_are_whole(server: Server, coding: str) -> None:
    server.answers["/"] = plain(PACKED[coding], Content_Encoding=coding)
    assert call(url=server.url).data == ROWS.decode()


@pytest.mark.parametrize("coding", PACKED)
@pytest.mark.parametrize("end", [1, 2, 12, 0.5, -8, -4, -1])
@pytest.mark.parametrize("kind", ["text/csv", "application/x-ndjson", "application/json"])
def test_a_compressed_body_that_ends_early_is_a_failure(
    server: Server, coding: str, end: float, kind: str
) -> None:
    packed = PACKED[coding]
    cut = packed[: int(len(packed) * end) if end == 0.5 else int(end)]
    server.answers["/"] = answer(cut, Content_Encoding=coding, Content_Type=kind)
    result = call(url=server.url)
    assert (result.success, result.notes) == (False, CUT)


def test_a_cut_chunked_and_compressed_body_is_a_failure(server: Server) -> None:
    half = PACKED["gzip"][:5000]
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(half), half)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    server.answers["/"] = say(head + chunked)
    assert call(url=server.url).notes == CUT


def test_a_compressed_body_that_ends_with_the_connection_is_checked(server: Server) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"
    server.answers = {"/whole": say(head + PACKED["gzip"]), "/cut": say(head + PACKED["gzip"][:-9])}
    assert call(url=f"{server.url}/whole").data == ROWS.decode()
    assert call(url=f"{server.url}/cut").notes == CUT


def test_all_members_of_a_gzip_body_are_read(server: Server) -> None:
    half = len(ROWS) // 2
    members = gzip.compress(ROWS[:half]) + gzip.compress(b"") + gzip.compress(ROWS[half:])
    server.answers = {
        "/": plain(members, Content_Encoding="gzip"),
        "/padded": plain(members + b"\0" * 512, Content_Encoding="gzip"),
        "/cut": plain(members[:-8], Content_Encoding="gzip"),
        "/begun": plain(members + b"\x1f", Content_Encoding="gzip"),
    }
    for path in ("", "/padded"):
        assert call(url=server.url + path).data == ROWS.decode()
    for path in ("/cut", "/begun"):
        assert call(url=server.url + path).notes == CUT


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", b"not gzip at all"),
        ("gzip", PACKED["gzip"][:-6] + b"xx" + PACKED["gzip"][-4:]),
        ("gzip", PACKED["gzip"] + b"rubbish"),
        ("deflate", PACKED["deflate"] + b"rubbish"),
        ("deflate", b"\xff\xff\xff\xff"),
        ("deflate, gzip", gzip.compress(b"\xff\xff\xff")),
    ],
    ids=["no gzip", "gzip", "after gzip", "after deflate", "no deflate", "no deflate in gzip"],
)
def test_damage_is_a_failure(server: Server, coding: str, body: bytes) -> None:
    server.answers["/"] = plain(body, Content_Encoding=coding)
    assert call(url=server.url).notes == DAMAGED


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, br", "base64"])
def test_a_compression_that_was_not_asked_for_is_a_failure(server: Server, coding: str) -> None:
    server.answers["/"] = plain(b"\x0b\x02\x80ab\x03", Content_Encoding=coding)
    (note,) = call(url=server.url).notes
    name = coding.rpartition(" ")[2]
    assert note == f"the answer's compression '{name}' is not one of gzip, deflate"


def test_a_body_is_not_unpacked_for_ever(server: Server) -> None:
    body = PACKED["gzip"]
    server.answers["/"] = plain(gzip.compress(body), Content_Encoding="gzip, gzip, gzip, gzip")
    assert call(url=server.url).notes == ("the answer is compressed more than 3 times",)


def test_a_small_body_that_unpacks_to_much_is_stopped(server: Server) -> None:
    server.answers["/"] = plain(gzip.compress(b"\0" * 50_000_000), Content_Encoding="gzip")
    (note,) = call(url=server.url, max_response_bytes=10_000).notes
    assert note == "the answer is larger than max_response_bytes (10000)"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 200)])
def test_no_body_is_no_cut_body(server: Server, coding: str, method: str, status: int) -> None:
    server.answers["/"] = answer("", status, Content_Encoding=coding)
    assert call(url=server.url, method=method).success


def test_only_what_can_be_unpacked_is_asked_for(server: Server) -> None:
    call(url=server.url)
    assert server.request.headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    ("words", "note"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "in the middle of the answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "in the middle"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "in the middle"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "not asked for"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\nabc", "not valid HTTP"),
        (b"just text, as HTTP/0.9 had it", "not valid HTTP"),
    ],
    ids=["short", "chunk cut", "last chunk missing", "transfer coding", "two lengths", "HTTP/0.9"],
)
def test_a_body_is_framed_as_http_says_or_a_failure(
    server: Server, words: bytes, note: str
) -> None:
    server.answers["/"] = say(words)
    (told,) = call(url=server.url).notes
    assert note in told


# JSON is UTF-8 (RFC 8259, 8.1)


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "application/problem+json"]
)
def test_json_that_is_not_utf8_is_a_failure(server: Server, kind: str) -> None:
    server.answers["/"] = answer('{"city": "Zürich"}'.encode("latin-1"), Content_Type=kind)
    result = call(url=server.url)
    assert result.notes == (
        "the answer says it is JSON but is not: it is not UTF-8 text (byte 0xfc at position 11)",
    )


def test_json_in_the_charset_that_is_named_is_read_or_a_failure(server: Server) -> None:
    body = '{"city": "Zürich"}'
    server.answers = {
        "/latin": answer(body.encode("latin-1"), Content_Type="application/json; charset=latin-1"),
        "/utf16": answer(body.encode("utf-16"), Content_Type="application/json; charset=utf-16"),
        "/ascii": answer(body.encode(), Content_Type="application/json; charset=ascii"),
    }
    assert call(url=f"{server.url}/latin").data == call(url=f"{server.url}/utf16").data
    assert "not text in the charset 'ascii'" in call(url=f"{server.url}/ascii").notes[0]


def test_text_that_looks_like_json_but_is_not_utf8_stays_text(server: Server) -> None:
    server.answers["/"] = plain('["Zürich"]'.encode("latin-1"))
    assert call(url=server.url).data == '["Z\ufffdrich"]'


@pytest.mark.parametrize(
    "body", ['{"x": 1e999, "n": 12345678901234567890}', r'["\ud800", 12345678901234567890]']
)
def test_json_that_can_not_be_held_is_a_failure_whatever_is_beside_it(
    server: Server, body: str
) -> None:
    server.answers["/"] = answer(body)
    assert call(url=server.url).notes[0].startswith("the answer says it is JSON but is not: ")


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/jsonl", "text/csv"])
def test_records_are_text_however_many_there_are(server: Server, kind: str) -> None:
    for body in ('{"a": 1}\n', '{"a": 1}\n{"a": 2}\n'):
        server.answers["/"] = answer(body, Content_Type=kind)
        data: Any = call(url=server.url).data
        assert data == body

"""Auth objects of requests: `auth: {provider: "my_package:MyAuth"}` (language 21.5)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback import Server, answer, call, serving
from token_api import run

from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.providers.kinds import InstalledProviders

MODULE = """
import requests.auth


class Signed(requests.auth.AuthBase):
    def __init__(self, key, repeat=1):
        self.key, self.repeat = key, repeat

    def __call__(self, request):
        request.headers["Authorization"] = f"Signed {self.key * self.repeat}-S3cret"
        return request


class Failing(Signed):
    def __call__(self, request):
        raise RuntimeError(f"no {self.key}")


not_a_class = 1
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module of somebody's own, as if it were installed."""
    (tmp_path / "my_signing.py").write_text(MODULE)
    (tmp_path / "my_broken.py").write_text("import not_installed_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("my_signing", "my_broken"):
        sys.modules.pop(name, None)


def test_an_object_signs_every_request_and_gets_the_other_keys(server: Server) -> None:
    auth = {"provider": "my_signing:Signed", "key": "abc", "repeat": 2}
    pages = ['{"d": [1], "next": "/?page=2"}', '{"d": [2], "next": null}']
    server.answers["/"] = [answer(page) for page in pages]
    paginator = {"type": "json_link", "next_url_path": "next"}
    assert call(url=server.url, auth=auth, paginator=paginator).data == [1, 2]
    shown = [request.headers["authorization"] for request in server.requests]
    assert shown == ["Signed abcabc-S3cret"] * 2


def test_what_it_adds_is_masked_and_goes_to_no_other_host(server: Server) -> None:
    with serving() as other:
        server.answers["/rows"] = answer("", 302, Location=f"{other.url}/x")
        other.answers["/x"] = answer('{"e": "Signed abc-S3cret"}', 403)
        auth = {"provider": "my_signing:Signed", "key": "abc"}
        error = run(server.url, auth, None).error
        assert "authorization" not in other.request.headers
    assert error == 'HTTP status 403: {"e": "***"}'


def test_a_challenge_is_answered(server: Server) -> None:
    challenge = 'Digest realm="r", nonce="n0nce", qop="auth", algorithm=MD5'
    server.answers["/"] = [answer("{}", 401, WWW_Authenticate=challenge), answer('{"ok": true}')]
    auth = {"provider": "requests.auth:HTTPDigestAuth", "username": "u", "password": "p"}
    assert call(url=server.url, auth=auth).data == {"ok": True}
    first, second = server.requests
    assert "authorization" not in first.headers
    assert second.headers["authorization"].startswith('Digest username="u", realm="r"')


def test_one_that_raises_fails_the_step_with_its_words(server: Server) -> None:
    auth = {"provider": "my_signing:Failing", "key": "s3cret-key"}
    result = call(url=server.url, auth=auth)
    assert result.notes == ("the auth 'my_signing:Failing' raised RuntimeError: no s3cret-key",)
    assert server.requests == []


@pytest.mark.parametrize(
    ("auth", "message", "path"),
    [
        ({"provider": "my_signng:Signed"}, "there is no module 'my_signng'", ("auth", "provider")),
        ({"provider": "my_broken:X"}, "there is no module 'not_installed_at_all'",
         ("auth", "provider")),
        ({"provider": "my_signing:Signd"}, "the module 'my_signing' has no 'Signd'",
         ("auth", "provider")),
        ({"provider": "my_signing"}, "expected 'package.module:Class', got 'my_signing'",
         ("auth", "provider")),
        ({"provider": "my_signing:not_a_class"}, "'my_signing:not_a_class' is not a class",
         ("auth", "provider")),
        ({"provider": "my_signing:Signed"},
         "'my_signing:Signed' does not take these keys: missing a required argument: 'key'",
         ("auth",)),
        ({"provider": "my_signing:Signed", "key": "k", "keys": 1},
         "'my_signing:Signed' does not take these keys: got an unexpected keyword argument 'keys'",
         ("auth",)),
    ],
)  # fmt: skip
def test_a_mistake_is_found_before_the_run(
    auth: dict[str, Any], message: str, path: tuple[str, ...]
) -> None:
    found = InstalledProviders().check("rest", {"url": "u", "auth": auth}, True)
    assert [(one.message, one.path) for one in found] == [(message, path)]


def test_a_mistake_has_its_place_in_the_file(tmp_path: Path) -> None:
    flow = tmp_path / "flow.yaml"
    flow.write_text(
        "sources:\n  api:\n    type: rest\n    base_url: http://127.0.0.1:9\n"
        "    auth:\n      provider: my_signng:Signed\n"
        "flow:\n  - name: read\n    source: api\n    input: {url: /x}\n"
    )
    with pytest.raises(Exception, match="there is no module 'my_signng'") as raised:
        load_flow([flow])
    assert f"{flow}:6:17" in str(raised.value)

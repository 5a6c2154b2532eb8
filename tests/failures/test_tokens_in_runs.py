"""Tokens and requests that must not be made twice, in real runs (language 21.5, 21.7)."""

from __future__ import annotations

import json
import os
import signal
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from connections import connected_below

LIFE = 3600
FLOW = """
    runner: {{max_workers: 8}}
    x-source: &source {{type: rest, base_url: "{url}"}}
    sources:
      api:
        <<: *source
        auth:
          type: oauth2_client_credentials
          access_token_url: /token
          client_id: flows
          client_secret: "{{{{ env.API_SECRET }}}}"
      person:
        <<: *source
        auth:
          type: oauth2_refresh
          access_token_url: /token
          refresh_token: "{{{{ env.REFRESH }}}}"
    flow:
{reads}
      - name: person
        source: person
        input: {{url: /rows}}
        output: [{{name: rows, type: raw}}]
      - name: send
        source: api
        depends_on: [person, {names}]
        input: {{url: /send, method: POST, json: {{a: 1}}, idempotency_key: true}}
        output: [{{name: sent, value: number}}]
"""
READ = """
      - name: {name}
        source: api
        input: {{url: /rows}}
        output: [{{name: rows, type: raw}}, {{name: all, value: "{{{{ meta | tojson }}}}"}}]
"""


class Api:
    """Gives tokens, and sends them back in what it answers."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.grants: list[str] = []
        self.valid: set[str] = set()
        self.issued: list[str] = ["r-0-S3cretS3cret"]
        self.dead = 0
        self.sent: dict[str, int] = {}
        self.requests = 0

    def __call__(self, asked: Any) -> Any:
        with self.lock:
            if asked.path == "/token":
                return self._token(dict(parse_qsl(asked.body.decode())))
            shown = asked.headers.get("Authorization", "").removeprefix("Bearer ")
            if shown not in self.valid:
                self.dead += 1
                return _json({"error": f"{shown} is dead"}, 401)
            if asked.path != "/send":
                return _json({"you": shown})
            self.requests += 1
            key = asked.headers["Idempotency-Key"]
            known = key in self.sent
            number = self.sent.setdefault(key, len(self.sent) + 1)
            return _json({"number": number, "you": shown}, 200 if known else 500)

    def _token(self, form: dict[str, str]) -> Any:
        self.grants.append(form["grant_type"])
        number = len(self.grants)
        answer = {"access_token": f"tok-{number}-S3cretS3cret", "expires_in": LIFE}
        if "refresh_token" in form:
            answer["refresh_token"] = f"r-{number}-S3cretS3cret"
        self.valid.add(str(answer["access_token"]))
        self.issued += [str(v) for v in answer.values() if v != LIFE]
        return _json(answer)


def _json(value: Any, status: int = 200) -> Any:
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()


def let_an_hour_pass(home: Path, api: Api) -> None:
    """What is kept was written an hour ago, and has ended."""
    for path in (home / "flowtoy-tokens").glob("token-" + "?" * 32):
        kept = json.loads(path.read_text())
        kept |= {key: kept[key] - LIFE for key in ("got_at", "expires_at")}
        path.write_text(json.dumps(kept))
    api.valid.clear()


@pytest.mark.timeout(500)
def test_a_retry_an_hour_later_has_new_tokens_and_the_same_key(
    flowtoy: Callable[..., Any], write: Callable[..., Path], serve: Any, home: Path
) -> None:
    api = Api()
    names = [f"read {number}" for number in range(8)]
    reads = "".join(READ.format(name=name) for name in names)
    write(FLOW.format(url=serve(api), reads=reads, names=", ".join(names)))
    env = {"API_SECRET": "cl1ent-s3cret", "REFRESH": "r-0-S3cretS3cret"}
    first = flowtoy("run", "flow.yaml", "--debug", env=env)
    assert first.code == 1, first.stderr
    assert "send" in first.stderr
    assert "HTTP status 500" in first.stderr
    # Eight workers asked for one token, and one for the other source.
    assert sorted(api.grants) == ["client_credentials", "refresh_token"]
    let_an_hour_pass(home, api)
    again = flowtoy("retry", "last", "--debug", env=env)
    assert again.code == 0, again.stderr
    assert sorted(api.grants) == ["client_credentials"] * 2 + ["refresh_token"]
    assert api.dead == 0
    assert (api.requests, api.sent) == (2, {next(iter(api.sent)): 1})
    shown = flowtoy("runs", "outputs", "last", "--show-secrets")
    assert shown.json["read 0"]["rows"] == {"you": "***"}
    texts = [part for done in (first, again, shown) for part in (done.stdout, done.stderr)]
    # `r-0` is the author's: a secret of the configuration, which the step's record may have.
    tokens = [token.encode() for token in api.issued[1:]]
    assert len(tokens) == 4
    assert not [token for token in tokens for text in texts if token.decode() in text]
    holding = {
        path for path in home.rglob("*")
        if path.is_file() and any(token in path.read_bytes() for token in tokens)
    }  # fmt: skip
    assert {path.parent.name for path in holding} == {"flowtoy-tokens"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in holding} == {0o600}


@pytest.mark.timeout(500)
def test_a_worker_that_is_killed_in_a_post_says_why_it_is_not_repeated(
    flowtoy: Callable[..., Any], write: Callable[..., Path], serve: Any
) -> None:
    killed: list[int] = []

    def kill(asked: Any) -> Any:
        for found in connected_below(os.getpid(), port):
            killed.append(found)
            os.kill(found, signal.SIGKILL)
        return _json({})

    url = serve(kill)
    port = int(url.rpartition(":")[2])
    write(f"""
        flow:
          - name: send
            source: rest
            retry: {{max: 3, delay: 0}}
            input: {{url: "{url}", method: POST, json: 1}}
        """)
    done = flowtoy("run", "flow.yaml")
    assert done.code == 1
    assert "POST is not repeated, as it may have been done" in done.stderr
    assert len(killed) == 1

"""Tokens that are asked for, kept and renewed (language 21.5)."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from token_api import Asked, Reply, TokenApi, as_json, run

from flowtoy_dagster.flow.graph import Source, Step
from flowtoy_dagster.flow.schema.rates import Rate
from flowtoy_dagster.providers.kinds import InstalledProviders
from flowtoy_dagster.steps.attempts import run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo
from flowtoy_dagster.store.store import FolderStore
from flowtoy_dagster.store.tokens import TokenStore, tokens_of

Serve = Callable[[Callable[[Any], Any]], str]


@pytest.fixture
def api(serve: Serve) -> TokenApi:
    api = TokenApi()
    api.url = serve(api)
    return api


@pytest.fixture
def tokens(tmp_path: Path) -> TokenStore:
    return TokenStore(FolderStore(tmp_path / "tokens"))


def error_of(outcome: Any) -> str:
    assert outcome.error is not None
    return str(outcome.error)


def test_a_token_is_requested_once_and_kept_for_later_steps(
    api: TokenApi, tokens: TokenStore, tmp_path: Path
) -> None:
    for _ in range(3):
        done = run(api.url, api.auth, TokenStore(FolderStore(tmp_path / "tokens")))
        assert done.outputs == {"rows": [{"id": 1}]}, done.error
    assert api.forms == [{"grant_type": "client_credentials", "client_id": "flows",
                          "client_secret": "cl1ent-s3cret"}]  # fmt: skip
    assert api.calls == [api.token(1)] * 3
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "tokens").iterdir()}
    assert modes == {0o600}
    assert (tmp_path / "tokens").stat().st_mode & 0o777 == 0o700


def test_the_client_is_sent_as_the_author_says(api: TokenApi, tokens: TokenStore) -> None:
    more = {"client_auth": "basic", "client_id": "a b", "client_secret": "p:ss-word/+",
            "scope": "read write", "access_token_request_data": {"audience": "rows", "x": None}}
    assert run(api.url, {**api.auth, **more}, tokens).succeeded
    assert api.forms == [
        {"grant_type": "client_credentials", "scope": "read write", "audience": "rows"}
    ]
    shown = base64.b64decode(api.asked[0].headers["Authorization"].removeprefix("Basic "))
    assert shown == b"a+b:p%3Ass-word%2F%2B"


def test_another_secret_or_scope_is_another_token(api: TokenApi, tokens: TokenStore) -> None:
    for change in ({}, {"client_secret": "another-one"}, {"scope": "x"}, {}):
        assert run(api.url, {**api.auth, **change}, tokens).succeeded
    assert api.calls == [api.token(n) for n in (1, 2, 3, 1)]


def in_another_process(url: str, auth: dict[str, Any], folder: Path, results: Any) -> None:
    results.put(run(url, auth, TokenStore(FolderStore(folder))).error)


def test_eight_workers_request_one_token(api: TokenApi, tmp_path: Path) -> None:
    """Four threads, and four processes."""
    folder = tmp_path / "tokens"
    errors: list[str | None] = []
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    arguments = (api.url, api.auth, folder, results)
    workers = [context.Process(target=in_another_process, args=arguments) for _ in range(4)]
    store = FolderStore(folder)
    threads = [
        threading.Thread(
            target=lambda: errors.append(run(api.url, api.auth, TokenStore(store)).error)
        )
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for thread in threads:
        thread.start()
    errors += [results.get() for _ in workers]
    for each in (*workers, *threads):
        each.join()
    assert errors == [None] * 8
    assert len(api.forms) == 1
    assert len(api.calls) == 8


def change(folder: Path, **facts: Any) -> None:
    """Change what is kept of the one token."""
    (path,) = folder.glob("token-" + "?" * 32)
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def shift(folder: Path, seconds: float) -> None:
    """Let time pass: what is kept was written so much earlier."""
    (path,) = folder.glob("token-" + "?" * 32)
    kept = json.loads(path.read_text())
    moved = {key: kept[key] - seconds for key in ("got_at", "expires_at")}
    path.write_text(json.dumps({**kept, **moved}))


@pytest.mark.parametrize(
    ("passed", "requests"), [(3500, 1), (3545, 2), (4000, 2), (-100, 2)],
    ids=["long before its end", "a minute before", "after it", "the clock was set back"],
)
def test_a_token_is_renewed_a_minute_before_its_end(
    api: TokenApi, tokens: TokenStore, tmp_path: Path, passed: float, requests: int
) -> None:
    assert run(api.url, api.auth, tokens).succeeded
    shift(tmp_path / "tokens", passed)
    assert run(api.url, api.auth, tokens).succeeded
    assert api.calls == [api.token(1), api.token(requests)]


def unavailable(number: int, form: dict[str, str]) -> Reply:
    return as_json({"error": "temporarily_unavailable"}, 503)


def test_a_token_that_is_not_at_its_end_is_used_where_it_can_not_be_renewed(
    api: TokenApi, tokens: TokenStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # language 21.5
    assert run(api.url, api.auth, tokens).succeeded
    shift(tmp_path / "tokens", 3570)  # it ends in 30 seconds
    api.token_answer = unavailable
    with caplog.at_level(logging.WARNING, logger="flowtoy.rest"):
        done = run(api.url, api.auth, tokens)
    assert done.succeeded, done.error
    assert (api.calls, len(api.forms)) == ([api.token(1)] * 2, 2)
    assert "the token can't be renewed; it is valid for" in caplog.text
    assert "cl1ent-s3cret" not in caplog.text
    shift(tmp_path / "tokens", 60)
    assert "503" in error_of(run(api.url, api.auth, tokens))
    assert len(api.calls) == 2


def test_a_token_that_was_rejected_is_not_used_again_where_it_can_not_be_renewed(
    api: TokenApi, tokens: TokenStore, tmp_path: Path
) -> None:
    assert run(api.url, api.auth, tokens).succeeded
    api.revoked.add(api.token(1))
    api.token_answer = unavailable
    assert "503" in error_of(run(api.url, api.auth, tokens))
    assert api.calls == [api.token(1)] * 2


@pytest.mark.parametrize("files", ["memory://tokens/prefix", "folder", None])
def test_machines_that_share_files_share_tokens(
    api: TokenApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: str | None
) -> None:
    if files is not None:
        (tmp_path / "folder").mkdir()
        monkeypatch.setenv("FLOWTOY_FILES", str(tmp_path / files) if files == "folder" else files)
    machines = [tokens_of(str(tmp_path / home)) for home in "ab"]
    for _ in range(2):
        assert all(run(api.url, api.auth, machine).succeeded for machine in machines)
    assert len(api.forms) == (2 if files is None else 1)
    if files is None:
        return
    # One machine is told that the token is not valid any more; the other one learns it by itself.
    api.revoked.add(api.token(1))
    assert all(run(api.url, api.auth, machine).succeeded for machine in machines)
    assert len(api.forms) == 2


def test_a_refresh_token_that_can_not_be_read_is_not_requested_anew_with_an_old_one(
    api: TokenApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away(FolderStore):
        def open(self, key: str) -> Any:
            if key.startswith("token-") and is_away:
                raise OSError("the store of files does not answer")
            return super().open(key)

    is_away = False
    tokens = TokenStore(Away(tmp_path / "tokens"))
    auth = {**REFRESH, "access_token_url": "/token"}
    assert run(api.url, auth, tokens).succeeded
    is_away = True
    error = error_of(run(api.url, auth, tokens))
    assert error == "the kept refresh token can't be read: the store of files does not answer"
    assert len(api.forms) == 1
    # What can be requested at any time is.
    assert run(api.url, api.auth, tokens).succeeded
    assert len(api.forms) == 2


def test_tokens_that_ended_long_ago_are_removed_when_another_one_is_kept(tmp_path: Path) -> None:
    folder, now = tmp_path / "tokens", time.time()
    kept = {
        b"ended": {"access_token": "a", "expires_at": now},
        b"endless": {"access_token": "b", "expires_at": None},
        b"long": {"access_token": "c", "expires_at": now + 99 * 86400},
        b"refreshed": {"access_token": "d", "expires_at": now, "refresh_token": "r"},
    }
    for facts, value in kept.items():
        with TokenStore(FolderStore(folder)).held(facts) as held:
            held.write({**value, "got_at": now})
    for path in folder.glob("token-*"):
        moved = {name: value - 31 * 86400 if isinstance(value, float) else value
                 for name, value in json.loads(path.read_text()).items()}
        path.write_text(json.dumps(moved))
    for facts in (b"long", b"new"):  # the first is there already: nothing is removed
        with TokenStore(FolderStore(folder)).held(facts) as held:
            held.write({"access_token": "e", "got_at": now, "expires_at": now + 99})
        left = {facts for facts in (*kept, b"new") if TokenStore(FolderStore(folder)).read(facts)}
        if facts == b"long":
            assert left == kept.keys()
    assert left == {b"long", b"refreshed", b"new"}
    locks = [path.name for path in folder.glob(".token-*.lock")]
    assert len(locks) == 3


def test_a_short_lived_token_is_used_for_half_of_its_life(
    api: TokenApi, tokens: TokenStore, tmp_path: Path
) -> None:
    api.expires_in = 50
    assert run(api.url, api.auth, tokens).succeeded
    shift(tmp_path / "tokens", 20)
    assert run(api.url, api.auth, tokens).succeeded
    shift(tmp_path / "tokens", 10)
    assert run(api.url, api.auth, tokens).succeeded
    assert api.calls == [api.token(1), api.token(1), api.token(2)]


def test_a_401_gets_a_new_token_and_repeats_the_request_once(
    api: TokenApi, tokens: TokenStore
) -> None:
    assert run(api.url, api.auth, tokens).succeeded
    api.revoked = {api.token(1)}
    done = run(api.url, api.auth, tokens, method="POST", json={"a": 1})
    assert done.succeeded, done.error
    assert api.calls == [api.token(1), api.token(1), api.token(2)]
    api.revoked = {api.token(n) for n in range(9)}
    assert error_of(run(api.url, api.auth, tokens)).startswith("HTTP status 401")
    assert api.calls[3:] == [api.token(2), api.token(3)]


def test_a_token_ends_between_two_pages(api: TokenApi, tokens: TokenStore) -> None:
    def page(asked: Asked) -> Reply:
        number = int(asked.path.partition("page=")[2])
        if number == 2:
            api.revoked = {api.token(1)}
        return as_json({"rows": [number] if number < 5 else []})

    api.data = page
    paginator = {"type": "page_number", "base_page": 1}
    done = run(api.url, api.auth, tokens, paginator=paginator)
    assert done.outputs == {"rows": [1, 2, 3, 4]}, done.error
    assert api.calls == [api.token(n) for n in (1, 1, 1, 2, 2, 2)]


def test_a_401_that_is_expected_is_left_alone(api: TokenApi, tokens: TokenStore) -> None:
    api.data = lambda asked: as_json({"a": 1}, 401)
    assert run(api.url, api.auth, tokens, expect=401).outputs == {"rows": {"a": 1}}
    assert len(api.forms) == 1


def test_a_401_of_another_host_says_nothing_of_the_token(
    api: TokenApi, tokens: TokenStore, serve: Serve
) -> None:
    other = serve(lambda asked: as_json({}, 401))
    api.data = lambda asked: as_json({}, 302, Location=f"{other}/x")
    assert error_of(run(api.url, api.auth, tokens)).startswith("HTTP status 401")
    assert (len(api.forms), len(api.calls)) == (1, 1)


def test_the_token_of_another_worker_is_used_after_a_401(
    api: TokenApi, tokens: TokenStore, tmp_path: Path
) -> None:
    assert run(api.url, api.auth, tokens).succeeded
    api.revoked = {api.token(1)}

    def renewed_meanwhile(asked: Asked) -> Reply:
        return as_json([])

    api.data = renewed_meanwhile
    outcomes: list[bool] = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(run(api.url, api.auth, tokens).succeeded))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [True] * 4
    assert len(api.forms) == 2


NONSENSE = [
    ("no token", {"token_type": "bearer"}, 200, "has no 'access_token': its keys are 'token_type'"),
    ("a number", {"access_token": 7}, 200, "has no 'access_token'"),
    ("empty", {"access_token": ""}, 200, "has no 'access_token'"),
    ("a list", ["x"], 200, "has no 'access_token': it is not a JSON mapping"),
    ("HTML", b"<html>login</html>", 200, "is not JSON ('text/html')"),
    ("HTML of an error", b"<html>login</html>", 403, "answered 403 (a page of HTML)"),
    ("nothing", b"", 204, "is not JSON"),
    ("another type", {"access_token": "abcdefgh", "token_type": "mac"}, 200,
     "gives a token of type 'mac': only 'bearer' is known"),
    ("a success with an error", {"error": "invalid_scope", "error_description": "no x"}, 200,
     "answered 200 (invalid_scope: no x); check 'scope'"),
    ("the client is unknown", {"error": "invalid_client"}, 401,
     "answered 401 (invalid_client); check 'client_id' and 'client_secret'"),
    ("its own words", {"message": "cl1ent-s3cret is wrong"}, 400, "answered 400 (*** is wrong)"),
]


@pytest.mark.parametrize(
    ("body", "status", "words"), [case[1:] for case in NONSENSE], ids=[c[0] for c in NONSENSE]
)
def test_a_token_endpoint_that_gives_no_token_is_named(
    api: TokenApi, tokens: TokenStore, body: Any, status: int, words: str
) -> None:
    def answer(number: int, form: dict[str, str]) -> Reply:
        if isinstance(body, bytes):
            return status, {"Content-Type": "text/html"}, body
        return as_json(body, status)

    api.token_answer = answer
    outcome = run(api.url, api.auth, tokens, retries=3)
    error = error_of(outcome)
    assert f"the token endpoint {api.url}/token" in error
    assert words in error
    assert "abcdefgh" not in error
    assert (outcome.retry_in, api.calls) == (None, [])


def test_a_token_endpoint_that_is_busy_is_called_again_by_retry(
    api: TokenApi, tokens: TokenStore
) -> None:
    api.token_answer = lambda number, form: as_json({}, 503)
    outcome = run(api.url, api.auth, tokens, retries=3, method="POST")
    assert error_of(outcome) == f"the token endpoint {api.url}/token answered 503"
    assert outcome.retry_in == 0


def test_a_token_request_goes_to_no_other_place(
    api: TokenApi, tokens: TokenStore, serve: Serve
) -> None:
    got: list[Asked] = []

    def take(asked: Asked) -> Reply:
        got.append(asked)
        return as_json({"access_token": "from elsewhere"})

    other = serve(take)
    for status in (302, 303, 307):
        api.token_answer = lambda number, form, status=status: as_json(  # type: ignore[misc]
            {}, status, Location=f"{other}/token"
        )
        assert "is not redirected" in error_of(run(api.url, api.auth, tokens))
    assert got == []


def test_a_token_endpoint_that_is_not_there_is_named(
    api: TokenApi, tokens: TokenStore, refusing: str
) -> None:
    auth = {**api.auth, "access_token_url": f"http://{refusing}/token?key=x"}
    error = error_of(run(api.url, auth, tokens))
    assert error == (f"no token from 'http://{refusing}/token': could not connect to "
                     f"http://{refusing}: connection refused")  # fmt: skip


@pytest.mark.parametrize(
    ("given", "is_warned"),
    [("3600", False), (None, False), (1e18, False), (0, True), (-5, True), ("soon", True),
     (True, True), ([1], True)],
)  # fmt: skip
def test_a_life_that_is_none_does_not_stop_a_call(
    api: TokenApi, tokens: TokenStore, given: Any, is_warned: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    api.expires_in = given
    with caplog.at_level(logging.WARNING, "flowtoy.rest"):
        assert all(run(api.url, api.auth, tokens).succeeded for _ in range(2))
    assert len(api.forms) == 1
    assert ("not a time" in caplog.text) == is_warned


def test_a_home_that_can_not_be_written_keeps_no_token(
    api: TokenApi, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tokens").write_text("a file is where the folder should be")
    tokens = TokenStore(FolderStore(tmp_path / "tokens"))
    assert all(run(api.url, api.auth, tokens).succeeded for _ in range(2))
    assert len(api.forms) == 2
    assert "the token can't be kept in the home" in caplog.text


def test_a_call_without_a_home_requests_its_own(api: TokenApi) -> None:
    assert run(api.url, api.auth, None).succeeded
    assert len(api.forms) == 1


def test_what_is_damaged_is_requested_again(
    api: TokenApi, tokens: TokenStore, tmp_path: Path
) -> None:
    assert run(api.url, api.auth, tokens).succeeded
    for text in ("", "[1]", "{", '{"access_token": 1}', '{"access_token": "x", "got_at": "y"}'):
        (path,) = (tmp_path / "tokens").glob("token-" + "?" * 32)
        path.write_text(text)
        assert run(api.url, api.auth, tokens).succeeded
    assert len(api.forms) == 6


def test_a_token_is_masked_and_in_no_output(api: TokenApi, tokens: TokenStore) -> None:
    def echo(asked: Asked) -> Reply:
        shown = asked.headers["Authorization"]
        return as_json({"you": shown, "url": f"/x?t={shown[7:]}"}, **{"X-You": shown})

    api.data = echo
    done = run(api.url, api.auth, tokens)
    assert done.outputs == {"rows": {"you": "Bearer ***", "url": "/x?t=***"}}
    header = {"name": "x", "value": "{{ meta.headers['x-you'] }}"}
    done = run(api.url, api.auth, tokens, output=header)
    assert done.outputs == {"x": "Bearer ***"}
    assert done.mask.text(f"a {api.token(1)} b") == "a *** b"
    assert not [value for value in done.secrets if api.token(1) in value]
    api.data = lambda asked: as_json({"who": asked.headers["Authorization"]}, 403)
    assert error_of(run(api.url, api.auth, tokens)) == 'HTTP status 403: {"who": "Bearer ***"}'


def test_what_a_token_endpoint_says_is_masked(api: TokenApi, tokens: TokenStore) -> None:
    body = {"error": "x", "error_description": "not s3cret-r", "refresh_token": "s3cret-r"}
    api.token_answer = lambda number, form: as_json(body, 400)
    assert error_of(run(api.url, api.auth, tokens)).endswith("answered 400 (x: not ***)")


REFRESH = {"type": "oauth2_refresh", "refresh_token": "r-0-S3cretS3cret", "client_id": "flows"}


def rotating(api: TokenApi) -> Callable[[int, dict[str, str]], Reply]:
    """A refresh token is good once."""

    def answer(number: int, form: dict[str, str]) -> Reply:
        if form["refresh_token"] != f"r-{number - 1}-S3cretS3cret":
            return as_json({"error": "invalid_grant"}, 400)
        return as_json({"access_token": api.token(number), "expires_in": 3600,
                        "refresh_token": f"r-{number}-S3cretS3cret"})  # fmt: skip

    return answer


def test_a_refresh_token_that_changes_is_kept(
    api: TokenApi, tokens: TokenStore, tmp_path: Path
) -> None:
    api.token_answer = rotating(api)
    auth = {**REFRESH, "access_token_url": "/token"}
    for number in range(1, 5):
        # Neither the secret nor the scope changes who has logged in.
        more = {"client_secret": f"s3cret-{number}", "scope": f"{number // 3}"}
        done = run(api.url, {**auth, **more}, tokens)
        assert done.succeeded, done.error
        shift(tmp_path / "tokens", 4000)
    assert [form["refresh_token"] for form in api.forms] == [
        f"r-{n}-S3cretS3cret" for n in range(4)
    ]
    assert {form["grant_type"] for form in api.forms} == {"refresh_token"}


def test_a_refresh_token_that_stays_is_sent_again(
    api: TokenApi, tokens: TokenStore, tmp_path: Path
) -> None:
    for _ in range(3):
        assert run(api.url, {**REFRESH, "access_token_url": "/token"}, tokens).succeeded
        shift(tmp_path / "tokens", 4000)
    assert [form["refresh_token"] for form in api.forms] == ["r-0-S3cretS3cret"] * 3


def test_a_refresh_token_that_is_dead_says_what_to_do(
    api: TokenApi, tokens: TokenStore, tmp_path: Path
) -> None:
    api.token_answer = rotating(api)
    auth = {**REFRESH, "access_token_url": "/token"}
    assert run(api.url, auth, tokens).succeeded
    shift(tmp_path / "tokens", 4000)
    change(tmp_path / "tokens", refresh_token="r-0-S3cretS3cret")
    error = error_of(run(api.url, auth, tokens))
    assert "answered 400 (invalid_grant); the refresh token is not valid any more" in error
    assert "killed while it renewed" in error
    # A new one in the flow is used instead.
    assert run(api.url, {**auth, "refresh_token": "r-2-S3cretS3cret"}, tokens).succeeded
    assert api.forms[-1]["refresh_token"] == "r-2-S3cretS3cret"


def test_a_refresh_token_is_not_used_up_where_the_next_one_can_not_be_kept(
    api: TokenApi, tmp_path: Path
) -> None:
    (tmp_path / "tokens").write_text("a file is where the folder should be")
    auth = {**REFRESH, "access_token_url": "/token"}
    error = error_of(run(api.url, auth, TokenStore(FolderStore(tmp_path / "tokens"))))
    assert error.startswith("no token was requested: a new refresh token could not be kept")
    assert api.forms == []


def test_a_step_that_is_ended_does_not_lose_a_refresh_token(
    api: TokenApi, tokens: TokenStore, tmp_path: Path
) -> None:
    ended, cancelled = threading.Event(), threading.Event()
    answer = rotating(api)

    def late(number: int, form: dict[str, str]) -> Reply:
        cancelled.set()
        assert ended.wait(60)
        return answer(number, form)

    from flowtoy_dagster.steps.context import Host

    api.token_answer = late
    auth = {**REFRESH, "access_token_url": "/token"}
    host = {"host": Host(cancelled=cancelled)}
    assert error_of(run(api.url, auth, tokens, context=host)) == "ended while it waited for a token"
    ended.set()
    done = run(api.url, auth, tokens)  # waits for the lock
    assert done.succeeded, done.error
    assert api.calls == [api.token(1)]


def test_a_process_that_is_killed_while_it_renews_holds_up_nobody(
    api: TokenApi, tokens: TokenStore, tmp_path: Path
) -> None:
    asked, ended = threading.Event(), threading.Event()
    rotate = rotating(api)

    def answer(number: int, form: dict[str, str]) -> Reply:
        if number > 1:
            return rotate(number - 1, form)
        asked.set()
        assert ended.wait(60)
        return as_json({}, 500)

    api.token_answer = answer
    api.lock = contextlib.nullcontext()  # type: ignore[assignment]
    auth = {**REFRESH, "access_token_url": "/token"}
    context = multiprocessing.get_context("fork")
    arguments = (api.url, auth, tmp_path / "tokens", context.Queue())
    killed = context.Process(target=in_another_process, args=arguments)
    killed.start()
    assert asked.wait(60)
    killed.kill()
    killed.join()
    ended.set()
    done = run(api.url, auth, tokens)
    assert done.succeeded, done.error


def test_any_request_can_give_a_token(api: TokenApi, tokens: TokenStore, tmp_path: Path) -> None:
    def login(number: int, form: dict[str, str]) -> Reply:
        ends = "2100-01-01T00:00:00Z"
        return as_json({"session": {"key": api.token(number), "until": ends}})

    api.token_answer = login
    auth = {
        "type": "token",
        "request": {"url": "/token", "json": {"user": "u", "password": "pa55-word"},
                    "params": {"v": 2}, "headers": {"X-App": "a"}},
        "token_path": "session.key", "expires_path": "session.until",
    }  # fmt: skip
    assert all(run(api.url, auth, tokens).succeeded for _ in range(2))
    (asked,) = api.asked
    assert (asked.method, asked.path, asked.headers["X-App"]) == ("POST", "/token?v=2", "a")
    assert json.loads(asked.body) == {"user": "u", "password": "pa55-word"}
    assert api.calls == [api.token(1)] * 2
    shift(tmp_path / "tokens", 3e9)
    assert run(api.url, auth, tokens).succeeded
    assert len(api.asked) == 2


@pytest.fixture
def seen(serve: Serve) -> Iterator[tuple[str, list[Asked]]]:
    """A server that gives a token at /login, and keeps what it is asked."""
    asked: list[Asked] = []

    def reply(request: Asked) -> Reply:
        asked.append(request)
        return as_json({"t": "abc-S3cret-token", "n": 12345678} if "login" in request.path else [])

    return serve(reply), asked


def test_a_token_is_put_into_a_header_by_a_template(
    seen: tuple[str, list[Asked]], tokens: TokenStore
) -> None:
    url, asked = seen
    auth = {"type": "token", "request": {"url": "/login", "method": "GET"}, "token_path": "t",
            "header": "X-Session", "template": "Token='{{ token }}', v=1"}  # fmt: skip
    done = run(url, auth, tokens)
    assert done.succeeded, done.error
    assert asked[-1].headers["X-Session"] == "Token='abc-S3cret-token', v=1"
    assert "Authorization" not in asked[-1].headers


def test_a_token_path_that_finds_nothing_names_the_keys(
    seen: tuple[str, list[Asked]], tokens: TokenStore
) -> None:
    url, _ = seen
    auth = {"type": "token", "request": {"url": "/login"}, "token_path": "data.token"}
    assert error_of(run(url, auth, tokens)) == (
        f"the answer of the token endpoint {url}/login has no token at 'data.token': "
        "its keys are 't', 'n'"
    )


@pytest.mark.parametrize(
    ("auth", "path", "message"),
    [
        ({"type": "oauth2_client_credentials"}, ("auth",),
         "the key 'access_token_url' is required"),
        ({"type": "oauth2_refresh", "access_token_url": "u"}, ("auth",),
         "the key 'refresh_token' is required"),
        ({"type": "oauth2_refresh", "access_token_url": "u", "refresh_token": "r",
          "client_auth": "header"}, ("auth", "client_auth"),
         "'header' is not one of 'body', 'basic'"),
        ({"type": "token"}, ("auth",), "the key 'request' is required"),
        ({"type": "token", "request": {"method": "POST"}}, ("auth", "request"),
         "the key 'url' is required"),
        ({"type": "token", "request": {"url": "u", "json": 1, "form": {}}}, ("auth", "request"),
         "'json' and 'form' exclude each other: a request has one body"),
        ({"type": "token", "request": {"url": "u"}, "token_path": "$.a"}, ("auth", "token_path"),
         "'$.a' is not JMESPath"),
        ({"type": "token", "request": {"url": "u"}, "template": "{{ tokn }}"}, ("auth", "template"),
         "'tokn' is not a name"),
        ({"type": "token", "request": {"url": "u"}, "header": "a b"}, ("auth", "header"),
         "'a b' is not a name that a header can have"),
    ],
)  # fmt: skip
def test_a_mistake_is_found_before_the_run(
    auth: dict[str, Any], path: tuple[str, ...], message: str
) -> None:
    found = InstalledProviders().check("rest", {"url": "u", "auth": auth}, True)
    assert (found[0].path, message in found[0].message) == (path, True), found


def test_a_request_that_is_repeated_counts_for_the_rate(
    api: TokenApi, tokens: TokenStore
) -> None:
    # language 19.5
    taken: list[str] = []

    class Limiter:
        def take(self, key: str, rates: Any) -> float:
            taken.append(key)
            return 0.0

        def pause(self, key: str, seconds: float) -> None:
            """Nothing wants one."""

    assert run(api.url, api.auth, tokens).succeeded
    api.revoked = {api.token(1)}
    keys = {"url": f"{api.url}/rows", "timeout": 20, "auth": {**api.auth,
            "access_token_url": f"{api.url}/token"}}  # fmt: skip
    source = Source("rest", keys, "api", rates=(Rate(9, 1.0),))
    step = Step(0, "read", source)
    context = StepContext(step, RunInfo("r", "f", lambda: 0.0), limiter=Limiter(), tokens=tokens)
    assert run_step(context, {"api": source}, {}).succeeded
    assert (len(taken), len(api.calls), len(api.forms)) == (2, 3, 2)


def test_the_name_of_a_token_is_known_in_its_template_alone() -> None:
    known = InstalledProviders().template_names
    assert "token" in (known("rest", {"auth": {"type": "token", "template": "x"}}, True) or ())
    assert "token" not in (known("rest", {"auth": {"bearer": "x"}}, True) or ())

"""Secrets in every place that holds them, and a search through all that a run leaves behind."""

from __future__ import annotations

import base64
import json
import stat
import sys
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flowtoy_dagster import run_flow

# language 13.1, 13.2, 13.3; runtime 3
SECRETS = {
    "of an env source": 'pa$s/w0rd+one "é"',
    "of a template": "token two & more/+",
    "under a key": "api-key/three?+",
    "in a header": "bearer-four/+=",
    "of an output": "generated five/+é",
}
ENVIRONMENT = {
    "DB_PASSWORD": SECRETS["of an env source"],
    "MY_TOKEN": SECRETS["of a template"],
    "SHORT_TOKEN": "abc",
}

PRINTS = """
import base64, json, sys, urllib.parse
value = sys.argv[1]
for stream in (sys.stdout, sys.stderr):
    print("plain", value, file=stream)
    print("base64", base64.b64encode(value.encode()).decode(), file=stream)
    print("url", urllib.parse.quote(value, safe=""), urllib.parse.quote_plus(value), file=stream)
    print("json", json.dumps({"value": value}), file=stream, flush=True)
sys.exit(int(sys.argv[2]))
"""
MAKES = 'import sys; sys.stdout.reconfigure(encoding="utf-8"); print(sys.stdin.read()[::-1])'


def forms(value: str) -> set[str]:
    data = value.encode()
    return {
        value,
        base64.b64encode(data).decode(),
        base64.urlsafe_b64encode(data).decode(),
        urllib.parse.quote(value),
        urllib.parse.quote(value, safe=""),
        urllib.parse.quote_plus(value),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
    }


def leaks(data: bytes | str) -> list[str]:
    """Which secrets are in it, in which form."""
    found = data.encode() if isinstance(data, str) else data
    return [
        f"the secret {name}: {form}"
        for name, value in SECRETS.items()
        for form in forms(value)
        if form.encode() in found
    ]


@pytest.fixture
def echo(serve: Callable[..., str]) -> str:
    """The address of a server that answers 400 with the headers that it was sent."""

    def reply(asked: Any) -> tuple[int, dict[str, str], bytes]:
        sent_back = {"X-Sent-Back": str(asked.headers.get("Authorization"))}
        return 400, sent_back, json.dumps(dict(asked.headers)).encode()

    return f"{serve(reply)}/"


@pytest.fixture
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, echo: str) -> dict[str, Any]:
    """A flow that has secrets in every place, prints them and fails with them."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    prints, makes = tmp_path / "prints.py", tmp_path / "makes.py"
    prints.write_text(PRINTS)
    makes.write_text(MAKES)

    def told(name: str, value: str, code: int = 0, **more: Any) -> dict[str, Any]:
        return {
            "name": name, "source": "process",
            "input": {"command": [sys.executable, str(prints), value, code]},
            "output": [{"name": "all"}, {"name": "text", "value": "stdout"}], **more,
        }

    written = SECRETS["under a key"]
    return {
        "runner": {"on_error": "continue"},
        "description": f"uses {written}",
        "tags": {"api": written},
        "sources": {
            "variables": {"type": "env", "vars": list(ENVIRONMENT)},
            "api": {"type": "rest", "url": echo,
                    "headers": {"Authorization": f"Bearer {SECRETS['in a header']}"}},
            "keyed": {"type": "process", "env": {"API_KEY": written},
                      "command": [sys.executable, str(prints), written, "0"]},
        },
        "flow": [
            {"name": "variables", "source": "variables", "output": [{"name": "all"}]},
            told("of source", "{{ sources.variables.DB_PASSWORD }}"),
            told("of env", "{{ env.MY_TOKEN }}", description="with {{ env.MY_TOKEN }}"),
            told("fails", "{{ env.MY_TOKEN }}", 1),
            told("of step", "{{ flows.variables.all.DB_PASSWORD }}", 3),
            {"name": "key", "source": "keyed", "output": [{"name": "text", "value": "stdout"}],
             "tags": {"note": written}, "description": f"calls {written}"},
            {"name": "header", "source": "api", "output": [{"name": "all"}]},
            {"name": "header again", "source": "api", "depends_on": "header",
             "input": {"expect": [400]}, "output": [{"name": "all"}, {"name": "meta"}]},
            {"name": "not found", "source": "process",
             "input": {"command": ["no-such-{{ env.MY_TOKEN }}"]}},
            {"name": "makes",
             "source": {"type": "process", "pass_to": "stdin",
                        "command": [sys.executable, str(makes)]},
             # Backwards, so that the secret itself comes into being in the step.
             "input": {"type": "value", "value": SECRETS["of an output"][::-1]},
             "output": [
                 {"name": "made", "value": "{{ result.stdout | trim }}", "secret": True},
                 {"name": "open", "value": "stdout"},
             ]},
            told("of output", "{{ flows.makes.made }}"),
            told("fails of output", "{{ flows.makes.made }}", 1),
            told("short", "{{ env.SHORT_TOKEN }}"),
        ],
    }


def search_home(home: Path) -> None:
    """Every file that may be read by others, or is Dagster's, holds no secret."""
    seen = 0
    for path in home.rglob("*"):
        if path.is_dir():
            continue
        seen += 1
        own = path.parent.name == "flowtoy-configs" and path.suffix == ".json"
        if own or home / "flowtoy-records" in path.parents:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700, path.parent
        else:
            assert leaks(path.read_bytes()) == [], path
    assert seen > 20


def search_dagster(home: Path) -> None:
    """What Dagster tells of a run holds no secret; its database has it compressed."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (run,) = instance.get_runs()
        assert leaks(dg.serialize_value(run)) == []
        assert leaks(json.dumps(run.run_config) + json.dumps(dict(run.tags))) == []
        assert run.job_snapshot_id is not None
        assert run.execution_plan_snapshot_id is not None
        snapshot = instance.get_job_snapshot(run.job_snapshot_id)
        assert leaks(dg.serialize_value(snapshot)) == []
        plan = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
        assert leaks(dg.serialize_value(plan)) == []
        entries = instance.all_logs(run.run_id)
        assert len(entries) > 50
        for entry in entries:
            assert leaks(dg.serialize_value(entry)) == [], entry.message
            assert leaks(str(entry)) == []


@pytest.mark.parametrize("sign", ["#", "?", "/", "@", " ", "'", '"'])
def test_no_part_of_a_password_in_a_url_is_shown(
    sign: str, monkeypatch: pytest.MonkeyPatch, echo: str
) -> None:
    # language 13.2: texts are masked before they are cut
    monkeypatch.setenv("SHOP_PASSWORD", f"longpassword{sign}restofit")
    monkeypatch.setenv("ONE", f"firstpart{sign}secondpart")
    place = echo.partition("://")[2]
    run = run_flow({
        "runner": {"on_error": "continue", "executor": "in_process"},
        "flow": [
            {"name": "of a template", "source": "rest",
             "input": {"url": f"http://me:{{{{ env.SHOP_PASSWORD }}}}@{place}"}},
            {"name": "that nobody knows", "source": "rest",
             "input": {"url": f"http://me:{{{{ env.ONE }}}}@{place}"},
             "output": [{"name": "all"}]},
            {"name": "of the payload", "source": "rest",
             "input": {"url": f"http://me:thirdpart{sign}fourth@{place}"}},
        ],
    })
    told = repr(run.status) + json.dumps(run.mask.data(run.outputs))
    for part in ("longpassword", "restofit", "firstpart", "secondpart", "thirdpart", "fourth"):
        assert part not in told
        assert base64.b64encode(b"me:" + part.encode())[:-4].decode() not in told


def test_a_secret_in_a_host_is_hidden_in_small_letters_too(
    monkeypatch: pytest.MonkeyPatch, echo: str
) -> None:
    # language 13.2
    monkeypatch.setenv("HOOK_TOKEN", "Hook-0123-ABC")
    port = echo.rpartition(":")[2].strip("/")
    run = run_flow({
        "runner": {"on_error": "continue", "executor": "in_process"},
        "flow": [
            {"name": "unknown", "source": "rest",
             "input": {"url": "http://{{ env.HOOK_TOKEN }}.invalid/x"}},
            {"name": "port", "source": "rest",
             "input": {"url": "http://{{ env.HOOK_TOKEN }}.invalid:1/x"}},
            {"name": "answers", "source": "rest",
             "input": {"url": f"http://{{{{ env.HOOK_TOKEN }}}}.localhost:{port}/", "expect": 400},
             "output": [{"name": "all"}, {"name": "url", "value": "meta.url"}]},
        ],
    })
    told = repr(run.status) + json.dumps(run.mask.data(run.outputs))
    assert "hook-0123" not in told.lower()


FAILING = ("fails", "of step", "header", "not found", "fails of output")


# Dagster calls the class of a failed check deprecated, also when an event is read.
@pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")
@pytest.mark.parametrize("executor", ["warm", "multiprocess", "in_process"])
def test_no_secret_is_left_anywhere(
    executor: str, flow: dict[str, Any], flowtoy: Callable[..., Any], tmp_path: Path, home: Path
) -> None:
    # language 13.1, 13.2, 13.3
    flow["runner"]["executor"] = executor
    path = tmp_path / "flow.yaml"
    path.write_text(json.dumps(flow))
    done = flowtoy("run", path, "-j", "--log-level", "debug", timeout=200)
    assert done.code == 0, done.stderr
    assert leaks(done.stdout) == []
    assert leaks(done.stderr) == []
    assert "***" in done.stderr
    assert [name for name, value in done.json.items() if value is None] == list(FAILING)
    assert "command not found: 'no-such-***'" in done.stderr
    assert "HTTP status 400" in done.stderr
    # language 13.1: hidden, and still there for the steps that need it
    assert done.json["variables"] == {
        "all": {"DB_PASSWORD": "***", "MY_TOKEN": "***", "SHORT_TOKEN": "abc"}
    }
    lines = done.json["of output"]["text"].splitlines()
    assert lines == ["plain ***", "base64 ***", "url *** ***", 'json {"value": "***"}']
    assert done.json["makes"] == {"made": "***", "open": "***\n"}
    assert done.json["header again"]["all"]["Authorization"] == "***"
    assert done.json["short"]["text"].startswith("plain abc\n")
    search_home(home)
    search_dagster(home)


def test_the_commands_of_history_hide_secrets_unless_asked(
    flow: dict[str, Any], flowtoy: Callable[..., Any], tmp_path: Path, home: Path
) -> None:
    # language 13.2, also where the variables are not set any more
    path = tmp_path / "flow.yaml"
    path.write_text(json.dumps(flow))
    shown = flowtoy("run", path, "-j", "--show-secrets")
    assert shown.json["makes"]["made"] == SECRETS["of an output"]
    assert shown.json["variables"]["all"]["DB_PASSWORD"] == SECRETS["of an env source"]
    assert leaks(shown.stderr) == []
    for arguments in (
        ["show", "last"], ["show", "last", "--json"], ["logs", "last"], ["logs", "last", "key"],
        ["outputs", "last", "-j"], ["outputs", "last"], ["--json"],
    ):
        done = flowtoy("runs", *arguments)
        assert done.code == 0, done.stderr
        assert leaks(done.stdout + done.stderr) == [], arguments
    printed = flowtoy("runs", "logs", "last", "of output")
    assert "plain ***" in printed.stdout
    assert "base64 ***" in printed.stderr
    asked = flowtoy("runs", "outputs", "last", "-j", "--show-secrets")
    assert asked.json == shown.json
    assert leaks(json.dumps(asked.json, ensure_ascii=False)) != []
    again = flowtoy("retry", "last", "--from", "of output", "-j")
    assert leaks(again.stdout + again.stderr) == []
    assert again.json["of output"]["text"].startswith("plain ***\n")


def test_outputs_are_masked_when_their_variables_are_gone(
    flow: dict[str, Any], flowtoy: Callable[..., Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # language 13.2: `runs outputs` from another shell, in which the secret is not set
    flow["flow"] = flow["flow"][:3]
    path = tmp_path / "flow.yaml"
    path.write_text(json.dumps(flow))
    assert flowtoy("run", path, "-q").code == 0
    for name in ENVIRONMENT:
        monkeypatch.delenv(name)
    done = flowtoy("runs", "outputs", "last", "-j")
    assert done.code == 0, done.stderr
    assert leaks(done.stdout) == []


@pytest.mark.parametrize("executor", ["in_process", "warm"])
def test_tags_of_a_run_are_masked(
    executor: str, monkeypatch: pytest.MonkeyPatch, stored: Callable[[str], Any]
) -> None:
    # language 13.2
    monkeypatch.setenv("MY_TOKEN", SECRETS["of a template"])
    flow = {
        "name": f"flow of {SECRETS['under a key']}",
        "runner": {"executor": executor},
        "flow": [{"name": "one", "source": {"type": "process",
                                            "env": {"API_KEY": SECRETS["under a key"]}},
                  "input": {"command": ["echo", "{{ env.MY_TOKEN }}"]}}],
    }
    run = run_flow(flow, tags={"note": f"<{SECRETS['of a template']}>"})
    assert run.success
    kept = stored(run.run_id)
    assert kept.run.tags["note"] == "<***>"
    assert leaks(dg.serialize_value(kept.run)) == []
    assert run.outputs == {"one": {}}

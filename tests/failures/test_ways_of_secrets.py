"""More than sixty ways in which a secret can pass, in one run, and a search for what is left."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import sys
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

SECRET = 'h0r$e/b4ttery+"st4ple" & it\'s  \\ü'
GENERATED = "made-0123456789-in-flight"
MARK = b"h0r$e"
"""The first letters, which no other text has."""


def forms(value: str) -> dict[str, bytes]:
    """Ways in which the secret is written."""
    data, written = value.encode(), json.dumps(value)[1:-1]
    percent = urllib.parse.quote(value, safe="")
    long = b"user: me, password: " + data * 4 + b", and more"
    texts = {
        "plain": value,
        "base64": base64.b64encode(data).decode(),
        "base64, one byte before": base64.b64encode(b"u" + data).decode(),
        "base64, two bytes before": base64.b64encode(b"u:" + data + b"\n").decode(),
        "base64 for URLs": base64.urlsafe_b64encode(data).decode().rstrip("="),
        "base64 of JSON": base64.b64encode(json.dumps({"a": value}).encode()).decode(),
        "base64 of UTF-16": base64.b64encode(value.encode("utf-16-le")).decode(),
        "base64 in JSON": base64.b64encode(data).decode().replace("/", "\\/"),
        "base64 in a URL": urllib.parse.quote(base64.b64encode(data).decode(), safe=""),
        "hexadecimal": data.hex(),
        "HEXADECIMAL": data.hex().upper(),
        "URL": urllib.parse.quote(value),
        "URL, slashes too": percent,
        "URL, in small letters": re.sub("%..", lambda match: match[0].lower(), percent),
        "URL, as encodeURIComponent": urllib.parse.quote(value, safe="!'()*"),
        "URL, every byte": "".join(f"%{byte:02X}" for byte in data),
        "URL, twice": urllib.parse.quote(percent),
        "form": urllib.parse.quote_plus(value),
        "JSON": written,
        "JSON in UTF-8": json.dumps(value, ensure_ascii=False)[1:-1],
        "JSON, as PHP": written.replace("/", "\\/"),
        "JSON, as Go": written.replace("&", "\\u0026"),
        "JSON, as Rails": written.replace("'", "\\u0027").replace("&", "\\u0026"),
        "JSON in JSON": json.dumps(written)[1:-1],
        "JSON in JSON in JSON": json.dumps(json.dumps(written)[1:-1])[1:-1],
        "JSON in a URL": urllib.parse.quote(written),
        "URL in JSON": json.dumps(f"http://x/?q={percent}"),
        "HTML": html.escape(value),
        "HTML, decimal": "".join(f"&#{ord(c)};" for c in value),
        "HTML, hexadecimal": "".join(f"&#x{ord(c):x};" for c in value),
        "HTML, named": html.escape(value).replace("ü", "&uuml;"),
        "Python": repr(value),
        "Python, ASCII": ascii(value),
        "Python, bytes": repr(data),
        "shlex": shlex.quote(value),
        "bash -x": "'" + value.replace("'", "'\\''") + "'",
        "shell, with backslashes": re.sub(r"([^\w])", r"\\\1", value),
        "CSV": value.replace('"', '""'),
        "YAML and SQL": value.replace("'", "''"),
    }
    found = {name: text.encode() for name, text in texts.items()}
    return found | {
        "base64 in lines": base64.encodebytes(long),
        "base64 in lines of Windows": base64.encodebytes(long).replace(b"\n", b"\r\n"),
        "Latin-1": value.encode("latin-1"),
        "UTF-16": value.encode("utf-16-le"),
    }


FORMS = forms(SECRET)
NEEDLES = {
    name: form
    for name, form in {**FORMS, "of an output": GENERATED.encode()}.items()
    if not name.startswith("base64 in lines")
}
# What tells that a part of a secret was left where it was cut.
PARTS = (MARK, b"h0r%24e", b"h0r\\$e", base64.b64encode(SECRET.encode())[:12], b"made-01234")


def leaks(data: bytes | str) -> list[str]:
    found = data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape")
    names = [name for name, form in NEEDLES.items() if form in found]
    places = [found.find(part) for part in PARTS]
    return names + [repr(found[max(0, at - 99) : at + 99]) for at in places if at >= 0]


@pytest.fixture
def address(serve: Callable[..., str]) -> str:
    """A server that answers 400 with all that it was sent."""

    def reply(asked: Any) -> tuple[int, dict[str, str], bytes]:
        told = [asked.path, asked.body.decode(), *asked.headers.values()]
        return 400, {}, json.dumps("y" * 150 + " ".join(told)).encode()

    return serve(reply)


ENV = "{{ env.MY_TOKEN }}"
BYTE_BY_BYTE = """
import os, sys
for byte in sys.argv[1].encode():
    for stream in (1, 2):
        os.write(stream, bytes([byte]))
"""
MAKES = f"print({GENERATED[:9]!r} + {GENERATED[9:]!r}, flush=True)"


def ways(address: str, folder: Path) -> list[dict[str, Any]]:
    """Steps by which the secret passes; most of them fail with it."""
    said = folder / "said.bin"
    said.write_bytes(b"\n".join(FORMS.values()) + b"\n")

    def command(name: str, *words: Any, **more: Any) -> dict[str, Any]:
        return {"name": name, "source": "process", "input": {"command": [*words]}, **more}

    def python(name: str, code: str, *words: Any, **more: Any) -> dict[str, Any]:
        return command(name, sys.executable, "-c", code, *words, **more)

    def rest(name: str, path: str = "/", **keys: Any) -> dict[str, Any]:
        return {"name": name, "source": {"type": "rest", "url": address + path}, "input": keys}

    everything = [{"name": "all"}, {"name": "text", "value": "stdout"}]
    return [
        {"name": "variables", "source": {"type": "env", "vars": ["{{ 'MY' }}_TOKEN"]},
         "output": [{"name": "all"}]},
        command("forms on stdout", "cat", str(said), output=everything),
        command("forms on stderr", "sh", "-c", f"cat {said} >&2; exit 3"),
        command("argument", "printf", "%s\\n", ENV, output=everything),
        {"name": "stdin", "source": {"type": "process", "pass_to": "stdin", "command": ["cat"]},
         "input": {"type": "value", "value": {"token": ENV}}, "output": everything},
        {"name": "script", "source": {"type": "process", "shell": True},
         "input": {"command": 'set -x; echo "$MY_TOKEN" | tee /dev/stderr; exit 4'}},
        {"name": "variable", "source": {"type": "process", "env": {"X_KEY": ENV}},
         "input": {"command": "env", "shell": True}, "output": everything},
        rest("path", f"/{'p' * 70}/{{{{ env.MY_TOKEN | urlencode }}}}"),
        rest("query", params={"q": ENV}),
        rest("header", headers={"X-Api-Key": "{{ env.MY_TOKEN | b64encode }}"}),
        rest("bearer", auth={"bearer": "{{ env.MY_TOKEN | b64encode }}"}),
        rest("basic", auth={"basic": {"username": "me", "password": ENV}}),
        rest("json", method="POST", json={"deep": [{"in": ENV}]}),
        rest("form", method="POST", form={"password": ENV}),
        rest("text", method="POST", data=f"<{ENV}>"),
        rest("no port", timeout=ENV),
        {"name": "no server", "source": {"type": "rest", "url": "http://127.0.0.1:1/"},
         "input": {"params": {"q": ENV}, "timeout": 5}},
        command("no command", f"no-such-{ENV}"),
        {"name": "no folder", "source": {"type": "process", "cwd": f"/no/{ENV}"},
         "input": {"command": ["true"]}},
        python("byte by byte", BYTE_BY_BYTE, ENV, output=everything),
        python("preview", "import sys; print('y' * 190 + sys.argv[1])", ENV, output=everything),
        python("first part", "import sys; print('y' * (16384 - 40) + sys.argv[1])", ENV,
               output=everything),
        python("long log", "import sys; print('y' * ((1 << 20) - 20) + sys.argv[1] * 40000)", ENV),
        python("exception", "import sys; raise ValueError(sys.argv[1])", ENV),
        python("two attempts", "import sys; sys.exit(sys.argv[1])", ENV,
               retry={"max": 1, "delay": 0}),
        python("expression", "import sys; print(sys.argv[1])", ENV,
               output=[{"name": "x", "value": "length(returncode)"}]),
        python("template", "import sys; print(sys.argv[1])", ENV,
               output=[{"name": "x", "value": "{{ result.stdout + 1 }}"}]),
        python("makes", MAKES, output=[
            {"name": "token", "value": "{{ result.stdout | trim }}"}, {"name": "open"}]),
        command("passes on", "echo", "{{ flows.makes.token }}", output=everything),
        python("fails after", f"{MAKES}; raise SystemExit(3)",
               output=[{"name": "token", "value": "nothing"}]),
        python("out of time", f"{MAKES}; import time; time.sleep(60)", timeout=1,
               output=[{"name": "x", "value": "stdout", "secret": True}]),
        python("another fails", MAKES, output=[
            {"name": "x", "value": "{{ result.stdout + 1 }}"},
            {"name": "token", "value": "{{ result.stdout | trim }}"}]),
        command("parameter", "echo", "{{ params.pin_token }}", output=everything),
        command("said of another", "echo", "{{ steps.argument.result.data.stdout }}",
                output=everything, description=f"gets {ENV}", tags={"note": "none"}),
    ]


def _is_of_the_owner(file: Path) -> bool:
    """Whether it is one of the files that have the values, without which no run works."""
    return any(part in ("flowtoy-configs", "flowtoy-records") for part in file.parts)


def search_dagster(home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for run in instance.get_runs():
            assert leaks(dg.serialize_value(run)) == []
            for entry in instance.all_logs(run.run_id):
                assert leaks(dg.serialize_value(entry)) == [], entry.message


@pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")
def test_no_way_of_sixty_leaves_a_secret(
    flowtoy: Callable[..., Any], tmp_path: Path, home: Path, address: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # language 13
    monkeypatch.setenv("MY_TOKEN", SECRET)
    steps = ways(address, tmp_path)
    assert len(FORMS) + len(steps) >= 60
    path = tmp_path / "flow.yaml"
    flow = {
        "runner": {"on_error": "continue"},
        "params": {"pin_token": {"type": "string"}},
        "flow": steps,
    }
    path.write_text(json.dumps(flow))
    given = tmp_path / "given.json"
    given.write_text(json.dumps({"pin_token": SECRET}))
    done = flowtoy("run", path, "-j", "--log-level", "debug", "--params-file", given, timeout=200)
    assert done.code in (0, 1), done.stderr
    assert leaks(done.stdout) == []
    assert leaks(done.stderr) == []
    assert "--show-secrets" in done.stderr
    assert done.json["variables"] == {"all": {"MY_TOKEN": "***"}}
    assert done.json["makes"]["token"] == "***"
    assert done.json["passes on"]["text"] == "***\n"
    for arguments in (["show", "last"], ["show", "last", "--json"], ["logs", "last"],
                      ["outputs", "last", "-j"]):
        told = flowtoy("runs", *arguments)
        assert leaks(told.stdout + told.stderr) == [], arguments
    # The difference that a retry shows, with a secret in YAML's quotes.
    flow["flow"] = [{**step, "input": {"command": ["printf", "%s", SECRET]}}
                    if step["name"] == "argument" else step for step in steps]
    path.write_text(json.dumps(flow))
    told = flowtoy("retry", "last", path, "--from", "parameter", "-j", timeout=200)
    assert "differs from what ran" in told.stderr
    assert leaks(told.stdout + told.stderr) == []
    for file in home.rglob("*"):
        if file.is_file() and not _is_of_the_owner(file):
            assert leaks(file.read_bytes()) == [], file
    search_dagster(home)

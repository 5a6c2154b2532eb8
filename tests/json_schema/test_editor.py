"""What an editor shows of flows: three of them in yaml-language-server, with `flowtoy schema`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from module_files import load

from flowtoy_dagster.json_schema.flow_schema import flow_schema

PROGRAM = "yaml-language-server"
PLACE = os.environ.get("YAML_LANGUAGE_SERVER") or shutil.which(PROGRAM)
pytestmark = pytest.mark.skipif(
    PLACE is None,
    reason=f"{PROGRAM} is not here: npm install -g {PROGRAM}@1.25.0, or YAML_LANGUAGE_SERVER",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    module = load(Path(__file__).with_name("language_server.py"))
    schema = tmp_path_factory.mktemp("schema") / "schema.json"
    schema.write_text(json.dumps(flow_schema()), encoding="utf-8")
    started = module.LanguageServer([str(PLACE), "--stdio"], schema)
    yield started
    started.close()


def place_of(text: str) -> tuple[str, int, int]:
    """A text without its `|`, and where that was: the line (after the schema's), the column."""
    before, _, after = text.partition("|")
    return before + after, before.count("\n") + 1, len(before.rpartition("\n")[2])


REST = """\
sources:
  shop:
    type: rest
    base_url: https://api.example.com
    paginator: {type: cursor, cursor_path: next, cursor_param: after}
    auth:
      type: oauth2_client_credentials
      access_token_url: /token
flow:
  - name: orders
    source: shop
    input:
      url: /orders
    retry: 3
    output: [{name: rows, type: json}]
"""
LOOP = """\
params:
  days: {type: list, default: []}
flow:
  - name: each
    source: process
    for_each: {in: "{{ params.days }}", key: "{{ item }}"}
    input:
      command: [echo, "{{ item }}"]
    until: result.returncode == 0
"""
FILES = """\
schedule: {cron: "0 6 * * *"}
flow:
  - name: export
    source: {type: rest, url: http://localhost/list}
    output:
      - {name: table, type: file, format: parquet}
notify:
  - on: failure
    source: {type: process, command: [cat]}
"""


@pytest.mark.parametrize("text", [REST, LOOP, FILES], ids=["rest", "loop", "files"])
def test_a_flow_that_is_right_has_no_problems(server: Any, text: str) -> None:
    assert server.problems(server.open(f"{hash(text)}.yaml", text)) == []


@pytest.mark.parametrize(
    ("text", "some", "not_some"),
    [
        ("flow:\n  - name: a\n    |", {"source", "input", "for_each", "retry"}, {"sources"}),
        ("|\nflow: []\n", {"sources", "params", "schedule", "notify"}, {"input"}),
        (REST.replace("      url: /orders\n", "      url: /orders\n      |\n"),
         {"params", "headers", "paginator", "method"}, {"for_each"}),
        ("flow:\n  - name: a\n    source: process\n    input:\n      |\n",
         {"command", "stdin", "env", "cwd"}, {"paginator", "headers"}),
        (REST.replace("      access_token_url: /token\n", "      |\n"),
         {"access_token_url", "client_id", "client_secret", "scope"}, {"api_key"}),
        (REST.replace("    paginator: {type: cursor, cursor_path: next, cursor_param: after}\n",
                      "    paginator:\n      type: offset\n      |\n"),
         {"limit", "offset_param", "total_path", "max_pages"}, {"next_url_path", "cursor_path"}),
        (REST.replace("    paginator: {type: cursor, cursor_path: next, cursor_param: after}\n",
                      "    paginator:\n      type: |\n"),
         {"cursor", "offset", "header_link", "page_number"}, {"bearer"}),
        (FILES.replace("format: parquet", "format: |"), {"csv", "jsonl", "parquet", "raw"}, set()),
    ],
    ids=["step", "top", "input of a named source", "input of a type", "auth", "paginator",
         "types of paginators", "formats"],
)  # fmt: skip
def test_keys_and_values_are_completed(
    server: Any, text: str, some: set[str], not_some: set[str], request: pytest.FixtureRequest
) -> None:
    written, line, column = place_of(text)
    uri = server.open(f"{request.node.callspec.id}.yaml".replace(" ", "-"), written)
    found = server.completions(uri, line, column)
    assert some <= found
    assert not not_some & found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (REST.replace("cursor_path", "cur|sor_path"), "Where the cursor is, in JMESPath."),
        (REST.replace("access_token_url", "access|_token_url"), "Where tokens are requested"),
        (REST.replace("      url:", "      u|rl:"), "Where to call; with base_url a path."),
        (LOOP.replace("until", "un|til"), "until"),
        (FILES.replace("cron", "cr|on"), "cron"),
    ],
    ids=["paginator", "auth", "input", "step", "schedule"],
)
def test_keys_say_what_they_mean(
    server: Any, text: str, words: str, request: pytest.FixtureRequest
) -> None:
    written, line, column = place_of(text)
    uri = server.open(f"hover-{request.node.callspec.id}.yaml", written)
    shown = server.hover(uri, line, column).replace("\\", "")
    assert words.lower() in shown.lower()


@pytest.mark.parametrize(
    ("text", "wrong", "words"),
    [
        (REST.replace("retry: 3", "retries: 3"), "retries", "retries"),
        (REST.replace("cursor_path: next", "cusror_path: next"), "cusror_path", ""),
        (LOOP.replace("for_each: {in:", "for_each: {inn:"), "inn", "inn"),
        (FILES.replace("format: parquet", "format: parket"), "parket", ""),
        (FILES.replace("on: failure", "on: failed"), "failed", ""),
    ],
    ids=["step", "paginator", "loop", "value", "notify"],
)
def test_mistakes_are_marked_at_their_line(
    server: Any, text: str, wrong: str, words: str, request: pytest.FixtureRequest
) -> None:
    uri = server.open(f"wrong-{request.node.callspec.id}.yaml", text)
    problems = server.problems(uri)
    line = text[: text.index(wrong)].count("\n") + 1
    assert {problem["range"]["start"]["line"] for problem in problems} == {line}, problems
    assert any(words in problem["message"] for problem in problems)

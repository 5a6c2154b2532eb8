"""Which providers there are, and what is wrong with a configuration (language 3.2, 3.3)."""

from __future__ import annotations

from typing import Any

import pytest

from flowtoy_dagster.flow.graph import Source
from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.providers.kinds import PROVIDERS, InstalledProviders, describe

catalog = InstalledProviders()


def told(kind: str, configuration: dict[str, Any], complete: bool = False) -> list[str]:
    return [
        f"{'.'.join(map(str, found.path))}: {found.message}"
        for found in catalog.check(kind, configuration, complete)
    ]


def test_the_built_in_types_come_first() -> None:
    assert list(catalog.types())[:3] == ["rest", "process", "env"]
    assert all(catalog.why_unusable(kind) is None for kind in ("rest", "process", "env"))
    assert "postgres" not in PROVIDERS.names()


# language 5.3b


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("env", {"vars"}),
        ("process", {"command", "args", "stdin", "env", "cwd", "shell", "timeout"}),
        (
            "rest",
            {"url", "base_url", "method", "headers", "params", "json", "data", "form", "auth",
             "timeout", "verify", "cert", "allow_redirects", "expect", "max_response_bytes",
             "input_mode", "param_name", "hosts", "paginator", "data_selector", "response_actions",
             "idempotent", "idempotency_key", "files", "body", "decode", "proxy", "cookies"},
        ),
    ],
)  # fmt: skip
def test_request_keys_are_the_ones_of_the_language(kind: str, keys: set[str]) -> None:
    assert set(catalog.request_keys(kind) or ()) == keys


# language 3.3


@pytest.mark.parametrize(
    ("kind", "configuration"),
    [
        ("process", {"command": "{{ x }}", "timeout": "{{ x }}", "shell": "{{ x }}"}),
        ("process", {"command": ["{{ x }}"], "args": "{{ x }}", "env": "{{ x }}"}),
        ("process", {"success_codes": ["{{ x }}"], "max_output_bytes": "{{ x }}"}),
        ("process", {"command": [1, True, "a"], "env": {"A": 1}, "success_codes": 3}),
        ("rest", {"url": "{{ x }}", "timeout": "{{ x }}", "method": "{{ x }}"}),
        ("rest", {"verify": "{{ x }}"}),
        ("rest", {"headers": "{{ x }}", "expect": ["{{ x }}"], "auth": {"bearer": "{{ x }}"}}),
        ("env", {"vars": "{{ x }}"}),
        ("env", {"vars": ["{{ x }}"], "x-note": 1}),
    ],
)
def test_templates_and_scalars_are_accepted(kind: str, configuration: dict[str, Any]) -> None:
    assert told(kind, configuration) == []


@pytest.mark.parametrize(
    ("kind", "configuration", "expected"),
    [
        ("process", {"comand": 1}, ["comand: unknown key 'comand'"]),
        ("process", {"command": [[]]}, ["command.<list>.0: expected text, got a list"]),
        ("process", {"timeout": 0}, ["timeout: must be greater than 0, got the number 0"]),
        ("env", {"vars": {}}, ["vars: expected a list, got a mapping"]),
        (
            "rest",
            {"auth": {"basic": {"username": "u"}}},
            ["auth.basic: the key 'password' is required"],
        ),
    ],
)
def test_findings_tell_the_place_and_the_mistake(
    kind: str, configuration: dict[str, Any], expected: list[str]
) -> None:
    found = told(kind, configuration)
    assert [item.replace("function-wrap[_let_templates_pass()].", "") for item in found] == expected


def test_suggestions_know_the_keys_of_every_level() -> None:
    # language 1.4
    (found,) = catalog.check("rest", {"auth": {"basci": {}}}, False)[:1]
    assert found.hint == "did you mean 'basic'?"
    findings = catalog.check("rest", {"auth": {"basic": {"pasword": "x"}}}, False)
    assert "did you mean 'password'?" in [finding.hint for finding in findings]


@pytest.mark.parametrize("kind", ["rest", "process"])
def test_what_a_call_needs_is_missed_only_where_it_is_complete(kind: str) -> None:
    assert told(kind, {}) == []
    (message,) = told(kind, {}, complete=True)
    assert "needs a" in message


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Source("process", {"command": ["ls", "-l"], "args": ["x"]}), "ls (2 arguments)"),
        (Source("process", {"command": "ls"}), "ls"),
        (Source("process", {"command": "ls {{ a | b }}"}), "ls (1 argument)"),
        (Source("process", {"command": "for x in a b; do echo $x; done"}), "shell command: for …"),
        (Source("process", {"command": "ls /srv", "shell": True}), "shell command: ls …"),
        (Source("env", {"vars": ["A", "B"]}), "environment variables A, B"),
        (Source("env", {}), "no environment variables"),
        (Source("other", {}), "the provider 'other'"),
    ],
)
def test_a_source_is_described_in_a_few_words(source: Source, expected: str) -> None:
    assert describe(source) == expected


# language 11


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ({"a": 1}, ProviderResult(True, data={"a": 1})),
        (None, ProviderResult(True)),
        ([1], ProviderResult(True, data=[1])),
        ({"status": "open"}, ProviderResult(True, data={"status": "open"})),
        ({"status": {"success": False}}, ProviderResult(False)),
        (
            {
                "status": {"success": True, "code": 7, "notes": ["n", None, 5]},
                "data": 1,
                "meta": {"m": 1},
            },
            ProviderResult(True, 7, ("n", "5"), 1, {"m": 1}),
        ),
        (
            {"status": {"success": False, "notes": "one"}, "meta": "odd"},
            ProviderResult(False, notes=("one",)),
        ),
    ],
    ids=["data", "nothing", "list", "status as data", "bare status", "everything", "odd parts"],
)
def test_what_a_provider_returns_is_a_result(returned: Any, expected: ProviderResult) -> None:
    assert ProviderResult.of(returned) == expected
    assert ProviderResult.of(returned).envelope()["success"] is expected.success

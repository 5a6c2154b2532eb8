"""The env provider (language 11.1)."""

from __future__ import annotations

import json
import os

import pytest

from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.providers.env import EnvProvider


def read(names: object) -> ProviderResult:
    return ProviderResult.of(EnvProvider({"vars": names}).call())


def test_unset_variables_are_null(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_VARIABLE", "x")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)
    result = read(["A_VARIABLE", "EMPTY", "UNSET"])
    assert result.success
    assert result.data == {"A_VARIABLE": "x", "EMPTY": "", "UNSET": None}


def test_one_name_needs_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_VARIABLE", "x")
    assert read("A_VARIABLE").data == {"A_VARIABLE": "x"}


def test_no_names_give_no_variables() -> None:
    assert ProviderResult.of(EnvProvider({}).call("a payload")).data == {}


def test_a_variable_that_is_not_utf8_is_decoded_with_replacement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # language 7.3
    monkeypatch.setenv("A_VARIABLE", os.fsdecode(b"caf\xe9"))
    data = read(["A_VARIABLE"]).data
    assert data == {"A_VARIABLE": "caf\ufffd"}
    assert json.dumps(data, ensure_ascii=False).encode()

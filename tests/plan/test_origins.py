"""`flowtoy plan --origin`: which file set a value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.plan.origins import as_plain_data, origin_lines, origins_of

BASE = """\
sources: {crm: {type: rest, url: "http://u:hunter22@h/", headers: {X-Api-Key: abcdefgh123}}}
params: {token: {default: s3cr3t-token, secret: true}, size: 3}
flow:
  - {name: a.b, source: crm, timeout: 5}
  - {name: c, source: crm, output: [{name: x, value: "[]", secret: true}]}
runner:
  max_workers: 4
  groups: {g: {concurrency: 1}}
"""
LOCAL = "runner:\n  max_workers: 8\nsources: {crm: {url: 'http://localhost/'}}\n"
LAST = "runner: {max_workers: 2}\n"


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    for name, text in (("base", BASE), ("local", LOCAL), ("last", LAST)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return ["base.yaml", "local.yaml", "last.yaml"]


def test_the_last_file_that_has_a_value_sets_it(files: list[str]) -> None:
    assert list(origin_lines(origins_of(files, "runner.max_workers"))) == [
        "runner.max_workers  2  last.yaml:1",
        "                    replaces 8  local.yaml:2",
        "                    replaces 4  base.yaml:7",
    ]
    assert as_plain_data(origins_of(files[:2], "runner.max_workers")) == [
        {"key": "runner.max_workers", "value": 8, "file": "local.yaml", "line": 2, "column": 3,
         "replaces": [{"value": 4, "file": "base.yaml", "line": 7, "column": 3}]}
    ]  # fmt: skip


def test_of_a_mapping_each_value_has_an_origin_of_its_own(files: list[str]) -> None:
    found = {one.key: one.settings[0].place.file for one in origins_of(files, "sources.crm")}
    assert found == {
        "sources.crm.type": "base.yaml",
        "sources.crm.url": "local.yaml",
        "sources.crm.headers.X-Api-Key": "base.yaml",
    }


@pytest.mark.parametrize(
    "key", ["flow[0].timeout", "flow.0.timeout", "flow.a.b.timeout", "flow['a.b'].timeout"]
)
def test_a_step_is_counted_or_named(key: str, files: list[str]) -> None:
    (found,) = origins_of(files, key)
    assert (found.key, found.settings[0].value) == ("flow[0].timeout", 5)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("runner.max_worker", "'runner' has no 'max_worker'\n    did you mean 'max_workers'?"),
        ("runer", "the configuration has no 'runer'\n    did you mean 'runner'?"),
        ("flow.d", "'flow' has no 'd'"),
        ("flow[7]", "'flow' has no '7'"),
        ("runner.max_workers.x", "'runner.max_workers' has no 'x'\n    it is a single value"),
        ("runner..x", "'runner' has no ''"),
        ("[", "the configuration has no ''"),
    ],
)
def test_a_key_that_does_not_exist_is_an_error(
    key: str, message: str, files: list[str]
) -> None:
    with pytest.raises(UsageError) as raised:
        origins_of(files, key)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("key", ["", "sources", "params", "flow", "runner.groups"])
def test_no_secret_is_in_an_origin(key: str, files: list[str]) -> None:
    text = "\n".join(origin_lines(origins_of(files[:1], key))) + str(
        as_plain_data(origins_of(files[:1], key))
    )
    assert not [one for one in ("hunter22", "s3cr3t", "abcdefgh123") if one in text]
    assert ("params.size  " in text) == (key in ("", "params"))


def test_standard_input_is_read_once(flowtoy: Callable[..., Any]) -> None:
    done = flowtoy("plan", "-", "last.yaml", "--origin", "runner.max_workers", stdin=BASE)
    assert done.stdout == (
        "runner.max_workers  2  last.yaml:1\n                    replaces 4  <stdin>:7\n"
    )

"""`flowtoy init`, and `flowtoy providers`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema

from flowtoy_dagster.flow.files.loading import read_files

FILES = ("flow.yaml", ".gitignore", ".flowtoy/schema.json", ".vscode/settings.json",
         ".vscode/extensions.json")  # fmt: skip


def test_a_new_flow_is_valid_and_runs_as_it_is_written(
    tmp_path: Path, flowtoy: Callable[..., Any]
) -> None:
    done = flowtoy("init", "new")
    assert (done.code, done.stdout) == (0, "")
    assert done.stderr.endswith("run it: cd new && flowtoy run flow.yaml\n")
    new = tmp_path / "new"
    assert all((new / name).is_file() for name in FILES)
    first = (new / "flow.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=.flowtoy/schema.json"
    schema = json.loads((new / ".flowtoy" / "schema.json").read_text())
    jsonschema.validate(read_files([new / "flow.yaml"]).root.plain(), schema)
    done = flowtoy("run", "new/flow.yaml", "-j", "--param", "name=Ada")
    assert done.json["report"] == {"text": "Hello Ada: 42\n"}, done.stderr


def test_the_folder_is_named_as_a_shell_takes_it(flowtoy: Callable[..., Any]) -> None:
    for folder, written in (("-x", "./-x"), ("a b", "'a b'")):
        done = flowtoy("init", "--", folder)
        assert done.stderr.endswith(f"run it: cd {written} && flowtoy run flow.yaml\n")


def test_files_that_exist_are_left_as_they_are(
    tmp_path: Path, flowtoy: Callable[..., Any]
) -> None:
    (tmp_path / "flow.yaml").write_text("mine")
    (tmp_path / ".gitignore").symlink_to("nowhere")
    done = flowtoy("init")
    assert done.code == 0
    assert "kept, it exists: flow.yaml\nkept, it exists: .gitignore\nwrote " in done.stderr
    assert (tmp_path / "flow.yaml").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_can_not_be_written_is_an_error(
    tmp_path: Path, flowtoy: Callable[..., Any]
) -> None:
    (tmp_path / "file").write_text("")
    done = flowtoy("init", "file")
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr == "can't write file/flow.yaml: 'file' is a file\n"


def test_providers_lists_what_is_installed(flowtoy: Callable[..., Any]) -> None:
    found = {(one["kind"], one["name"]): one for one in flowtoy("providers", "-j").json}
    wanted = {("provider", "rest"), ("provider", "process"), ("provider", "env"),
              ("output", "json"), ("output", "file"), ("executor", "warm")}  # fmt: skip
    assert wanted <= set(found)
    rest = found["provider", "rest"]
    assert (rest["package"], rest["error"]) == ("flowtoy-dagster", None)
    assert rest["description"].startswith("Calls a URL")
    assert all(one["description"] or one["error"] for one in found.values())


def test_the_keys_of_a_provider_are_shown(flowtoy: Callable[..., Any]) -> None:
    keys = {one["key"]: one for one in flowtoy("providers", "process", "-j").json}
    assert keys["command"]["request"] is True
    assert keys["shell"]["description"]
    assert "success_codes" in flowtoy("providers", "process").stdout
    done = flowtoy("providers", "rset")
    assert done.code == 2
    assert done.stderr == "there is no provider 'rset'\n    did you mean 'rest'?\n"

"""Commands that get nothing to work on say what to type next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WEBUI = """\
give either the files of a flow or --status-url (or RUNNER_STATUS_URL, which others on this \
machine can't see)
    name a YAML file to run it, such as flow.yaml
"""
HINTS = {
    "a page of nothing": (["webui"], WEBUI),
    "schedules of an empty folder": (
        ["runs", "schedules", "no flows"],
        "there is no flow in the folder 'no flows'\n"
        "    flowtoy init 'no flows' writes a first one\n",
    ),
    "checks of an empty folder": (
        ["validate", "no flows"],
        "there is no flow in the folder 'no flows'\n"
        "    flowtoy init 'no flows' writes a first one\n",
    ),
    "the plan of an empty folder": (
        ["plan", "no flows"],
        "can't read the configuration 'no flows': is a directory\n"
        "    there are no YAML files in 'no flows'\n",
    ),
    "the plan of a folder": (
        ["plan", "shop"],
        "can't read the configuration 'shop': is a directory\n"
        "    name a file in it, such as 'shop/flow.yaml'\n",
    ),
}


@pytest.mark.parametrize(("words", "said"), HINTS.values(), ids=HINTS)
def test_the_next_thing_to_type_is_said(
    tmp_path: Path, flowtoy: Callable[..., Any], words: list[str], said: str
) -> None:
    (tmp_path / "no flows").mkdir()
    (tmp_path / "shop").mkdir()
    for name in ("flow.yaml", "a.yaml", "flow.test.yaml"):
        (tmp_path / "shop" / name).write_text("flow: [{name: only, source: env}]\n")
    done = flowtoy(*words)
    assert (done.code, done.stdout, done.stderr) == (2, "", said)

"""`flowtoy deploy init` writes the files of a deployment, and never over one that exists."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.cli.operations.deploy import Target, init
from flowtoy_dagster.deployment.discovery import flows_in
from flowtoy_dagster.deployment.templates import FIRST, TARGETS, files_of
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.loader import load_flow

Flowtoy = Callable[..., Any]


def tree(folder: Path) -> dict[str, str]:
    """All files below a folder, and their texts."""
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for path in folder.rglob("*") if path.is_file()
    }


def test_the_command_writes_the_files_and_says_what_to_do(
    flowtoy: Flowtoy, tmp_path: Path
) -> None:
    done = flowtoy("deploy", "init", "new/server")
    assert done.code == 0
    assert tree(tmp_path / "new" / "server") == files_of("compose")
    assert done.stdout == ""
    told = "the comments in new/server/compose.yaml say what to do now"
    assert done.stderr.splitlines()[-1] == told
    assert flowtoy("deploy", "init", "other", "--target", "swarm").code == 2


@pytest.mark.parametrize("target", Target)
def test_each_target_has_comments_and_a_flow_that_is_valid(target: Target, tmp_path: Path) -> None:
    init(tmp_path, target)
    written = tree(tmp_path)
    assert written == files_of(target.value)
    assert FIRST[target.value] in written
    assert all(text.endswith("\n") for text in written.values())
    without = [name for name, text in written.items() if not text.lstrip().startswith(("#", "[U"))]
    assert without == []
    assert load_flow(tmp_path / "flows" / "hello.yaml").steps
    # Somebody may call it in the folder of the flows.
    assert [flow.job for flow in flows_in([tmp_path])] == ["flows__hello"]


@pytest.mark.parametrize(
    "taken", ["compose.yaml", "workspace/dagster.yaml", "flows", ".env.example"]
)
@pytest.mark.parametrize("kind", ["file", "link to nothing"])
def test_where_something_exists_nothing_is_written(
    taken: str, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / taken
    path.parent.mkdir(exist_ok=True)
    if kind == "file":
        path.write_text("mine")
    else:
        path.symlink_to("nowhere")
    before = tree(tmp_path)
    with pytest.raises(UsageError, match="nothing was written\n    name ") as caught:
        init(tmp_path)
    assert str(path) in str(caught.value)
    assert tree(tmp_path) == before
    assert caught.value.exit_code == 2


def test_a_folder_that_cannot_be_made_says_where_and_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"'/dev/null' is not a folder; nothing was"):
        init(Path("/dev/null/server"))
    with pytest.raises(UsageError, match=r"can't write /proc/server/\S+: .+\n    name a folder"):
        init(Path("/proc/server"))


def test_every_template_of_the_package_is_used() -> None:
    folder = Path(str(files("flowtoy_dagster.deployment") / "template_files"))
    used = {name for target in TARGETS.values() for name in target.values()}
    assert used == set(tree(folder))

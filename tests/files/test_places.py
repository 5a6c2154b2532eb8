"""Where file outputs are, and that they are whole or absent (language 20.3)."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.flow.graph import Source
from flowtoy_dagster.outputs.kinds import OUTPUTS
from flowtoy_dagster.steps.attempts import StepOutcome
from flowtoy_dagster.steps.state.items import Loop

Write = Callable[..., StepOutcome]
LINES = {"format": "jsonl"}
PAGES = [[{"a": 1}], [{"a": 2}]]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_path_is_a_template_and_its_folders_are_made(write_pages: Write, tmp_path: Path) -> None:
    path = tmp_path / "new" / "{{ run.id }}" / "rows.jsonl"
    outcome = write_pages(PAGES, {**LINES, "path": str(path)})
    assert outcome.outputs["out0"]["path"] == str(tmp_path / "new" / "r1" / "rows.jsonl")
    assert names(tmp_path / "new" / "r1") == ["rows.jsonl"]


def test_a_file_that_is_there_is_replaced_and_keeps_its_mode(
    write_pages: Write, tmp_path: Path
) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("before")
    real.chmod(0o640)
    link.symlink_to(real)
    outcome = write_pages(PAGES, {**LINES, "path": link.as_uri()})
    assert outcome.outputs["out0"]["path"] == str(link)
    assert link.is_symlink()
    assert (real.read_bytes(), real.stat().st_mode & 0o777) == (b'{"a":1}\n{"a":2}\n', 0o640)


@pytest.mark.parametrize(
    "failing",
    [[*PAGES, RuntimeError("the network")], [*PAGES, [float("nan")]]],
    ids=["the call fails", "a record is wrong"],
)
def test_a_failed_step_leaves_what_was_there(
    write_pages: Write, tmp_path: Path, failing: list[Any]
) -> None:
    there, new = tmp_path / "there", tmp_path / "new"
    there.write_text("before")
    place, other = {**LINES, "path": str(there)}, {**LINES, "path": str(new)}
    assert write_pages(failing, place, other).error is not None
    assert there.read_text() == "before"
    assert names(tmp_path) == ["own", "there"]


def test_another_output_that_fails_leaves_no_file(write_pages: Write, folder: Path) -> None:
    wrong = {"type": "template", "value": "{{ result.nothing.at_all }}"}
    assert write_pages(PAGES, LINES, wrong).error is not None
    missing = {"type": "jmespath", "value": "[9]", "required": True}
    assert "is required" in (write_pages(PAGES, LINES, missing).error or "")
    assert names(folder) == []


@pytest.mark.parametrize("special", ["a folder", "a FIFO", "a link to a FIFO"])
def test_what_is_no_file_is_not_written_to(
    write_pages: Write, tmp_path: Path, special: str
) -> None:
    path = tmp_path / "special"
    if special == "a folder":
        path.mkdir()
    else:
        os.mkfifo(tmp_path / "fifo")
        path.symlink_to(tmp_path / "fifo")
        path = tmp_path / "fifo" if special == "a FIFO" else path
    outcome = write_pages(PAGES, {**LINES, "path": str(path)})
    assert outcome.error == (
        f"output 'out0': the file can't be written: '{path}' is not a regular file"
    )


def test_a_folder_that_can_not_be_made_is_an_error_before_the_call(
    write_pages: Write, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    called: list[Any] = [RuntimeError("called")]
    outcome = write_pages(called, {**LINES, "path": str(tmp_path / "file" / "x.jsonl")})
    reason = f"a part of the path '{tmp_path / 'file'}' is not a folder"
    assert outcome.error == f"output 'out0': the file can't be written: {reason}"


def test_two_outputs_do_not_write_to_one_place(write_pages: Write, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    first, second = tmp_path / "x", tmp_path / "link" / "x"
    outcome = write_pages(PAGES, {**LINES, "path": str(first)}, {**LINES, "path": str(second)})
    assert outcome.error == f"output 'out1': the output 'out0' writes to '{first}' already"
    assert not first.exists()


def test_two_items_do_not_write_to_one_place(
    run_source: Callable[..., StepOutcome], tmp_path: Path
) -> None:
    from flowtoy_dagster.flow.schema.for_each import ForEachConfig

    items = ForEachConfig.model_validate({"in": [1, 2, 3], "concurrency": 1, "max_failures": 3})
    path = str(tmp_path / "{{ item % 2 }}.txt")
    loop = Loop()
    source = Source("process", {"command": ["echo", "{{ item }}"]})
    outcome = run_source(
        source, {"format": "raw", "path": path}, for_each=items, context={"loop": loop}
    )
    assert outcome.error is None
    results = list(loop.log.results())
    assert [result.state for result in results] == ["succeeded", "succeeded", "failed"]
    assert results[2].error == (
        f"output 'out0': the output 'out0' of item '0' writes to '{tmp_path / '1.txt'}' already"
    )
    assert (tmp_path / "1.txt").read_text() == "1\n"


KILLED = """
    import os, signal, sys
    from flowtoy_dagster.datafiles.places import open_target
    target = open_target(sys.argv[1])
    target.write(b"half")
    target.finish()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_is_removed_by_the_next(
    write_pages: Write, tmp_path: Path
) -> None:
    path = tmp_path / "out" / "rows.jsonl"
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(path)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    [left] = path.parent.iterdir()
    assert left.name.startswith(".rows.jsonl.")
    os.utime(left, (0, 0))
    alive = path.parent / ".rows.jsonl.0123456789ab.part"
    with open(alive, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.utime(alive, (0, 0))
        assert write_pages(PAGES, {**LINES, "path": str(path)}).error is None
        assert names(path.parent) == [alive.name, "rows.jsonl"]


def test_names_of_outputs_are_names_of_files(write_pages: Write, folder: Path) -> None:
    odd = ["../up", "a/b", ".", "ü x" * 60, "-f", "n\nl"]
    outcome = write_pages(PAGES, *({**LINES, "name": name} for name in odd))
    assert outcome.error is None, outcome.error
    paths = {Path(outcome.outputs[name]["path"]) for name in odd}
    assert len(paths) == len(odd)
    assert {path.parent for path in paths} == {folder}


CREDENTIALS = "s3://AKIASECRET:hunter22@bucket/x.jsonl"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("ftp://host/x", "files at 'ftp://' are not supported; use a path, or one of 'gs://', "
         "'memory://', 's3://'"),
        (CREDENTIALS, "the URL of a file must not hold credentials; the environment gives them, "
         "such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("s3:///x.jsonl", "the URL names no bucket; write s3://bucket/name"),
        ("file://other/x", "a 'file:' URL names a file of this machine: file:///folder/name"),
    ],
)  # fmt: skip
def test_a_place_that_can_not_be_is_an_error_without_its_url(
    write_pages: Write, monkeypatch: pytest.MonkeyPatch, path: str, reason: str
) -> None:
    monkeypatch.setenv("PLACE", path)
    outcome = write_pages(PAGES, {**LINES, "path": "{{ env.PLACE }}"})
    assert outcome.error == f"output 'out0': the file can't be written: {reason}"


def test_another_place_that_fsspec_knows(write_pages: Write) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    outcome = write_pages(PAGES, {**LINES, "path": "memory://places/x.jsonl"})
    assert outcome.error is None
    assert outcome.outputs["out0"]["path"] == "memory://places/x.jsonl"
    assert memory.cat("/places/x.jsonl") == b'{"a":1}\n{"a":2}\n'
    failing = [*PAGES, RuntimeError("no")]
    assert write_pages(failing, {**LINES, "path": "memory://places/y.jsonl"}).error
    assert memory.ls("/places", detail=False) == ["/places/x.jsonl"]
    memory.rm("/places", recursive=True)


@pytest.mark.parametrize(
    ("options", "what", "package", "extra"),
    [
        ("format: parquet", "files of the format 'parquet'", "pyarrow", "parquet"),
        ("format: jsonl, path: 's3://lake/{{ run.id }}'", "files at 's3://'", "s3fs", "s3"),
        ("format: csv, path: 'gs://lake/x'", "files at 'gs://'", "gcsfs", "gcs"),
    ],
)
def test_a_missing_extra_is_an_error_before_anything_runs(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch,
    options: str, what: str, package: str, extra: str,
) -> None:  # fmt: skip
    import importlib.util

    from flowtoy_dagster.errors import ConfigError
    from flowtoy_dagster.loader import load_flow

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == package else real(name)
    )
    flow = write(
        f"""
        flow:
          - name: a
            source: {{type: process, command: "true"}}
            output: [{{name: x, type: file, {options}}}]
        """
    )
    with pytest.raises(ConfigError) as raised:
        load_flow([flow])
    [problem] = raised.value.problems
    assert problem.message == f"{what} need '{package}', which is not installed"
    assert problem.hint == f"pip install 'flowtoy-dagster[{extra}]'"
    assert problem.location is not None
    assert problem.location.line == 5


def test_a_path_below_a_home_of_the_shell_makes_no_folder_of_that_name(
    write_pages: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # language 20.3
    monkeypatch.chdir(tmp_path)
    (finding,) = OUTPUTS["file"].check_options(None, {**LINES, "path": "~/x.jsonl"}, False)
    told = ("'~' is not replaced in a path", "write '{{ env.HOME }}/x.jsonl'")
    assert (finding.path, finding.message, finding.hint) == (("path",), *told)
    outcome = write_pages(PAGES, {**LINES, "path": "{{ '~/' ~ 'x.jsonl' }}"})
    assert outcome.error == f"output 'out0': the file can't be written: {': '.join(told)}"
    assert "~" not in names(tmp_path)
    assert write_pages(PAGES, {**LINES, "path": "~x.jsonl"}).error is None

"""Files on S3: an object is there when the step has succeeded, and not before (language 20.3)."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from s3_server import SECRET  # type: ignore[import-not-found]

from flowtoy_dagster.steps.attempts import StepOutcome

Write = Callable[..., StepOutcome]
LINES = {"format": "jsonl"}
LONG = [{"id": number, "text": "x" * 1_000_000} for number in range(12)]
"""More than one part of an upload."""


@pytest.fixture
def s3(s3_variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The client of the server, which has an empty bucket."""
    import boto3

    for name, value in s3_variables.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="lake")
    for found in client.list_objects_v2(Bucket="lake").get("Contents", ()):
        client.delete_object(Bucket="lake", Key=found["Key"])
    for upload in client.list_multipart_uploads(Bucket="lake").get("Uploads", ()):
        client.abort_multipart_upload(
            Bucket="lake", Key=upload["Key"], UploadId=upload["UploadId"]
        )
    return client


def objects(s3: Any) -> list[str]:
    return [found["Key"] for found in s3.list_objects_v2(Bucket="lake").get("Contents", ())]


def uploads(s3: Any) -> list[str]:
    return [u["Key"] for u in s3.list_multipart_uploads(Bucket="lake").get("Uploads", ())]


def test_objects_are_whole_or_absent(s3: Any, write_pages: Write) -> None:
    place = {**LINES, "path": "s3://lake/{{ run.id }}/rows.jsonl"}
    outcome = write_pages([LONG[:6], LONG[6:]], place)
    assert outcome.error is None, outcome.error
    value = outcome.outputs["out0"]
    assert value["path"] == "s3://lake/r1/rows.jsonl"
    assert s3.head_object(Bucket="lake", Key="r1/rows.jsonl")["ContentLength"] == value["bytes"]

    small = write_pages([[{"a": 1}]], {"format": "parquet", "path": "s3://lake/small.parquet"})
    assert small.error is None, small.error
    empty = write_pages([[]], {**LINES, "path": "s3://lake/empty"})
    assert empty.error is None, empty.error
    failing = write_pages([LONG, RuntimeError("no")], {**LINES, "path": "s3://lake/failed"})
    assert failing.error is not None
    assert objects(s3) == ["empty", "r1/rows.jsonl", "small.parquet"]
    assert uploads(s3) == []


def test_records_are_read_from_there(s3: Any, write_pages: Write) -> None:
    from flowtoy_dagster.flow.templates.render import render
    from flowtoy_dagster.outputs.kinds import OUTPUTS

    outcome = write_pages([[{"a": 1}], [{"a": 2}]], {**LINES, "path": "s3://lake/x"})
    assert outcome.error is None, outcome.error
    value = outcome.outputs["out0"]
    assert render("{{ f | records }}", {"f": value}) == [{"a": 1}, {"a": 2}]
    assert OUTPUTS["file"].why_stale(value) is None
    s3.put_object(Bucket="lake", Key="x", Body=b"other")
    assert "has changed" in (OUTPUTS["file"].why_stale(value) or "")


def test_a_bucket_that_is_not_there_is_a_failure_with_a_reason(
    s3: Any, write_pages: Write
) -> None:
    error = write_pages([LONG], {**LINES, "path": "s3://nowhere/x"}).error or ""
    assert error.startswith("output 'out0': the file 's3://nowhere/x' can't be written: ")
    assert SECRET not in error


KILLED = """
    import os, signal
    from flowtoy_dagster.datafiles.places import open_target
    target = open_target("s3://lake/killed")
    target.write(b"x" * (12 << 20))
    target.finish()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_in_the_middle_leaves_no_object(s3: Any) -> None:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED)])
    assert done.returncode == -signal.SIGKILL
    assert objects(s3) == []
    assert uploads(s3) == ["killed"]

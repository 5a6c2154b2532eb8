"""What machines share in an object store: pieces, appended lines, locks, and whole runs."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from s3_server import SECRET  # type: ignore[import-not-found]

from flowtoy_dagster.errors import HomeError
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.prune import prune_runs
from flowtoy_dagster.runs.run import run_flow
from flowtoy_dagster.store.configs import configs_of
from flowtoy_dagster.store.shared import object_store
from flowtoy_dagster.store.shared.object_store import ObjectStore
from flowtoy_dagster.store.shared.shared_files import shared_store, shared_url
from flowtoy_dagster.store.shared.uploads import part_of, uploaded
from flowtoy_dagster.store.store import FolderStore


@pytest.fixture
def bucket(
    s3_variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> tuple[Any, str]:
    """The server's client, and the name of a bucket of this test."""
    import boto3

    for name, value in s3_variables.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    name = f"b{abs(hash(request.node.name)):x}"
    client.create_bucket(Bucket=name)
    return client, name


@pytest.fixture(params=["s3", "gs", "memory"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ObjectStore:
    """A store in each kind of place."""
    if request.param == "memory":
        url = f"memory://b{abs(hash(request.node.name)):x}/prefix"
    elif request.param == "gs":
        for variable, value in request.getfixturevalue("gcs_variables").items():
            monkeypatch.setenv(variable, value)
        bucket = f"b{abs(hash(request.node.name)):x}"
        object_store.file_system("gs://")[0].mkdir(bucket)
        url = f"gs://{bucket}/prefix"
    else:
        url = f"s3://{request.getfixturevalue('bucket')[1]}/prefix"
    return ObjectStore(url, FolderStore(tmp_path / "local"))


def keys_of(client: Any, bucket: str) -> set[str]:
    """All objects of a bucket."""
    return {one["Key"] for one in client.list_objects_v2(Bucket=bucket).get("Contents", ())}


def test_pieces_are_whole_or_absent_and_can_be_listed_and_deleted(store: ObjectStore) -> None:
    assert list(store.list()) == []
    assert not store.exists("run/steps/a b")
    with pytest.raises(FileNotFoundError):
        store.open("run/steps/a b")
    store.put("run/steps/a b", [b"one\n", b"two\n"])
    store.put("run/steps/x%2E", b"")
    store.put("other", b"1" * (6 << 20))
    with pytest.raises(ZeroDivisionError), store.writer("run/broken") as file:
        file.write(b"%d" % (1 // 0))
    assert set(store.list()) == {"run/steps/a b", "run/steps/x%2E", "other"}
    assert set(store.list("run/steps")) == {"run/steps/a b", "run/steps/x%2E"}
    with store.open("run/steps/a b") as file:
        # Records are read by lines of at most so many bytes.
        assert [file.readline(2), file.readline(), file.seek(4), file.read()] == [
            b"on", b"e\n", 4, b"two\n"
        ]
    store.put("run/steps/a b", b"new")
    assert store.read("run/steps/a b") == b"new"
    store.put("run2/steps2/x", b"")
    store.delete("run")
    store.delete("run")
    assert set(store.list()) == {"other", "run2/steps2/x"}
    assert list(store.list("run2/steps")) == []
    assert not store.exists("run/steps/a b")
    with pytest.raises(ValueError, match="is not a key"):
        store.open("../../etc/passwd")


def test_appended_lines_are_seen_at_once_here_and_by_others_at_the_end(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ObjectStore(store.url, FolderStore(tmp_path / "elsewhere"))
    file = store.appender("run/items/a")
    file.write(b"one\n")
    assert store.read("run/items/a") == b"one\n"
    assert not other.exists("run/items/a")
    monkeypatch.setattr(object_store, "INTERVAL", 0.0)
    file.close()
    assert other.read("run/items/a") == b"one\n"
    # The next attempt, on another machine: a line that was cut is ended.
    other.put("run/items/a", b"one\ntw")
    with other.appender("run/items/a") as more:
        more.write(b"three\n")
        # Others see it although nothing comes after it.
        until(lambda: store.read("run/items/a") == b"one\ntw\nthree\n")
        more.write(b"four\n")
    assert store.read("run/items/a") == b"one\ntw\nthree\nfour\n"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_lines_of_a_killed_process_are_there_for_the_next_one_of_its_machine(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "INTERVAL", 1e6)
    ours = FolderStore(tmp_path / "local")

    def lines_after(uploaded: bytes | None, here: bytes) -> bytes:
        """What the next attempt begins with."""
        store.delete("run/items/a")
        if uploaded is not None:
            store.put("run/items/a", uploaded)
        # As a process leaves it that is killed.
        ours.put("run/items/a", here)
        with ObjectStore(store.url, ours).appender("run/items/a") as file:
            file.write(b"new\n")
        return store.read("run/items/a")

    assert lines_after(None, b"one\ntwo\n") == b"one\ntwo\nnew\n"
    assert lines_after(b"one\n", b"one\ntwo\nth") == b"one\ntwo\nth\nnew\n"
    # Another machine has gone on since.
    assert lines_after(b"one\nthree\n", b"one\ntwo\n") == b"one\nthree\nnew\n"
    assert lines_after(b"one\ntwo\n", b"one\n") == b"one\ntwo\nnew\n"


def test_lines_that_can_not_be_uploaded_are_an_error_of_the_next_one(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "INTERVAL", 0.0)
    file = store.appender("run/items/a")
    with monkeypatch.context() as broken:
        tried = threading.Event()

        def upload(*_: Any) -> None:
            tried.set()
            raise PermissionError("no access")

        broken.setattr(object_store, "_upload", upload)
        file.write(b"one\n")
        assert tried.wait(60)

        def write() -> bool:
            try:
                file.write(b"two\n")
            except PermissionError:
                return True
            return False

        until(write)
    file.close()
    assert store.read("run/items/a").startswith(b"one\n")


def until(found: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 60
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_who_holds_the_lock_alone_is_alone(store: ObjectStore) -> None:
    held = threading.Event()

    def wait() -> None:
        with store.lock(alone=True):
            held.set()

    with store.lock(alone=False), store.lock(alone=False):
        thread = threading.Thread(target=wait)
        thread.start()
        assert not held.wait(0.2)
    assert held.wait(60)
    thread.join()


def test_a_file_that_grows_is_seen_by_others_while_it_does(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowtoy_dagster.store.shared.uploads.INTERVAL", 0.01)
    path = tmp_path / "run.out"
    path.write_bytes(b"one\n")
    with uploaded(store, {"run/it.out": path}):
        while part_of(store, "run/it.out", 0, None)[0] != b"one\n":
            time.sleep(0.02)  # the test's own time limit ends this
        path.write_bytes(b"one\ntwo\n")
    assert part_of(store, "run/it.out", 4, None) == (b"two\n", 8)
    assert part_of(store, "run/it.out", 4, 2) == (b"tw", 6)
    assert part_of(store, "run/it.out", 99, None) == (b"", 8)
    assert part_of(store, "run/none.out", 5, None) == (None, 5)


def test_a_store_that_is_away_is_waited_for(
    bucket: tuple[Any, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = ObjectStore(f"s3://{bucket[1]}/p", FolderStore(tmp_path))
    answers: list[Exception | None] = [ConnectionError("away"), OSError("slow down"), None]
    real = object_store.file_system

    def away(place: str) -> Any:
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return real(place)

    # A server that goes away and comes back would take the test ten seconds.
    monkeypatch.setattr(object_store, "file_system", away)
    monkeypatch.setattr(object_store, "PAUSE", 0.0)
    monkeypatch.setattr(logging.getLogger("flowtoy"), "propagate", True)
    store.put("a", b"1")
    assert answers == []
    told = [r.getMessage() for r in caplog.records if r.name == "flowtoy.store"]
    assert told == ["waiting for the store of files: away"]
    answers[:] = [ConnectionError("away")]
    monkeypatch.setattr(object_store, "PATIENCE", 0.0)
    with pytest.raises(OSError, match="the store of files does not answer: away"):
        store.put("a", b"2")
    assert store.read("a") == b"1"


class _StatusError(Exception):
    """As gcsfs raises it."""

    code = 401


@pytest.mark.parametrize(
    "error", [OSError("Forbidden: https://host/o\nno access"), _StatusError("no access")]
)
def test_what_the_store_will_never_allow_is_not_waited_for(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def deny(place: str) -> Any:
        raise error

    monkeypatch.setattr(object_store, "file_system", deny)
    monkeypatch.setattr(logging.getLogger("flowtoy"), "propagate", True)
    with pytest.raises(PermissionError, match="no access"):
        ObjectStore("memory://b/p", FolderStore(tmp_path)).put("a", b"1")
    assert caplog.records == []


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("ftp://host/x", "files at 'ftp://' are not supported"),
        ("s3://", "it names no bucket"),
        ("s3://bucket/team*", "stands for several names"),
        ("s3://key:geh31mnis@bucket/x", "must not hold credentials"),
    ],
)
def test_a_url_that_cannot_be_used_is_an_error_before_anything_runs(
    value: str, told: str, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("FLOWTOY_FILES", value)
    with pytest.raises(HomeError, match=told) as caught:
        configs_of(home)
    assert "geh31mnis" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


FLOW: dict[str, Any] = {
    "name": "shared",
    "runner": {"executor": "in_process"},
    "flow": [
        {
            "name": "rows", "source": "process",
            "input": {"command": ["echo", '[{"id": 1}, {"id": 2}]']},
            "output": [{"name": "file", "type": "file", "format": "jsonl"},
                       {"name": "all"}],
        },
        {
            "name": "each", "source": "process",
            "for_each": {"in": "{{ flows.rows.file | records }}", "concurrency": 1},
            "input": {"command": ["echo", "{{ item.id }}"]},
            "output": [{"name": "text", "value": "stdout"}],
        },
    ],
}


def test_a_run_leaves_everything_in_the_object_store_and_another_home_reads_it(
    bucket: tuple[Any, str], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    databases: Path,
) -> None:
    import shutil

    client, name = bucket
    monkeypatch.setenv("FLOWTOY_FILES", f"s3://{name}/team/")
    done = run_flow(FLOW)
    assert done.success, [step.error for step in done.status.steps.values()]
    outputs = done.outputs["rows"]["file"]
    folder = f"team/flowtoy-records/{done.run_id}"
    assert outputs["path"] == f"s3://{name}/{folder}/files/rows/file.jsonl"
    keys = keys_of(client, name)
    assert {f"{folder}/steps/rows", f"{folder}/steps/each", f"{folder}/items/each"} <= keys
    assert f"{folder}/files/rows/file.jsonl" in keys
    assert any(key.startswith("team/flowtoy-configs/") for key in keys)
    logs = {key for key in keys if key.startswith(f"team/storage/{done.run_id}/compute_logs/")}
    assert any(key.endswith(".complete") for key in logs)
    left = {path.parts[len(home.parts)] for path in home.rglob("*") if path.is_file()}
    assert left <= {"dagster.yaml", "history", "schedules", "storage", "flowtoy-configs"}
    # Another machine: the same history, and nothing else.
    other = tmp_path / "other"
    shutil.copytree(home, other, ignore=shutil.ignore_patterns("storage", "flowtoy-*"))
    text = (other / "dagster.yaml").read_text().replace(str(home), str(other))
    (other / "dagster.yaml").write_text(text)
    with History(other) as history:
        run = history.find(done.run_id)
        record = history.store.read(run.run_id, "each")
        assert record is not None
        assert record.outputs == {"text": ["1\n", "2\n"]}
        printed = [content for _, _, content in history.captured(run, None)]
        # Steps that run in one process share what was captured of it.
        assert b"".join(printed) == b'[{"id": 1}, {"id": 2}]\n1\n2\n'
        prune_runs(history, 0)
    assert {key for key in keys_of(client, name) if done.run_id in key} == set()


def test_configurations_that_are_damaged_or_gone_count_as_absent(
    bucket: tuple[Any, str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, name = bucket
    monkeypatch.setenv("FLOWTOY_FILES", f"s3://{name}")
    assert shared_url() == f"s3://{name}"
    configs = configs_of(home)
    reference = configs.save("a", {"flow": []})
    assert configs.read(reference)[:2] == ("a", {"flow": []})
    client.put_object(Bucket=name, Key=f"flowtoy-configs/{reference}.json", Body=b"{}")
    assert configs.read(reference) is None
    configs.delete_unused(lambda: ())
    assert list(shared_store(home, "flowtoy-configs").list()) == []


def test_a_bucket_that_does_not_exist_is_an_error_at_once(
    bucket: tuple[Any, str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWTOY_FILES", "s3://nowhere-at-all/x")
    with pytest.raises(HomeError, match="can't be written"):
        configs_of(home).save("a", {"flow": []})


def test_nobody_listens_is_told_without_the_key(
    bucket: tuple[Any, str], home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from flowtoy_dagster.doctor.examine import examine

    monkeypatch.setenv("FLOWTOY_FILES", f"s3://{bucket[1]}/x")
    (well,) = [one for one in examine() if one.part == "files"]
    assert (well.state, well.text) == ("ok", f"s3://{bucket[1]}/x answers")
    monkeypatch.setenv("FLOWTOY_FILES", "s3://nowhere-at-all/x")
    (fault,) = [one for one in examine() if one.part == "files"]
    assert fault.state == "fault"
    assert "nowhere-at-all" in fault.text
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        monkeypatch.setattr(object_store, "PATIENCE", 0.0)
        (away,) = [one for one in examine() if one.part == "files"]
    assert away.state == "fault"
    assert SECRET not in repr([fault, away])

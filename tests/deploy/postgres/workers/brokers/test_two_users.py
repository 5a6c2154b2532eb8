"""Workers that run as two users of the system, who share a folder by a group."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import grp
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.errors import HomeError
from flowtoy_dagster.loader import load_flow, with_executor
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.retry import plan_retry, retry_run
from flowtoy_dagster.store.shared.shared_files import check_shared_folder, shared_folder

pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")

USERS = ("flowtoy-test-a", "flowtoy-test-b")
TEAM = "flowtoy-test-team"
TOKEN = "a-token-that-a-step-has-found"
SECRET = "s3cr3t-of-the-workers-only"
FLOW = f"""
    params: {{key: {{type: string, secret: true}}, mark: {{type: string}}}}
    runner: {{on_error: continue, max_workers: 1}}
    flow:
      - {{name: who, queue: a, source: {{type: process, command: [id, -un]}},
         output: [{{name: user, value: stdout}}]}}
      - {{name: other, queue: b, source: {{type: process, command: [id, -un]}},
         output: [{{name: user, value: stdout}}]}}
      - name: log in
        queue: a
        source: {{type: process, command: [sh, -c, "cat >&2; echo -n {TOKEN[:9]}'{TOKEN[9:]}'"]}}
        input: {{stdin: "{{{{ env.SHOP_PASSWORD }}}} {{{{ params.key }}}}"}}
        output: [{{name: token, value: stdout, secret: true}}]
      - name: use
        queue: b
        source: {{type: process, command: [cat]}}
        input: {{stdin: "{{{{ flows['log in'].token }}}} {{{{ env.PLACE }}}}"}}
        output: [{{name: text, value: stdout}}]
      - name: rows
        queue: b
        source: {{type: process, command: [echo, '[{{"id": 1}}, {{"id": 2}}]']}}
        output: [{{name: file, type: file, format: jsonl}}]
      - name: each
        queue: a
        for_each: "{{{{ flows.rows.file | records }}}}"
        source: {{type: process, command: [echo, -n, "{{{{ item.id }}}}"]}}
        output: [{{name: text, value: stdout}}]
      - {{name: late, queue: b, timeout: 500ms, source: {{type: process, command: [sleep, "30"]}}}}
      - {{name: once, queue: a, on_error: fail,
         source: {{type: process, command: [test, -e, "{{{{ params.mark }}}}"]}}}}
"""


@pytest.fixture(scope="module")
def users() -> Iterator[None]:
    """Two users of a group; they are gone afterwards."""
    if os.geteuid() != 0 or shutil.which("useradd") is None:
        pytest.skip("only root can make users, with useradd")
    if not os.access(__file__, os.R_OK) or not os.stat(Path(__file__).parent).st_mode & 0o001:
        pytest.skip("the checkout can't be read by other users")
    with contextlib.ExitStack() as stack:
        # Users are the machine's: tests in another process wait.
        lock = stack.enter_context(open(Path(tempfile.gettempdir()) / f"{TEAM}.lock", "w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in (TEAM, *USERS):
            is_team = name == TEAM
            remove = ["groupdel", name] if is_team else ["userdel", "--force", name]
            # It is there after a test that was killed.
            subprocess.run(remove, capture_output=True, check=False)
            make = ["groupadd"] if is_team else ["useradd", "--no-create-home", "-U", "-G", TEAM]
            made = subprocess.run([*make, name], capture_output=True, text=True, check=False)
            if made.returncode:
                pytest.skip(f"{make[0]}: {made.stderr}")
            stack.callback(subprocess.run, remove, capture_output=True, check=False)
        yield


@pytest.fixture
def place(users: None) -> Iterator[Path]:
    """A folder that all users can reach."""
    folder = Path(tempfile.mkdtemp(prefix="flowtoy-users-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def shared(here: Any, place: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Machines that share a folder of root and the group."""
    machines = dataclasses.replace(here, folder=place, workers=[], working_folder=place)
    machines.files.mkdir()
    os.chown(machines.files, 0, grp.getgrnam(TEAM).gr_gid)
    machines.files.chmod(0o2770)
    for name, value in machines.environment("carrier").items():
        monkeypatch.setenv(name, value)
    return machines


def started(machines: Any, user: str, broker: Any, **variables: str) -> Any:
    """A worker that runs as a user with a home of its own, and takes from the queue of its name."""
    home = machines.folder / f"worker{len(machines.workers)}"
    home.mkdir(mode=0o700)
    shutil.chown(home, user, user)
    own = dataclasses.replace(machines, prefix=as_user(user))
    executor = broker.executor if broker else "workers"
    more = {**(broker.variables if broker else {}), "HOME": str(home), **variables}
    return own.launch(
        "flowtoy_dagster", "worker", "--executor", executor, "--queue", user[-1], **more
    )


def as_user(user: str) -> list[str]:
    """A command that executes its arguments as a user; files that it makes are the user's alone."""
    script = f'umask 077; exec setpriv --reuid={user} --regid={user} --init-groups "$@"'
    base = Path(sys.base_prefix)
    closed = [one for one in base.parents if not one.stat().st_mode & stat.S_IXOTH]
    if closed:
        # A Python in root's home is put where others can reach it, for this process alone.
        there, top = shlex.quote(str(base)), shlex.quote(str(closed[-1]))
        script = (
            f"set -e; d=$(mktemp -d); mount --bind {there} $d; mount -t tmpfs -o mode=755 none "
            f"{top}; mkdir -p {there}; mount --bind $d {there}; umount $d; rmdir $d; {script}"
        )
    return ["unshare", "--mount", "--", "sh", "-c", script, "sh"]


@pytest.mark.parametrize("name", ["workers", "redis"])
def test_users_of_a_group_run_the_steps_of_one_flow(
    shared: Any, brokers: Callable[[str], Any], write: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch, name: str,
) -> None:
    # language 10.2, 13.1, 19.3
    broker = None if name == "workers" else brokers(name)
    for variable, value in (broker.variables if broker else {}).items():
        monkeypatch.setenv(variable, value)
    mark = shared.folder / "mark"
    try:
        first = started(shared, USERS[0], broker, SHOP_PASSWORD=SECRET, PLACE="a")
        second = started(shared, USERS[1], broker, PLACE="b")
        for worker in (first, second):
            worker.wait_for("takes up to")
        flow = with_executor(load_flow(write(FLOW)), broker.executor if broker else "workers")
        done = run_flow(flow, params={"key": "the-key", "mark": str(mark)})
        errors = {one: step.error for one, step in done.status.steps.items()}
        states = {one: step.state for one, step in done.status.steps.items()}
        wanted = dict.fromkeys(states, "succeeded") | {"late": "failed", "once": "failed"}
        assert states == wanted, (errors, first.log, second.log)
        assert done.outputs["who"] == {"user": f"{USERS[0]}\n"}
        assert done.outputs["other"] == {"user": f"{USERS[1]}\n"}
        assert done.outputs["use"] == {"text": f"{TOKEN} b"}
        assert done.outputs["each"] == {"text": ["1", "2"]}
        mark.touch()
        with History() as history:
            run = history.find("last")
            assert "log in" in {one for one, _, _ in history.captured(run, None)}
            again = retry_run(history, plan_retry(history, run), 4)
        # What succeeded is not called again, whoever has written its record.
        assert again.status.steps["once"].state == "succeeded", again.status.steps["once"].error
        assert first.log.count("takes step 'log in'") == 1
        assert [worker.end() for worker in (first, second)] == [0, 0]
    finally:
        shared.close()
    # Of those who are not in the group, nobody sees anything.
    open_to_others = [
        path for path in shared.files.rglob("*") if path.stat().st_mode & stat.S_IRWXO
    ]
    assert not open_to_others
    owners = {path.stat().st_uid for path in shared.files.rglob("*")}
    assert owners == {0, *(pwd.getpwnam(user).pw_uid for user in USERS)}
    assert SECRET not in first.log + second.log


def test_a_folder_that_a_user_cannot_use_is_an_error_with_its_fix(
    shared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What one user has made for itself is closed to the other.
    (shared.files / "flowtoy-configs").mkdir(mode=0o700)
    (shared.files / "flowtoy-configs").chmod(0o700)
    worker = started(shared, USERS[0], None)
    try:
        assert worker.process.wait(shared.patience) == 2
    finally:
        shared.close()
    uid = pwd.getpwnam(USERS[0]).pw_uid
    for text in ("flowtoy-configs (uid 0, gid ", "mode 0700) can't be used by this user",
                 f"(uid {uid}, gid ", "chgrp -R GROUP"):
        assert text in worker.log
    # It is looked at when a process starts, not at each use.
    monkeypatch.setenv("FLOWTOY_FILES", str(shared.files / "gone"))
    assert shared_folder("/nowhere") == shared.files / "gone"
    with pytest.raises(HomeError, match="does not exist"):
        check_shared_folder("/nowhere")

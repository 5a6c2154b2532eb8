"""Workers that are cut off from the database for longer than their leases last."""

from __future__ import annotations

import contextlib
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from module_files import load
from sqlalchemy.exc import OperationalError

from flowtoy_dagster import run_flow
from flowtoy_dagster.engine.executors.remote import database, executor
from flowtoy_dagster.engine.executors.remote.database import Database
from flowtoy_dagster.engine.executors.remote.leases import Leases
from flowtoy_dagster.engine.executors.remote.message import Message
from flowtoy_dagster.engine.executors.remote.setups import Setups
from flowtoy_dagster.engine.sites.site import Site
from flowtoy_dagster.engine.storage import postgres
from flowtoy_dagster.engine.storage.connections import answer_limit, limited
from flowtoy_dagster.errors import RunError
from flowtoy_dagster.runs.history import History

pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")
_PROXIES = load(Path(__file__).with_name("proxies.py"))


@pytest.fixture
def proxy(server: Any) -> Iterator[Any]:
    """A proxy in front of the database."""
    with _PROXIES.running_proxy(server.port) as made:
        yield made


def away_from(here: Any, proxy: Any) -> str:
    """The address of the database behind the proxy."""
    address: str = here.address.replace(f":{here.server.port}/", f":{proxy.port}/")
    return address


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["silence", "refuse"])
def test_steps_of_a_worker_that_is_cut_off_run_again_elsewhere_and_count_once(
    here: Any, proxy: Any, write: Callable[..., Path], tmp_path: Path, how: str
) -> None:
    # The first attempt of 'ends' ends while its worker is cut off, that of 'goes on' never does.
    attempt = (
        "n=$(ls | grep -c ^{0}-call); touch {0}-call$n; "
        "until test -e {0}-go$n; do sleep 0.05; done; echo -n {0} $n"
    )
    steps = "".join(f"""
          - name: {name}
            retry: {{max: 1, delay: 0, on: crash}}
            source: {{type: process, cwd: {tmp_path},
                      command: [sh, -c, "{attempt.format(name.replace(' ', '-'))}"]}}
            output: [{{name: text, value: stdout}}]""" for name in ("ends", "goes on"))
    queue = f"cut-{how}"
    flow = write(f"""
        flow:{steps}
        runner: {{executor: workers, executor_options: {{queue: {queue}}}}}
    """)
    first = here.start("--queue", queue, "-c", "2", FLOWTOY_STORAGE=away_from(here, proxy))
    done: list[Any] = []
    run = threading.Thread(target=lambda: done.append(run_flow(flow)))
    run.start()

    def wait_for(*names: str) -> None:
        here.wait_until(lambda: all((tmp_path / name).exists() for name in names), str(names))

    wait_for("ends-call0", "goes-on-call0")
    getattr(proxy, how)()
    (tmp_path / "ends-go0").touch()
    second = here.start("--queue", queue, "-c", "2")
    wait_for("ends-call1", "goes-on-call1")
    # Nobody tells it that what it runs is another's by now: it ends that by itself.
    first.wait_for("is lost: the database of runs could not be reached")
    proxy.restore()
    for name in ("ends", "goes-on"):
        (tmp_path / f"{name}-go1").touch()
    run.join()
    assert done[0].success, [step.error for step in done[0].status.steps.values()]
    assert done[0].outputs == {"ends": {"text": "ends 1"}, "goes on": {"text": "goes-on 1"}}
    assert len(list(tmp_path.glob("*-call*"))) == 4
    with History() as history:
        found = history.find("last")
        kinds = [
            (entry.step_key, entry.dagster_event.event_type_value)
            for entry in history.instance.all_logs(found.run_id) if entry.dagster_event
        ]
        attempts = {name: step.attempt for name, step in history.status(found).steps.items()}
    assert attempts == {"ends": 2, "goes on": 2}
    for kind in ("STEP_UP_FOR_RETRY", "STEP_SUCCESS"):
        assert [of for _, of in kinds].count(kind) == 2
    # The one that was away takes steps as before.
    assert second.end() == 0
    for name in ("ends", "goes-on"):
        (tmp_path / f"{name}-go2").touch()
    assert run_flow(flow).success
    assert first.end() == 0


def test_a_step_is_handed_out_once_where_the_answer_of_the_database_was_lost(here: Any) -> None:
    with contextlib.closing(Database(here.address, 0)) as connection:
        leases = Leases(connection, Site("0.2", "3.12.1", 1, "f00", "here"))
        message = Message(str(uuid.uuid4()), 1)
        first = leases.hand_out(message, "one", 0, None)
        # The statement is executed again, as when the connection broke after the first time.
        assert leases.hand_out(message, "one", 0, None) == first
        row = f"SELECT step_key, holder FROM flowtoy_leases WHERE run_id = '{message.run_id}'"
        assert here.sql(row) == "one|"


def test_who_has_leases_to_renew_does_not_wait_for_what_a_run_has(tmp_path: Path) -> None:
    answers, found = threading.Event(), threading.Event()

    class Instance:
        """Stands for a database that does not answer until it is told to."""

        def get_run_by_id(self, run_id: str) -> None:
            answers.wait()

    setups = Setups(Instance(), tmp_path)  # type: ignore[arg-type]
    for _ in range(2):
        assert setups.of("f00", 0.0, found.set) is None
    answers.set()
    found.wait()
    with pytest.raises(RunError, match="run f00 has been deleted"):
        setups.of("f00", 0.0, found.set)


def test_what_a_run_has_is_looked_for_again_where_the_connection_broke(tmp_path: Path) -> None:
    class Instance:
        """Stands for connections that the server ends at each first statement."""

        broken = 0

        def get_run_by_id(self, run_id: str) -> None:
            if not self.broken:
                self.broken += 1
                raise OperationalError("", {}, Exception("ended"), connection_invalidated=True)

    found = threading.Event()
    setups = Setups(Instance(), tmp_path)  # type: ignore[arg-type]
    with contextlib.suppress(RunError):
        setups.of("f00", 0.0, found.set)
    found.wait()
    with pytest.raises(RunError, match="run f00 has been deleted"):
        setups.of("f00", 0.0, found.set)


def test_a_worker_that_is_cut_off_ends_after_a_second_signal(
    here: Any, proxy: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    flow = write(f"""
        flow:
          - name: one
            source: {{type: process, command: [sh, -c, "touch {tmp_path}/begun; sleep 600"]}}
        runner: {{executor: workers, executor_options: {{queue: left}}}}
    """)
    worker = here.start("--queue", "left", FLOWTOY_STORAGE=away_from(here, proxy))
    done: list[Any] = []
    run = threading.Thread(target=lambda: done.append(run_flow(flow)))
    run.start()
    here.wait_until((tmp_path / "begun").exists, "the step")
    proxy.refuse()
    worker.signal(signal.SIGTERM)
    worker.wait_for("takes no more steps; 1 still run")
    worker.signal(signal.SIGTERM)
    assert worker.process.wait(here.patience) == 0
    assert "is lost: the worker on" in worker.log
    assert "the database of runs does not answer: ends of steps are not rep" in worker.log
    here.start("--queue", "left")
    run.join()
    error = done[0].status.steps["one"].error or ""
    assert error.endswith("that ran this step is gone")


def test_a_run_that_is_cut_off_for_ever_ends_with_an_error(
    here: Any,
    proxy: Any,
    write: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (answer_limit, limited):
        monkeypatch.setattr(module, "ANSWER", 1.0)
    for module in (postgres, executor):
        monkeypatch.setattr(module, "PATIENCE", 1.0)
    monkeypatch.setattr(postgres, "CONNECTING", {**postgres.CONNECTING, "connect_timeout": 2})
    monkeypatch.setattr(database, "CONNECTING", {**database.CONNECTING, "connect_timeout": 2})
    flow = write(f"""
        flow:
          - name: one
            source: {{type: process, command: [sh, -c, "touch {tmp_path}/begun; sleep 600"]}}
        runner: {{executor: workers, executor_options: {{queue: alone}}}}
    """)
    worker = here.start("--queue", "alone")
    monkeypatch.setenv("FLOWTOY_STORAGE", away_from(here, proxy))
    cut = threading.Thread(
        target=lambda: (here.wait_until((tmp_path / "begun").exists, "the step"), proxy.silence())
    )
    cut.start()
    with pytest.raises(RunError, match=r"history can't be written: .*timeout expired"):
        run_flow(flow)
    cut.join()
    worker.wait_for("is lost: the process that executes the run was not seen")
    assert worker.end() == 0

"""The process that carries one run for another process: a web server, the TUI.

Started by `run_process.py`. Its standard input tells it
what to do, line by line. When that input ends, the process that asked for the run is gone, and the
run is ended too.
"""

import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dagster as dg

_CHUNK = 1 << 12


def main() -> None:
    """Import what a run needs, wait for one, and carry it out."""
    # Started in the background of a script, signals are ignored and would be for ever.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    requests = _Requests(0)
    sys.path[:] = requests.next()["path"]

    import flowtoy_dagster.engine.executors.warm.preload
    import flowtoy_dagster.runs.run  # noqa: F401 - while we wait
    from flowtoy_dagster.errors import FlowtoyError

    try:
        _carry(requests.next())
    except FlowtoyError as error:
        from flowtoy_dagster.terminal import say

        say(str(error))
        sys.exit(error.exit_code)


class _Requests:
    """The lines of a file descriptor, of which nothing is read ahead."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._data = b""

    def next(self) -> dict[str, Any]:
        while b"\n" not in self._data:
            data = os.read(self._descriptor, _CHUNK)
            if not data:
                sys.exit(0)
            self._data += data
        line, _, self._data = self._data.partition(b"\n")
        request: dict[str, Any] = json.loads(line)
        return request


def _carry(request: dict[str, Any]) -> None:
    from flowtoy_dagster.engine.storage.instances import job_of, same_instance
    from flowtoy_dagster.engine.storage.logs.console_log import NO_CONSOLE, configure_log
    from flowtoy_dagster.runs.run import follow

    configure_log()
    _prepare(request["saved"], request["run_config"])
    with same_instance(request["instance"]) as instance:
        run = instance.get_run_by_id(request["run_id"])
        assert run is not None, "the run is created before its worker learns of it"
        # A run that was started on a page may not say where Dagster is to log; nowhere, then.
        run = run._replace(run_config={"loggers": NO_CONSOLE, **run.run_config})
        threading.Thread(target=_watch, args=(instance, run), daemon=True).start()
        interrupted = follow(instance, job_of(run), run, lambda event: None)
        ended = instance.get_run_by_id(run.run_id)
        if interrupted and ended is not None and not ended.is_finished:
            instance.report_run_canceled(run)
    _notify(request)


def _notify(request: dict[str, Any]) -> None:
    """Notify those whom the flow names of the run's end."""
    from pathlib import Path

    from flowtoy_dagster.engine.storage.instances import same_instance
    from flowtoy_dagster.runs.notify import notify_from

    with same_instance(request["instance"]) as instance:
        home = Path(instance.root_directory)
    notify_from(home, request["run_id"])


def _prepare(saved: list[str] | None, run_config: dict[str, Any]) -> None:
    """Build what all workers of the run need, and fork their server off."""
    from flowtoy_dagster.definitions import rebuild_job, saved_flow
    from flowtoy_dagster.engine.executors.kinds import executor_of
    from flowtoy_dagster.engine.executors.warm.forked_off import fork_off_server
    from flowtoy_dagster.engine.executors.warm.worker import prepare
    from flowtoy_dagster.engine.jobs.events.loops import workers_of
    from flowtoy_dagster.flow.graph import worker_count
    from flowtoy_dagster.providers.kinds import modules_for_calls
    from flowtoy_dagster.store.shared.shared_files import shared_url

    if saved is None or shared_url() is not None:
        # Somebody else's job, which may want it; or it is in an object store, whose client has
        # threads, and a process with threads can't be forked safely.
        fork_off_server()
        return
    flow = saved_flow(*saved)
    executor = executor_of(flow.runner)
    if executor.keeps_workers:
        prepare(rebuild_job(*saved), run_config)
        modules = modules_for_calls(step.source for step in flow.steps)
        executor.prepare(modules, workers_of(run_config, worker_count(flow)))


def _watch(instance: "dg.DagsterInstance", run: "dg.DagsterRun") -> None:
    """End at once when the one who asked for the run is gone; our workers follow."""
    from flowtoy_dagster.providers.process_tree import ProcessTree, children
    from flowtoy_dagster.runs.sessions.carriers import close_run

    while os.read(0, _CHUNK):
        """Nothing more is said to us."""
    current = instance.get_run_by_id(run.run_id)
    if current is not None and not current.is_finished:
        close_run(instance, current)
    else:
        # The workers have ended: what is left is what a notification has started.
        for pid in children():
            ProcessTree(pid, ()).end(0)
    os._exit(1)


if __name__ == "__main__":
    main()

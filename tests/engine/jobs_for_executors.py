"""Jobs that are run on Dagster's own multiprocess executor and on the warm one, to be compared.

Every process of a run rebuilds its job by `make(name, executor, arguments)`.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from flowtoy_dagster.engine.executors.warm.executor import warm_executor

EXECUTORS = {"stock": dg.multiprocess_executor, "warm": warm_executor}
DEADLINE = 90.0
"""Seconds after which a step that waits for another gives up."""
_MAKERS: dict[str, Callable[..., dg.GraphDefinition]] = {}


def make(name: str, executor: str, arguments: str) -> dg.JobDefinition:
    """A job of this file.

    Args:
        name: the function below that makes its graph.
        executor: `stock` or `warm`.
        arguments: JSON of the function's keyword arguments.
    """
    graph = _MAKERS[name](**json.loads(arguments))
    resources = {"broken": broken} if name == "resource" else {}
    return graph.to_job(name=name, executor_def=EXECUTORS[executor], resource_defs=resources)


def job_of(name: str, executor: str, **arguments: Any) -> Any:
    """A job of this file that other processes can rebuild."""
    return dg.build_reconstructable_job(
        "jobs_for_executors", "make", (name, executor, json.dumps(arguments)),
        reconstructor_working_directory=str(Path(__file__).parent),
    )


def run_config(executor: str, limit: int, **more: Any) -> dict[str, Any]:
    """The configuration of a run: the limit, a quick start for Dagster's executor, silence."""
    settings: dict[str, Any] = {"max_concurrent": limit}
    if executor == "stock":
        preload = ["flowtoy_dagster.engine.executors.warm.preload"]
        settings["start_method"] = {"forkserver": {"preload_modules": preload}}
    settings.update(more)
    quiet = {"console": {"config": {"log_level": "CRITICAL"}}}
    return {"execution": {"config": settings}, "loggers": quiet}


def _job(maker: Callable[..., Any]) -> Callable[..., Any]:
    _MAKERS[maker.__name__] = maker
    return maker


def told(value: Any) -> dg.Output[Any]:
    """An output whose value can be read in the event log."""
    return dg.Output(value, metadata={"value": dg.MetadataValue.json([value])})


def wait_for(*paths: Path) -> None:
    """Wait until other steps have made files."""
    end = time.monotonic() + DEADLINE
    while not all(path.exists() for path in paths):
        if time.monotonic() > end:
            raise TimeoutError(f"{[path.name for path in paths if not path.exists()]} did not come")
        time.sleep(0.01)


@dg.op(out=dg.Out(int))
def one() -> dg.Output[Any]:
    return told(1)


@dg.op(out=dg.Out(int))
def double(number: int) -> dg.Output[Any]:
    return told(number * 2)


@dg.op(out=dg.Out(int))
def add(left: int, right: int) -> dg.Output[Any]:
    return told(left + right)


@dg.op(out=dg.Out(int))
def total(numbers: list[int]) -> dg.Output[Any]:
    return told(sum(numbers))


@dg.op(ins={"after": dg.In(dg.Nothing)})
def follow() -> dg.Output[Any]:
    return told(os.getpid())


@_job
def diamond() -> dg.GraphDefinition:
    @dg.graph
    def graph() -> None:
        start = one()
        add(double.alias("left")(start), double.alias("right")(start))

    return graph


@_job
def failing(hows: list[str]) -> dg.GraphDefinition:
    """For each way to fail a step that does, with a dependent; and two beside."""

    @dg.op(out=dg.Out(dg.Nothing))
    def fails(context: dg.OpExecutionContext) -> None:
        how = context.op_handle.name
        if how == "failure":
            raise dg.Failure("no more paper", metadata={"tray": 2})
        if how == "exception":
            raise ValueError("a wrong value")
        if how == "exits":
            os._exit(3)
        if how == "sys_exits":
            sys.exit(4)
        os.kill(os.getpid(), getattr(signal, how))

    @dg.graph
    def graph() -> None:
        for how in hows:
            follow.alias(f"after_{how}")(fails.alias(how)())
        double.alias("beside_2")(one.alias("beside")())

    return graph


def attempt(folder: str, context: dg.OpExecutionContext, how: str) -> dg.Output[Any]:
    """Fail, unless the number of earlier attempts is that in the step's name."""
    key = context.op_handle.name
    before = len(list(Path(folder).glob(f"{key}.*")))
    Path(folder, f"{key}.{before}").touch()
    if before < int(key.rpartition("_")[2]):
        if how == "asks":
            raise dg.RetryRequested(max_retries=2, seconds_to_wait=0.05)
        if how == "crashes":
            os._exit(3)
        raise ValueError("not yet")
    return told(context.retry_number)


@_job
def retried(folder: str) -> dg.GraphDefinition:
    """Steps that fail a number of times, which their names end with; attempts leave files."""
    policy = dg.RetryPolicy(max_retries=2, delay=0.05)

    @dg.op(retry_policy=policy)
    def raises(context: dg.OpExecutionContext) -> dg.Output[Any]:
        return attempt(folder, context, "raises")

    @dg.op(retry_policy=policy)
    def crashes(context: dg.OpExecutionContext) -> dg.Output[Any]:
        return attempt(folder, context, "crashes")

    @dg.op
    def asks(context: dg.OpExecutionContext) -> dg.Output[Any]:
        return attempt(folder, context, "asks")

    @dg.graph
    def graph() -> None:
        for step in (raises, asks, crashes):
            follow.alias(f"after_{step.name}")(step.alias(f"{step.name}_2")())
        for step in (raises, asks):
            step.alias(f"{step.name}_9")()

    return graph


@_job
def optional() -> dg.GraphDefinition:
    @dg.op(out={"given": dg.Out(int, is_required=False), "kept": dg.Out(int, is_required=False)})
    def chooses() -> Iterator[Any]:
        yield dg.Output(1, "given")

    @dg.graph
    def graph() -> None:
        given, kept = chooses()
        double.alias("runs")(given)
        skipped = double.alias("skipped")(kept)
        double.alias("skipped_too")(skipped)
        total([one.alias("first")(), skipped, one.alias("second")()])

    return graph


@_job
def dynamic() -> dg.GraphDefinition:
    @dg.op(out=dg.DynamicOut(int))
    def split() -> Iterator[Any]:
        for number in (1, 2, 3):
            yield dg.DynamicOutput(number, mapping_key=f"n{number}")

    @dg.graph
    def graph() -> None:
        total(split().map(double).collect())

    return graph


@dg.resource
def broken(_: Any) -> None:
    raise ValueError("the database is away")


@_job
def resource() -> dg.GraphDefinition:
    @dg.op(required_resource_keys={"broken"}, out=dg.Out(dg.Nothing))
    def needs_it() -> None:
        """Never reached."""

    @dg.graph
    def graph() -> None:
        follow.alias("after")(needs_it())
        one()

    return graph


@_job
def hooked() -> dg.GraphDefinition:
    @dg.success_hook
    def cheer(context: dg.HookContext) -> None:
        context.log.info("hooray for %s", context.op.name)

    @dg.failure_hook
    def sigh(context: dg.HookContext) -> None:
        context.log.info("alas, %s: %s", context.op.name, context.op_exception)

    @dg.op
    def fails() -> None:
        raise ValueError("a wrong value")

    @dg.graph
    def graph() -> None:
        one.with_hooks({cheer, sigh})()
        fails.with_hooks({cheer, sigh})()

    return graph


@_job
def wide(count: int, tagged: int = 0) -> dg.GraphDefinition:
    """Steps that could all run at once, and take a moment, the first few with a tag."""

    @dg.op
    def moment() -> dg.Output[Any]:
        time.sleep(0.1)
        return told(facts())

    @dg.graph
    def graph() -> None:
        for number in range(count):
            step = moment.alias(f"step_{number}")
            (step.tag({"database": "one"}) if number < tagged else step)()

    return graph


@_job
def together(count: int, folder: str) -> dg.GraphDefinition:
    """Steps that end only when all of them have started."""

    @dg.op
    def meets(context: dg.OpExecutionContext) -> dg.Output[Any]:
        place = Path(folder)
        (place / context.op_handle.name).touch()
        wait_for(*(place / f"step_{number}" for number in range(count)))
        return told(facts())

    @dg.graph
    def graph() -> None:
        for number in range(count):
            meets.alias(f"step_{number}")()

    return graph


def processes() -> dict[int, int]:
    """The parent of every process of this machine that is not a zombie."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, parent, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if state != "Z":
                found[int(folder.name)] = int(parent)
    return found


def facts() -> dict[str, Any]:
    """What a step sees of the processes about it."""
    server = os.getppid()
    return {
        "pid": os.getpid(),
        "server": server,
        "servers_parent": processes().get(server),
        "servers_threads": len(os.listdir(f"/proc/{server}/task")),
        "siblings": sum(parent == server for parent in processes().values()),
        "session": os.getsid(0),
    }


def surroundings() -> dict[str, Any]:
    """What a step finds that an earlier one may have changed."""
    loggers = {name or "root": logging.getLogger(name) for name in ("", "spoilt", "spoilt.new")}
    return {
        "directory": os.getcwd(),
        "environment": {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")},
        "umask": _umask(),
        "path": list(sys.path),
        "stdout": sys.stdout is sys.__stdout__,
        "stderr": sys.stderr is sys.__stderr__,
        "signals": {
            name: _name_of(signal.getsignal(getattr(signal, name)))
            for name in ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGCHLD", "SIGPIPE")
        },
        "disabled": logging.root.manager.disable,
        "loggers": {
            name: [logger.level, len(logger.handlers), logger.propagate, logger.disabled]
            for name, logger in loggers.items()
        },
    }


def _name_of(handler: Any) -> str:
    return getattr(handler, "__qualname__", repr(handler))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def spoil_all(folder: str) -> None:
    """Change everything that a process has for itself."""
    os.chdir(folder)
    os.environ["SPOILT"] = "1"
    os.environ["TO_BE_CHANGED"] = "changed"
    del os.environ["TO_BE_DELETED"]
    os.umask(0o077)
    sys.path.insert(0, folder)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stdout
    for name in ("SIGTERM", "SIGHUP", "SIGUSR1"):
        signal.signal(getattr(signal, name), lambda *_: None)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for name in ("", "spoilt", "spoilt.new"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL)
        logger.addHandler(logging.NullHandler())
        logger.disabled = True
        logger.propagate = False
    logging.disable(logging.CRITICAL)


@_job
def spoilt(folder: str) -> dg.GraphDefinition:
    @dg.op(out=dg.Out(dg.Nothing))
    def before() -> Iterator[Any]:
        logging.getLogger("spoilt").setLevel(logging.NOTSET)
        yield from looked()

    @dg.op(ins={"start": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
    def spoils() -> Iterator[Any]:
        spoil_all(folder)
        yield from looked()

    @dg.op(ins={"start": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
    def after() -> Iterator[Any]:
        yield from looked()

    @dg.graph
    def graph() -> None:
        after(spoils(before()))

    return graph


def looked() -> Iterator[Any]:
    """Tells of the process and its surroundings."""
    yield dg.AssetObservation("seen", metadata={"value": [{"pid": os.getpid(), **surroundings()}]})
    yield dg.Output(None)


@_job
def threaded() -> dg.GraphDefinition:
    @dg.op(out=dg.Out(dg.Nothing))
    def leaves_a_thread() -> Iterator[Any]:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        yield from looked()

    @dg.op(ins={"start": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
    def after() -> Iterator[Any]:
        yield from looked()

    @dg.graph
    def graph() -> None:
        after(leaves_a_thread())

    return graph


@_job
def chain(count: int) -> dg.GraphDefinition:
    @dg.graph
    def graph() -> None:
        upstream = one()
        for number in range(1, count):
            upstream = follow.alias(f"follow_{number}")(upstream)

    return graph


@_job
def waiting(folder: str) -> dg.GraphDefinition:
    """Two steps that run until they are interrupted, and one that comes after."""

    @dg.op(out=dg.Out(dg.Nothing))
    def waits(context: dg.OpExecutionContext) -> Iterator[Any]:
        path = Path(folder, context.op_handle.name)
        path.with_suffix(".part").write_text(str(os.getpid()))
        path.with_suffix(".part").rename(path)
        try:
            time.sleep(DEADLINE)
            yield dg.Output(None)
        finally:
            path.with_suffix(".cleaned").touch()

    @dg.graph
    def graph() -> None:
        follow.alias("after")([waits.alias("first")(), waits.alias("second")()])

    return graph


@_job
def serverless(then: str) -> dg.GraphDefinition:
    """A step that kills the fork server, and what is left to do after that."""

    @dg.op
    def kills_the_server() -> dg.Output[Any]:
        os.kill(os.getppid(), signal.SIGKILL)
        while (server := os.getppid()) in processes() and server != 1:
            time.sleep(0.01)
        return told(os.getpid())

    @dg.op(ins={"after": dg.In(dg.Nothing)})
    def dies() -> None:
        os._exit(3)

    @dg.graph
    def graph() -> None:
        killed = kills_the_server()
        if then == "crash":
            dies(killed)
        follow.alias("last")(follow.alias("next")(killed))

    return graph


@_job
def outside() -> dg.GraphDefinition:
    @dg.op
    def reads() -> dg.Output[Any]:
        return told([os.environ.get("SET_LATER"), os.environ.get("UNSET_LATER"), os.getcwd()])

    @dg.graph
    def graph() -> None:
        reads()

    return graph


@_job
def printing() -> dg.GraphDefinition:
    @dg.op(ins={"start": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
    def speaks(context: dg.OpExecutionContext) -> None:
        print(context.op_handle.name, "speaks")
        sys.stdout.flush()
        subprocess.run(["sh", "-c", "echo of a child"], check=True)

    @dg.graph
    def graph() -> None:
        speaks.alias("second")(speaks.alias("first")())

    return graph

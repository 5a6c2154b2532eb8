"""What every test gets: a clean environment, a home of its own, and the command line."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from module_files import load
from warm_processes import CAN_ADOPT, Commands, Finished

from flowtoy_dagster.engine.executors.warm.forkserver_client import ForkServer

ROOT = Path(__file__).parent.parent
CHROMIUM = "/usr/bin/chromium"
BROWSER_PATIENCE = 90_000
"""Milliseconds that a page may take; Playwright's own 30,000 are too few beside busy processes."""
QUICK_FOLDERS = ("flow", "providers", "steps")
QUICK_FILES = (
    "conformance/test_valid_flows.py", "deploy/test_discovery.py",
    "deploy/test_location.py", "engine/test_names.py", "engine/test_private_api.py",
    "engine/test_records.py", "engine/test_translator.py", "language/test_params.py",
    "language/test_schedules.py", "runs/test_run_flow.py",
    "test_errors.py", "test_extraction.py", "test_limits.py", "test_packaging.py",
    "test_progress.py", "test_secrets.py", "test_step.py", "tui/test_page.py",
)
"""What `--quick` runs: other versions of Python and of what is required show in these."""
_COMMANDS, _SOME_COMMANDS = "test_command_line_", ("valid_diamond",)
_LONG = (
    # Several runs each; others of their module show that runs do what they shall.
    "test_eight_runs_at_once", "test_a_process_with_threads", "test_as_many_steps_run_at_once",
    "test_no_more_steps_run_at_once", "test_steps_that_need_nothing", "test_a_step_runs_after",
    "test_a_home_can_be_given", "test_every_form_of_a_configuration_runs",
    "test_each_run_of_a_process", "test_steps_run_after_those", "test_a_home_that_is_deleted",
    "test_a_cancelled_run_stays", "test_leaving_a_run", "test_ctrl_c_cancels",
    # Much of one thing, which no version of a library changes.
    "test_nothing_of_one_step_reaches_the_other", "test_too_many_values", "test_a_chain_of_5000",
    "test_a_worker_ends_a_daemon", "test_a_thousand_steps", "test_thousands_of_secrets",
    "test_every_private_import_is_in_the_table",
)
"""The beginnings of the names of tests that `--quick` leaves out."""
_FOREIGN = ("DAGSTER_", "FLOWTOY_", "RUNNER_STATUS_URL", "NO_COLOR", "FORCE_COLOR")
STARTED_WITH = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}


load(ROOT / "tests" / "json_values.py")
load(ROOT / "tests" / "ports.py")
load(ROOT / "tests" / "s3_server.py")
load(ROOT / "tests" / "gcs_server.py")
load(ROOT / "tests" / "programs.py")
load(ROOT / "examples" / "shop_api.py")


hypothesis.settings.register_profile("quick", max_examples=20)


def pytest_configure(config: pytest.Config) -> None:
    """Let signals be what they are in a terminal: shells and `nohup` have some of them ignored.

    The garbage collector finds nothing while modules are imported; it is off until then.
    """
    gc.disable()
    if config.getoption("--quick"):
        hypothesis.settings.load_profile("quick")
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Four more than there are cores: tests wait for timeouts and for processes to end, too."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ or not hasattr(os, "sched_getaffinity"):
        return None  # xdist's own answer
    return len(os.sched_getaffinity(0)) + 4


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--quick`: rules and texts, Dagster's private names and a few runs, in about a minute."""
    parser.addoption("--quick", action="store_true", help="only the tests that .ci/run calls quick")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `--quick`, leave alone what starts servers, browsers and many runs."""
    if not config.getoption("--quick") or not collection_path.name.startswith("test_"):
        return None
    place = collection_path.relative_to(ROOT / "tests")
    chosen = str(place.parent) in QUICK_FOLDERS or str(place) in QUICK_FILES
    return None if chosen else True


def _is_quick(item: pytest.Item) -> bool:
    if item.name.startswith(_COMMANDS):
        return any(case in item.name for case in _SOME_COMMANDS)
    return not item.name.startswith(_LONG)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Start those first that may take longest, so that none of them is left for the end.

    Each worker is given an equal part of the list, so the modules with such tests are dealt out to
    the beginnings of the parts.
    """
    if config.getoption("--quick"):
        items[:] = [item for item in items if _is_quick(item)]
    slow: dict[str, list[pytest.Item]] = {}
    for item in sorted(items, key=_limit, reverse=True):
        if _limit(item):
            slow.setdefault(item.nodeid.partition("::")[0], []).append(item)
    quick = [item for item in items if not _limit(item)]
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    dealt: list[pytest.Item] = []
    for worker in range(workers):
        for module in list(slow.values())[worker::workers]:
            dealt += module
        until = max(0, len(items) * (worker + 1) // workers - len(dealt))
        dealt += quick[:until]
        del quick[:until]
    items[:] = dealt + quick


def pytest_collection_finish() -> None:
    """Collect garbage again. Nothing is frozen: hypothesis looks for what refers to an object."""
    gc.enable()


def _limit(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker else 0


@dataclass(frozen=True)
class Asked:
    """A request that a server of `serve` got."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Reply = tuple[int, Mapping[str, str], bytes]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[Asked], Reply]], str]]:
    """Starts a server on loopback, which answers as a function says; gives its address.

    The function gets each request, and gives the status, headers and body of the answer.
    """
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def start(reply: Callable[[Asked], Reply]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                headers = dict(self.headers.items())
                asked = Asked(self.command, self.path, headers, self.rfile.read(length))
                status, sent, body = reply(asked)
                self.send_response(status)
                for name, value in {**sent, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        stack.callback(server.server_close)
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        return f"http://127.0.0.1:{server.server_port}"

    with ExitStack() as stack:
        yield start


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any) -> Path:
    """No variables of the developer's, and a home folder for this test alone."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN):
            monkeypatch.delenv(name)
    home: Path = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("FLOWTOY_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "100")
    return home


@pytest.fixture
def home(clean_environment: Path) -> Path:
    """The home folder of this test."""
    return clean_environment


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    """The process from which commands are forked."""
    made = Commands(STARTED_WITH)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def fork_servers(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of this process have their workers forked off the process of `commands`.

    A new Python that imports Dagster for each of them would be most of what such tests cost.
    """
    if not CAN_ADOPT:
        return
    import_them = ForkServer.spawn

    def spawn(preload: Sequence[str], entry: str) -> ForkServer:
        fits = commands.fits(os.environ)
        return commands.fork_server(preload, entry) if fits else import_them(preload, entry)

    monkeypatch.setattr(ForkServer, "spawn", spawn)


@pytest.fixture
def flowtoy(tmp_path: Path, commands: Commands) -> Callable[..., Finished]:
    """Runs the command line in a process of its own, in the test's folder."""

    def run(
        *arguments: str | Path,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 500,
    ) -> Finished:
        words, environment = [*map(str, arguments)], {**os.environ, **(env or {})}
        if commands.fits(environment):
            return commands.run(words, stdin, tmp_path, environment, timeout)
        done = subprocess.run(
            [sys.executable, "-m", "flowtoy_dagster", *words],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            timeout=timeout,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose databases have been made, which takes a second or more, to be copied."""
    import dagster as dg

    from flowtoy_dagster.engine.storage.home import open_home

    home = open_home(tmp_path_factory.mktemp("made-once") / "home")
    with dg.DagsterInstance.from_config(str(home)):
        """That makes them."""
    return home


@pytest.fixture
def made_home(home: Path, databases: Path) -> Path:
    """The home folder of this test, as if it had been used before."""
    from flowtoy_dagster.engine.storage.home import open_home

    open_home(home)
    for name in ("history", "schedules"):
        shutil.copytree(databases / name, home / name)
    return home


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a YAML file into the test's folder."""

    def make(text: str, name: str = "flow.yaml") -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return make


class PatientBrowser:
    """A browser whose pages wait: other processes may have the cores."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser

    def new_context(self, **options: Any) -> Any:
        """A browser without cookies, with Playwright's `options`."""
        context = self._browser.new_context(**options)
        context.set_default_timeout(BROWSER_PATIENCE)
        return context


@pytest.fixture(scope="module")
def browser() -> Iterator[PatientBrowser]:
    """Chromium, while a module's tests run: its loop would be in the way of those of others."""
    if not Path(CHROMIUM).exists():
        if os.environ.get("CI"):
            pytest.fail(f"there is no {CHROMIUM}; .ci/run installs it")
        pytest.skip(f"there is no {CHROMIUM}")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=BROWSER_PATIENCE)
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=BROWSER_PATIENCE
        )
        yield PatientBrowser(found)
        found.close()


@pytest.fixture(scope="session")
def s3_variables() -> Iterator[dict[str, str]]:
    """The variables of clients of an S3 server: one for all tests, since clients are kept."""
    from s3_server import s3_server

    with s3_server() as variables:
        yield variables


@pytest.fixture(scope="session")
def gcs_variables() -> Iterator[dict[str, str]]:
    """The variables of clients of a server of Google's storage: one for all tests."""
    from gcs_server import gcs_server

    with gcs_server() as variables:
        yield variables

"""No route of Dagster's own web server gives what only the owner of a home may read."""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster_webserver.app import create_app_from_workspace_process_context

from flowtoy_dagster.engine.storage.home import open_home
from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.steps.attempts import StepOutcome
from flowtoy_dagster.store.configs import configs_of
from flowtoy_dagster.store.records import records_of

SECRET = "sesame-open-9f2c"
STEPS = ("a b", "with.full.stop")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a secret in each of its private files, and a log that may be seen."""
    home = open_home(tmp_path / "home")
    records = records_of(str(home / "storage"))
    outcome = StepOutcome(outputs={"x": SECRET}, result=ProviderResult(True, 0))
    for step in STEPS:
        records.write("run", step, outcome, False)
    records.keep_given("run", {"token": SECRET})
    configs_of(home).save("flow", {"vars": SECRET})
    logs = home / "storage" / "run" / "compute_logs"
    logs.mkdir(parents=True)
    (logs / "a.out").write_text("what it printed")
    return home


def paths_to(home: Path, file: Path) -> Iterator[str]:
    """Ways to ask for a file, as a log of some folder; decoded, as an application sees them."""
    for base in (home, home / "storage", home / "storage" / "run"):
        relative = (
            str(file.relative_to(base)) if base in file.parents
            else "../" * len(base.relative_to(home).parts) + str(file.relative_to(home))
        )
        stem, _, kind = relative.rpartition(".")
        ways = {relative, f"{stem}/{kind}", f"{relative}/", str(file), f"{relative}.",
                relative.replace(".", "/"), f"./{relative}", f"{stem}/{kind}/"}
        yield from ways


async def ask(app: Any, path: str, query: str = "") -> bytes:
    """What an application answers to GET; empty where it fails."""
    sent: list[dict[str, Any]] = []

    asked = iter([{"type": "http.request", "body": b""}])

    async def receive() -> Any:
        for message in asked:
            return message
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": path,
        "raw_path": urllib.parse.quote(path).encode(), "query_string": query.encode(),
        "root_path": "", "headers": [(b"host", b"localhost")], "server": ("localhost", 80),
        "client": ("localhost", 1), "asgi": {"version": "3.0", "spec_version": "2.4"},
    }
    try:
        await app(scope, receive, send)
    except Exception:
        """What the server does then is not the point."""
    return b"".join(message.get("body", b"") for message in sent)


async def walk(app: Any, home: Path, private: list[Path]) -> None:
    """Ask every route for every private file."""
    starts = {route.path.partition("{")[0] for route in app.routes}
    assert "/logs/" in starts
    for file in private:
        for start in starts:
            # One route takes folders and names; the others take an id, or a query.
            ways = list(paths_to(home, file)) if start == "/logs/" else [str(file)[1:]]
            for way in ways:
                assert SECRET.encode() not in await ask(app, start + way), (start, way)
            query = f"path={urllib.parse.quote(str(file))}"
            assert SECRET.encode() not in await ask(app, start, query), (start, file)


@pytest.mark.parametrize("logs_in", ["storage", "."], ids=["as usual", "logs in the home itself"])
def test_no_route_of_dagsters_web_server_gives_a_private_file(home: Path, logs_in: str) -> None:
    settings = (home / "dagster.yaml").read_text()
    (home / "dagster.yaml").write_text(
        settings.replace(str(home / "storage"), str((home / logs_in).resolve()))
    )
    private = [path for path in home.rglob("*") if path.is_file()
               and SECRET.encode() in path.read_bytes()]
    assert len(private) == len(STEPS) + 2
    if logs_in == ".":
        # What a deployment of its own gives away by such a setting; records are not among it.
        private = [path for path in private if "flowtoy-configs" not in path.parts]
    with dg.DagsterInstance.from_config(str(home)) as instance, WorkspaceProcessContext(
        instance, EmptyWorkspaceTarget()
    ) as context:
        app: Any = create_app_from_workspace_process_context(context)
        asyncio.run(walk(app, home, private))
        log = "run/compute_logs/a/out" if logs_in == "storage" else "storage/run/compute_logs/a/out"
        assert asyncio.run(ask(app, f"/logs/{log}")) == b"what it printed"

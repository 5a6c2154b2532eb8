"""The page over runs that are written down here: each state of it, at an address of its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from flowtoy_dagster.server.http.endpoint import listen
from flowtoy_dagster.server.page_routes import page_routes

BEGIN = 1_700_000_000.0
RUN, BEFORE = "a" * 8 + "-0000-4000-8000-000000000000", "b" * 8 + "-0000-4000-8000-000000000000"
STDERR = "Traceback (most recent call last):\n  File \"load.py\", line 7\nConnectionError: no route"


def step(state: str, begin: float | None = None, end: float | None = None, **more: Any) -> Any:
    """A step as the status document has it; times in seconds after the run's begin."""
    moments = {
        "started_at": None if begin is None else BEGIN + begin,
        "ended_at": None if end is None else BEGIN + end,
    }
    timeline = [{"kind": "attempt", "told": "", **moments}] if begin is not None else []
    return {"state": state, **moments, "notes": [],
            "place": "/srv/flows/shop.yaml:12:5" if state == "failed" else None,
            "skip_reason": None, "outputs": ["rows"],
            "depends_on": [], "attempt": int(begin is not None), "waits_for": None, "items": None,
            "cursor": None, "warnings": [], "timeline": timeline, **more}


def span(kind: str, begin: float, end: float | None, told: str = "") -> Any:
    """A part of a step's time."""
    return {"kind": kind, "started_at": BEGIN + begin,
            "ended_at": None if end is None else BEGIN + end, "told": told}


def run(state: str, end: float | None, steps: dict[str, Any], verdict: str = "") -> Any:
    """A status document."""
    count = [each["state"] for each in steps.values()].count
    return {"schema_version": 4, "run_id": 1, "dagster_run_id": RUN, "name": "shop import",
            "state": state, "verdict": verdict or state,
            "started_at": None if state == "pending" else BEGIN,
            "ended_at": None if end is None else BEGIN + end, "total_steps": len(steps),
            "completed_steps": count("succeeded") + count("failed"),
            "skipped_steps": count("skipped"), "current_step": None, "running_steps": [],
            "running_count": count("running"), "steps": steps}


def items(failed: int, succeeded: int, total: int) -> Any:
    """How far a repeated step is."""
    failures = [{"key": f"order {n}", "error": "GET /orders: 404"} for n in range(min(5, failed))]
    return {"total": total, "succeeded": succeeded, "failed": failed, "skipped": 0, "reused": 0,
            "failures": failures}


FAILED_NOTES = ["load.py exited with code 1: ConnectionError: no route", "called: python load.py",
                f"stderr: {STDERR}"]
WARNING = {"message": "output 'rows': the answer (text/html) is not JSON, so 'items' finds nothing",
           "place": "/srv/flows/shop.yaml:9:16"}
RETRIED = [span("attempt", 2, 4, "GET /users: 503"), span("pause", 4, 6),
           span("attempt", 6, 12), span("wait", 7, 9, "waits for crm: 10/s")]


def _many() -> dict[str, Any]:
    found = {}
    for number in range(300):
        begin = number * 0.4
        name, before = f"table_{number:03}", [f"table_{number - 10:03}"] if number >= 10 else []
        found[name] = step("succeeded", begin, begin + 1 + number % 7, depends_on=before)
        if number % 20 == 13:
            found[name] = step("failed", begin, begin + 1, depends_on=before,
                               notes=[f"psql exited with code 2: no table {number}"])
    return found


FLOW = {
    "users": step("succeeded", 0, 2, warnings=[WARNING]),
    "rates with a name that is longer than most names of steps are": step(
        "succeeded", 2, 12, timeline=RETRIED, attempt=2, depends_on=["users"]),
    "orders": step("failed", 2, 9, notes=FAILED_NOTES, depends_on=["users"]),
    "details": step("failed", 9, 14, items=items(7, 30, 40), depends_on=["users"],
                    notes=["7 of 40 failed; the first is 'order 0': GET /orders: 404"]),
    "report": step("skipped", None, 14, notes=["'orders' failed"],
                   depends_on=["orders", "details"]),
}
RUNNING = {
    **FLOW,
    "orders": step("running", 2, depends_on=["users"], waits_for="waits for crm: 10/s",
                   timeline=[span("attempt", 2, None), span("wait", 8, None, "crm: 10/s")]),
    "details": step("running", 9, items=items(2, 11, 40), depends_on=["users"]),
    "report": step("pending", depends_on=["orders", "details"]),
}
ALL = {"runs": True, "dagster": True, "actions": True, "log": True}
STATES: dict[str, Any] = {
    "pending": run("pending", None, {name: step("pending") for name in FLOW}),
    "running": run("running", None, RUNNING),
    "failed": run("failed", 14, FLOW),
    "many": run("failed", 126, _many()),
    "tolerated": run("succeeded", 9, {"users": FLOW["users"], "orders": FLOW["orders"]},
                     "finished with failures"),
    "cancelled": run("cancelled", 3, {"users": FLOW["users"], "orders": step(
        "failed", 2, 3, notes=["interrupted"])}),
    "succeeded": run("succeeded", 12, {k: FLOW[k] for k in list(FLOW)[:2]}),
}
RUNS = [
    {"run_id": run_id, "name": "shop import", "state": state, "verdict": state,
     "started_at": BEGIN - 3600 * n, "ended_at": BEGIN - 3600 * n + 14, "retry_of": parent}
    for n, (run_id, state, parent) in enumerate([
        (RUN, "failed", BEFORE), (BEFORE, "failed", None), ("c" * 36, "succeeded", None),
        ("d" * 36, "cancelled", None)])
]
PARAMS = [
    {"name": name, "type": kind, "description": told, "secret": False, "required": False,
     "nullable": text is None, "variable": None, "given": True, "text": text, "default": text,
     "enum": enum}
    for name, kind, text, told, enum in [
        ("day", "string", "2026-11-01", "The day that is loaded.", None),
        ("limit", "integer", "100", "", None), ("mode", "string", "safe", "", ["safe", "fast"]),
        ("full", "boolean", "false", "", None), ("shops", "list", '["a", "b"]', "", None),
        ("note", "string", None, "", None)]
] + [{"name": "api_token", "type": "string", "description": "", "secret": True, "required": True,
      "nullable": False, "variable": "API_TOKEN", "given": False}]
NOW = {"files": ["/srv/flows/shop.yaml"], "usable": True, "params": [*PARAMS[:2], PARAMS[-1]],
       "told": "shop.yaml differs from what ran: orders, details"}
LOG = {"position": "9.9", "parts": [
    {"capture": 0, "stream": "stdout", "text": "loading 1200 rows\n" * 30, "is_cut": True},
    {"capture": 1, "stream": "stderr", "text": STDERR, "is_cut": False}]}
ITEMS = [{"key": f"order {n}", "state": "failed" if n < 7 else "succeeded", "attempts": 1,
          "error": "GET /orders: 404" if n < 7 else None, "reused": n > 30} for n in range(300)]


def _site(document: Any, features: dict[str, bool]) -> Starlette:
    def status(request: Request) -> Response:
        # A log that was read to its end has nothing more.
        return JSONResponse(document)

    def log(request: Request) -> Response:
        rest = {"position": "9.9", "parts": []}
        return JSONResponse(rest if request.query_params.get("from") else LOG)

    def listed(request: Request) -> Response:
        words = request.query_params.get("find", "")
        found = [item for item in ITEMS if words in item["key"]]
        return JSONResponse({"items": found[:200], "found": len(found)})

    async def act(request: Request) -> Response:
        wish = await request.json()
        if wish["action"] == "again":
            wrong = {"limit": 'expected a whole number, got "x"', "api_token": "a value is missing"}
            return JSONResponse({"error": "wrong", "fields": wrong}, 422)
        return JSONResponse({"error": "run aaaaaaaa has ended already"}, 409)

    of_run = {"status": status, "outputs": lambda _: JSONResponse({"users": {"rows": [1, 2]}}),
              "log": log, "items": listed,
              "form": lambda _: JSONResponse({"params": PARAMS, "now": NOW})}
    return Starlette(routes=[
        *page_routes("/", **features),
        Route("/status", status),
        Route("/outputs", of_run["outputs"]),
        Route("/flow/runs", lambda _: JSONResponse({"runs": RUNS})),
        Route("/flow/actions", act, methods=["POST"]),
        *(Route(f"/flow/runs/{{run}}/{name}", answer) for name, answer in of_run.items()),
    ])


@contextlib.contextmanager
def serve_states() -> Iterator[str]:
    """Serve each state at its name, and the page that can only look at `plain`; gives the URL."""
    import uvicorn

    sites = {name: _site(document, ALL) for name, document in STATES.items()}
    sites["plain"] = _site(STATES["failed"], {})
    app = Starlette(routes=[Mount(f"/{name}", site) for name, site in sites.items()])
    listener = listen()
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener.socket]}, daemon=True)
    thread.start()
    yield listener.url
    server.should_exit = True
    thread.join()
    listener.socket.close()

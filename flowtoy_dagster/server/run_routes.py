"""The runs of a home, for flowtoy's page to read: their list, and all that is known of each.

`GET /flow/runs`, and of one run `GET /flow/runs/RUN/…`: `status`, `outputs`, `log`, `items` and
`form`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from flowtoy_dagster.errors import RunError, UsageError
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.live_view import RunView
from flowtoy_dagster.runs.shown.choosing import fields_of
from flowtoy_dagster.runs.wanted.filters import WantedRuns
from flowtoy_dagster.server.changed_file import files_now
from flowtoy_dagster.server.status_api import HEADERS, AnswerError, Endpoint, json_response

MOST_VIEWS = 8
"""Runs of which what was read is kept."""
MOST_LISTED = 100
MOST_ITEMS = 500


class RunReader:
    """Reads the runs of a home for a page.

    Args:
        history: the home.
        only: gives the one run that may be read; all of them, by default.
    """

    def __init__(self, history: History, only: Callable[[], str] | None = None) -> None:
        self._history = history
        self._only = only
        self._views: dict[str, RunView] = {}
        self._lock = threading.Lock()

    def list(self, flow: str | None) -> dict[str, Any]:
        """The latest runs, the newest first."""
        if self._only is not None:
            raise AnswerError("this server shows one run", 404, {})
        found = self._history.runs(MOST_LISTED, WantedRuns(flow))
        return {"runs": [run._asdict() for run in found]}

    def view(self, wanted: str) -> RunView:
        """What is known of a run.

        Raises:
            AnswerError: there is no such run.
        """
        try:
            run_id = self._history.find(wanted).run_id
            if self._only is not None and run_id != self._only():
                raise UsageError(f"this server shows no run '{wanted}'")
        except UsageError as error:
            raise AnswerError(str(error).splitlines()[0], 404, {}) from None
        with self._lock:
            view = self._views.pop(run_id, None) or RunView(self._history, lambda: run_id)
            self._views[run_id] = view
            while len(self._views) > MOST_VIEWS:
                del self._views[next(iter(self._views))]
        try:
            view.refresh()
        except RunError as error:
            raise AnswerError(str(error), 404, {}) from None
        return view

    def form(self, wanted: str) -> dict[str, Any]:
        """The parameters of the flow of a run, with the values that it had.

        `now` has the same of its files, where they have changed since.
        """
        self.view(wanted)
        flow = self._history.flow(self._history.find(wanted))
        now = files_now(flow)
        changed = now.document() if now is not None and now.told is not None else None
        return {"params": fields_of(flow), "now": changed}


def run_routes(reader: RunReader) -> list[BaseRoute]:
    """The routes by which a page reads the runs of a home."""

    def status(request: Request) -> Response:
        return json_response(reader.view(request.path_params["run"]).status_json)

    def outputs(request: Request) -> Response:
        view = reader.view(request.path_params["run"])
        parts = view.outputs_json(_step(view, request) if "step" in request.query_params else None)
        return StreamingResponse(parts, media_type="application/json", headers=HEADERS)

    def log(request: Request) -> Response:
        view = reader.view(request.path_params["run"])
        step = _step(view, request)
        try:
            parts, position = view.printed(step, request.query_params.get("from", ""))
        except UsageError as error:
            raise AnswerError(str(error), 400, {}) from None
        return json_response({"parts": [asdict(part) for part in parts], "position": position})

    def items(request: Request) -> Response:
        view = reader.view(request.path_params["run"])
        found = view.items(_step(view, request))
        if found is None:
            raise AnswerError("this step has no items", 404, {})
        query = request.query_params
        rows, count = found.rows(query.get("state") or None, query.get("find", ""), MOST_ITEMS)
        return json_response({"items": rows, "found": count, "counts": found.counts()._asdict()})

    def form(request: Request) -> Response:
        return json_response(reader.form(request.path_params["run"]))

    def runs(request: Request) -> Response:
        return json_response(reader.list(request.query_params.get("flow")))

    parts = {"status": status, "outputs": outputs, "log": log, "items": items, "form": form}
    routes: list[BaseRoute] = [
        Route(f"/flow/runs/{{run}}/{name}", _threaded(answer)) for name, answer in parts.items()
    ]
    return [Route("/flow/runs", _threaded(runs)), *routes]


def _threaded(answer: Callable[[Request], Response]) -> Endpoint:
    """An endpoint whose answer waits for the disk."""

    async def respond(request: Request) -> Response:
        return await run_in_threadpool(answer, request)

    return Endpoint(respond)


def _step(view: RunView, request: Request) -> str:
    name = request.query_params.get("step", "")
    if not view.has_step(name):
        raise AnswerError(f"there is no step '{name}'", 404, {})
    return name

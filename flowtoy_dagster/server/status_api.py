"""The status API: the state of a run, over HTTP, to be read and not to be changed.

`GET /status`, `GET /outputs`, `GET /healthz`; the answer is JSON always, errors too.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from flowtoy_dagster.errors import FlowtoyError, NoRunError
from flowtoy_dagster.json_text import dumps_checked

MOST_A_SECOND = 250
"""Answers; further readers of what can't have changed wait, so that the run does not."""
MOST_AT_ONCE = 100
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class StatusSource(Protocol):
    """Where the answers come from: a `RunView`, or a run elsewhere."""

    @property
    def is_current(self) -> bool:
        """Whether what was read last is good enough still."""

    def refresh(self) -> None:
        """Read what has happened; may block."""

    @property
    def status_json(self) -> bytes:
        """The status document as it was read last."""

    def outputs_json(self, step: str | None = None) -> Iterator[bytes]:
        """The outputs, in parts; may block."""

    def has_step(self, name: str) -> bool:
        """Whether there is a step of that name; may block."""


def status_routes(source: StatusSource) -> list[BaseRoute]:
    """The routes of the status API, for an application of their own or among others."""
    reading = asyncio.Lock()
    pace = _Pace()

    async def status(request: Request) -> Response:
        await pace.wait(request.receive)
        # Readers who come at once wait for one reading, without a thread for each of them.
        if not source.is_current:
            async with reading:
                if not source.is_current:
                    await run_in_threadpool(source.refresh)
        return json_response(source.status_json)

    async def outputs(request: Request) -> Response:
        await pace.wait(request.receive)
        step = request.query_params.get("step")
        if step is not None and not await run_in_threadpool(source.has_step, step):
            return error_response(404, f"there is no step '{step}'")
        parts = await run_in_threadpool(source.outputs_json, step)
        return StreamingResponse(parts, media_type="application/json", headers=HEADERS)

    async def healthz(_: Request) -> Response:
        return json_response({"ok": True})

    answers = {"/status": status, "/outputs": outputs, "/healthz": healthz}
    return [Route(path, Endpoint(answer)) for path, answer in answers.items()]


def status_app(source: StatusSource, more: Sequence[BaseRoute] = ()) -> Starlette:
    """An application that serves the status API, and `more`."""
    app = Starlette(
        routes=[*status_routes(source), *more],
        exception_handlers={HTTPException: _http_error},
    )
    app.router.redirect_slashes = False  # a path that is not there is 404
    return app


class _Gone(Exception):  # noqa: N818 - what has happened
    """A reader has closed its connection before its turn."""


class _Pace:
    """Spreads a burst of requests over time: the processors are the run's, however many ask."""

    def __init__(self) -> None:
        self._next = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def wait(self, receive: Receive) -> None:
        """Wait until it is one's turn; no time at all, where not many ask.

        Args:
            receive: says when the reader is gone; it then takes no turn.

        Raises:
            _Gone: the reader has closed its connection.
        """
        now = time.monotonic()
        turn = max(self._next, now - MOST_AT_ONCE / MOST_A_SECOND)
        if turn <= now and not self._waiting:
            self._next = turn + 1 / MOST_A_SECOND
            return
        loop = asyncio.get_running_loop()
        mine = loop.create_future()
        self._waiting.append(mine)
        if len(self._waiting) == 1:
            loop.call_later(max(0.0, turn - now), self._release)
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({mine, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not mine.done():
                raise _Gone
        finally:
            gone.cancel()
            mine.cancel()

    def _release(self) -> None:
        """Give the next turn to the first who still waits for it."""
        while self._waiting:
            first = self._waiting.popleft()
            if not first.done():
                first.set_result(None)
                self._next = time.monotonic() + 1 / MOST_A_SECOND
                break
        if self._waiting:
            asyncio.get_running_loop().call_later(1 / MOST_A_SECOND, self._release)


async def _disconnected(receive: Receive) -> None:
    """Wait until a reader has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        """It had sent more than a request's head."""


class Endpoint:
    """Answers one method, and says in JSON what is wrong with anything else, in whatever app.

    Args:
        answer: gives the answer; its errors are JSON.
        method: `GET`, which answers HEAD too, or `POST`.
    """

    def __init__(
        self, answer: Callable[[Request], Awaitable[Response]], method: str = "GET"
    ) -> None:
        self._answer = answer
        self._method = method

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        with contextlib.suppress(_Gone):
            response = await self._respond(Request(scope, receive))
            await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        allowed = ("GET", "HEAD") if self._method == "GET" else (self._method,)
        if request.method not in allowed:
            why = "it can only be read" if self._method == "GET" else "actions are posted"
            return error_response(
                405, f"{request.method} is not possible: {why}", {"Allow": self._method}
            )
        try:
            return await self._answer(request)
        except AnswerError as error:
            return json_response({"error": str(error), **error.more}, error.code)
        except _Gone:
            raise
        except NoRunError as error:
            return error_response(404, str(error))
        except FlowtoyError as error:
            return error_response(500, str(error))
        except Exception as error:  # noqa: BLE001 - a reader gets JSON, whatever has happened
            return error_response(500, f"unexpected {type(error).__name__}: {error}")


class AnswerError(FlowtoyError):
    """An error that a source wants told with a code of its own, and more than a text.

    Attributes:
        code: the HTTP status.
        more: further keys of the answer.
    """

    def __init__(self, message: str, code: int, more: dict[str, Any]) -> None:
        self.code = code
        self.more = more
        super().__init__(message)


def json_response(content: Any, code: int = 200) -> Response:
    """An answer in JSON; bytes are taken for JSON already."""
    body = content if isinstance(content, bytes) else dumps_checked(content)
    return Response(body, code, HEADERS, "application/json")


def error_response(code: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """An error as every reader gets it."""
    response = json_response({"error": message}, code)
    response.headers.update(headers or {})
    return response


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return error_response(404, f"there is nothing at {request.url.path}")
    return error_response(error.status_code, error.detail.lower(), dict(error.headers or {}))

"""A run elsewhere, shown here: the page and the status API over another status API."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flowtoy_dagster.json_text import dumps_checked
from flowtoy_dagster.runs.status.remote import RemoteError, RemoteRun
from flowtoy_dagster.server.http.endpoint import Listener, run_app
from flowtoy_dagster.server.http.guard import Guard
from flowtoy_dagster.server.page_routes import page_routes
from flowtoy_dagster.server.status_api import AnswerError, status_app

PAUSE = 0.5
"""Seconds for which all readers get what was read last."""
_KEPT = 4 << 20
"""Bytes of outputs up to which they are kept between readers."""


class RemoteView:
    """The state of a run elsewhere; what was read last stays known while it can't be reached.

    Args:
        remote: the client.
        document: its first answer.
    """

    def __init__(self, remote: RemoteRun, document: dict[str, Any]) -> None:
        self._remote = remote
        self._lock = threading.Lock()
        self._read_at = time.monotonic()
        self._document = document
        self._text = dumps_checked(document)
        self._outage: AnswerError | None = None
        self._since: float | None = None
        self._outputs: dict[str | None, bytes] = {}

    @property
    def is_current(self) -> bool:
        """Whether what was read last is good enough still."""
        return time.monotonic() - self._read_at < PAUSE

    def refresh(self) -> None:
        """Ask for the state of the run, unless somebody has just done so."""
        with self._lock:
            if self.is_current:
                return
            try:
                document = self._remote.document()
            except RemoteError as error:
                self._note_outage(error)
            else:
                if _finished(document) != _finished(self._document):
                    self._outputs.clear()
                self._document, self._text = document, dumps_checked(document)
                self._outage = self._since = None
            self._read_at = time.monotonic()

    def _note_outage(self, error: RemoteError) -> None:
        self._since = self._since or time.time()
        more = {"since": self._since, "last": self._document}
        self._outage = AnswerError(str(error).splitlines()[0], 502, more)

    @property
    def status_json(self) -> bytes:
        """The status document as it was read last.

        Raises:
            AnswerError: the run can't be reached; holds since when, and what was known then.
        """
        if self._outage is not None:
            raise self._outage
        return self._text

    def outputs_json(self, step: str | None = None) -> Iterator[bytes]:
        """The outputs, in parts.

        Raises:
            AnswerError: the run can't be reached.
        """
        with self._lock:
            text = self._outputs.get(step)
            if text is None:
                try:
                    text = self._remote.outputs_json(step)
                except RemoteError as error:
                    raise AnswerError(str(error).splitlines()[0], 502, {}) from None
                if sum(map(len, self._outputs.values())) + len(text) <= _KEPT:
                    self._outputs[step] = text
        return iter([text])

    def has_step(self, name: str) -> bool:
        """Whether the run has a step of that name."""
        return name in self._document["steps"]


def _finished(document: dict[str, Any]) -> tuple[Any, ...]:
    """What changes whenever there are more outputs."""
    return document["run_id"], document["completed_steps"], document["skipped_steps"]


def serve_remote(
    url: str,
    listener: Listener,
    announce: Callable[[str], None],
    *,
    token: str | None = None,
    hosts: Sequence[str] = (),
) -> None:
    """Serve the page of a run elsewhere until Ctrl-C or SIGTERM.

    Args:
        url: its status API.
        listener: where to serve.
        announce: called with the run's address once it was reached.
        token: what visitors must know.
        hosts: more names by which the server may be reached.

    Raises:
        UsageError: there is no status of a run at `url`.
    """
    remote = RemoteRun(url)
    app = status_app(RemoteView(remote, remote.document()), page_routes("/", "/flow"))
    announce(remote.url)
    run_app(Guard(app, listener, hosts=hosts, token=token), listener)

"""A connection of a web server that is ended where it takes too long."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

IDLE = 15.0
"""Seconds that the head of a request may take, from the connection or the answer before."""
SLOW = 30.0
"""Seconds that the body of a request, and a part of an answer, may take."""
_LOOK = 2.5


class BoundedConnection(H11Protocol):
    """One connection; each server has a subclass of its own.

    Attributes:
        most: how many connections the server may have at once.
        idle: those that no request goes on in, in the order in which they began to be so.
    """

    most: ClassVar[int]
    idle: ClassVar[dict[Any, None]]
    _since = 0.0
    _stalled: float | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._note()
        if len(self.connections) > self.most:
            ended = next(iter(self.idle), self)
            self.idle.pop(ended, None)
            ended.transport.abort()
        self.loop.call_later(_LOOK, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self.idle.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._note()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._note()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, as everything is answered: in JSON."""
        body = json.dumps({"error": msg.removesuffix(".").lower()}).encode()
        headers = [
            ("content-type", "application/json"), ("cache-control", "no-store"),
            ("content-length", str(len(body))), ("connection", "close"),
        ]
        answer = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
        for part in (answer, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(part) or b"")
        self.transport.close()

    def pause_writing(self) -> None:
        self._stalled = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stalled = None
        super().resume_writing()

    def _note(self) -> None:
        """Note where a request begins or ends."""
        is_idle = self.cycle is None or self.cycle.response_complete
        upgraded = self.transport.get_protocol() not in (self, None)
        if is_idle and not upgraded and not self.transport.is_closing():
            if self not in self.idle:
                self._since = self.loop.time()
                self.idle[self] = None
        elif self in self.idle:
            self._since = self.loop.time()
            del self.idle[self]

    def _look(self) -> None:
        """End the connection where it takes too long, or look again later."""
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            self.idle.pop(self, None)
            return
        now = self.loop.time()
        if self in self.idle:
            too_late = now - self._since > IDLE
        else:
            too_late = self.cycle.more_body and now - self._since > SLOW
        if self._stalled is not None:
            too_late = too_late or now - self._stalled > SLOW
        if too_late:
            self.transport.abort()
        else:
            self.loop.call_later(_LOOK, self._look)

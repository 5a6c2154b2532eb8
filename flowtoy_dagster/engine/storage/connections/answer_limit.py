"""How long who has asked a server something waits for its answer.

A connection through a proxy that passes nothing on looks sound to TCP, for ever.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass

ANSWER = 10.0
"""Seconds of silence after which a server that was asked something is away."""
WATCH = "flowtoy-answers"
"""The name of a thread that sees that servers answer."""
SEES_TRAFFIC = sys.platform == "linux"
"""Whether the system tells when something was sent or received last."""
_TICK = 0.5
_ON_ITS_WAY = 1.0
"""Seconds within which an answer arrives that the server has sent, or begins to arrive."""
_LAST_SENT, _LAST_RECEIVED = 44, 52
"""Where TCP_INFO has milliseconds since then, as 32 bits."""


@dataclass(eq=False)
class Question:
    """What was asked and is not answered.

    Attributes:
        descriptor: the connection's socket.
        due: when the answer is late, by the monotonic clock.
        is_served: whether the server says elsewhere that it is at work on it; None where that does
            not matter.
        is_given_up: whether the connection was broken for want of an answer.
    """

    descriptor: int
    due: float
    is_served: Callable[[], bool] | None
    is_given_up: bool = False


class AnswerLimit:
    """Breaks a connection whose server is silent, so that who waits for an answer gets an error.

    For connections that any threads of a process use.
    """

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """In a process that was forked just now: nothing is asked here, and no thread watches."""
        self._lock = threading.Lock()
        # Weak, for one whose end a signal's handler keeps from being noted.
        self._questions: weakref.WeakSet[Question] = weakref.WeakSet()
        self._is_watched = False

    @contextlib.contextmanager
    def holds(
        self, descriptor: int, is_served: Callable[[], bool] | None = None
    ) -> Iterator[Question]:
        """Have it hold in a block.

        Args:
            descriptor: the connection's socket.
            is_served: whether the server is at work on what was asked; asked by another thread when
                the answer is late. While it is, and while data flows, the answer is waited for.
        """
        question = Question(descriptor, time.monotonic() + ANSWER, is_served)
        try:
            with self._lock:
                self._questions.add(question)
                if not self._is_watched:
                    threading.Thread(target=self._watch, name=WATCH, daemon=True).start()
                    self._is_watched = True
            yield question
        finally:
            # Before the socket is closed, and its number another's.
            with self._lock:
                self._questions.discard(question)

    def _watch(self) -> None:
        while True:
            time.sleep(_TICK)
            with self._lock:
                if not self._questions:
                    self._is_watched = False
                    return
                now = time.monotonic()
                late = [question for question in self._questions if now > question.due]
            for question in late:
                self._judge(question)

    def _judge(self, question: Question) -> None:
        if question.is_served is not None:
            if self._flows(question) or question.is_served():
                question.due = time.monotonic() + ANSWER
                return
            time.sleep(_ON_ITS_WAY)
        with self._lock:
            if question not in self._questions:
                return
            if question.is_served is None or _quiet_for(question.descriptor) >= ANSWER:
                question.is_given_up = True
                _shut_down(question.descriptor)

    def _flows(self, question: Question) -> bool:
        """Whether something was sent or received a short time ago, or the answer has come."""
        with self._lock:
            return question not in self._questions or _quiet_for(question.descriptor) < ANSWER


def _quiet_for(descriptor: int) -> float:
    """Seconds since something was sent or received; at least `ANSWER` where nobody knows."""
    if SEES_TRAFFIC:
        with contextlib.suppress(OSError), _borrowed(descriptor) as connection:
            facts = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 64)
            last = (struct.unpack_from("=I", facts, at)[0] for at in (_LAST_SENT, _LAST_RECEIVED))
            return float(min(last)) / 1000
    return ANSWER


def _shut_down(descriptor: int) -> None:
    """End both directions of a connection, which stays its owner's to close."""
    with contextlib.suppress(OSError), _borrowed(descriptor) as connection:
        connection.shutdown(socket.SHUT_RDWR)


def _borrowed(descriptor: int) -> socket.socket:
    return socket.socket(fileno=os.dup(descriptor))

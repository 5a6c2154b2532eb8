"""Signals that wait while two things are done of which one must not be without the other."""

import contextlib
import signal
import threading

# Those of `signal` look a name up for each number and each handler; a step calls them 30 times.
from _signal import getsignal  # type: ignore[import-not-found]
from _signal import signal as set_handler
from collections.abc import Iterator
from typing import Any

_INTERRUPTING = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let no signal raise in a block; the handlers are called after it, still in the `with`.

    A mask of signals would not do: another thread may take a signal, and its handler runs in the
    main thread all the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers do not run here
        return
    handlers: dict[int, Any] = {number: getsignal(number) for number in _INTERRUPTING}
    came: list[tuple[int, Any]] = []

    def deliver() -> None:
        for late, frame in came:
            handlers[late](late, frame)

    with contextlib.ExitStack() as stack:
        stack.callback(deliver)
        for number, handler in handlers.items():
            if callable(handler):
                stack.callback(set_handler, number, handler)
                set_handler(number, lambda *taken: came.append(taken))
        yield

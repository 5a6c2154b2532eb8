"""Signals that wait while two things are done of which one must not be without the other."""

import contextlib
import signal
import threading
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
    handlers = {number: signal.getsignal(number) for number in _INTERRUPTING}
    came: list[tuple[int, Any]] = []

    def deliver() -> None:
        for late, frame in came:
            handlers[signal.Signals(late)](late, frame)  # type: ignore[operator, misc]

    with contextlib.ExitStack() as stack:
        stack.callback(deliver)
        for number, handler in handlers.items():
            if callable(handler):
                stack.callback(signal.signal, number, handler)
                signal.signal(number, lambda *taken: came.append(taken))
        yield

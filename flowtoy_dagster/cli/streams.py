"""The standard streams of a command: there from the start, and never a reason to fail."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

INTERRUPTED = 130


def open_missing_streams() -> None:
    """Open what was closed at the start on the null device.

    Otherwise the next file that is opened would be stdout or stderr for whatever writes there, and
    for every process that is started.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            os.dup2(opened, number)
            if opened != number:
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))
    with contextlib.suppress(AttributeError, ValueError):
        # A terminal or a locale that can't show a character must not end the command.
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def end_at_interrupt() -> None:
    """Let Ctrl-C end the process at once, while it loads modules and has nothing to clean up.

    As an exception it could be taken for a failure by whatever is imported at that moment.
    """

    def end(*_: object) -> None:
        with contextlib.suppress(OSError):
            os.write(2, b"interrupted\n")
        os._exit(INTERRUPTED)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)


def raise_interrupts() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt, for there is something to clean up."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)

"""What Ctrl-C does to a command.

A command imports this before anything else, so it imports no more than it must.
"""

import contextlib
import os
import signal

INTERRUPTED = 130
"""The exit code."""


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

"""The command line: parse, call, print. The one place where errors become exit codes."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from flowtoy_dagster.machine.ctrl_c import INTERRUPTED, end_at_interrupt

# What else is needed is imported below, where Ctrl-C is handled already.


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    # Collecting while modules load finds nothing; see `cli.shared.collect_garbage_again`.
    gc.disable()
    end_at_interrupt()
    from flowtoy_dagster.cli.shared.streams import (
        StdoutError,
        discard_stdout,
        open_missing_streams,
        watch_stdout,
    )

    open_missing_streams()
    # If the parent process ignores it, the exit codes of our children would be lost.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    from flowtoy_dagster.errors import FlowtoyError
    from flowtoy_dagster.terminal import say

    try:
        from flowtoy_dagster.cli.app import app_for

        watch_stdout()
        code = _code_of(app_for(sys.argv[1:]))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has closed it.
        discard_stdout()
        code = 1
    except StdoutError as error:
        discard_stdout()
        code = _tell(str(error), error.exit_code)
    except KeyboardInterrupt:
        end_at_interrupt()  # another one does not wait
        say("interrupted")
        code = INTERRUPTED
    except FlowtoyError as error:
        code = _tell(str(error), error.exit_code)
    except Exception as error:  # noqa: BLE001 - the last place that can turn it into one line
        code = _tell(f"unexpected {type(error).__name__}: {error}", 1)
        if not wants_traceback():
            say("    run with --debug to see where")
    sys.exit(code)


def _code_of(app: Callable[..., object]) -> int:
    """Call the command line; its exit code, where it ends as it means to."""
    try:
        app(prog_name="flowtoy")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def command() -> NoReturn:
    """What the installed command calls: `main`, and then nothing but the end of the process."""
    try:
        main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
        if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
            signal.signal(signal.SIGINT, lambda *_: os._exit(code))
        main_thread = threading.main_thread()
        if any(not thread.daemon and thread is not main_thread for thread in threading.enumerate()):
            raise  # Python waits for them
        # Taking thousands of modules apart takes as long as several steps.
        atexit._run_exitfuncs()
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        try:
            sys.stdout.flush()
        except (OSError, ValueError):
            raise stop from None  # Python says what could not be written
        os._exit(code)


def wants_traceback() -> bool:
    """Whether `--debug` was given."""
    return "--debug" in sys.argv


def _tell(message: str, code: int) -> int:
    from flowtoy_dagster.terminal import say

    if wants_traceback():
        import traceback

        say(traceback.format_exc().rstrip())
    say(message)
    return code

"""The command line: parse, call, print. The one place where errors become exit codes."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import threading
import traceback
from typing import NoReturn

from flowtoy_dagster.errors import FlowtoyError
from flowtoy_dagster.terminal import say

INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    # Collecting while modules load finds nothing; the fork server's start turns it on again.
    gc.disable()
    from flowtoy_dagster.cli.app import app

    try:
        app(prog_name="flowtoy")
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BrokenPipeError:
        # Whoever read our output has had enough of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    except FlowtoyError as error:
        code = _tell(str(error), error.exit_code)
    except Exception as error:  # noqa: BLE001 - the last place that can turn it into one line
        code = _tell(f"unexpected {type(error).__name__}: {error}", 1)
        if not wants_traceback():
            print("    run with --debug to see where", file=sys.stderr)
    sys.exit(code)


def command() -> NoReturn:
    """What the installed command calls: `main`, and then nothing but the end of the process."""
    try:
        main()
    except SystemExit as stop:
        if threading.active_count() > 1:
            raise
        # Taking thousands of modules apart takes as long as several steps.
        atexit._run_exitfuncs()
        try:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:  # as it is where the descriptor was closed at the start
                    stream.flush()
        except (OSError, ValueError):
            raise stop from None  # Python says what could not be written
        os._exit(stop.code if isinstance(stop.code, int) else 1)


def wants_traceback() -> bool:
    """Whether `--debug` was given."""
    return "--debug" in sys.argv


def _tell(message: str, code: int) -> int:
    if wants_traceback():
        say(traceback.format_exc())
    say(message)
    return code

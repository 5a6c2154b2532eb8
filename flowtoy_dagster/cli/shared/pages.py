"""What commands that open a page in a browser share."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flowtoy_dagster.cli.shared.serving import Door, tell
from flowtoy_dagster.terminal import can_redraw

if TYPE_CHECKING:
    from flowtoy_dagster.server.webui import WebOptions

_RUN = re.compile(r"(?:last|failed)(?::.+)?|[0-9a-f]{4}[0-9a-f-]{0,32}")


def named_run(config: Sequence[str] | None) -> str | None:
    """The run that is named where files of a flow could be; None where it is files.

    What is there as a file is one: `./last` and `last` differ where a file has that name.
    """
    if config is None or len(config) != 1 or os.path.exists(config[0]):
        return None
    return config[0] if _RUN.fullmatch(config[0]) else None


@contextlib.contextmanager
def sign_of_life(text: str) -> Iterator[Callable[[], None]]:
    """Say that something is being done; on a terminal until it is done, elsewhere as a line.

    Enter it before modules are imported that take long.

    Yields:
        what takes it away again; an error does, too.
    """
    shown = can_redraw(sys.stderr, os.environ)
    if not shown:
        tell(f"{text} …")

    def clear() -> None:
        nonlocal shown
        if shown:
            shown = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    if shown:
        sys.stderr.write(f"{text} …")
        sys.stderr.flush()
    try:
        yield clear
    finally:
        clear()


def announce_page(
    door: Door, shown: str, ended: str, address_file: Path | None, *, open_browser: bool
) -> None:
    """Say where a page is, and open it.

    Args:
        door: where it is served.
        shown: what it shows.
        ended: what Ctrl-C ends.
        address_file: a file that gets the address too.
        open_browser: whether it is opened in a browser.

    Raises:
        UsageError: the file can't be written.
    """
    door.publish(address_file)
    tell(f"{shown} at {door.url('/')}  (Ctrl-C ends {ended})")
    if open_browser:
        _open(door)


def _open(door: Door) -> None:
    from flowtoy_dagster.server.http.browser import open_page

    def work() -> None:
        if not open_page(door.url("/"), secret=door.token is not None):
            tell("no browser was found to open the page")

    # A browser that runs in the terminal returns when it is left.
    threading.Thread(target=work, daemon=True).start()


def show_old_run(
    run: str, door: Door, options: WebOptions, address_file: Path | None, *, open_browser: bool
) -> bool:
    """Show a run of the history until Ctrl-C; whether what was started meanwhile succeeded.

    Raises:
        UsageError: there is no such run.
        RunInterrupted: a run went on that was started on the page.
    """
    with sign_of_life("opening the history") as clear:
        from flowtoy_dagster.server.webui import serve_history

        def announce(run_id: str) -> None:
            clear()
            door.warn(f"{'see' if options.read_only else 'see, start and end'} the runs of this"
                      " home")
            announce_page(
                door, f"run {run_id[:8]}", "the server", address_file, open_browser=open_browser
            )

        return serve_history(run, door.listener, options, announce)

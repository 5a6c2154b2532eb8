"""Opening a page in the user's browser."""

from __future__ import annotations

import atexit
import html
import shutil
import subprocess
import tempfile
import webbrowser
from pathlib import Path

from flowtoy_dagster.machine.own_module import module_command

_PAGE = """<!doctype html><meta charset="utf-8"><title>flowtoy</title>
<meta http-equiv="refresh" content="0;url={url}"><a href="{url}">flowtoy</a>
"""


def open_page(url: str, *, secret: bool) -> bool:
    """Open a page; whether there is a browser.

    Args:
        url: the page.
        secret: whether others may not know the URL; they can see with what a browser is started.
    """
    opened = url
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    if secret:
        folder = tempfile.mkdtemp(prefix="flowtoy-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        file = Path(folder) / "open.html"
        file.touch(mode=0o600)
        file.write_text(_PAGE.format(url=html.escape(url)), encoding="utf-8")
        opened = file.as_uri()
    # In a process between us and the browser: what we start is ended with us, a browser is not.
    command = module_command("webbrowser", opened)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    return True

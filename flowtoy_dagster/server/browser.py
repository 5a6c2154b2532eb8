"""Opening a page in the user's browser."""

from __future__ import annotations

import html
import tempfile
import webbrowser
from pathlib import Path

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
    if secret:
        file = Path(tempfile.mkdtemp(prefix="flowtoy-")) / "open.html"
        file.touch(mode=0o600)
        file.write_text(_PAGE.format(url=html.escape(url)), encoding="utf-8")
        opened = file.as_uri()
    return webbrowser.open(opened)

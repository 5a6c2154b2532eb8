"""URLs: put together, and as they may be shown."""

from __future__ import annotations

import re

_SHOWN_URL = 100


def join(base: str | None, url: str | None) -> str:
    """A URL with its base before it, unless it has a scheme."""
    # A block scalar ends with a newline.
    base, url = (base or "").strip(), (url or "").strip()
    if base and url and not re.match(r"[a-z][a-z0-9+.-]*://", url, re.IGNORECASE):
        return f"{base.rstrip('/')}/{url.lstrip('/')}"
    return url or base


def without_user(url: str) -> str:
    """A URL without its user and password."""
    return re.sub(r"//[^/?#]*@", "//", url, count=1)


def shown(url: str) -> str:
    """A URL in one short line, without its user, query and fragment."""
    return " ".join(re.split(r"[?#]", without_user(url), maxsplit=1)[0].split())


def cut(text: str) -> str:
    """A text of a length that can be shown."""
    return text if len(text) <= _SHOWN_URL else text[:_SHOWN_URL] + "…"

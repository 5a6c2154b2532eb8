"""URLs: put together, and as they may be shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from flowtoy_dagster.flow.compile.catalog import Finding

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


def url_findings(configuration: Mapping[str, Any]) -> Iterator[Finding]:
    """What is wrong with the URL of a configuration as written, as far as its text shows it."""
    url, base = configuration.get("url"), configuration.get("base_url")
    key = "base_url" if base and not (isinstance(url, str) and "://" in url) else "url"
    written = str(configuration.get(key) or "").strip()
    if not written or "://" in written or written.startswith("{"):
        return
    variable = re.match(r"\$\{?([A-Za-z_]\w*)\}?", written)
    if variable:
        hint = f"write {{{{ env.{variable[1]} }}}}"
        yield Finding((key,), f"'{variable[0]}' is not replaced in a URL", hint)
    elif written.startswith("/"):
        yield Finding((key,), "a URL that begins with '/' needs a 'base_url' with a host")
    else:
        hint = f"did you mean 'https://{cut(shown(written))}'?"
        yield Finding((key,), "the URL has no scheme, such as 'https://'", hint)

"""URLs: put together, and as they may be shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flowtoy_dagster.flow.compile.catalog import Finding
from flowtoy_dagster.flow.files.suggestions import nearest
from flowtoy_dagster.masking.mask import COLON_OF_USER

_SHOWN_URL = 100
_SCHEMES = ("https", "http")
_PLAIN_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_HALF_SCHEME = re.compile(r"https?(?::?/{1,3}|:(?=\w))", re.IGNORECASE)
_USER = re.compile(rf"(^|//)(?:[^/?#]*@|[^/?#:@\[]*{COLON_OF_USER}\S*@)")
_PROXY = re.compile(r"https?://(?:[^/?#\s]*@)?(?:\[[^\]\s]+\]|[^/?#\s@:\[\]]+)(?::(\d{1,5}))?/?",
                    re.IGNORECASE)
_OF_THIS_MACHINE = re.compile(r"localhost|127\.|\[::1\]", re.IGNORECASE)


def join(base: str | None, url: str | None) -> str:
    """A URL with its base before it, unless it has a scheme."""
    # A block scalar ends with a newline.
    base, url = (base or "").strip(), (url or "").strip()
    if base and url and not re.match(r"[a-z][a-z0-9+.-]*://", url, re.IGNORECASE):
        return f"{base.rstrip('/')}/{url.lstrip('/')}"
    return url or base


def without_user(url: str) -> str:
    """A URL, which may lack its scheme, without its user and password."""
    return _USER.sub(r"\1", url, count=1)


def is_proxy(url: str) -> bool:
    """Whether a text is the URL of an HTTP proxy, and no more than that."""
    found = _PROXY.fullmatch(url.strip())
    return found is not None and int(found[1] or 0) < 65536


def why_no_proxy(proxy: str) -> str | None:
    """Why what the environment names can't be a proxy; without its text, which may be secret."""
    scheme, found, _ = proxy.partition("://")
    if found and scheme.lower() not in _SCHEMES:
        return (f"of the kind '{scheme}' for this URL, and only HTTP proxies are supported; "
                "NO_PROXY excludes hosts")
    if proxy and not is_proxy(proxy if found else f"http://{proxy}"):
        return ("for this URL that is not of the form http://user:password@proxy.example:3128 "
                "(%23 is a # in a password)")
    return None


def shown(url: str, hide: Callable[[str], str] = str) -> str:
    """A URL in one short line, without its user, query and fragment.

    Args:
        url: as it is called.
        hide: hides secrets; what a secret holds may look like the end of a part.
    """
    return " ".join(re.split(r"[?#]", without_user(hide(url)), maxsplit=1)[0].split())


def cut(text: str) -> str:
    """A text of a length that can be shown."""
    return text if len(text) <= _SHOWN_URL else text[:_SHOWN_URL] + "…"


def _scheme_for(url: str) -> str:
    """What a URL without a scheme is likely called with."""
    return "http" if _OF_THIS_MACHINE.match(url) else "https"


def url_findings(configuration: Mapping[str, Any]) -> Iterator[Finding]:
    """What is wrong with the URL of a configuration as written, as far as its text shows it."""
    url, base = configuration.get("url"), configuration.get("base_url")
    key = "base_url" if base and not (isinstance(url, str) and "://" in url) else "url"
    written = str(configuration.get(key) or "").strip()
    if not written or written.startswith("{"):
        return
    scheme, is_url, _ = written.partition("://")
    if is_url and _PLAIN_SCHEME.fullmatch(scheme) and scheme.lower() not in _SCHEMES:
        near = nearest(scheme, _SCHEMES).question
        yield Finding((key,), f"'{cut(scheme)}' is no scheme that can be called",
                      near or "write 'https://' or 'http://'")
    if is_url:
        return
    variable = re.match(r"(?:\$\{?|%)([A-Za-z_]\w*)[}%]?", written)
    if variable:
        hint = f"write {{{{ env.{variable[1]} }}}}"
        yield Finding((key,), f"'{variable[0]}' is not replaced in a URL", hint)
    elif written.startswith("/"):
        yield Finding((key,), "a URL that begins with '/' needs a 'base_url' with a host")
    else:
        rest = _HALF_SCHEME.sub("", written)
        hint = f"did you mean '{cut(shown(f'{_scheme_for(rest)}://{rest}'))}'?"
        yield Finding((key,), "the URL has no scheme, such as 'https://'", hint)

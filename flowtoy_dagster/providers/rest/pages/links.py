"""Links to the next page: where they are, and whether they may be followed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any
from urllib.parse import SplitResult, urljoin, urlsplit

from pydantic import BeforeValidator

from flowtoy_dagster.flow.files.suggestions import show
from flowtoy_dagster.flow.schema.fields import Templated
from flowtoy_dagster.providers.rest.network.redirects import is_same_host
from flowtoy_dagster.providers.rest.pages.paths import PageError

_LINK = re.compile(r"<([^>]*)>((?:\s*;\s*[^\s=;,]+\s*(?:=\s*(?:\"(?:[^\"\\]|\\.)*\"|[^\s;,]*))?)*)")
_PARAMETER = re.compile(r";\s*([^\s=;,]+)\s*(?:=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;,]*)))?")
_HOST = re.compile(r"(?:https?://)?[A-Za-z0-9_.\-\[\]:]+")
_PORTS = {"http": 80, "https": 443}


def _check_host(value: Any) -> str:
    if not isinstance(value, str) or not _HOST.fullmatch(value.strip()):
        raise ValueError(
            f"expected a host such as 'api.example.com' or 'localhost:8080', got {show(value)}"
        )
    return value.strip()


def _as_list(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else [value]


Hosts = Annotated[
    tuple[Templated[Annotated[str, BeforeValidator(_check_host)]], ...], BeforeValidator(_as_list)
]


def linked(header: str, relation: str) -> str | None:
    """The target of the first link with a relation in a `Link` header (RFC 8288)."""
    for target, parameters in _LINK.findall(header):
        for name, quoted, plain in _PARAMETER.findall(parameters):
            if name.lower() == "rel" and relation.lower() in (quoted or plain).lower().split():
                return str(target).strip()
    return None


def followed(link: Any, page_url: str, first_url: str, hosts: Iterable[str]) -> str | None:
    """The URL of the next page.

    Args:
        link: what a page has; null, false and an empty text mean that there is no next page.
        page_url: where that page came from.
        first_url: where the first page was asked for.
        hosts: other hosts that may be called.

    Raises:
        PageError: it is not a link, or leads to another host.
    """
    if link is None or link is False or link == "":
        return None
    if not isinstance(link, str):
        raise PageError(f"the link to the next page must be text, and is {show(link)}")
    try:
        target = urlsplit(urljoin(page_url, link.strip()))
        first = urlsplit(first_url)
        # A server chooses no credentials for us.
        target = target._replace(netloc=target.netloc.rpartition("@")[2], fragment="")
        if target.scheme not in _PORTS or not target.hostname:
            raise ValueError(link)
        allowed = is_same_host(first, target) or any(_allows(h, first, target) for h in hosts)
    except ValueError:
        raise PageError(f"the link to the next page is not a URL: {show(link)}") from None
    if not allowed:
        place = f"{target.scheme}://{target.netloc}"
        own = f"{first.scheme}://{first.netloc.rpartition('@')[2]}"
        known = target.netloc if (first.scheme, target.scheme) != ("https", "http") else place
        raise PageError(
            f"its link to the next page leads to another host, {place} (the first page is at "
            f"{own}); to read it with the same credentials list it in the source: "
            f"hosts: [{known!r}]"
        )
    return target.geturl()


def _allows(host: str, first: SplitResult, target: SplitResult) -> bool:
    """Whether a listed host is where a link leads; without a scheme, never from HTTPS to HTTP."""
    scheme, separator, place = host.rpartition("://")
    if separator and scheme.lower() != target.scheme:
        return False
    if not separator and target.scheme == "http" and first.scheme == "https":
        return False
    listed = urlsplit(f"//{place}")
    default = _PORTS[target.scheme]
    return listed.hostname == target.hostname and (
        (listed.port or default) == (target.port or default)
    )


def header_of(headers: Mapping[str, str], name: str) -> str:
    """A header's value, whatever the case of its name; empty where there is none."""
    return next((v for k, v in headers.items() if k.lower() == name.lower()), "")

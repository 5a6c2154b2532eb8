"""Where a redirect leads, and what of a call goes there (RFC 9110 15.4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import SplitResult, urljoin, urlsplit

from flowtoy_dagster.masking.names import is_secret_name
from flowtoy_dagster.providers.rest.content import Call

MOST = 30
"""Redirects that one call follows."""

_STATUSES = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}
_CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie", "host"})
_OF_A_BODY = re.compile(r"content-|transfer-encoding$", re.IGNORECASE)


Hide = Callable[[str], str]


class RedirectError(Exception):
    """A redirect is not followed; says why."""


def location_of(status: int, headers: Mapping[str, str]) -> str | None:
    """Where an answer redirects to, as written; None where it doesn't."""
    if status not in _STATUSES or "location" not in headers:
        return None
    written = headers["location"]
    try:
        # HTTP has bytes; http.client reads them as Latin-1.
        return written.encode("latin-1").decode()
    except UnicodeError:
        return written


def redirected(call: Call, url: str, status: int, location: str, hide: Hide) -> Call:
    """The call that follows a redirect.

    Credentials and bodies are for the host that the flow names: another one gets neither.

    Args:
        call: the call that was answered.
        url: where it was sent.
        status: of the answer.
        location: where the answer redirects to.
        hide: gives a text without the step's secrets.

    Raises:
        RedirectError: the body would go to another host.
        ValueError: the location is not a URL.
    """
    target = urlsplit(urljoin(url, location.strip()))
    if target.scheme not in _PORTS or not target.hostname:
        raise ValueError(location)
    # A server chooses no credentials for us.
    place = target._replace(netloc=target.netloc.rpartition("@")[2], fragment="")
    method, body, headers = call.method, call.body, dict(call.headers)
    changed = _method(status, method)
    if changed != method:
        method, body = changed, None
        headers = {k: v for k, v in headers.items() if not _OF_A_BODY.match(k)}
    authorization, cert, sign, trace = call.authorization, call.cert, call.sign, call.trace
    if not is_same_host(urlsplit(url), place):
        if body is not None:
            raise RedirectError(
                f"'{call.label}' redirects {method} to another host "
                f"({place.scheme}://{place.netloc}): the body is not sent there"
            )
        authorization = cert = sign = None
        trace = {}
        headers = {k: v for k, v in headers.items() if not _is_secret(k, v, hide)}
    return replace(
        call, method=method, url=place.geturl(), params=(), headers=headers, body=body,
        authorization=authorization, cert=cert, sign=sign, trace=trace,
    )


def body_lost(call: Call, status: int) -> str | None:
    """What to warn of where the call that follows a redirect has no body any more."""
    if call.body is None or status == 303 or _method(status, call.method) == call.method:
        return None
    return (
        f"{call.method} {call.label} is redirected ({status}), and called there with GET, "
        "without its body"
    )


def _method(status: int, method: str) -> str:
    if status == 303 and method != "HEAD":
        return "GET"
    return "GET" if status in (301, 302) and method == "POST" else method


def is_same_host(one: SplitResult, other: SplitResult) -> bool:
    """Whether two URLs are of the same host and port; the step from HTTP to HTTPS is none."""
    if one.hostname != other.hostname:
        return False
    ports = [place.port or _PORTS[place.scheme] for place in (one, other)]
    if one.scheme == other.scheme:
        return ports[0] == ports[1]
    return (one.scheme, ports) == ("http", [80, 443])


def _is_secret(name: str, value: str | None, hide: Hide) -> bool:
    if name.lower() in _CREDENTIALS or is_secret_name(name):
        return True
    return value is not None and hide(value) != value

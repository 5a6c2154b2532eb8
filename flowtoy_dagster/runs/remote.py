"""A run that is carried elsewhere, seen through its status API. No Dagster in here."""

from __future__ import annotations

import http.client
import ipaddress
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.runs.report import read_status
from flowtoy_dagster.runs.states import RunStatus

TIMEOUT = 5.0
"""Seconds for which an answer is waited for."""
LARGEST_STATUS = 64 << 20


class RemoteError(UsageError):
    """What is asked for can't be had from a status API; one line that says why."""


class RemoteRun:
    """The client of a status API.

    Args:
        url: its base, or the address that ends in `/status`; `?token=…` is sent as a bearer token.

    Raises:
        UsageError: it is no address.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise UsageError(f"'{url}' is not a status URL: {error}") from None
        if parts.scheme not in ("http", "https") or not host:
            raise UsageError(
                f"'{url}' is not a status URL\n    it looks like http://127.0.0.1:8000"
            )
        path = parts.path.rstrip("/").removesuffix("/status")
        self.url = f"{parts.scheme}://{parts.netloc}{path}"
        tokens = urllib.parse.parse_qs(parts.query).get("token", [])
        self._headers = {"Accept": "application/json"}
        if tokens:
            self._headers["Authorization"] = f"Bearer {tokens[0]}"
        # Proxies of the environment are for what is far away.
        proxies = urllib.request.ProxyHandler({} if _is_loopback(host) else None)
        self._opener = urllib.request.build_opener(proxies, _NoRedirects)

    def document(self) -> dict[str, Any]:
        """The status document.

        Raises:
            RemoteError: it can't be had, or is something else.
        """
        found = _parse(self.url + "/status", self._read("/status", LARGEST_STATUS))
        try:
            read_status(found)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            raise RemoteError(
                f"{self.url}/status is not the status of a flow\n"
                "    is something else served there?"
            ) from None
        document: dict[str, Any] = found
        return document

    def status(self) -> RunStatus:
        """How the run stands.

        Raises:
            RemoteError: it can't be told.
        """
        return read_status(self.document())

    def outputs(self, step: str | None = None) -> dict[str, Any]:
        """`{step: {output: value}}` of the steps that have finished, or of one of them.

        Raises:
            RemoteError: they can't be had.
        """
        found: dict[str, Any] = json.loads(self.outputs_json(step))
        return found

    def outputs_json(self, step: str | None = None) -> bytes:
        """What `outputs` gives, as JSON text.

        Raises:
            RemoteError: they can't be had.
        """
        query = "" if step is None else "?" + urllib.parse.urlencode({"step": step})
        text = self._read(f"/outputs{query}")
        if not isinstance(_parse(self.url + "/outputs", text), dict):
            raise RemoteError(f"{self.url}/outputs does not give the outputs of a flow")
        return text

    def _read(self, path: str, largest: int | None = None) -> bytes:
        address = self.url + path
        request = urllib.request.Request(address, headers=self._headers)  # noqa: S310 - http alone
        try:
            with self._opener.open(request, timeout=TIMEOUT) as response:
                text: bytes = response.read(largest)
                return text
        except urllib.error.HTTPError as error:
            with error:
                raise RemoteError(f"{address} answers {error.code}{_reason(error)}") from None
        except OSError as error:
            raise RemoteError(f"{address} can't be reached: {_plain(error)}") from None
        except (http.client.HTTPException, ValueError) as error:
            raise RemoteError(f"{address} does not speak HTTP: {_plain(error)}") from None


def _parse(address: str, text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise RemoteError(
            f"{address} does not answer in JSON\n    is something else served there?"
        ) from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A status API never redirects; a page for signing in does."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none: the answer itself is told of."""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _reason(error: urllib.error.HTTPError) -> str:
    """What an answer says of itself, if it is one of ours."""
    try:
        told = json.loads(error.read(1 << 16))["error"]
    except (ValueError, KeyError, TypeError, OSError):
        return f" ({error.reason})" if error.reason else ""
    return f": {told}"


def _plain(error: BaseException) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {TIMEOUT:.0f} s"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return " ".join(str(cause).split()) or type(cause).__name__

"""`cookies: true`: those that answers set are sent again, for the length of a call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

    import requests

_LEAST_SECRET = 16
"""Characters from which a cookie is taken for one of a session."""


class Cookies:
    """The cookies of one call: of its pages, its redirects and its token.

    Args:
        learn: called with values that are secret.
    """

    def __init__(self, learn: Callable[[Iterable[str]], None]) -> None:
        from http.cookiejar import CookieJar  # brings http.client and ssl, for calls alone

        self._jar = CookieJar()
        self._learn = learn

    def add_to(self, request: requests.PreparedRequest) -> None:
        """Add those that are meant for a request's host and path, after the flow's own."""
        from requests.cookies import get_cookie_header

        own = request.headers.get("Cookie")
        plain = request.copy()
        plain.headers.pop("Cookie", None)
        # requests does not say so, but its function takes any jar.
        find: Callable[[CookieJar, requests.PreparedRequest], str | None] = get_cookie_header
        found = find(self._jar, plain)
        if found:
            given = own.decode() if isinstance(own, bytes) else own
            request.headers["Cookie"] = f"{given}; {found}" if given else found

    def take_from(self, request: requests.PreparedRequest, response: requests.Response) -> None:
        """Keep those that an answer sets."""
        from requests.cookies import extract_cookies_to_jar

        take: Callable[..., None] = extract_cookies_to_jar
        take(self._jar, request, response.raw)
        values = [cookie.value or "" for cookie in self._jar]
        self._learn(value for value in values if len(value) >= _LEAST_SECRET)

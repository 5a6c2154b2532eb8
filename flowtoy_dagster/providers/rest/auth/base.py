"""What every kind of `auth` is: it adds to requests what shows who calls."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qsl

from pydantic import Field

from flowtoy_dagster.flow.schema.fields import Strict, Text
from flowtoy_dagster.providers.rest.content import Answer, Signer, headers_of_any_case

if TYPE_CHECKING:
    from flowtoy_dagster.providers.rest.auth.tokens import TokenSource

Filled = Annotated[Text, Field(min_length=1)]
"""Text that is not empty."""


@dataclass(frozen=True)
class Credentials:
    """What is added to a request.

    Attributes:
        authorization: the header of that name.
        headers: others.
        params: parameters of the query.
        cookie: `name=value`.
        secret: what another host must not get.
        tokens: what was read from a server, and may be shown nowhere.
        sign: changes a request before it is sent.
    """

    authorization: str | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    params: tuple[tuple[str, str], ...] = ()
    cookie: str | None = None
    secret: str = ""
    tokens: tuple[str, ...] = ()
    sign: Signer | None = None

    def added_to(self, headers: Mapping[str, str | None]) -> dict[str, str | None]:
        """A request's headers with these."""
        found = headers_of_any_case({**headers, **self.headers})
        if self.cookie is not None:
            name = next((name for name in found if name.lower() == "cookie"), "Cookie")
            found[name] = "; ".join(filter(None, (found.get(name), self.cookie)))
        return found

    def params_for(self, url: str) -> list[tuple[str, str]]:
        """The parameters that a URL does not have yet: a link to a page may."""
        query = url.partition("#")[0].partition("?")[2]
        known = {name for name, _ in parse_qsl(query, keep_blank_values=True)}
        return [pair for pair in self.params if pair[0] not in known]

    def hiding(self, hide: Callable[[str], str]) -> Callable[[str], str]:
        """A function that hides secrets, with this one."""
        secret = self.secret
        return (lambda text: hide(text.replace(secret, "***"))) if secret else hide


class Auth(Strict):
    """Who calls.

    Attributes:
        type: how the caller is known.
    """

    def credentials(self) -> Credentials:
        """What shows it to a server; raises UnsendableError."""
        raise NotImplementedError

    def flow(self, tokens: TokenSource) -> Generator[Credentials, Answer, None]:
        """What one request is sent with, and what it is repeated with after an answer.

        Args:
            tokens: gives the token of the source.

        Raises:
            UnsendableError: it can't be sent.
            TokenError: there is no token.
        """
        yield self.credentials()

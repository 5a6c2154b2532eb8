"""Who calls: what shows it to a server (language 21.5)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

from pydantic import Field, ValidationInfo, model_validator

from flowtoy_dagster.flow.schema.fields import PARTIAL, STATIC, Name, Strict, Templated, Text
from flowtoy_dagster.flow.templates.render import is_template
from flowtoy_dagster.providers.rest.choice import one_of
from flowtoy_dagster.providers.rest.content import UnsendableError, credential, headers_of_any_case

_COOKIE = re.compile(r"[!#-+\--:<-\[\]-~]+")
Token = Annotated[Text, Field(min_length=1)]


@dataclass(frozen=True)
class Credentials:
    """What is added to a request.

    Attributes:
        authorization: the header of that name.
        headers: others.
        params: parameters of the query.
        cookie: `name=value`.
        secret: what another host must not get.
    """

    authorization: str | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    params: tuple[tuple[str, str], ...] = ()
    cookie: str | None = None
    secret: str = ""

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


class BasicAuth(Strict):
    """A user's name and password."""

    username: Templated[Text]
    password: Templated[Text]


class Auth(Strict):
    """Who calls."""

    def credentials(self) -> Credentials:
        """What shows it to a server; raises UnsendableError."""
        raise NotImplementedError


class ShortAuth(Auth):
    """Exactly one of `basic` and `bearer`."""

    basic: Templated[BasicAuth] | None = None
    bearer: Templated[Text] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> ShortAuth:
        if (self.basic is None) == (not self.bearer):
            raise ValueError("'auth' takes exactly one of 'basic' and 'bearer'")
        return self

    def credentials(self) -> Credentials:
        """The header Authorization."""
        if self.basic is None:
            return _bearer("auth.bearer", self.bearer or "")
        return _basic("auth.basic", self.basic.username, self.basic.password)


class Bearer(Auth):
    """A token in the header Authorization."""

    type: Literal["bearer"]
    token: Templated[Token]

    def credentials(self) -> Credentials:
        """The header Authorization."""
        return _bearer("auth.token", self.token)


class HttpBasic(Auth):
    """A user's name and password in the header Authorization."""

    type: Literal["http_basic"]
    username: Templated[Text]
    password: Templated[Text]

    def credentials(self) -> Credentials:
        """The header Authorization."""
        return _basic("auth", self.username, self.password)


class ApiKey(Auth):
    """A key in a header, a parameter of the query, or a cookie."""

    type: Literal["api_key"]
    name: Templated[Name] = "Authorization"
    api_key: Templated[Token]
    location: Templated[Literal["header", "query", "cookie"]] = "header"

    def credentials(self) -> Credentials:
        """The key at its place."""
        key = credential("auth.api_key", self.api_key)
        if self.location == "query":
            return Credentials(params=((self.name, key),), secret=key)
        if self.location == "cookie":
            if not _COOKIE.fullmatch(key) or not _COOKIE.fullmatch(self.name):
                raise UnsendableError("'auth' holds a character that no cookie can have")
            return Credentials(cookie=f"{self.name}={key}", secret=key)
        if self.name.lower() == "authorization":
            return Credentials(authorization=key, secret=key)
        return Credentials(headers=headers_of_any_case({self.name: key}), secret=key)


def _bearer(key: str, token: str) -> Credentials:
    return Credentials(authorization=f"Bearer {credential(key, token)}")


def _basic(key: str, username: str, password: str) -> Credentials:
    user = credential(f"{key}.username", username)
    secret = credential(f"{key}.password", password)
    pair = base64.b64encode(f"{user}:{secret}".encode()).decode()
    return Credentials(authorization=f"Basic {pair}")


AUTHS: dict[str, type[Auth]] = {"bearer": Bearer, "http_basic": HttpBasic, "api_key": ApiKey}
_chosen = one_of(AUTHS, "auth")


def auth_of(value: Any, info: ValidationInfo) -> Any:
    """The `auth` in a configuration: by its `type`, or in its short form.

    Raises:
        ValueError: it is none.
    """
    if value is None or isinstance(value, Auth):
        return value
    if isinstance(value, dict) and "type" in value:
        return _chosen(value, info)
    if info.context in (STATIC, PARTIAL) and is_template(value):
        return value
    return ShortAuth.model_validate(value, context=info.context)

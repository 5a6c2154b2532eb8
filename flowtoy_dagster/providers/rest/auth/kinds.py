"""The kinds of `auth`, and which one a configuration means (language 21.5)."""

from __future__ import annotations

import base64
import re
from typing import Any, Literal

from pydantic import ValidationInfo, model_validator

from flowtoy_dagster.flow.files.suggestions import show
from flowtoy_dagster.flow.schema.fields import (
    PARTIAL,
    STATIC,
    Misplaced,
    Name,
    Strict,
    Templated,
    Text,
)
from flowtoy_dagster.flow.templates.render import is_template
from flowtoy_dagster.providers.rest.auth.base import Auth, Credentials, Filled
from flowtoy_dagster.providers.rest.auth.custom import CustomAuth
from flowtoy_dagster.providers.rest.auth.grants import ClientCredentials, Refresh, TokenRequested
from flowtoy_dagster.providers.rest.choice import forms_of, one_of
from flowtoy_dagster.providers.rest.content import UnsendableError, credential, headers_of_any_case

_COOKIE = re.compile(r"[!#-+\--:<-\[\]-~]+")


class BasicAuth(Strict):
    """A user's name and password.

    Attributes:
        username: the user's name.
        password: the user's password.
    """

    username: Templated[Text]
    password: Templated[Text]


class ShortAuth(Auth):
    """Exactly one of `basic` and `bearer`.

    Attributes:
        basic: a user's name and password.
        bearer: a token in the header Authorization.
    """

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
    """A token in the header Authorization.

    Attributes:
        token: the token.
    """

    type: Literal["bearer"]
    token: Templated[Filled]

    def credentials(self) -> Credentials:
        """The header Authorization."""
        return _bearer("auth.token", self.token)


class HttpBasic(Auth):
    """A user's name and password in the header Authorization.

    Attributes:
        username: the user's name.
        password: the user's password.
    """

    type: Literal["http_basic"]
    username: Templated[Text]
    password: Templated[Text]

    def credentials(self) -> Credentials:
        """The header Authorization."""
        return _basic("auth", self.username, self.password)


class ApiKey(Auth):
    """A key in a header, a parameter of the query, or a cookie.

    Attributes:
        name: of the header, parameter or cookie.
        api_key: the key.
        location: where the key is sent.
    """

    type: Literal["api_key"]
    name: Templated[Name] = "Authorization"
    api_key: Templated[Filled]
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


AUTHS: dict[str, type[Auth]] = {
    "bearer": Bearer,
    "http_basic": HttpBasic,
    "api_key": ApiKey,
    "oauth2_client_credentials": ClientCredentials,
    "oauth2_refresh": Refresh,
    "token": TokenRequested,
}
AUTH_FORMS = forms_of(AUTHS, ShortAuth, CustomAuth)
_chosen = one_of(AUTHS, "auth")


def auth_of(value: Any, info: ValidationInfo) -> Any:
    """The `auth` in a configuration: by its `type`, or in its short form.

    Raises:
        ValueError: it is none.
    """
    if value is None or isinstance(value, Auth):
        return value
    if isinstance(value, dict) and "provider" in value:
        return CustomAuth.model_validate(value, context=info.context)
    if isinstance(value, dict) and "type" in value:
        return _chosen(value, info)
    if info.context in (STATIC, PARTIAL) and is_template(value):
        return value
    if not isinstance(value, dict):
        message = f"expected a mapping, got {show(value)}" if value == "bearer" else (
            "expected a mapping"  # what is written may be the token
        )
        raise Misplaced(message, (), "write auth: {bearer: \"{{ env.API_TOKEN }}\"}", at_key=False)
    return ShortAuth.model_validate(value, context=info.context)

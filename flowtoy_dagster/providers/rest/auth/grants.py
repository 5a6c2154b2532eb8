"""How tokens are asked for, and what is made of the answers (language 21.5)."""

from __future__ import annotations

import base64
import json
from collections.abc import Generator
from typing import Annotated, Any, Literal
from urllib.parse import quote_plus, urlencode

from pydantic import BeforeValidator, Field

from flowtoy_dagster.flow.schema.fields import Misplaced, Name, Strict, Templated, Text
from flowtoy_dagster.flow.templates.render import to_json
from flowtoy_dagster.providers.rest.auth.answers import (
    end_in,
    error_of,
    json_of,
    life_in,
    name_of,
    unusable,
)
from flowtoy_dagster.providers.rest.auth.base import Auth, Credentials, Filled
from flowtoy_dagster.providers.rest.auth.tokens import Token, TokenCall, TokenError, TokenSource
from flowtoy_dagster.providers.rest.content import (
    Answer,
    UnsendableError,
    credential,
    headers_of_any_case,
)
from flowtoy_dagster.providers.rest.pages.expressions import checked
from flowtoy_dagster.providers.rest.pages.paths import JmesPath, PageError, find
from flowtoy_dagster.providers.rest.urls import join

TOKEN_NAMES = ("token",)
"""What `template` knows."""
_UNAUTHORIZED = 401


class TokenAuth(Auth):
    """Calls with a token that is asked for: once for a home, and again before it ends."""

    def facts(self, base_url: str | None) -> bytes:
        """What decides which token it is, secrets included."""
        raise NotImplementedError

    @property
    def variant(self) -> str:
        """What else it is asked for; a token of another variant is not used."""
        return ""

    @property
    def is_rotated(self) -> bool:
        """Whether what a token is asked for with may change each time, and would be lost."""
        return False

    def call(self, base_url: str | None, refresh: str | None) -> TokenCall:
        """The request; raises UnsendableError."""
        raise NotImplementedError

    def token(self, answer: Answer, got_at: float, tokens: TokenSource, is_known: bool) -> Token:
        """The token in an answer; raises TokenError."""
        raise NotImplementedError

    def shown(self, token: Token) -> Credentials:
        """What a request has of a token; raises UnsendableError."""
        value = credential("the token", token.value)
        return Credentials(authorization=f"Bearer {value}", secret=value, tokens=(value,))

    def flow(self, tokens: TokenSource) -> Generator[Credentials, Answer, None]:
        """With the token; where a server does not take it, once more with a new one."""
        token = tokens.current(self)
        answer = yield self.shown(token)
        if answer.status == _UNAUTHORIZED:
            yield self.shown(tokens.current(self, rejected=token.value))


def _facts(kind: str, *values: Any) -> bytes:
    return json.dumps([kind, *values], sort_keys=True, default=str).encode()


class OAuth2(TokenAuth):
    """What the grants of OAuth 2.0 have in common (RFC 6749).

    Attributes:
        access_token_url: where tokens are requested, or a path below base_url.
        client_id: the client's name.
        client_secret: the client's secret.
        scope: what the token is for.
        access_token_request_data: more fields of the form.
        client_auth: whether the client is in the body or in the header Authorization.
    """

    access_token_url: Templated[Filled]
    client_id: Templated[Filled] | None = None
    client_secret: Templated[Filled] | None = None
    scope: Templated[Text] | None = None
    access_token_request_data: Templated[dict[str, Templated[Text] | None]] = Field(
        default_factory=dict
    )
    client_auth: Templated[Literal["body", "basic"]] = "body"

    def call(self, base_url: str | None, refresh: str | None) -> TokenCall:
        """A form with the grant, and with the client in it or in a header."""
        form: dict[str, str] = self._grant(refresh)
        if self.scope:
            form["scope"] = self.scope
        basic = None
        user = credential("auth.client_id", self.client_id or "")
        secret = credential("auth.client_secret", self.client_secret or "")
        if self.client_auth == "basic":
            # RFC 6749 2.3.1: both are encoded as in a form.
            pair = f"{quote_plus(user)}:{quote_plus(secret)}"
            basic = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": user} if user else {}
            form |= {"client_secret": secret} if secret else {}
        form |= {k: v for k, v in self.access_token_request_data.items() if v is not None}
        return TokenCall(
            join(base_url, self.access_token_url),
            headers={"Accept": "application/json",
                     "Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode(),
            basic=basic,
        )  # fmt: skip

    def _grant(self, refresh: str | None) -> dict[str, str]:
        raise NotImplementedError

    def token(self, answer: Answer, got_at: float, tokens: TokenSource, is_known: bool) -> Token:
        """The token in the answer of RFC 6749 5.1."""
        data = json_of(answer, tokens)
        if not 200 <= answer.status < 300 or (isinstance(data, dict) and data.get("error")):
            raise error_of(answer, data, tokens, is_known=is_known)
        if not isinstance(data, dict):
            raise unusable(answer, data, "'access_token'")
        value, kind = data.get("access_token"), data.get("token_type")
        if not isinstance(value, str) or not value:
            raise unusable(answer, data, "'access_token'")
        if kind is not None and str(kind).lower() != "bearer":
            words = f"gives a token of type '{tokens.hide(str(kind))[:40]}': only 'bearer' is known"
            raise TokenError(f"{name_of(answer)} {words}", answer, is_final=True)
        life = life_in(data.get("expires_in"), tokens.warn)
        refresh = data.get("refresh_token")
        return Token(
            value, got_at, None if life is None else got_at + life,
            refresh if isinstance(refresh, str) and refresh else None, self.variant,
        )


class ClientCredentials(OAuth2):
    """The flow calls for itself (RFC 6749 4.4).

    Attributes:
        client_id: the client's name.
        client_secret: the client's secret.
    """

    type: Literal["oauth2_client_credentials"]
    client_id: Templated[Filled]
    client_secret: Templated[Filled]

    def facts(self, base_url: str | None) -> bytes:
        """All of it."""
        url = join(base_url, self.access_token_url)
        return _facts(self.type, url, self.client_id, self.client_secret, self.scope,
                      self.access_token_request_data)

    def _grant(self, refresh: str | None) -> dict[str, str]:
        return {"grant_type": "client_credentials"}


class Refresh(OAuth2):
    """The flow calls on behalf of a user who has logged in before (RFC 6749 6).

    Attributes:
        refresh_token: what the first token is requested with.
    """

    type: Literal["oauth2_refresh"]
    refresh_token: Templated[Filled]

    def facts(self, base_url: str | None) -> bytes:
        """Who has logged in: what the refresh token becomes is kept whatever else changes."""
        url = join(base_url, self.access_token_url)
        return _facts(self.type, url, self.client_id, self.refresh_token)

    @property
    def variant(self) -> str:
        """What the access token is for."""
        return json.dumps([self.scope, self.access_token_request_data], sort_keys=True)

    @property
    def is_rotated(self) -> bool:
        """A server may give another refresh token each time."""
        return True

    def _grant(self, refresh: str | None) -> dict[str, str]:
        latest = refresh or credential("auth.refresh_token", self.refresh_token)
        return {"grant_type": "refresh_token", "refresh_token": latest}


def _request_keys(value: Any) -> Any:
    if isinstance(value, dict) and len({"json", "form"} & value.keys()) > 1:
        raise ValueError("'json' and 'form' exclude each other: a request has one body")
    return value


class TokenRequest(Strict):
    """A request whose answer holds a token.

    Attributes:
        url: where to request it, or a path below base_url.
        method: GET, POST or PUT.
        headers: headers of the request.
        params: parameters of the query.
        json_body: the body, as JSON.
        form: the body, as a form.
    """

    url: Templated[Filled]
    method: Templated[Literal["GET", "POST", "PUT"]] = "POST"
    headers: Templated[dict[str, Templated[Text] | None]] = Field(default_factory=dict)
    params: Templated[dict[str, Templated[Text] | None]] = Field(default_factory=dict)
    json_body: Any = Field(default=None, alias="json")
    form: Templated[dict[str, Templated[Text] | None]] | None = None

    def call(self, base_url: str | None) -> TokenCall:
        """It as it is sent; raises UnsendableError."""
        headers = headers_of_any_case({"Accept": "application/json", **self.headers})
        body, kind = None, None
        if self.json_body is not None:
            body, kind = to_json(self.json_body).encode(), "application/json"
        elif self.form is not None:
            body = urlencode({k: v for k, v in self.form.items() if v is not None}).encode()
            kind = "application/x-www-form-urlencoded"
        if kind and "content-type" not in map(str.lower, headers):
            headers["Content-Type"] = kind
        params = tuple((k, v) for k, v in self.params.items() if v is not None)
        return TokenCall(join(base_url, self.url), self.method, headers, params, body)


def _template(value: Any) -> Any:
    return checked(value, TOKEN_NAMES)


def _header(value: Any) -> Any:
    if isinstance(value, str):
        try:
            headers_of_any_case({value: ""})
        except UnsendableError as error:
            raise Misplaced(str(error), (), at_key=False) from None
    return value


class TokenRequested(TokenAuth):
    """A token that a request of any kind answers with.

    Attributes:
        request: the request that answers with a token.
        token_path: where in the answer the token is, in JMESPath.
        expires_path: where in the answer its end is, in JMESPath.
        header: the header in which the token is sent.
        template: what is sent, with the name token.
    """

    type: Literal["token"]
    request: Templated[Annotated[TokenRequest, BeforeValidator(_request_keys)]]
    token_path: Templated[JmesPath] = "access_token"  # noqa: S105 - a path
    expires_path: Templated[JmesPath] | None = None
    header: Templated[Annotated[Name, BeforeValidator(_header)]] = "Authorization"
    template: Annotated[Any, BeforeValidator(_template)] = "Bearer {{ token }}"

    def facts(self, base_url: str | None) -> bytes:
        """The request, and where in its answer the token is."""
        url = join(base_url, self.request.url)
        return _facts(self.type, url, self.request.model_dump(), self.token_path, self.expires_path)

    def call(self, base_url: str | None, refresh: str | None) -> TokenCall:
        """The request."""
        return self.request.call(base_url)

    def token(self, answer: Answer, got_at: float, tokens: TokenSource, is_known: bool) -> Token:
        """The token at `token_path`."""
        data = json_of(answer, tokens)
        if not 200 <= answer.status < 300:
            raise error_of(answer, data, tokens)
        try:
            value = find(self.token_path, data, "auth.token_path")
            ends = find(self.expires_path, data, "auth.expires_path") if self.expires_path else None
        except PageError as error:
            raise TokenError(str(error), answer, is_final=True) from None
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value:
            raise unusable(answer, data, f"token at '{self.token_path}'")
        tokens.learn([value])
        return Token(value, got_at, end_in(ends, got_at, tokens.warn))

    def shown(self, token: Token) -> Credentials:
        """The header, with the token put into its template."""
        value = token.value.strip()
        template = checked(self.template, TOKEN_NAMES)
        try:
            shown = str(template.value("auth.template", {"token": value}))
        except PageError as error:
            raise UnsendableError(str(error)) from None
        shown = credential("the token", shown)
        if self.header.lower() == "authorization":
            return Credentials(authorization=shown, secret=value, tokens=(value,))
        headers = headers_of_any_case({self.header: shown})
        return Credentials(headers=headers, secret=value, tokens=(value,))

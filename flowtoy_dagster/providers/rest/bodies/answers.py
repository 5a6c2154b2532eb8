"""Answers as plain data: those of tests and recordings stand in for a server's (`Exchanges`)."""

from __future__ import annotations

import base64 as b64
import binascii
import contextlib
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from flowtoy_dagster.flow.schema.fields import Strict, Text, Whole
from flowtoy_dagster.json_text import JsonError, dumps, loads
from flowtoy_dagster.providers.base import CallContext
from flowtoy_dagster.providers.rest.content import Answer
from flowtoy_dagster.providers.rest.pages.pages import PageRequest

_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"


def check_base64(value: str) -> str:
    """A text that is base64; raises ValueError."""
    try:
        b64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("it is not base64") from None
    return value


class RestAnswer(Strict):
    """What a server answered, or why it did not.

    Attributes:
        json_: the body as data.
        base64: the body as it is.
        failure: that no answer came, as `retry.on` names it; `message` says why.
        sent: of a failure, whether the request may have reached the server.
    """

    status: Annotated[Whole, Field(ge=100, le=599)] = 200
    headers: dict[str, Text] = Field(default_factory=dict, examples=["{Retry-After: 5}"])
    json_: Any = Field(default=None, alias="json")
    text: Text | None = None
    base64: Annotated[str, AfterValidator(check_base64)] | None = None
    url: str | None = None
    elapsed: float = 0.0
    failure: Literal["timeout", "connection"] | None = None
    message: Text | None = None
    sent: bool = True

    @model_validator(mode="after")
    def _one_body(self) -> RestAnswer:
        given = [key for key in ("json", "text", "base64") if key in self._written]
        if len(given) > 1:
            raise ValueError(f"an answer has one body: write '{given[0]}' or '{given[1]}'")
        return self

    @property
    def _written(self) -> set[str]:
        return {name.rstrip("_") for name in self.model_fields_set}

    def as_answer(self, url: str) -> Answer:
        """The same as the provider takes it; raises NoAnswerError.

        Args:
            url: what was called.
        """
        from flowtoy_dagster.providers.rest.network.errors import TIMED_OUT, NoAnswerError

        if self.failure is not None:
            words = self.message or "no answer came"
            if self.failure == "timeout" and not words.startswith(TIMED_OUT):
                words = f"{TIMED_OUT}: {words}" if self.message else TIMED_OUT
            raise NoAnswerError(words, sent=self.sent)
        headers = dict(self.headers)
        kind, body = "", b""
        if "json" in self._written:
            kind, body = _JSON, dumps(self.json_)
        elif self.text is not None:
            kind, body = _TEXT, self.text.encode("utf-8", "surrogateescape")
        elif self.base64 is not None:
            body = b64.b64decode(self.base64)
        if kind and "content-type" not in {name.lower() for name in headers}:
            headers["Content-Type"] = kind
        return Answer(self.status, headers, self.url or url, self.elapsed, bytearray(body))


def exchanged(
    context: CallContext, request: PageRequest, url: str, make: Callable[[], Answer]
) -> Answer:
    """The answer to a request, wherever it comes from.

    Args:
        context: the attempt, which has `exchanges`.
        request: the page that is asked for.
        url: what is called.
        make: really makes the request.

    Raises:
        NoAnswerError: there is none.
    """
    assert context.exchanges is not None
    given = context.exchanges.exchange(context, _part(request), lambda: _made(make))
    return RestAnswer.model_validate(dict(given)).as_answer(url)


def _part(request: PageRequest) -> dict[str, Any]:
    facts = {"page": request.number, "url": request.url, "params": dict(request.params),
             "body": dict(request.body)}
    return {key: value for key, value in facts.items() if value and (key, value) != ("page", 1)}


def with_page(configuration: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """A rendered configuration as the request for a page has it."""
    found = {**configuration, **part}
    written = configuration.get("params")
    if "params" in part and isinstance(written, Mapping):
        found["params"] = {**written, **part["params"]}
    return found


def _made(make: Callable[[], Answer]) -> dict[str, Any]:
    """What a real request comes to, as plain data."""
    from flowtoy_dagster.providers.rest.auth.tokens import TokenError
    from flowtoy_dagster.providers.rest.network.errors import TIMED_OUT, NoAnswerError

    try:
        answer = make()
    except NoAnswerError as error:
        kind = "timeout" if str(error).startswith(TIMED_OUT) else "connection"
        return {"failure": kind, "message": str(error), "sent": error.sent}
    except TokenError as error:
        kind = "timeout" if error.failure == "timeout" else "connection"
        return {"failure": kind, "message": str(error), "sent": False}
    facts = {"status": answer.status, "headers": dict(answer.headers), "url": answer.url}
    return {**facts, **_body(bytes(answer.body), answer.headers)}


def _body(body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    kind = next((v for k, v in headers.items() if k.lower() == "content-type"), "")
    if not body:
        return {}
    if kind.partition(";")[0].strip().lower() == _JSON:
        # What only says that it is JSON is kept as it was sent.
        with contextlib.suppress(JsonError, ValueError):
            return {"json": loads(body)}
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": b64.b64encode(body).decode()}
    declared = kind.lower().partition("charset=")[2].strip(' "')
    if declared not in ("", "utf-8", "utf8") or "\0" in text:
        return {"base64": b64.b64encode(body).decode()}
    return {"text": text}

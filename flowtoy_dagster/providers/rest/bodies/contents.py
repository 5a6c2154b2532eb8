"""What a request is made of: its query, its headers and its body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from pydantic import BeforeValidator, Field, model_validator

from flowtoy_dagster.flow.schema.fields import Misplaced, Name, Strict, Templated, Text
from flowtoy_dagster.flow.templates.render import text, to_json
from flowtoy_dagster.providers.rest.bodies.uploads import (
    FileBody,
    StreamedBody,
    Uploads,
    file_body,
    multipart,
)
from flowtoy_dagster.providers.rest.content import (
    headers_of_any_case,
    payload_body,
    payload_pairs,
)
from flowtoy_dagster.providers.rest.pages.pages import PageRequest
from flowtoy_dagster.providers.rest.pages.paths import PageError, put

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
Pair = tuple[str, str]
Body = bytes | StreamedBody | None
_BODY_METHODS = ("POST", "PUT", "PATCH")


def _method(value: Any) -> Any:
    if isinstance(value, str) and value.upper() in METHODS:
        return value.upper()
    raise ValueError(f"expected one of {', '.join(METHODS)}, got {value!r}")


def as_list(value: Any) -> Any:
    """One or several, as a list."""
    return value if isinstance(value, (list, tuple)) else [value]


Values = Annotated[tuple[Templated[Text] | None, ...], BeforeValidator(as_list)]
Pairs = dict[str, Templated[Values]]


class RequestContents(Strict):
    """The keys that say what is sent.

    Attributes:
        method: GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.
        headers: sent with the call; null leaves a header out.
        params: added to the query; a list repeats the name, null leaves it out.
        json_body: the body, as JSON.
        data: the body, as text.
        form: the body, as a form.
        files: files of a form, by the names of their fields.
        body: a file as the body: {file: path}.
        input_mode: what becomes of a payload.
        param_name: the query parameter for a payload that is not a mapping.
    """

    method: Templated[Annotated[str, BeforeValidator(_method)]] = "GET"
    headers: Templated[dict[str, Templated[Text] | None]] = Field(
        default_factory=dict, examples=["{Accept: text/csv}"]
    )
    params: Templated[Pairs] = Field(default_factory=dict, examples=["{page: 1}"])
    json_body: Any = Field(default=None, alias="json")
    data: Any = None
    form: Templated[Pairs] | None = None
    input_mode: Templated[Literal["parameter", "body"]] | None = None
    param_name: Templated[Name] = "id"
    files: Templated[dict[str, Uploads]] | None = None
    body: Templated[FileBody] | None = None

    @model_validator(mode="after")
    def _no_framing(self) -> RequestContents:
        written = self.headers if isinstance(self.headers, dict) else {}
        for name, value in written.items():
            if value is not None and name.lower() in ("content-length", "transfer-encoding"):
                raise Misplaced(f"'{name}' follows from the body: leave it out", ("headers", name))
        return self

    @model_validator(mode="after")
    def _one_body(self) -> RequestContents:
        given = self._bodies()
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other: a request has one body")
        return self

    def _bodies(self) -> list[str]:
        """The keys that give a body; `form` and `files` make one together."""
        form = None if self.files else self.form
        given = {"json": self.json_body, "data": self.data, "form": form, "files": self.files,
                 "body": self.body}  # fmt: skip
        return [f"'{name}'" for name, value in given.items() if value is not None]

    @property
    def has_other_body(self) -> bool:
        """Whether there is a body that is not JSON."""
        return self.json_body is None and bool(self._bodies())


def contents_of(
    settings: RequestContents, payload: Any, request: PageRequest
) -> tuple[list[Pair], dict[str, str | None], Body]:
    """The query's pairs, the headers and the body of a request.

    Args:
        settings: the configuration.
        payload: the step's input, where that is a payload.
        request: the page that is asked for.

    Raises:
        UnsendableError: HTTP allows no such header, or a file can't be read.
        PageError: what asks for a page can't be set in the body.
    """
    by_method = "body" if settings.method in _BODY_METHODS else "parameter"
    in_body = payload is not None and (settings.input_mode or by_method) == "body"
    params, content_type = pairs(settings.params), None
    body: Body = None
    if request.body:
        body = _with_values(settings, payload if in_body else settings.json_body, request)
        content_type = "application/json"
    elif in_body:
        body, content_type = payload_body(payload), "application/json"
    else:
        body, content_type = _body(settings)
    if payload is not None and not in_body:
        params = replaced(params, payload_pairs(payload, settings.param_name))
    # A link has all of its query.
    params = [] if request.url is not None else replaced(params, [*request.params.items()])
    headers = headers_of_any_case(settings.headers)
    if content_type and "content-type" not in map(str.lower, headers):
        headers["Content-Type"] = content_type
    return params, headers, body


def _with_values(settings: RequestContents, body: Any, request: PageRequest) -> bytes:
    """A JSON body with what asks for a page; raises PageError where it takes none."""
    is_none = body is None
    if (settings.has_other_body and is_none) or not (is_none or isinstance(body, Mapping)):
        raise PageError("what asks for a page is set in a body that is a JSON mapping only")
    values: dict[str, Any] = dict(body or {})
    for path, value in request.body.items():
        values = put(values, path, value)
    return to_json(values).encode()


def _body(settings: RequestContents) -> tuple[Body, str | None]:
    """The body that the configuration gives, and its type."""
    if settings.json_body is not None:
        return to_json(settings.json_body).encode(), "application/json"
    if settings.files is not None:
        return multipart(pairs(settings.form or {}), settings.files)
    if settings.body is not None:
        return file_body(settings.body)
    if settings.form is not None:
        return urlencode(pairs(settings.form)).encode(), "application/x-www-form-urlencoded"
    if settings.data is not None:
        data = settings.data
        body = data if isinstance(data, bytes) else text(data).encode()
        return body, "text/plain; charset=utf-8"
    return None, None


def replaced(params: list[Pair], own: list[Pair]) -> list[Pair]:
    """Parameters with others, which replace those of the same name."""
    names = {name for name, _ in own}
    return [pair for pair in params if pair[0] not in names] + own


def pairs(written: Mapping[str, Sequence[str | None]]) -> list[Pair]:
    """Names and values, without those that are null."""
    return [(name, item) for name, values in written.items() for item in values if item is not None]

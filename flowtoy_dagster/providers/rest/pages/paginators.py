"""The kinds of pages: links, cursors, offsets, numbers (language 21.1)."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, model_validator

from flowtoy_dagster.flow.files.suggestions import show
from flowtoy_dagster.flow.schema.fields import PARTIAL, Misplaced, Name, Strict, Templated, Whole
from flowtoy_dagster.flow.templates.values import text
from flowtoy_dagster.providers.rest.pages.expressions import PageExpression
from flowtoy_dagster.providers.rest.pages.links import followed, header_of, linked
from flowtoy_dagster.providers.rest.pages.pages import (
    NO_NEXT,
    Page,
    PageRequest,
    Paginator,
    Requests,
)
from flowtoy_dagster.providers.rest.pages.paths import BodyPath, JmesPath, PageError, find, keys_of

_LONGEST_TOTAL = 300
"""Digits of a total: no float holds more."""


class SinglePage(Paginator):
    """One page is all there is."""

    type: Literal["single_page"]

    def requests(self) -> Requests:
        """The one request."""
        yield PageRequest()
        return "single_page"


class JsonLink(Paginator):
    """A link within the page.

    Attributes:
        next_url_path: where the link is, in JMESPath.
    """

    type: Literal["json_link"]
    next_url_path: Templated[JmesPath]

    def requests(self) -> Requests:
        """One link after the other."""
        page = yield PageRequest()
        while True:
            found = find(self.next_url_path, page.data, "next_url_path")
            url = followed(found, page.url, page.first_url, page.hosts)
            if url is None:
                return NO_NEXT
            page = yield PageRequest(url=url, reference=url)


class HeaderLink(Paginator):
    """A link in the header `Link`.

    Attributes:
        links_next_key: the relation of the link to the next page.
    """

    type: Literal["header_link"]
    links_next_key: Templated[Name] = "next"

    def requests(self) -> Requests:
        """One link after the other."""
        page = yield PageRequest()
        while True:
            found = linked(header_of(page.headers, "Link"), self.links_next_key)
            url = followed(found, page.url, page.first_url, page.hosts)
            if url is None:
                return NO_NEXT
            page = yield PageRequest(url=url, reference=url)


class _Cursors(Paginator):
    """A cursor that a page gives for the next one."""

    @abstractmethod
    def cursor_of(self, page: Page) -> Any:
        """The cursor that a page gives."""

    @abstractmethod
    def request_for(self, cursor: Any) -> PageRequest:
        """The request with a cursor."""

    def requests(self) -> Requests:
        """One cursor after the other; null, false, an empty text and 0 are none."""
        page = yield PageRequest()
        while True:
            found = self.cursor_of(page)
            if found in (None, False, "", 0):
                return NO_NEXT
            if not isinstance(found, (str, int, float)) or found is True:
                raise PageError(f"the cursor must be text or a number, and is {show(found)}")
            page = yield self.request_for(found)


class HeaderCursor(_Cursors):
    """A cursor in a header of its own.

    Attributes:
        cursor_key: the header that has the cursor.
        cursor_param: the parameter that has the cursor.
    """

    type: Literal["header_cursor"]
    cursor_key: Templated[Name]
    cursor_param: Templated[Name]

    def cursor_of(self, page: Page) -> Any:
        """The header."""
        return header_of(page.headers, self.cursor_key).strip()

    def request_for(self, cursor: Any) -> PageRequest:
        """The request with a cursor."""
        return PageRequest(params={self.cursor_param: text(cursor)}, reference=text(cursor))


class Cursor(_Cursors):
    """A cursor within the page, or made from it.

    Attributes:
        cursor_path: where the cursor is, in JMESPath.
        cursor: an expression over response, records and headers that gives the cursor.
        cursor_param: the parameter that has the cursor.
        cursor_body_path: where the cursor is in a JSON body.
    """

    type: Literal["cursor"]
    cursor_path: Templated[JmesPath] | None = None
    cursor: PageExpression = None
    cursor_param: Templated[Name] | None = None
    cursor_body_path: Templated[BodyPath] | None = None

    @model_validator(mode="after")
    def _one_of_each(self, info: ValidationInfo) -> Cursor:
        _exactly_one(self, info, "cursor_path", "cursor")
        _exactly_one(self, info, "cursor_param", "cursor_body_path")
        return self

    @property
    def stops_when_empty(self) -> bool:  # type: ignore[override]
        """What is made from records ends with them."""
        return self.cursor is not None

    def cursor_of(self, page: Page) -> Any:
        """What the path finds or the expression gives."""
        if self.cursor_path is not None:
            return find(self.cursor_path, page.data, "cursor_path")
        return self.cursor.value("cursor", page.names)

    def request_for(self, cursor: Any) -> PageRequest:
        """The request with a cursor."""
        if self.cursor_body_path is not None:
            return PageRequest(body={self.cursor_body_path: cursor}, reference=text(cursor))
        assert self.cursor_param is not None
        return PageRequest(params={self.cursor_param: text(cursor)}, reference=text(cursor))


class _Counted(Paginator):
    """Pages whose place is counted here.

    Attributes:
        total_path: where a page says how many there are in all, in JMESPath.
    """

    stops_when_empty: ClassVar[bool] = True

    total_path: Templated[JmesPath] | None = None

    @model_validator(mode="after")
    def _has_an_end(self, info: ValidationInfo) -> _Counted:
        maximum = getattr(self, "maximum_offset", None) or getattr(self, "maximum_page", None)
        ends = (self.total_path, self.has_more_path, self.stop_when, maximum)
        if self.stop_after_empty_page is False and not any(ends) and info.context != PARTIAL:
            raise Misplaced(
                "nothing says which page is the last one", ("stop_after_empty_page",),
                "give 'total_path', 'has_more_path', 'stop_when' or a maximum", at_key=False,
            )
        return self

    def _ends_when_empty(self, more: bool | None) -> bool:
        if self.stop_after_empty_page is None and self.total_path is not None:
            return False
        return super()._ends_when_empty(more)


class _Total:
    """What the pages say that there is in all."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self.value = math.inf

    def update(self, page: Page) -> None:
        """Take the total of a page.

        Raises:
            PageError: it is not a number, or smaller than before.
        """
        if self._path is None:
            return
        found = find(self._path, page.data, "total_path")
        if found is None and math.isfinite(self.value):
            return  # said once
        if found is None:
            raise PageError(f"'total_path' ({self._path}) found nothing: {keys_of(page.data)}")
        whole = isinstance(found, int) and not isinstance(found, bool) and found >= 0
        if not whole and not (isinstance(found, str) and found.strip().isdecimal()):
            raise PageError(
                f"'total_path' ({self._path}) must find a whole number, and found {show(found)}"
            )
        if isinstance(found, str) and len(found) > _LONGEST_TOTAL:
            raise PageError(f"'total_path' ({self._path}) found a number of {len(found):,} digits")
        if (total := int(found)) < self.value < math.inf:
            raise PageError(
                f"the total ({self._path}) went from {self.value:.0f} to {total} while the pages "
                "were read: where something is removed, what follows moves, and may be missed; "
                "run it again, or leave out 'total_path' to read up to the first empty page"
            )
        self.value = total

    def check(self, read: int, unit: str) -> None:
        """Raise PageError where more was read than there is."""
        if read > self.value:
            raise PageError(
                f"the total ({self._path}) says {self.value:.0f}, but {read} {unit} were read"
            )


class Offset(_Counted):
    """The number of records before the page.

    Attributes:
        limit: how many records a page may have.
        offset: where the first page begins.
        offset_param: the parameter that has the offset.
        limit_param: the parameter that has the limit.
        offset_body_path: where the offset is in a JSON body.
        limit_body_path: where the limit is in a JSON body.
        maximum_offset: where the last page begins.
    """

    type: Literal["offset"]
    limit: Templated[Annotated[Whole, Field(ge=1)]]
    offset: Templated[Annotated[Whole, Field(ge=0)]] = 0
    offset_param: Templated[Name] | None = None
    limit_param: Templated[Name] | None = None
    offset_body_path: Templated[BodyPath] | None = None
    limit_body_path: Templated[BodyPath] | None = None
    maximum_offset: Templated[Annotated[Whole, Field(ge=0)]] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Offset:
        _at_most_one(self, "offset_param", "offset_body_path")
        _at_most_one(self, "limit_param", "limit_body_path")
        return self

    def requests(self) -> Requests:
        """Offsets, which go on by the records that a page had: a server may give fewer."""
        at, total = self.offset, _Total(self.total_path)
        read = 0
        while True:
            page = yield self._request(at)
            total.update(page)
            at += page.size or self.limit
            read += page.size
            if page.size:
                total.check(self.offset + read, "records")
            if at >= total.value:
                if self.offset + read < total.value:
                    raise PageError(
                        f"the total ({self.total_path}) says {total.value:.0f}, but only {read} "
                        "records were read"
                    )
                return "total"
            if self.maximum_offset is not None and at > self.maximum_offset:
                return "maximum_offset"

    def _request(self, at: int) -> PageRequest:
        params, body = _placed({}, {}, self.offset_param, self.offset_body_path, "offset", at)
        return PageRequest(None, *_placed(
            params, body, self.limit_param, self.limit_body_path, "limit", self.limit
        ))


class PageNumber(_Counted):
    """The number of the page.

    Attributes:
        base_page: the number of the first page.
        page_param: the parameter that has the number.
        page_body_path: where the number is in a JSON body.
        maximum_page: the number of the last page.
    """

    type: Literal["page_number"]
    base_page: Templated[Annotated[Whole, Field(ge=0)]] = 0
    page_param: Templated[Name] | None = None
    page_body_path: Templated[BodyPath] | None = None
    maximum_page: Templated[Annotated[Whole, Field(ge=0)]] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> PageNumber:
        _at_most_one(self, "page_param", "page_body_path")
        return self

    def requests(self) -> Requests:
        """One number after the other."""
        total = _Total(self.total_path)
        for number in itertools.count(self.base_page):
            params, body = _placed({}, {}, self.page_param, self.page_body_path, "page", number)
            page = yield PageRequest(None, params, body)
            total.update(page)
            read = number - self.base_page + 1
            if page.size:
                total.check(read, "pages with records")
            if read >= total.value:
                return "total"
            if self.maximum_page is not None and number >= self.maximum_page:
                return "maximum_page"
        raise AssertionError("a count ends never")


def _placed(
    params: Mapping[str, str], body: Mapping[str, Any], param: str | None, path: str | None,
    default: str, value: int,
) -> tuple[dict[str, str], dict[str, Any]]:  # fmt: skip
    """The parameters and the values for the body, with one more."""
    if path is not None:
        return dict(params), {**body, path: value}
    return {**params, param or default: str(value)}, dict(body)


def _at_most_one(model: Strict, one: str, other: str) -> None:
    if getattr(model, one) is not None and getattr(model, other) is not None:
        raise Misplaced(f"'{one}' and '{other}' exclude each other", (other,), "keep one of them")


def _exactly_one(model: Strict, info: ValidationInfo, one: str, other: str) -> None:
    _at_most_one(model, one, other)
    if getattr(model, one) is None and getattr(model, other) is None and info.context != PARTIAL:
        raise ValueError(f"one of '{one}' and '{other}' is required")


PAGINATORS: dict[str, type[Paginator]] = {
    "single_page": SinglePage,
    "json_link": JsonLink,
    "header_link": HeaderLink,
    "header_cursor": HeaderCursor,
    "cursor": Cursor,
    "offset": Offset,
    "page_number": PageNumber,
}

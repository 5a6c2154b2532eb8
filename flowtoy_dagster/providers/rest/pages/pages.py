"""What all paginators have in common: each yields requests, is sent the pages, and returns why it
ends (language 21.1, 21.3). None of them calls anything: `reading` does.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flowtoy_dagster.flow.files.suggestions import show
from flowtoy_dagster.flow.schema.fields import Strict, Templated, Whole
from flowtoy_dagster.providers.base import Headers
from flowtoy_dagster.providers.rest.pages.expressions import PageExpression
from flowtoy_dagster.providers.rest.pages.paths import JmesPath, PageError, find, keys_of

NO_NEXT = "no_next"
_ALIKE = 10
"""Pages with the same records, one after the other, that no server means."""


@dataclass(frozen=True)
class PageRequest:
    """What asks for a page: how it differs from the call as configured.

    Attributes:
        url: a link, with all of its query, instead of the configured URL.
        params: parameters of the query.
        body: values by their place in the JSON body.
        reference: the link or cursor that the page before gave.
        number: of the page, from 1.
    """

    url: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    reference: str | None = None
    number: int = 1


@dataclass(frozen=True)
class Page:
    """A page that was read.

    Attributes:
        number: from 1.
        data: the data of the answer.
        records: its records.
        size: how many the server gave, before a filter of 'data_selector'.
        headers: of the answer.
        url: where it came from, after redirects.
        first_url: where the first page was asked for.
        hosts: other hosts that links may lead to.
    """

    number: int
    data: Any
    records: list[Any]
    size: int
    headers: Mapping[str, str]
    url: str
    first_url: str
    hosts: tuple[str, ...] = ()

    @property
    def names(self) -> dict[str, Any]:
        """What expressions about a page see."""
        headers = Headers(self.headers)
        return {"response": self.data, "records": self.records, "headers": headers}


Requests = Generator[PageRequest, Page, str]
"""Yields requests, is sent pages, returns why there are no more."""


class Paginator(Strict):
    """What all kinds of pages have in common.

    Attributes:
        type: how the next page is found.
        has_more_path: where a page says whether there are more, in JMESPath.
        stop_after_empty_page: whether a page without records is the last one.
        stop_when: an expression over response, records and headers; true ends the pages.
        max_pages: how many pages are read at most.
        on_max_pages: what happens where there are more pages.
    """

    stops_when_empty: ClassVar[bool] = False

    type: str
    has_more_path: Templated[JmesPath] | None = None
    stop_after_empty_page: Templated[bool] | None = None
    stop_when: PageExpression = None
    max_pages: Templated[Annotated[Whole, Field(ge=1)]] = 10_000
    on_max_pages: Templated[Literal["fail", "stop"]] = "fail"

    @abstractmethod
    def requests(self) -> Requests:
        """The requests by this kind of paging alone."""

    def pages(self) -> Requests:
        """The requests, up to the first end that comes.

        Raises:
            PageError: a page lacks the link or cursor to the next one, or leads in a circle.
        """
        inner = self.requests()
        request = next(inner)
        circle = _Circle()
        for number in itertools.count(1):
            page = yield request
            circle.check_records(page)
            more = self._has_more(page)
            if self.stop_when is not None and self.stop_when.is_true("stop_when", page.names):
                return "stop_when"
            if more is False:
                return "has_more"
            if not page.size and self._ends_when_empty(more):
                return "empty_page"
            try:
                request = inner.send(page)
            except StopIteration as end:
                if more and end.value == NO_NEXT:
                    raise PageError(
                        f"'{self.has_more_path}' says that there are more pages, but nothing "
                        "leads to the next one"
                    ) from None
                return str(end.value)
            if number >= self.max_pages:
                if self.on_max_pages == "stop":
                    return "max_pages"
                raise PageError(
                    f"it is the last of the {self.max_pages} that 'max_pages' allows, and there "
                    "are more; raise it, or end there with 'on_max_pages: stop'"
                )
            circle.check_reference(request, number)
        raise AssertionError("a count ends never")

    def _has_more(self, page: Page) -> bool | None:
        """What a page itself says of whether there are more; None where that is not asked."""
        if self.has_more_path is None:
            return None
        found = find(self.has_more_path, page.data, "has_more_path")
        value = found.lower() if isinstance(found, str) else found
        if value in (True, "true"):
            return True
        if value in (False, "false") and value is not None:
            return False
        if found is None:
            raise PageError(
                f"'has_more_path' ({self.has_more_path}) found nothing: {keys_of(page.data)}"
            )
        raise PageError(
            f"'has_more_path' ({self.has_more_path}) must find true or false, and found "
            f"{show(found)}"
        )

    def _ends_when_empty(self, more: bool | None) -> bool:
        """Whether an empty page is the last; not where the server says that there are more."""
        if self.stop_after_empty_page is not None:
            return self.stop_after_empty_page
        return self.stops_when_empty and more is None


class _Circle:
    """Notices pages that lead in a circle."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._last: Any = None
        self._alike = 1

    def check_records(self, page: Page) -> None:
        """Raise PageError where page after page has the same records."""
        held = page.records or page.data
        same = bool(page.size) and held == self._last
        self._alike = self._alike + 1 if same else 1
        self._last = held
        if self._alike >= _ALIKE:
            raise PageError(
                f"the last {_ALIKE} pages have the same records: the server seems to ignore what "
                "asks for the next page"
            )

    def check_reference(self, request: PageRequest, number: int) -> None:
        """Raise PageError where a page gives what an earlier one gave."""
        if request.reference is None:
            return
        earlier = self._seen.setdefault(request.reference, number)
        if earlier != number:
            what = "link" if request.url is not None else "cursor"
            raise PageError(
                f"its {what} to the next page is the one that page {earlier} had already: the "
                "pages lead in a circle"
            )

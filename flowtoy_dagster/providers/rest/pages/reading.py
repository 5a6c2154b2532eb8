"""Page after page: calls what a paginator asks for, and judges and collects what comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flowtoy_dagster.providers.base import CallContext, CallParts, ProviderResult
from flowtoy_dagster.providers.rest.pages.pages import Page, PageRequest, Paginator
from flowtoy_dagster.providers.rest.pages.paginators import SinglePage
from flowtoy_dagster.providers.rest.pages.paths import PageError
from flowtoy_dagster.providers.rest.pages.selection import Selector

Fetch = Callable[[PageRequest, "CallContext | None"], ProviderResult]
"""Makes one request; what goes wrong is a failed result."""


@dataclass
class Reader:
    """Reads all pages of one call.

    Attributes:
        paginator: None where there is one page.
        selector: takes the records out of a page.
        fetch: makes a request.
        first_url: where the first page is asked for.
        hosts: other hosts that links may lead to.
        context: the attempt.
    """

    paginator: Paginator | None
    selector: Selector
    fetch: Fetch
    first_url: str
    hosts: tuple[str, ...]
    context: CallContext | None
    _last: ProviderResult | None = None

    def read(self) -> ProviderResult:
        """All records, with how many pages there were and why they ended; or the failure."""
        records = _Records(self.context.parts if self.context is not None else None)
        elapsed = 0.0
        requests = (self.paginator or SinglePage(type="single_page")).pages()
        request = next(requests)
        number = 0
        while True:
            number += 1
            result = self._fetched(request, number)
            elapsed += result.meta.get("elapsed", 0.0)
            counts = {"pages": number - 1, "records": records.count, "elapsed": elapsed}
            if not result.success:
                return self._failed(result, number, counts)
            if result.meta.get("ignored"):
                meta = {**result.meta, **counts, "pages": number, "stopped_by": "ignored"}
                return replace(result, data=records.kept, meta=meta)
            try:
                page = self._page(result, number)
                request = requests.send(page)
            except PageError as error:
                notes = (str(error),)
                failed = replace(result, success=False, notes=notes, meta=_final(result.meta))
                return self._failed(failed, number, counts)
            except StopIteration as end:
                records.add(page.records)
                counts = {"pages": number, "records": records.count, "elapsed": elapsed}
                meta = {**result.meta, **counts, "stopped_by": end.value}
                return replace(result, data=records.kept, meta=meta)
            records.add(page.records)

    def _page(self, result: ProviderResult, number: int) -> Page:
        records = self.selector.records(result.data)
        return Page(
            number=number,
            data=result.data,
            records=records,
            size=self.selector.size(result.data, records),
            headers=result.meta["headers"],
            url=result.meta["url"],
            first_url=self.first_url,
            hosts=self.hosts,
        )

    def _fetched(self, request: PageRequest, number: int) -> ProviderResult:
        """The result for a page; what may be gone the next time is tried again, as `retry` says."""
        retries = 0
        while True:
            self._take_turn()
            self._last = result = self.fetch(replace(request, number=number), self.context)
            if result.success or self._is_single or self.context is None:
                return result
            delay = self._retry_delay(result, retries + 1)
            if delay is None or not self._waits(delay):
                return replace(result, meta=_final(result.meta))
            retries += 1
            why = "; ".join(map(self.context.mask.text, result.notes))
            self.context.warn(f"page {number}: {why}; it is read again (retry {retries})", "url")

    @property
    def _is_single(self) -> bool:
        return self.paginator is None or isinstance(self.paginator, SinglePage)

    def _take_turn(self) -> None:
        """Wait until a request may be sent; the step has waited for the first."""
        if self._last is not None and self.context is not None and self.context.parts is not None:
            self.context = self.context.parts.next_turn(self._last)

    def _retry_delay(self, result: ProviderResult, retry: int) -> float | None:
        parts = self.context.parts if self.context is not None else None
        return parts.retry_delay(result, retry) if parts is not None else None

    def _waits(self, delay: float) -> bool:
        """Wait before a page is read again; false where there is no time, or no need, for that."""
        context = self.context
        assert context is not None
        if context.deadline is not None and context.time.now() + delay >= context.deadline:
            return False
        return not context.time.wait(context.cancelled, delay)

    def _failed(
        self, result: ProviderResult, number: int, counts: Mapping[str, Any]
    ) -> ProviderResult:
        meta = {**result.meta, **counts}
        if self._is_single:
            return replace(result, meta=meta)
        notes = tuple(f"page {number}: {note}" for note in result.notes)
        return replace(result, notes=notes, meta=meta)


class _Records:
    """The records that were read: handed over page by page, and listed where that is wanted.

    Args:
        parts: takes them; None where nobody does.
    """

    def __init__(self, parts: CallParts | None) -> None:
        self._parts = parts
        self.kept: list[Any] = []
        self.count = 0

    def add(self, page: list[Any]) -> None:
        self.count += len(page)
        if self._parts is not None:
            page = self._parts.take(page)
        if self._parts is None or self._parts.keeps_records:
            self.kept += page


def _final(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a failure that the step must not try again: the page was."""
    return {**meta, "retryable": False}

"""A repeated step: its items are called in threads, each as a step by itself (language 18)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from flowtoy_dagster.errors import StepError
from flowtoy_dagster.json_text import dumps_checked
from flowtoy_dagster.steps.chain import Failed, Outcome, Skipped, Succeeded
from flowtoy_dagster.steps.context import StepContext, Work
from flowtoy_dagster.steps.keys.incremental import begin_again
from flowtoy_dagster.steps.keys.when import check_needs
from flowtoy_dagster.steps.loops.item_call import ItemCalls
from flowtoy_dagster.steps.loops.item_list import MOST_ITEMS, ItemList, list_items
from flowtoy_dagster.steps.loops.item_output import ItemOutput, LineOutput
from flowtoy_dagster.steps.loops.item_queue import ItemQueue
from flowtoy_dagster.steps.outputs.stale import why_stale
from flowtoy_dagster.steps.scope import with_names
from flowtoy_dagster.steps.stages import RUN_OUT_OF_TIME, render
from flowtoy_dagster.steps.state.deadline import OutOfTime, within
from flowtoy_dagster.steps.state.items import ItemCounts, ItemOutputs, ItemResult
from flowtoy_dagster.steps.state.timing import Time
from flowtoy_dagster.steps.words import one_line

CANCELLED = "the run was cancelled"
_STOPPED = "stopped after "
_LONGEST_KEY = 80
"""Characters of a key that a message shows."""


class ItemAttempt(NamedTuple):
    """What one attempt of an item came to.

    Attributes:
        outcome: how it ended; the reason of a failure has no secrets in it.
        retry_in: seconds until it should be tried again; None where it should not.
    """

    outcome: Outcome
    retry_in: float | None = None


Try = Callable[[StepContext], ItemAttempt]
"""Makes one attempt of an item, whatever happens in it."""


def for_each(context: StepContext, try_item: Try) -> Outcome:
    """Run a step for each of its items.

    Args:
        context: the step, which has a `for_each`.
        try_item: makes one attempt of an item.

    Raises:
        StepError: there is no list of items, or their results can't be kept.
    """
    assert context.step.for_each is not None
    written = context.step.for_each
    skipped = check_needs(context, lambda _: Succeeded())
    if isinstance(skipped, Skipped):
        return skipped
    try:
        items = within(
            context.seconds_left,
            lambda: list_items(written, context.scope, has_hidden=context.has_hidden),
        )
    except OutOfTime:
        return Failed(RUN_OUT_OF_TIME, "timeout")
    try:
        with contextlib.closing(items):
            return _Repetition(context, items, try_item).run()
    except OSError as error:
        reason = error.strerror.lower() if error.strerror else one_line(error)
        raise StepError(f"the results of its items can't be kept: {reason}", "raised") from None


class _Repetition:
    """The work on the items of one step."""

    def __init__(self, context: StepContext, items: ItemList, try_item: Try) -> None:
        self.context = context
        self.items = items
        self.loop = context.loop
        self._try = try_item
        # While the step's own output waits for secret outputs, it would only be thrown away.
        self._lines = LineOutput(None if context.mask.is_holding else context.output)
        # What ends the loop ends the waits and the calls of its items, too.
        self._host = replace(context.host, cancelled=context.loop.stopping)
        self._in_a_row = 0
        self._calls = ItemCalls(context.step, context.scope)
        self._has_secrets = context.step.prints_secrets

    def run(self) -> Outcome:
        chosen = self._chosen()
        try:
            return self._run(chosen)
        finally:
            self.loop.log.end()

    def _run(self, chosen: Sequence[int]) -> Outcome:
        """Work on some items, and keep their results."""
        self.loop.log.begin(len(chosen))
        for problem in self.loop.log.problems():
            self.context.warn_at(problem, ("for_each",))
        self.loop.progress.begin(len(chosen))
        queue = ItemQueue(chosen, self._work, self._take_in, self._why_no_more)
        settings = self.items.settings
        threads = settings.concurrency if settings.concurrency is not None else self.loop.workers
        queue.run(min(int(threads), self.loop.most or MOST_ITEMS))
        left = list(queue.left())
        for index in left:
            reason = f"it was not tried: {queue.stopped}"
            self._keep(ItemResult(index, self.items.key(index), "skipped", reason))
        return self._outcome(self.loop.progress.counts, queue.stopped, len(left))

    def _chosen(self) -> Sequence[int]:
        """The places of the items that are to be worked on."""
        places = range(len(self.items))
        if self.loop.only is None:
            return places
        found = [place for place in places if self.items.key(place) == self.loop.only]
        if not found:
            known = [self.context.mask.text(self.items.key(place)) for place in places[:8]]
            listed = ", ".join(map(shown_key, known)) or "there are no items"
            raise StepError(f"there is no item {shown_key(self.loop.only)}; the first: {listed}")
        return found

    def _outcome(self, counts: ItemCounts, stopped: str | None, left: int) -> Outcome:
        if stopped == RUN_OUT_OF_TIME:
            return Failed(RUN_OUT_OF_TIME, "timeout")
        told = told_failures(counts)
        if self.loop.progress.failures:
            first = self.loop.progress.failures[0]
            told += f"; the first is {shown_key(self.context.mask.text(first.key))}: {first.error}"
        if stopped is not None:
            if not left:  # the last of all items had begun
                return Failed(f"{stopped.removeprefix(_STOPPED)}; {told}", "items")
            were = "was" if left == 1 else "were"
            why = f"{stopped}: {left:,} of {counts.total:,} {were} not tried"
            return Failed(f"{why}; {told}", "items")
        if not self.items.settings.tolerates(counts.failed, counts.total):
            return Failed(told, "items")
        names = [output.name for output in self.context.step.outputs]
        return Succeeded(ItemOutputs(names, self.loop.log))

    def _why_no_more(self) -> str | None:
        """Why no item is to be begun now."""
        context = self.context
        if self.loop.stopping.is_set() or context.cancelled.is_set():
            return CANCELLED
        if (left := context.seconds_left) is not None and left <= 0:
            return RUN_OUT_OF_TIME
        return None

    def _take_in(self, index: int, result: ItemResult) -> str | None:
        """Keep a result; gives why the rest is not to be tried, or None."""
        self._keep(result)
        if result.state == "failed":
            self._in_a_row += 1
        elif not result.reused:
            self._in_a_row = 0
        most = int(self.items.settings.stop_after)
        in_a_row = f"{most} failure{'' if most == 1 else 's'} in a row"
        return f"{_STOPPED}{in_a_row}" if 0 < most <= self._in_a_row else None

    def _keep(self, result: ItemResult) -> None:
        """Append a result, with what must be hidden of it where nothing else knows that."""
        texts = (result.key.encode("utf-8", "surrogatepass"), dumps_checked(result.outputs))
        met = self.context.mask.current.met_in(texts)
        if not met <= set(result.secrets):
            result = replace(result, secrets=tuple(sorted({*result.secrets, *met})))
        self.loop.log.append(result)
        self.loop.progress.add(result)

    def _work(self, index: int) -> ItemResult:
        """All attempts of one item, in this thread."""
        with self.context.time.branch() as time:
            return self._attempts(index, time)

    def _attempts(self, index: int, time: Time) -> ItemResult:
        item = self.items.item(index)
        attempt, printed = 1, dict[str, str]()
        while True:
            with self.context.mask.part(holding=self._has_secrets) as mask:
                output = ItemOutput(mask, self._lines)
                context = self.context.having(
                    host=self._host,
                    item=item,
                    time=time,
                    attempt=attempt,
                    mask=mask,
                    output=output,
                    scope=with_names(self.context.scope, item.names),
                    work=Work(describe=self.context.work.describe),
                )
                if attempt == 1 and (reused := self._reused(context)) is not None:
                    return reused
                made = self._try(context)
                for stream, text in output.close().items():
                    printed[stream] = printed.get(stream, "") + text
            if made.retry_in is None or not self._waits(context, made.retry_in):
                return self._result(context, made.outcome, printed)
            attempt += 1

    def _waits(self, context: StepContext, seconds: float) -> bool:
        """Wait until the next attempt; whether there is to be one."""
        return not context.time.wait(self.loop.stopping, seconds)

    def _reused(self, context: StepContext) -> ItemResult | None:
        """The result of an item that has succeeded before, and that calls the same now."""
        assert context.item is not None
        earlier = self.loop.log.earlier(context.item.key)
        if earlier is None or not earlier.call:
            return None
        try:
            begun = begin_again(
                context, earlier.cursor, lambda begun: render(begun, lambda _: Succeeded())
            )
        except StepError:
            return None  # its attempt will fail for the same reason
        if begun is None or self._calls.hash_of(context) != earlier.call:
            return None
        if (stale := why_stale(context.step, earlier.outputs)) is not None:
            told = f"item {shown_key(earlier.key)} runs again: {stale}"
            self.context.warn_at(told, ("output",))
            return None
        return replace(earlier, index=context.item.index, reused=True)

    def _result(
        self, context: StepContext, outcome: Outcome, printed: dict[str, str]
    ) -> ItemResult:
        assert context.item is not None
        make = functools.partial(
            ItemResult,
            context.item.index,
            context.item.key,
            attempts=context.attempt,
            secrets=tuple(sorted(context.mask.learned)),
            printed=printed,
        )
        if isinstance(outcome, Succeeded):
            call = self._calls.hash_of(context)
            return make(
                state="succeeded", outputs=outcome.outputs, call=call, cursor=context.work.cursor
            )
        if isinstance(outcome, Skipped):
            return make(state="skipped", error=outcome.reason, attempts=0)
        return make(state="failed", error=outcome.reason)


def told_failures(counts: ItemCounts) -> str:
    """`3 of 800 failed`."""
    return f"{counts.failed:,} of {counts.total:,} failed"


def shown_key(key: str) -> str:
    """A key as messages show it; secrets must be hidden before."""
    return f"'{key}'" if len(key) <= _LONGEST_KEY else f"'{key[:_LONGEST_KEY]}…'"

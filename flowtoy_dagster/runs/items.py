"""The items of a repeated step as a run's history has them, secrets hidden."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from typing import Any

import dagster as dg

from flowtoy_dagster.engine.jobs.dagster_names import step_keys
from flowtoy_dagster.engine.jobs.events.loops import told_counts
from flowtoy_dagster.errors import RunError, system_reason
from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets, secret_outputs
from flowtoy_dagster.masking.mask import Mask, hide
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.steps.state.cursors import CursorUse
from flowtoy_dagster.steps.state.items import ItemCounts, ItemResult
from flowtoy_dagster.store.item_log import StoredItems


class RunItems:
    """The items of one step of one run; also while the run is active.

    Args:
        history: the home of the run.
        run: the run.
        step: the written name of a step with a `for_each`.
    """

    def __init__(self, history: History, run: dg.DagsterRun, step: str) -> None:
        flow = history.flow(run)
        self._has_results = True
        self._mask = FlowSecrets(flow).mask(os.environ)
        self._hidden = secret_outputs(flow, step)
        key = step_keys(each.name for each in flow.steps)[step]
        told = partial(told_counts, history.instance)
        self._stored: StoredItems = history.store.items(history.origins(run).of(key), key, told)
        self._name = f"the results of the items of step '{step}'"

    def facts(self, state: str | None = None) -> Iterator[dict[str, Any]]:
        """What became of the items, in their order.

        Args:
            state: only those of this state.
        """
        for item in self._results():
            if state is None or item.state == state:
                mask = self._mask_of(item)
                outputs = {
                    name: hide(value) if name in self._hidden else mask.data(value)
                    for name, value in item.outputs.items()
                }
                texts = {"key": mask.text(item.key), "error": mask.text(item.error or "") or None}
                more = {"outputs": outputs, "reused": item.reused}
                if item.cursor is not None:
                    more["cursor"] = _cursor_facts(item.cursor, mask)
                yield {**item.fact(), **texts, **more}

    def rows(self, state: str | None, words: str, most: int) -> tuple[list[dict[str, Any]], int]:
        """Some of the items, without their outputs, the failed ones first.

        Args:
            state: only those of this state.
            words: only those whose key or error has this text, in capitals or not.
            most: how many at most.

        Returns:
            the items, and how many there would be.
        """
        failed: list[dict[str, Any]] = []
        others: list[dict[str, Any]] = []
        count, wanted = 0, words.casefold()
        for item in self._results():
            if state is not None and item.state != state:
                continue
            mask = self._mask_of(item)
            key, error = mask.text(item.key), mask.text(item.error or "")
            if wanted not in key.casefold() and wanted not in error.casefold():
                continue
            count += 1
            chosen = failed if item.state == "failed" else others
            if len(chosen) < most:
                chosen.append({"key": key, "state": item.state, "attempts": item.attempts,
                               "error": error or None, "reused": item.reused})
        return (failed + others)[:most], count

    def printed(self, key: str) -> Mapping[str, str] | None:
        """What an item has printed, by stream; None where no item of that key has ended.

        Args:
            key: as it is, or as it is shown.
        """
        for item in self._results():
            mask = self._mask_of(item)
            if key in (item.key, mask.text(item.key)):
                return {stream: mask.text(text) for stream, text in item.printed.items()}
        return None

    def counts(self) -> ItemCounts:
        """How many items have ended how."""
        return self._counts

    @cached_property
    def _counts(self) -> ItemCounts:
        with self._reading():
            return self._stored.counts()
        return ItemCounts()

    def problems(self) -> list[str]:
        """What is wrong with the results, in words."""
        told = self._stored.told()
        if not self._has_results:
            gone = f"{self._stored.place}: the results of its items are gone"
            return [gone] if told.ended else []
        return list(self._stored.problems(told.ended - self._counts.ended))

    def _results(self) -> Iterator[ItemResult]:
        with self._reading():
            yield from self._stored.results()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            self._has_results = False
        except OSError as error:
            reason = system_reason(error)
            raise RunError(f"{self._name} can't be read: {self._stored.place}: {reason}") from None

    def _mask_of(self, item: ItemResult) -> Mask:
        return self._mask.including(item.secrets)


def _cursor_facts(use: CursorUse, mask: Mask) -> dict[str, Any]:
    """Where an item began, and the new value of its cursor, whether or not it was stored."""
    values = {"start_value": use.start_value, "last_value": use.last_value, "value": use.value}
    return {
        name: hide(value) if use.secret and value is not None else mask.data(value)
        for name, value in values.items()
    }

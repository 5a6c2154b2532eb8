"""What the terminal page says, as text."""

from __future__ import annotations

import os
from collections.abc import Iterator

from rich.highlighter import JSONHighlighter
from rich.text import Text

from flowtoy_dagster.flow.places import shown_place
from flowtoy_dagster.progress.words import cursor_move, items_words, seconds
from flowtoy_dagster.runs.status.models import (
    ItemsStatus,
    RunState,
    RunStatus,
    State,
    StepStatus,
)
from flowtoy_dagster.terminal import plain
from flowtoy_dagster.tui.sources import Printed
from flowtoy_dagster.tui.watching import News

LONGEST = 20_000
"""Characters of a text that are shown."""
MARKS: dict[State | RunState, str] = {
    "pending": "·", "running": "▶", "succeeded": "✓", "failed": "✗", "skipped": "-",
    "cancelled": "■",
}
COLOURS: dict[State | RunState, str] = {
    "pending": "dim", "running": "cyan", "succeeded": "green", "failed": "red",
    "skipped": "yellow", "cancelled": "yellow",
}
_LONGEST_BAR = 24
_BAR_OF_ROW = 10
_WIDE = 76
"""Columns of a list in which a bar of items has room, not only their counts."""


def style_of(state: State | RunState) -> str:
    """How a state is drawn; where colours are not wanted, red would be a grey too dark to read."""
    colour = COLOURS[state]
    if not os.environ.get("NO_COLOR"):
        return colour
    return {"dim": "dim", "red": "bold"}.get(colour, "")


def has_ended(status: RunStatus) -> bool:
    """Whether a run has ended."""
    return status.state in ("succeeded", "failed", "cancelled")


def elapsed_of(part: RunStatus | StepStatus, now: float) -> str:
    """How long a run or a step has taken so far."""
    if part.started_at is None:
        return ""
    return seconds(max(0.0, (part.ended_at or now) - part.started_at))


def title(status: RunStatus, now: float, doing: str) -> Text:
    """The first line: the flow, its state and time.

    Args:
        status: the state of the run.
        now: seconds since 1970.
        doing: what is happening, besides the state.
    """
    state = doing or status.verdict
    shown: RunState = "failed" if status.has_failures else status.state
    return Text.assemble(
        (plain(status.name), "bold"), "  ", (f"{MARKS[shown]} {state}", style_of(shown)), "  ",
        elapsed_of(status, now), ("  run " + plain(status.run_id[:8]), "dim"),
        no_wrap=True, overflow="ellipsis",
    )


def bar(status: RunStatus, trouble: str | None, width: int) -> Text:
    """The second line: how many steps have ended, or why that is not known."""
    if trouble is not None:
        told_of = f"trying again: {plain(trouble)}"
        return Text(told_of, style_of("failed"), no_wrap=True, overflow="ellipsis")
    total = len(status.steps)
    done = sum(step.state in ("succeeded", "failed", "skipped") for step in status.steps.values())
    length = max(4, min(_LONGEST_BAR, width - 30))
    filled = length * done // max(1, total)
    told = [f"{done}/{total}"]
    told += [
        f"{status.count(state)} {state}" for state in ("running", "failed", "skipped")
        if status.count(state)
    ]
    colour = style_of("failed" if status.count("failed") else "succeeded")
    return Text.assemble(
        ("━" * filled, colour), ("─" * (length - filled), "dim"), "  ", "  ".join(told),
        no_wrap=True, overflow="ellipsis",
    )


def row(step: StepStatus, width: int, now: float, *, chosen: bool) -> Text:
    """A line of the list of steps, as wide as asked for."""
    style = style_of(step.state)
    tries = f" ×{step.attempt}" if step.attempt > 1 else ""
    elapsed = elapsed_of(step, now)
    state = (
        "retrying" if step.waiting else "reused" if step.reused
        else "waiting" if step.waits_for else step.state
    )
    facts = f"{state:<9} {elapsed:>9}" if width >= 46 else f"{elapsed:>9}"
    end = f" {facts}{tries:<4}"
    items = items_bar(step.items, _BAR_OF_ROW if width >= _WIDE else 0) if step.items else Text()
    name = Text(plain(step.name), "dim" if style == "dim" else "")
    name.truncate(max(1, width - 4 - len(end) - len(items)), overflow="ellipsis", pad=True)
    mark = "›" if chosen else " "
    return Text.assemble(mark, (MARKS[step.state], style), " ", name, items, (end, style), " ")


def items_bar(items: ItemsStatus, length: int) -> Text:
    """How far a repeated step is: a bar of that length, the failed items first, and counts."""
    failed = -(-length * items.failed // max(1, items.total))  # one that failed is seen
    ended = max(failed, length * items.ended // max(1, items.total))
    counts = f" {items.ended:,}/{items.total:,}" + (f" {items.failed:,}✗" if items.failed else "")
    return Text.assemble(
        ("━" * failed, style_of("failed")), ("━" * (ended - failed), style_of("succeeded")),
        ("─" * (length - ended), "dim"), counts,
    )


def state_text(step: StepStatus, status: RunStatus) -> Text:
    """What is known of a step besides its outputs: above all, why it failed."""
    text = Text()
    if step.error:
        text.append(f"{plain(step.error)}\n\n", style_of(step.state))
    if step.stderr:
        text.append("the last lines of stderr\n", "dim").append(f"{_cut(step.stderr)}\n\n")
    facts = [("state", step.state + (", reused from the run before" if step.reused else ""))]
    if step.waiting:
        facts.append(("", "waits for its next attempt"))
    if step.items is not None:
        text.append_text(items_bar(step.items, _LONGEST_BAR)).append("\n\n")
    facts += _own_facts(step)
    if step.waits_for:
        facts.append(("", plain(step.waits_for)))
    if step.attempt:
        facts.append(("attempts", str(step.attempt)))
    if step.called:
        facts.append(("called", plain(step.called)))
    if step.depends_on:
        states = (f"{plain(name)} ({status.steps[name].state})" if name in status.steps
                  else plain(name) for name in step.depends_on)
        facts.append(("needs", ", ".join(states)))
    for name, value in facts:
        text.append(f"{name:<9} ", "dim").append(f"{value}\n")
    return text


def _own_facts(step: StepStatus) -> Iterator[tuple[str, str]]:
    """What only some steps have: a place of their failure, warnings, items, and a cursor."""
    if step.place is not None and step.state == "failed":
        yield "place", plain(shown_place(step.place))
    for warning in step.warnings:
        yield "warning", plain(warning.message)
        if warning.place is not None:
            yield "", plain(shown_place(warning.place))
    if step.items is not None:
        yield "items", items_words(step.items)
        for number, (key, why) in enumerate(step.items.failures):
            yield "" if number else "failed", plain(f"{key}: {why}")
    if step.cursor is not None:
        yield "cursor", plain(cursor_move(step.cursor))


def outputs_text(step: StepStatus, outputs: str | None) -> Text:
    """A step's outputs."""
    if outputs is not None:
        text = Text(_cut(outputs))
        return text if os.environ.get("NO_COLOR") else JSONHighlighter()(text)
    if step.state == "succeeded":
        return Text("…", "dim")
    told = {
        "pending": "it has not started yet", "running": "it runs still",
        "failed": "it failed, and gives no outputs", "skipped": "it was skipped",
    }
    text = Text(told.get(step.state, ""), "dim")
    return Text("\n\n").join([text, items_bar(step.items, _LONGEST_BAR)]) if step.items else text


def log_text(printed: tuple[Printed, ...] | None) -> Text:
    """What a step has printed."""
    if printed is None:
        return Text("a status API does not have what steps print;\n"
                    "flowtoy runs logs does, where the run is executed", "dim")
    if not any(part.text for part in printed):
        return Text("nothing printed", "dim")
    text = Text()
    for part in printed:
        text.append(f"{part.stream}\n", "dim")
        # What was printed last is what matters.
        shown = part.text if len(part.text) <= LONGEST else "…" + part.text[-LONGEST:]
        text.append("".join(f"{plain(line)}\n" for line in shown.splitlines()))
    return text


def details(news: News, step: StepStatus, tab: str) -> Text:
    """What a tab shows of a step."""
    if tab == "state":
        return state_text(step, news.status)
    if tab == "log" and step.reused:
        return Text("the run before, whose outputs are reused, has its log", "dim")
    is_known = tab != "log" or news.asked_for_log or news.printed is not None
    if news.step != step.name or not is_known:
        return Text("…", "dim")
    return outputs_text(step, news.outputs) if tab == "outputs" else log_text(news.printed)


def _cut(text: str) -> str:
    shown = "\n".join(map(plain, text[:LONGEST].splitlines()))
    more = len(text) - LONGEST
    return f"{shown}\n… ({more} more characters)" if more > 0 else shown

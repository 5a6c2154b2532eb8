"""The terminal page: steps, and what is known of the chosen one."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.message import Message
from textual.widgets import Footer, Static

from flowtoy_dagster.runs.status.models import RunStatus, StepStatus
from flowtoy_dagster.terminal import plain
from flowtoy_dagster.tui.chart import chart_text
from flowtoy_dagster.tui.help import Help
from flowtoy_dagster.tui.question import Question
from flowtoy_dagster.tui.sources import RunSource
from flowtoy_dagster.tui.step_list import StepList
from flowtoy_dagster.tui.texts import bar, details, has_ended, row, title
from flowtoy_dagster.tui.watching import News, Watcher

TABS = ("outputs", "state", "log", "chart")
INTERRUPTED = 130
_PATIENT_INTERRUPTS = 2
"""The first asks the run to end, the second kills it; one more does not wait for that either."""
_REDRAW = 0.5
"""Seconds after which times that pass are drawn anew."""


class RunPage(App[int]):
    """A run, and keys to look at it and to end it. Gives the exit code.

    Args:
        source: the run.
        status: its state now.
        show_log: show what steps print first, also of those that have ended.
        clock: gives seconds since 1970.
    """

    CSS_PATH = "page.tcss"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012 - as Textual has it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave", "Quit"),
        Binding("c", "cancel", "Cancel"),
        Binding("r", "retry", "Retry"),
        Binding("enter", "enlarge", "Details"),
        Binding("escape", "shrink", "Back"),
        Binding("right,l", "tab(1)", "Tabs", key_display="←→"),
        Binding("left,h", "tab(-1)", show=False),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("ctrl+c,ctrl+q", "interrupt", show=False, priority=True),
    ]

    class Told(Message):
        """The watcher has news."""

        def __init__(self, news: News) -> None:
            self.news = news
            super().__init__()

    class Rejected(Message):
        """A wish could not be granted."""

        def __init__(self, reason: str) -> None:
            self.reason = reason
            super().__init__()

    def __init__(
        self,
        source: RunSource,
        status: RunStatus,
        *,
        show_log: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self._source = source
        self._watcher = Watcher(
            source,
            status,
            self._hear,
            self._hear_refusal,
        )
        self._news = News(status, "")
        self._clock = clock
        self._first_tab = "log" if show_log else "outputs"
        self._tab = self._first_tab
        self._follows = True
        self._follows_tab = True
        self._doing = ""
        self._is_leaving = False
        self._interrupts = 0

    def _hear(self, news: News) -> None:
        self.post_message(self.Told(news))

    def _hear_refusal(self, reason: str) -> None:
        self.post_message(self.Rejected(reason))

    @property
    def status(self) -> RunStatus:
        """The state of the run, as it was reported last."""
        return self._news.status

    @property
    def chosen(self) -> StepStatus:
        """The step that is looked at."""
        return list(self.status.steps.values())[self._steps.chosen]

    def compose(self) -> ComposeResult:
        """The parts of the page."""
        # Kept, because a question that is asked over them hides them from queries.
        self._title, self._bar = Static(id="title"), Static(id="bar")
        self._body, self._steps = Container(id="body"), StepList(self._row, self._choose)
        self._panel, self._text = VerticalScroll(id="details"), Static(id="text")
        yield self._title
        yield self._bar
        with self._body:
            yield self._steps
            with self._panel:
                yield self._text
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to watch."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.action_interrupt)
        loop.add_signal_handler(signal.SIGHUP, self._lose_terminal)
        self.set_interval(_REDRAW, self._draw_times)
        self._draw()
        self._steps.focus()
        self._watcher.start()

    def on_unmount(self) -> None:
        """Stop watching."""
        self._watcher.stop()

    def on_run_page_told(self, message: Told) -> None:
        """Show the news."""
        if message.news.status.run_id != self.status.run_id:
            self._doing, self._follows, self._follows_tab = "", True, True
        self._news = message.news
        if has_ended(self.status):
            self._doing = ""
            if self._is_leaving:
                self.exit(self._exit_code())
                return
        if self._follows:
            self._follow()
        self._draw()

    def on_run_page_rejected(self, message: Rejected) -> None:
        """Say why something was not done."""
        self._doing = ""
        self.notify(plain(message.reason), severity="error", markup=False)

    def _choose(self) -> None:
        """Show the step that somebody has chosen, and stay with it."""
        self._follows = False
        self._draw()

    def _follow(self) -> None:
        """Choose the step that somebody who has chosen none would want to see."""
        steps = list(self.status.steps.values())
        order = ("failed", "running", "skipped")
        found = next((i for state in order for i, s in enumerate(steps) if s.state == state), None)
        if found is None:
            ended = [i for i, step in enumerate(steps) if step.state == "succeeded"]
            found = ended[-1] if ended else 0
        if found != self._steps.chosen:
            self._steps.choose(found)

    def _draw(self) -> None:
        self._steps.show_count(len(self.status.steps))
        if self._follows_tab:
            self._tab = self._best_tab()
        self._draw_times()
        self._watcher.select(self.chosen.name, printed=self._tab == "log")
        self._panel.border_title = self._panel_title()
        if self._tab != "chart":
            self._text.update(details(self._news, self.chosen, self._tab))
        self.refresh_bindings()

    def _best_tab(self) -> str:
        """What somebody who has chosen no tab would want to see of the step."""
        if self.chosen.state == "failed":
            return "state"
        # What a run elsewhere prints is not known here.
        prints = self.chosen.state == "running" and self._source.is_ours
        return "log" if prints else self._first_tab

    def _draw_times(self) -> None:
        now = self._clock()
        if self._tab == "chart":
            width = self._panel.scrollable_content_region.width
            self._text.update(chart_text(self.status, width, now))
        self._title.update(title(self.status, now, self._doing))
        self._bar.update(bar(self.status, self._news.trouble, self.size.width))
        self._steps.refresh()

    def _panel_title(self) -> Text:
        name = Text(plain(self.chosen.name), "bold")
        name.truncate(max(8, self.size.width // 3), overflow="ellipsis")
        labels = Text()
        for tab in TABS:
            label = "error" if tab == "state" and self.chosen.state == "failed" else tab
            labels.append(f" {label} ", "reverse" if tab == self._tab else "dim")
        return Text.assemble(name, " ", labels)

    def _row(self, index: int, width: int, chosen: bool) -> Text:
        step = list(self.status.steps.values())[index]
        return row(step, width, self._clock(), chosen=chosen)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only keys that do something now."""
        enlarged = self._body.has_class("-enlarged")
        return {
            "cancel": self._source.is_ours and not has_ended(self.status),
            "retry": self._source.is_ours and self.status.state in ("failed", "cancelled"),
            "enlarge": not enlarged,
            "shrink": enlarged,
        }.get(action, True)

    def action_tab(self, by: int) -> None:
        """Show another part of what is known of the step."""
        self._follows_tab = False
        self._tab = TABS[(TABS.index(self._tab) + by) % len(TABS)]
        self._panel.scroll_home(animate=False)
        self._draw()

    def action_enlarge(self) -> None:
        """Give the whole page to the chosen step."""
        self._body.add_class("-enlarged")
        self._panel.focus()
        self.refresh_bindings()

    def action_shrink(self) -> None:
        """Show the list of steps again."""
        self._body.remove_class("-enlarged")
        self._steps.focus()
        self.refresh_bindings()

    def action_help(self) -> None:
        """Tell what the keys do."""
        self.push_screen(Help())

    def action_retry(self) -> None:
        """Run again what failed or was skipped."""
        self._doing = "starting again"
        self._draw_times()
        self._watcher.retry()

    def action_cancel(self) -> None:
        """Cancel the run, if that is meant."""
        self._ask("Cancel the run?", self._cancel)

    def action_leave(self) -> None:
        """Quit; a run of ours ends with the page, if that is meant."""
        if has_ended(self.status):
            self.exit(self._exit_code())
        elif self._source.is_ours:
            self._ask("Cancel the run and quit?", self._cancel_and_leave)
        else:
            self.exit(0)

    def action_interrupt(self) -> None:
        """What Ctrl-C does: end at once; a run of ours is given the time it needs."""
        self._interrupts += 1
        if has_ended(self.status):
            self.exit(self._exit_code())
        elif self._source.is_ours and self._interrupts <= _PATIENT_INTERRUPTS:
            self._cancel_and_leave()
        else:
            self.exit(INTERRUPTED)

    def _lose_terminal(self) -> None:
        """End the run and the process; the page would wait for the terminal for ever."""

        def end() -> None:
            try:
                self._source.close()
            finally:
                os._exit(INTERRUPTED)

        threading.Thread(target=end, daemon=True).start()

    def _ask(self, question: str, then: Callable[[], None]) -> None:
        def answered(yes: bool | None) -> None:
            if yes and not has_ended(self.status):
                then()

        self.push_screen(Question(question), answered)

    def _cancel_and_leave(self) -> None:
        self._is_leaving = True
        self._cancel()

    def _cancel(self) -> None:
        self._doing = "cancelling"
        self._draw_times()
        self._watcher.cancel()

    def _exit_code(self) -> int:
        return {"succeeded": 0, "cancelled": INTERRUPTED}.get(self.status.state, 1)

"""The terminal page: what it shows, and what its keys do (cli, `tui`).

Its pictures are kept as text in `snapshots/`; with UPDATE_SNAPSHOTS=1 in the environment they are
written anew.
"""

from __future__ import annotations

import asyncio
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.errors import RunError
from flowtoy_dagster.runs.status.models import (
    CursorStatus,
    ItemsStatus,
    RunStatus,
    Span,
    StepStatus,
)
from flowtoy_dagster.tui.app import RunPage
from flowtoy_dagster.tui.sources import Printed
from flowtoy_dagster.tui.texts import details, items_bar, row, state_text
from flowtoy_dagster.tui.watching import News

SNAPSHOTS = Path(__file__).parent / "snapshots"
NOW = 1_000_000.0
_CELL = 12.2
"""Width of a character in the pictures that Textual makes."""


class Still:
    """A run that stands still, unless a test says otherwise: pictures of real ones differ.

    What runs really do on the page is tested in a terminal.
    """

    def __init__(self, status: RunStatus, *, is_ours: bool = True) -> None:
        self.now = status
        self.is_ours = is_ours
        self.wishes: list[str] = []
        self.trouble = ""

    def status(self) -> RunStatus:
        if self.trouble:
            raise RunError(self.trouble)
        return self.now

    def outputs(self, step: str) -> str | None:
        return '{\n  "users": [\n    {"id": 1, "name": "Ada"}\n  ],\n  "token": "***"\n}'

    def printed(self, step: str) -> list[Printed] | None:
        if not self.is_ours:
            return None
        return [Printed("stdout", f"{step} says\n1\n"), Printed("stderr", "WARN\x1b[2J slow\n")]

    def cancel(self) -> None:
        self.wishes.append("cancel")
        self.now = shop("cancelled")

    def retry(self) -> None:
        self.wishes.append("retry")
        self.now = shop("running", run_id="1111aaaa-retry")

    def close(self) -> None:
        """Only a terminal that goes away calls it."""


def shop(state: Any, *, run_id: str = "0f3a2b1c-run") -> RunStatus:
    """A run of four steps in some state."""
    status = RunStatus(run_id, "nightly shop", state, NOW - 66, NOW - 64)
    over = state != "running"
    facts: dict[str, dict[str, Any]] = {
        "fetch users": {"state": "succeeded", "started_at": NOW - 64, "ended_at": NOW - 61.6},
        "fetch orders of the last 24 hours": {
            "state": "succeeded", "started_at": NOW - 64, "ended_at": NOW - 30, "attempt": 2,
            "timeline": [Span("attempt", NOW - 64, NOW - 54, "503"),
                         Span("pause", NOW - 54, NOW - 48), Span("attempt", NOW - 48, NOW - 30),
                         Span("wait", NOW - 42, NOW - 36, "waits for crm: 10/s")],
        },
        "load": {"state": "running", "started_at": NOW - 12.3, "attempt": 3},
        "report": {"depends_on": ("load",)},
    }
    if over:
        status.ended_at = NOW
        facts["load"] |= {
            "state": "failed", "ended_at": NOW - 1, "called": "psql (4 more)",
            "error": "psql exited with code 3: there is no table 'orders'",
            "stderr": "connecting\nERROR: there is no table 'orders'",
        }
        facts["report"] |= {"state": "skipped", "error": "'load' failed"}
    if state == "succeeded":
        facts["load"] = {"state": "succeeded", "started_at": NOW - 12, "ended_at": NOW - 1}
        facts["report"] = {"state": "succeeded", "started_at": NOW - 1, "ended_at": NOW}
    for name, known in facts.items():
        known.setdefault("attempt", 1 if "started_at" in known else 0)
        status.steps[name] = StepStatus(name, **known)
    return status


def text_of(page: RunPage) -> str:
    """What the page shows, line by line, without colours."""
    lines: dict[int, list[str]] = {}
    picture = ET.fromstring(page.export_screenshot())
    for text in picture.iter("{http://www.w3.org/2000/svg}text"):
        place = re.search(r"line-(\d+)\)", text.get("clip-path", ""))
        if place is None:
            continue
        line = lines.setdefault(int(place[1]), [])
        start = round(float(text.get("x", "0")) / _CELL)
        line += " " * (start - len(line))
        line[start:] = (text.text or "").replace("\xa0", " ")
    return "\n".join("".join(lines.get(y, "")).rstrip() for y in range(page.size.height)) + "\n"


def on_page(
    source: Still, act: Callable[[RunPage, Any], Awaitable[None]], size: tuple[int, int] = (80, 24),
    **options: Any,
) -> RunPage:
    """Show a run on a page, and do something there."""
    page = RunPage(source, source.now, clock=lambda: NOW, **options)

    async def show() -> None:
        async with page.run_test(size=size) as pilot:
            await act(page, pilot)

    asyncio.run(show())
    return page


async def shows(page: RunPage, pilot: Any, pattern: str) -> str:
    """Wait until the page matches; gives its text."""
    for _ in range(200):
        text = text_of(page)
        if re.search(pattern, text) and "Quit" in text.splitlines()[-1]:
            return text
        await pilot.pause(0.05)
    pytest.fail(f"no {pattern!r} in\n{text_of(page)}")


SIZES = pytest.mark.parametrize(
    "size", [(80, 24), (120, 40), (40, 20)], ids=lambda size: f"{size[0]}x{size[1]}"
)


def compare(name: str, text: str) -> None:
    """Compare a picture with the one that is kept."""
    path = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@SIZES
@pytest.mark.parametrize(
    ("name", "state", "keys", "seen"),
    [
        ("running", "running", [], "load says"),
        ("failed", "failed", [], "psql exited with code 3"),
        ("outputs", "succeeded", ["home"], '"name": "Ada"'),
        ("log", "failed", ["home", "left", "left", "enter"], "fetch users says"),
        ("chart", "failed", ["home", "left"], "╌ waits"),
        ("help", "running", ["?"], "choose a step"),
    ],
    ids=["running", "failed", "outputs", "log", "chart", "help"],
)
def test_the_page_looks_as_it_did(
    name: str, state: str, keys: list[str], seen: str, size: tuple[int, int]
) -> None:
    async def look(page: RunPage, pilot: Any) -> None:
        await shows(page, pilot, "Details")
        await pilot.press(*keys)
        last = "Back" if "enter" in keys else "Details"
        text = await shows(page, pilot, rf"{re.escape(seen)}[\s\S]*{last}")
        compare(f"{name}-{size[0]}x{size[1]}", text)

    on_page(Still(shop(state)), look, size)


def test_colour_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    # cli: NO_COLOR is honoured
    monkeypatch.setenv("NO_COLOR", "1")

    async def look(page: RunPage, pilot: Any) -> None:
        compare("failed-80x24", await shows(page, pilot, "psql exited"))
        picture = page.export_screenshot()
        colours = set(re.findall(r"#([0-9a-f]{6})", picture))
        drawn = colours - {"c5c8c6", "292929", "ff5f57", "febc2e", "28c840"}  # the window's frame
        assert all(colour[:2] == colour[2:4] == colour[4:] for colour in drawn), drawn
        for name in re.findall(r'class="terminal-\d+-(r\d+)"[^>]*>[^<]*(?:failed|psql)', picture):
            fill = re.search(rf"-{name} {{ fill: #(..)", picture)
            assert fill is not None
            assert int(fill[1], 16) > 128, "what failed is too dark to be read"

    on_page(Still(shop("failed")), look)


def test_the_page_follows_the_run_until_a_step_is_chosen() -> None:
    source = Still(shop("running"))

    async def look(page: RunPage, pilot: Any) -> None:
        await shows(page, pilot, "›▶ load")
        source.now = shop("failed")
        await shows(page, pilot, "›✗ load")
        await pilot.press("down")
        await shows(page, pilot, "›- report")
        source.now = shop("running")
        await shows(page, pilot, "›· report")

    on_page(source, look)


def test_a_thousand_steps_can_be_walked_through() -> None:
    status = RunStatus("0f3a2b1c-run", "many", "running", NOW - 9, NOW - 8)
    for number in range(1000):
        name = f"step {number:03}"
        status.steps[name] = StepStatus(name, state="running", started_at=NOW - 1, attempt=1)

    async def look(page: RunPage, pilot: Any) -> None:
        assert "step 000" in await shows(page, pilot, "0/1000  1000 running")
        await pilot.press("end")
        assert "step 000" not in await shows(page, pilot, "›▶ step 999")
        await pilot.press("pageup", "up")
        await shows(page, pilot, "›▶ step 989")
        await pilot.click("#steps", offset=(3, 0))
        await shows(page, pilot, "›▶ step 989")

    on_page(Still(status), look)


@pytest.mark.parametrize(
    ("state", "is_ours", "offered"),
    [
        ("running", True, {"Quit", "Cancel", "Details", "Tabs", "Help"}),
        ("failed", True, {"Quit", "Retry", "Details", "Tabs", "Help"}),
        ("cancelled", True, {"Quit", "Retry", "Details", "Tabs", "Help"}),
        ("succeeded", True, {"Quit", "Details", "Tabs", "Help"}),
        ("running", False, {"Quit", "Details", "Tabs", "Help"}),
        ("failed", False, {"Quit", "Details", "Tabs", "Help"}),
    ],
)
def test_the_last_line_offers_the_keys_that_do_something_now(
    state: str, is_ours: bool, offered: set[str]
) -> None:
    async def look(page: RunPage, pilot: Any) -> None:
        last = (await shows(page, pilot, "Tabs")).splitlines()[-1]
        words = set(re.findall(r"[A-Z][a-z]+", last))
        assert words == offered

    on_page(Still(shop(state), is_ours=is_ours), look)


@pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("failed", 1), ("cancelled", 130)])
def test_leaving_a_run_that_has_ended_gives_its_exit_code(state: str, code: int) -> None:
    source = Still(shop(state))

    async def look(page: RunPage, pilot: Any) -> None:
        await pilot.press("q")

    assert on_page(source, look).return_value == code
    assert source.wishes == []


def test_leaving_a_run_that_goes_on_asks_and_cancels_it() -> None:
    source = Still(shop("running"))

    async def look(page: RunPage, pilot: Any) -> None:
        await pilot.press("q")
        await shows(page, pilot, r"Cancel the run and quit\?")
        source.now = replace(source.now, name="news while it asks")
        await shows(page, pilot, "news while it asks")
        await pilot.press("enter")  # no, unless it is meant
        await pilot.press("q", "n")
        assert page.is_running
        assert source.wishes == []
        await pilot.press("q", "y")
        while page.is_running:
            await pilot.pause(0.05)

    assert on_page(source, look).return_value == 130
    assert source.wishes == ["cancel"]


def test_ctrl_c_cancels_the_run_without_a_question() -> None:
    source = Still(shop("running"))

    async def look(page: RunPage, pilot: Any) -> None:
        await pilot.press("ctrl+c")
        while page.is_running:
            await pilot.pause(0.05)

    assert on_page(source, look).return_value == 130
    assert source.wishes == ["cancel"]


def test_a_run_elsewhere_goes_on_when_it_is_left() -> None:
    source = Still(shop("running"), is_ours=False)

    async def look(page: RunPage, pilot: Any) -> None:
        await pilot.press("c", "r", "left", "left")
        await shows(page, pilot, "a status API does not have what steps print")
        await pilot.press("q")

    assert on_page(source, look).return_value == 0
    assert source.wishes == []


def test_a_cancelled_run_stays_on_the_page_and_can_be_retried() -> None:
    source = Still(shop("running"))

    async def look(page: RunPage, pilot: Any) -> None:
        await pilot.press("c", "y")
        await shows(page, pilot, "■ cancelled")
        await pilot.press("r")
        await shows(page, pilot, "▶ running .* run 1111aaaa")

    on_page(source, look)
    assert source.wishes == ["cancel", "retry"]


def test_trouble_is_told_and_the_page_goes_on_when_it_is_over() -> None:
    source = Still(shop("running"), is_ours=False)

    async def look(page: RunPage, pilot: Any) -> None:
        await shows(page, pilot, "2/4  1 running")
        source.trouble = "http://x/status can't be reached: connection refused"
        await shows(page, pilot, "trying again: http://x/status can't be reached")
        source.trouble = ""
        await shows(page, pilot, "2/4  1 running")

    on_page(source, look)


def test_show_logs_shows_what_steps_print_first() -> None:
    async def look(page: RunPage, pilot: Any) -> None:
        text = await shows(page, pilot, "load says")
        assert "WARN slow" in text

    on_page(Still(shop("running")), look, show_log=True)


@pytest.mark.parametrize("width", [40, 60, 120])
def test_a_repeated_step_is_one_line_with_the_failed_items_first(width: int) -> None:
    # language 18.11
    items = ItemsStatus(300, 147, 3, 0, 0, (("customer 7", "no such customer"),))
    step = StepStatus("details of customers", state="running", started_at=NOW, items=items)

    line = row(step, width, NOW, chosen=False).plain
    assert len(line) == width
    assert "150/300 3✗" in line
    assert ("━━━━━─────" in line) == (width == 120)
    told = state_text(step, RunStatus("1", "flow")).plain
    assert "150 of 300 items, 3 failed" in told
    assert "customer 7: no such customer" in told
    bar = items_bar(items, 24)
    assert (bar.plain[:12], bar.plain[12:24]) == ("━" * 12, "─" * 12)
    assert bar.spans[0].style == "red"
    assert (bar.spans[0].start, bar.spans[0].end) == (0, 1)


@pytest.mark.parametrize(
    ("cursor", "told"),
    [
        (CursorStatus("stored", None, "2", "3", "7"), "3 → 7, stored"),
        (CursorStatus("held", "'load' failed", "2", None, "7", "eu"),
         "eu: 2 → 7, not stored: 'load' failed"),
        (CursorStatus("unchanged", "nothing was read", None, "3"),
         "3, unchanged: nothing was read"),
        (CursorStatus("held", "the run ended before it could be stored"),
         "not stored: the run ended before it could be stored"),
    ],
)
def test_how_the_cursor_of_a_step_moved_is_told(cursor: CursorStatus, told: str) -> None:
    step = StepStatus("new", state="succeeded", cursor=cursor)
    assert f"cursor    {told}\n" in state_text(step, RunStatus("1", "flow")).plain


def test_a_log_that_was_not_asked_for_yet_is_not_said_to_be_out_of_reach() -> None:
    step = StepStatus("a", state="running")
    status = RunStatus("r", "f", steps={"a": step})
    assert details(News(status, "a"), step, "log").plain == "…"
    assert "status API" in details(News(status, "a", asked_for_log=True), step, "log").plain

"""flowtoy's own page, in a browser: it follows a run without being loaded again."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from serving_commands import gated

EVIL = "<img src=x onerror=alert(1)>"


def state_of(page: Any, step: str) -> Any:
    """The row of a step."""
    return page.locator("li.step", has=page.get_by_text(step, exact=True))


@pytest.mark.timeout(800)
def test_the_page_follows_a_run(
    serving: Callable[..., Any], write: Callable[..., Path], tmp_path: Path,
    open_page: Callable[..., Any],
) -> None:
    from playwright.sync_api import expect

    flow = write(
        "name: shop import\nflow:\n"
        + gated("users", tmp_path, "echo '[1, 2]'", output=[{"name": "ids", "type": "json"}])
        + gated("orders", tmp_path, "echo no orders >&2; exit 3", retry={"max": 1, "delay": 0})
        + gated("long", tmp_path)
        + f"  - {{name: {EVIL!r}, source: env, depends_on: users}}\n"
        + "  - {name: report, source: env, depends_on: [orders, long]}\n"
        + "  - {name: mails, for_each: {in: [1, 2], key: 'mail {{ item }}', max_failures: 1},\n"
        + "     source: process, input: {command: [test, '{{ item }}', =, '2']}}\n"
    )
    served = serving("serve", flow, "--port", "0")
    served.wait_for(users="running", orders="running", long="running")
    pages = {
        (width, scheme): open_page(served.page("/flow"), width, scheme)
        for width, scheme in ((390, "dark"), (1280, "light"))
    }
    for page in pages.values():
        expect(page.locator("h1")).to_have_text("shop import")
        expect(page.locator("#state-word")).to_have_text("running")
        expect(state_of(page, "users").locator(".word")).to_have_text("running")
        expect(state_of(page, "report").locator(".word")).to_have_text("pending")
        expect(page.locator("h1")).to_be_visible()

    (tmp_path / "users").touch()
    for page in pages.values():
        expect(state_of(page, "users").locator(".word")).to_have_text("succeeded")
        expect(page.locator("#count")).to_contain_text("3 of 6 steps ended")
    (tmp_path / "orders").touch()
    (tmp_path / "long").touch()
    for (width, scheme), page in pages.items():
        expect(page.locator("#state-word")).to_have_text("failed")
        expect(page).to_have_title(re.compile("shop import – failed"))
        expect(state_of(page, "orders").locator(".told .attempt")).to_have_text("attempt 2")
        expect(page.locator("#failures li").first).to_have_text(
            re.compile(r"^orders sh exited with code 3: no orders \S+/[\w.]+\.yaml:\d+:\d+$")
        )
        expect(state_of(page, "report").locator(".why")).to_have_text("'orders' failed")
        # From the keyboard too.
        state_of(page, "users").locator("button").press("Enter")
        expect(page.locator("#panel pre")).to_contain_text('"ids": [')
        # language 18.11: one row, whatever the items
        mails = state_of(page, "mails")
        expect(mails.locator(".items")).to_have_text("2 of 2 items · 1 failed")
        expect(mails.locator(".bar i:visible")).to_have_count(2)
        mails.locator("button").first.click()
        rows = page.locator("#panel tbody tr")
        expect(rows).to_have_text(
            ["✕failedmail 1test exited with code 11", "✓succeededmail 21"]
        )
        # What is text stays text.
        expect(state_of(page, EVIL).locator(".word")).to_have_text("succeeded")
        assert page.locator("img").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") == width
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == (scheme == "dark")
        # Nobody can do anything here but look, and at this run alone.
        expect(page.locator("#actions")).to_be_hidden()
        expect(page.locator("#tab-runs")).to_be_hidden()
    assert served.ask("/flow/runs").code == 404
    wide = pages[1280, "light"]
    wide.keyboard.press("Escape")
    bars = {name: state_of(wide, name).locator(".lane i").last.bounding_box()
            for name in ("users", "orders", EVIL)}
    orders = state_of(wide, "orders").locator(".lane i").first.bounding_box()
    # Side by side in time: these two at once, and the third after the first.
    assert bars["users"]["x"] < bars["orders"]["x"] + bars["orders"]["width"]
    assert orders["x"] < bars["users"]["x"] + bars["users"]["width"]
    assert bars[EVIL]["x"] >= bars["users"]["x"] + bars["users"]["width"] - 1
    # A browser holds a page to every policy that it is sent.
    policy = served.ask("/flow").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_page_tells_of_tolerated_failures_and_of_cursors(
    serving: Callable[..., Any], write: Callable[..., Path], open_page: Callable[..., Any],
) -> None:
    # language 19.3, 22.3
    from playwright.sync_api import expect

    served = serving("serve", write(
        """\
        runner: {executor: in_process}
        flow:
          - name: new
            incremental: {cursor_path: at, initial_value: 3}
            source: {type: process, command: [echo, '[{"at": 5}, {"at": 7}]']}
          - {name: bad, source: {type: process, command: "false"}, on_error: skip}
        """
    ), "--port", "0")
    page = open_page(served.page("/flow"), 1280, "light")
    expect(page.locator("#state-word")).to_have_text("finished with failures")
    state_of(page, "new").locator("button").click()
    page.get_by_role("tab", name="About").click()
    expect(page.locator("#panel dl")).to_contain_text("cursor3 → 7, stored")


def held(page: Any, address: str) -> list[Any]:
    """The requests to an address, none of which goes on by itself."""
    asked: list[Any] = []

    def hold(route: Any) -> None:
        asked.append(route)

    page.route(address, hold)
    return asked


def test_outputs_that_come_late_take_no_other_parts_place(
    serving: Callable[..., Any], write: Callable[..., Path], open_page: Callable[..., Any],
) -> None:
    from playwright.sync_api import expect

    served = serving("serve", write(
        """\
        runner: {executor: in_process}
        flow:
          - name: a
            source: {type: process, command: [echo, hi]}
            output: [{name: line, value: stdout}]
        """
    ), "--port", "0")
    page = open_page(served.page("/flow"), 1280, "light")
    expect(page.locator("#state-word")).to_have_text("succeeded")
    asked = held(page, "**/outputs?step=a")
    state_of(page, "a").locator("button").click()
    expect(page.get_by_role("tab", name="Outputs")).to_have_attribute("aria-selected", "true")
    while not asked:
        page.wait_for_timeout(20)
    page.get_by_role("tab", name="About").click()
    with page.expect_response("**/outputs?step=a"):
        asked[0].continue_()
    page.wait_for_timeout(100)
    expect(page.locator("#panel dl")).to_contain_text("outputsline")
    page.unroute("**/outputs?step=a")
    page.get_by_role("tab", name="Outputs").click()
    expect(page.locator("#panel pre")).to_contain_text('"line": "hi\\n"')


def test_a_form_that_comes_late_takes_no_other_forms_place(
    serving: Callable[..., Any], write: Callable[..., Path], open_page: Callable[..., Any],
) -> None:
    from playwright.sync_api import expect

    served = serving("webui", write(
        """\
        params: {city: Basel}
        flow: [{name: a, source: {type: process, command: [echo, "{{ params.city }}"]}}]
        """
    ), "--port", "0")
    page = open_page(served.page("/flow"), 1280, "light")
    expect(page.locator("#state-word")).to_have_text("succeeded")
    asked = held(page, "**/form*")
    for count in (1, 2):
        page.locator("#again").click()
        while len(asked) < count:
            page.wait_for_timeout(20)
        if count == 1:
            page.keyboard.press("Escape")
    waiting = page.locator("#form p.quiet")
    with page.expect_response("**/form*"):
        asked[0].continue_()
    page.wait_for_timeout(100)
    expect(waiting).to_have_text("…")
    asked[1].continue_()
    expect(page.locator("#form input").first).to_have_value("Basel")


def test_the_page_tells_when_the_run_can_no_longer_be_reached(
    serving: Callable[..., Any], write: Callable[..., Path], tmp_path: Path, browser: Any
) -> None:
    from playwright.sync_api import expect

    served = serving("serve", write("flow:\n" + gated("a", tmp_path)), "--port", "0")
    served.wait_for(a="running")
    context = browser.new_context()
    # Not `open_page`: the browser itself complains of what it can't reach.
    page = context.new_page()
    page.goto(served.page("/flow"))
    expect(page.locator(".step .word")).to_have_text("running")
    expect(page.locator("#outage")).to_be_hidden()
    served.end()
    expect(page.locator("#outage")).to_contain_text("Not reachable since")
    expect(page.locator(".step .word")).to_have_text("running")
    context.close()

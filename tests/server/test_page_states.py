"""Every state of flowtoy's page: wide and narrow, light and dark, for the eye and for readers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ARTEFACTS = Path(__file__).parent.parent.parent / "artefacts"
AXE = "AXE_CORE"
"""The variable with the path of axe.min.js, of the npm package axe-core; `.ci/run` fetches it."""
LOOKS = [(1280, "light"), (390, "dark"), (1280, "dark"), (390, "light")]
SPANS = """found => found.map(one => one.getBoundingClientRect()).filter(box => box.width)
    .map(box => `${Math.round(box.left)} to ${Math.round(box.right)}`)"""
"""Where the lines of time begin and end."""
TROUBLE = """async (rules) => (await axe.run(document, {resultTypes: ["violations"],
    ...(rules.length ? {runOnly: rules} : {})})).violations.map(found =>
    `${found.id}: ${found.nodes.map(node => node.html.slice(0, 120)).join(" | ")}`)"""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of the states."""
    from canned_runs import serve_states

    with serve_states() as url:
        yield url


class Visitor:
    """Somebody with a window of one size and scheme."""

    def __init__(self, browser: Any, width: int, scheme: str) -> None:
        self.name, self.width = f"{width}-{scheme}", width
        # The other looks have the same elements in other colours.
        self._rules = [] if (width, scheme) in LOOKS[:2] else ["color-contrast"]
        size = {"width": width, "height": 844 if width < 600 else 800}
        self._context = browser.new_context(viewport=size, color_scheme=scheme,
                                            reduced_motion="reduce")
        self.page = self._context.new_page()
        self.said: list[str] = []
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("console", lambda said: self.said.append(said.text))

    def look(self, url: str) -> Any:
        """Open a page and wait until it shows a run."""
        self.page.goto(url)
        self.page.locator("#steps li").first.wait_for()
        return self.page

    def check(self, what: str, *, audit: bool = True) -> None:
        """Nothing is wider than the window, and axe has nothing to say; keeps a picture."""
        page = self.page
        if "PAGE_PICTURES" in os.environ:
            ARTEFACTS.mkdir(exist_ok=True)
            page.screenshot(path=ARTEFACTS / f"page-{what}-{self.name}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") == self.width, what
        lines = page.locator(".axis .scale, .lane").evaluate_all(SPANS)
        assert len(set(lines)) <= 1, f"{what}: the bars are not below their times"
        if audit and AXE in os.environ:
            if not page.evaluate("'axe' in window"):
                page.evaluate(Path(os.environ[AXE]).read_text("utf-8"))
            assert page.evaluate(TROUBLE, self._rules) == [], what

    def close(self) -> None:
        self._context.close()


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_every_state_fits_its_window_and_can_be_read(
    browser: Any, site: str, width: int, scheme: str
) -> None:
    visitor = Visitor(browser, width, scheme)
    page = visitor.page
    for state in ("pending", "tolerated", "cancelled", "succeeded"):
        visitor.look(f"{site}/{state}/")
        visitor.check(state, audit=(width, scheme) in LOOKS[:2])
    assert page.locator("li.step", has_text="1 warning").count() == 1
    page.locator("li.step", has_text="1 warning").locator("button").first.click()
    assert page.locator(".panel .warning").inner_text().startswith("warning: output 'rows': the")
    assert page.locator(".panel .place").inner_text() == "/srv/flows/shop.yaml:9:16"
    visitor.check("warnings")
    visitor.look(f"{site}/running/")
    page.locator("li.step[data-state=running] button").first.click()
    page.locator(".log pre").first.wait_for()
    visitor.check("running-log")
    visitor.look(f"{site}/many/")
    # Hundreds of rows like the others take axe many seconds.
    visitor.check("many", audit=False)
    visitor.look(f"{site}/failed/")
    visitor.check("failed")
    page.get_by_role("tab", name="Graph").click()
    page.locator(".node", has_text="details").click()
    page.locator(".item-list").wait_for()
    visitor.check("graph-items")
    page.get_by_role("tab", name="Runs").click()
    page.locator("table.runs").wait_for()
    visitor.check("runs")
    page.locator("#again").click()
    page.get_by_label("full").wait_for()
    page.get_by_label("Run the file as it is now").check()
    assert page.get_by_label("full").count() == 0
    page.get_by_label("limit").fill("x")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("a value is missing").wait_for()
    visitor.check("form")
    page.keyboard.press("Escape")
    page.locator("#retry").click()
    page.locator("#trouble").wait_for()
    assert page.locator("#trouble").inner_text() == "run aaaaaaaa has ended already"
    visitor.look(f"{site}/plain/")
    page.locator("#keys").click()
    visitor.check("keys")
    # The browser notes what the canned server rejects.
    assert [said for said in visitor.said if "status of 4" not in said] == []
    visitor.close()


def test_hundreds_of_steps_are_filtered_and_walked_from_the_keyboard(
    browser: Any, site: str
) -> None:
    from playwright.sync_api import expect

    visitor = Visitor(browser, 1280, "light")
    page = visitor.look(f"{site}/many/")
    names = page.locator("#steps .name bdi")
    # The failed ones come first by themselves, and the head stays.
    expect(names.first).to_have_text("table_013")
    assert page.locator("#failures li").count() == 12
    page.mouse.wheel(0, 4000)
    page.wait_for_function("scrollY > 500")
    assert page.locator("#filter").bounding_box()["y"] < 60
    assert page.locator("#axis").bounding_box()["y"] < 80
    page.keyboard.press("/")
    page.keyboard.type("table_29")
    found = ["table_293", *(f"table_29{n}" for n in range(10) if n != 3)]
    # Rows that are not in sight yet have no inner text: the browser has not laid them out.
    expect(names).to_have_text(found)
    page.locator(".chip", has_text="failed").click()
    expect(names).to_have_text(["table_293"])
    page.locator("#filter").fill("no such step")
    assert page.locator("#none").inner_text().startswith("None of the 300 steps matches")
    page.locator("#filter").press("Escape")
    expect(names).to_have_count(300)
    page.locator("#order").select_option("file")
    expect(names.first).to_have_text("table_000")
    page.locator("#steps button").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator("#panel-name bdi").inner_text() == "table_001"
    page.keyboard.press("Escape")
    assert page.locator("#panel").is_hidden()
    assert page.evaluate("document.activeElement.querySelector('bdi').textContent") == "table_001"
    visitor.close()


LABELS = """() => new Promise(found => requestAnimationFrame(() => requestAnimationFrame(() => {
  const boxes = [...document.querySelectorAll("#axis .scale span")].map(
    label => label.getBoundingClientRect().toJSON());
  found([document.querySelector("#axis .scale").getBoundingClientRect().right, boxes]);
})))"""
"""Where the axis ends, and the boxes of its labels, once it is drawn for the window's size."""


def test_the_chart_has_attempts_pauses_and_waits_and_no_label_that_wraps(
    browser: Any, site: str
) -> None:
    visitor = Visitor(browser, 1280, "light")
    page = visitor.look(f"{site}/failed/")
    row = page.locator("li.step").nth(1)
    parts = row.locator(".lane i")
    kinds = parts.evaluate_all("bars => bars.map(bar => [bar.className, bar.dataset.state])")
    assert kinds == [["attempt", "failed"], ["pause", "succeeded"], ["attempt", "succeeded"],
                     ["wait", "succeeded"]]
    assert parts.first.get_attribute("title") == "attempt 1, 2.0 s: GET /users: 503"
    boxes = [parts.nth(n).bounding_box() for n in range(4)]
    # Times as they were: 2 to 4, 4 to 6, 6 to 12 and 7 to 9 of 14 seconds.
    second = page.locator("#axis .scale").bounding_box()["width"] / 14
    assert [round(box["width"] / second) for box in boxes] == [2, 2, 6, 2]
    for width in range(900, 1300, 37):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function("width => innerWidth === width", arg=width)
        end, labels = page.evaluate(LABELS)
        assert {label["height"] for label in labels} == {labels[0]["height"]}
        assert labels[-1]["right"] <= end + 1
    # A reason is told once for each step, and stderr only where it tells more.
    assert page.locator("#failures").inner_text().count("ConnectionError: no route") == 2
    assert page.locator("#steps").inner_text().count("ConnectionError") == 0
    visitor.close()

"""`flowtoy webui` in a browser: what somebody sees who watches a run there, and does about it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from serving_commands import Serving, gated, wait_until

ARTEFACTS = Path(__file__).parent.parent.parent / "artefacts"
BARS = """
() => Object.fromEntries([...document.querySelectorAll(".chart-element.box")].map(box =>
  [box.textContent, getComputedStyle(box).backgroundColor.match(/[0-9]+/g).map(Number)]))
"""
ON_TOP = """
() => { const e = document.elementFromPoint(innerWidth / 2, innerHeight / 2);
        return e.closest("[role=dialog], [class*=dialog], [class*=Dialog]") === null }
"""


class Watched:
    """A page that asks nobody but our server, and has nothing to complain of."""

    def __init__(self, browser: Any) -> None:
        self._context = browser.new_context(viewport={"width": 1400, "height": 900})
        self.page = self._context.new_page()
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("websocket", lambda socket: self.asked.append(socket.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)

    def _hear(self, said: Any) -> None:
        if said.type == "error":
            self.complaints.append(said.text)

    def close(self) -> None:
        self._context.close()

    def shoot(self, name: str) -> None:
        """Keep a picture."""
        ARTEFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTEFACTS / f"webui-{name}.png")

    def bars(self) -> dict[str, list[int]]:
        """The chart's bars by their step, and their colours."""
        found: dict[str, list[int]] = self.page.evaluate(BARS)
        return found

    def wait_for_bars(self, *steps: str) -> None:
        """Wait until steps are shown as going on, all at once, with nothing in front of them."""

        def shown() -> bool:
            self.page.wait_for_timeout(50)  # lets the page's own events through
            return set(steps) <= self.bars().keys() and bool(self.page.evaluate(ON_TOP))

        wait_until(shown, f"bars of {steps}")

    def wait_for_state(self, text: str) -> None:
        """Wait until the page says how the run stands."""
        state = self.page.get_by_text(re.compile(f"^{text}$"))
        state.first.wait_for(timeout=60_000)


def is_red(colour: list[int]) -> bool:
    return colour[0] > 150 > max(colour[1], colour[2])


def is_green(colour: list[int]) -> bool:
    return colour[1] > 150 > max(colour[0], colour[2])


@pytest.mark.timeout(400)
def test_a_run_is_watched_mended_and_ended_on_its_page(
    serving: Callable[..., Serving], write: Callable[..., Path], tmp_path: Path, browser: Any
) -> None:
    write(
        "name: shop import\nflow:\n"
        + gated("one", tmp_path, "echo one has printed this")
        + gated("two", tmp_path)
        + gated("broken", tmp_path, "echo no such table >&2; test -e mended")
        + gated("last", tmp_path, depends_on=["broken"])
    )
    served = serving("webui", "flow.yaml", "--port", "0")
    watched = Watched(browser)
    page = watched.page
    page.goto(served.page())
    assert re.fullmatch(f"{served.url}/runs/[0-9a-f-]{{36}}", page.url)
    first = page.url

    served.wait_for(one="running", two="running", broken="running")
    watched.wait_for_bars("one", "two", "broken")
    page.get_by_text("Executing (3)").wait_for()
    watched.shoot("running")

    # The page follows: it is not loaded again.
    for name in ("one", "two", "broken"):
        (tmp_path / name).touch()
    watched.wait_for_state("Failure")
    page.get_by_text("Errored (1)").wait_for()
    watched.shoot("failed")
    bars = watched.bars()
    assert is_red(bars["broken"])
    assert is_green(bars["one"])
    assert is_green(bars["two"])

    # Why it failed is told with the step.
    page.goto(f'{first}?selection=name%3A"broken"&logs=query%3Aname%3A"broken"')
    page.get_by_text("sh exited with code 1: no such table").first.wait_for()
    watched.shoot("reason")

    # What each step printed is shown by step.
    page.goto(f'{first}?selection=name%3A"one"&logType=stdout')
    page.get_by_text("one has printed this").first.wait_for()
    watched.shoot("stdout")
    page.goto(f'{first}?selection=name%3A"broken"&logType=stderr')
    page.get_by_text("no such table").first.wait_for()

    # From failure: what has succeeded is not run again.
    (tmp_path / "mended").touch()
    page.goto(first)
    page.locator("button[class*=dropdownArrow]:not([disabled])").click()
    page.get_by_text("From failure", exact=True).click()
    page.wait_for_url(lambda url: url.split("?")[0] not in (first, served.url))
    served.wait_for(broken="succeeded", last="running")
    document = served.status()
    assert page.url.split("?")[0].endswith(document["dagster_run_id"])
    assert served.ask("/outputs").json["one"] == {"text": "one has printed this\n"}
    watched.wait_for_bars("last")

    # And it is ended on the page.
    page.get_by_role("button", name="Terminate").click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("Terminate")).click()
    served.wait_for_run("cancelled")
    page.reload()
    watched.wait_for_state("Canceled")
    watched.shoot("terminated")

    # The graph has what is needed to find one's way.
    page.goto(f"{served.url}/locations/flowtoy_dagster.definitions/jobs/shop_import")
    page.get_by_text("process").first.wait_for()
    watched.shoot("graph")
    watched.close()
    assert watched.complaints == []
    assert {url.split("/")[2] for url in watched.asked if "://" in url} == {
        served.url.split("/")[2]
    }
    assert served.end() == 1


def test_a_browser_that_is_started_with_a_token_gets_to_the_page(
    serving: Callable[..., Serving], write: Callable[..., Path], tmp_path: Path, browser: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write("flow:\n  - {name: only, source: env}\n")
    opener = tmp_path / "opener"
    opener.write_text(f'#!/bin/sh\necho "$1" > "{tmp_path}/opened"\n')
    opener.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{opener} %s")
    served = serving("webui", "flow.yaml", "--port", "0", "--open")
    opened = tmp_path / "opened"
    wait_until(lambda: opened.exists() and opened.read_text().strip(), "a browser is opened")
    watched = Watched(browser)
    watched.page.goto(opened.read_text().strip())
    watched.page.wait_for_url(re.compile(f"{served.url}/runs/[0-9a-f-]{{36}}$"))
    watched.wait_for_state("Success")
    watched.close()
    assert watched.complaints == []
    assert served.end() == 0

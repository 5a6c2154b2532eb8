"""`flowtoy webui` in a browser: what somebody sees who watches a run there, and does about it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from serving_commands import Serving, gated, wait_until

from flowtoy_dagster.flow.files.suggestions import show


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
        # What the server rejects is told on the page; the browser notes it, too.
        if said.type == "error" and "status of 4" not in said.text:
            self.complaints.append(said.text)

    def close(self) -> None:
        self._context.close()

    def step(self, name: str) -> Any:
        """The row of a step."""
        return self.page.locator("li.step", has=self.page.get_by_text(name, exact=True))

    def wait_for_state(self, state: str) -> None:
        """Wait until the page says how the run stands."""
        self.page.locator("#state-word", has_text=re.compile(f"^{state}$")).wait_for()


FLOW = """\
name: shop import
params:
  day: {type: string, default: monday, description: The day to load.}
  limit: {type: integer, default: 3}
  api_key: {secret: true, default: hunter2hunter2}
flow:
"""


# tools-2, cli: the page, its actions, and Dagster's pages on the same port
@pytest.mark.timeout(800)
def test_a_run_is_watched_fixed_run_again_and_ended_on_the_page(
    serving: Callable[..., Serving], write: Callable[..., Path], tmp_path: Path, browser: Any
) -> None:
    write(
        FLOW
        + gated("one", tmp_path, "echo {{ params.day }} {{ params.limit }} {{ params.api_key }}")
        + gated("two", tmp_path)
        + gated("broken", tmp_path, "echo no such table >&2; test -e fixed",
                retry={"max": 1, "delay": 0})
        + gated("last", tmp_path, depends_on=["broken"])
    )
    served = serving("webui", "flow.yaml", "--port", "0")
    watched = Watched(browser)
    page = watched.page
    page.goto(served.page())
    assert page.url == f"{served.url}/"
    first = served.wait_for(one="running", two="running", broken="running")["dagster_run_id"]
    for name in ("one", "two", "broken"):
        watched.step(name).locator(".lane i").wait_for()

    # The page follows: it is not loaded again. The log of the chosen step comes as it is printed.
    watched.step("one").locator("button").click()
    page.get_by_text("It has printed nothing yet.").wait_for()
    for name in ("one", "two", "broken"):
        (tmp_path / name).touch()
    page.locator(".log pre", has_text="monday 3 ***").wait_for()
    watched.wait_for_state("failed")

    # Why it failed comes first, once for each step, with what stderr tells besides.
    failures = page.locator("#failures li")
    assert failures.count() == 1
    place = f"{tmp_path}/flow.yaml:9:5"
    assert failures.inner_text() == f"broken sh exited with code 1: no such table {place}"
    page.wait_for_function("document.querySelectorAll('#steps .lane .attempt').length == 4")
    failures.get_by_role("button").click()
    page.locator(".log", has_text="attempt 2, stderr").wait_for()

    # Dagster's pages are one click away, at the same run, and lead back to it.
    page.locator("#dagster").click()
    page.wait_for_url(f"{served.url}/runs/{first}")
    page.get_by_text("Errored (1)").wait_for()
    page.get_by_text("sh exited with code 1: no such table").first.wait_for()
    page.locator("#flowtoy-back").click()
    page.wait_for_url(f"{served.url}/?run={first}")
    watched.wait_for_state("failed")

    # From failed: what has succeeded is not run again.
    (tmp_path / "fixed").touch()
    page.locator("#retry").press("Enter")
    page.wait_for_url(lambda url: "run=" in url and first not in url)
    served.wait_for(broken="succeeded", last="running")
    # The button has gone, and the focus stays where it was.
    page.locator("#cancel:visible").wait_for()
    assert page.evaluate("document.activeElement.id") == "actions"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "cancel"
    retried = served.status()["dagster_run_id"]
    assert page.url.endswith(retried)
    watched.step("one").get_by_text("in the previous run").wait_for()
    # And it is ended on the page. Who goes to another run meanwhile stays there.
    page.keyboard.press("Enter")
    watched.wait_for_state("cancelled")
    assert page.evaluate("document.activeElement.id") == "actions"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "retry"
    (tmp_path / "last").touch()
    page.locator("#before").click()
    page.wait_for_url(re.compile(first))
    page.locator("#cancel[aria-disabled=true]").wait_for(state="detached")
    watched.wait_for_state("failed")
    assert page.url.endswith(first)

    # Again with other parameters: errors are told at their fields, secrets are not there.
    page.locator("#again").click()
    form = page.locator("#form")
    form.get_by_label("limit").fill("many")
    assert "hunter2" not in page.content()
    assert form.get_by_label("api_key").input_value() == ""
    assert form.get_by_label("day").input_value() == "monday"
    form.get_by_role("button", name="Run").click()
    form.get_by_text(f"expected a whole number, got {show('many')}").wait_for()
    # The file has changed since: it is run as it is now.
    page.keyboard.press("Escape")
    file = tmp_path / "flow.yaml"
    file.write_text(file.read_text().replace("echo {{ params.day }}", "echo now {{ params.day }}"))
    page.locator("#again").click()
    form.get_by_text("flow.yaml differs from what ran: one").wait_for()
    form.get_by_label("Run the file as it is now").check()
    form.get_by_label("limit").fill("7")
    form.get_by_label("day").fill("friday")
    form.get_by_role("button", name="Run").click()
    page.wait_for_url(lambda url: first not in url)
    again = served.wait_for_run("succeeded")["dagster_run_id"]
    watched.wait_for_state("succeeded")
    assert page.url.endswith(again)
    assert served.ask("/outputs").json["one"] == {"text": "now friday 7 ***\n"}

    # The runs before and after, and what each of them is.
    page.locator("#tab-runs").click()
    page.locator("table.runs tbody tr").nth(2).wait_for()
    states = page.locator("table.runs .word").all_inner_texts()
    assert [text.lstrip("✓✕■") for text in states] == ["succeeded", "cancelled", "failed"]
    page.get_by_role("link", name=first[:8]).first.click()
    watched.wait_for_state("failed")
    page.go_back()
    watched.wait_for_state("succeeded")
    watched.close()
    assert watched.complaints == []
    assert {url.split("/")[2] for url in watched.asked if "://" in url} == {
        served.url.split("/")[2]
    }
    assert served.end() == 0


def test_a_run_of_the_history_is_shown_without_running_anything(
    serving: Callable[..., Serving], write: Callable[..., Path], tmp_path: Path, browser: Any,
    flowtoy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch,
) -> None:
    write("name: old\nflow:\n  - {name: only, source: process, "
          "input: {command: [sh, -c, 'echo said; exit 4']}}\n")
    assert flowtoy("run", "flow.yaml").code == 1
    [run] = flowtoy("runs", "--json").json
    opener = tmp_path / "opener"
    opener.write_text(f'#!/bin/sh\necho "$1" > "{tmp_path}/opened"\n')
    opener.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{opener} %s")
    served = serving("runs", "open", "last:old")
    assert f"run {run['run_id'][:8]} at " in served.stderr
    # A browser that is started with a token gets to the page.
    opened = tmp_path / "opened"
    wait_until(lambda: opened.exists() and opened.read_text().strip(), "a browser is opened")
    watched = Watched(browser)
    watched.page.goto(opened.read_text().strip())
    watched.page.wait_for_url(f"{served.url}/")
    watched.wait_for_state("failed")
    watched.step("only").locator("button").click()
    watched.page.locator(".log", has_text="said").wait_for()
    assert served.ask("/flow/runs/nothing/status").code == 404
    assert len(served.ask("/flow/runs").json["runs"]) == 1
    # What is not there is said, with the runs that are.
    watched.page.goto(f"{served.url}/?run=nothing")
    watched.wait_for_state("there is no such run")
    watched.page.locator("#outage", has_text="This run can't be shown").wait_for()
    watched.page.locator("#tab-runs").click()
    watched.page.locator("table.runs a", has_text=run["run_id"][:8]).click()
    watched.wait_for_state("failed")
    # A retry from there is a run of this server.
    watched.page.locator("#retry").click()
    watched.page.wait_for_url(re.compile("run="))
    wait_until(lambda: served.status()["dagster_run_id"] != run["run_id"], "it is shown")
    served.wait_for_run("failed")
    watched.close()
    assert watched.complaints == []
    assert served.end() == 1
    assert re.fullmatch(r"opening the history …\nrun \S+ at \S+  \(.*\)\n", served.stderr)


def test_a_run_that_is_not_there_is_an_error(
    flowtoy: Callable[..., Any], write: Callable[..., Path]
) -> None:
    for arguments in (("webui", "last"), ("runs", "open", "abcdef12"), ("webui", "failed:x")):
        done = flowtoy(*arguments, "--port", "0")
        assert (done.code, done.stdout) == (2, "")
        assert "there is no" in done.stderr
        assert "Traceback" not in done.stderr
    write("flow: [{name: only, source: env}]\n")
    done = flowtoy("webui", "last", "--param", "a=1", "--port", "0")
    assert "'last' is a run that has its parameters" in done.stderr

"""What the tests of the servers have in common: commands that serve, and a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from module_files import load

if TYPE_CHECKING:
    from serving_commands import Serving

ARTEFACTS = Path(__file__).parent.parent.parent / "artefacts"


load(Path(__file__).with_name("serving_commands.py"))
load(Path(__file__).with_name("canned_runs.py"))


@pytest.fixture
def serving(made_home: Path, tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    """Starts a command that serves, in the test's folder."""
    from serving_commands import Serving

    started: list[Serving] = []

    def start(*arguments: str | Path) -> Serving:
        started.append(Serving(tuple(map(str, arguments)), tmp_path, made_home))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens pages that must ask nobody but our server, and have nothing to complain of.

    `.shoot(name)` of a page keeps a picture of it in the folder `artefacts`.
    """
    contexts: list[Any] = []
    trouble: list[str] = []

    def open_at(url: str, width: int = 1280, scheme: str = "light") -> Any:
        size = {"width": width, "height": 844 if width < 600 else 800}
        context = browser.new_context(viewport=size, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: trouble.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda asked: _check_address(asked.url, trouble))

        def shoot(name: str) -> None:
            ARTEFACTS.mkdir(exist_ok=True)
            page.screenshot(path=ARTEFACTS / f"{name}-{width}-{scheme}.png", full_page=True)

        page.shoot = shoot
        page.goto(url)
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert trouble == []


def _check_address(url: str, trouble: list[str]) -> None:
    if not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")):
        trouble.append(f"asked {url}")

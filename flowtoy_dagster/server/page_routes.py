"""The routes of flowtoy's own small page, which shows what the status API tells."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

FOLDER = Path(__file__).parent / "page"
# Names of steps and texts of errors come from anywhere: nothing in the page may be code.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_ASSETS = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}


def page_routes(*paths: str) -> list[BaseRoute]:
    """The page at each of `paths`, which are `/` or `/flow`, and what it loads under `/flow/`."""
    routes: list[BaseRoute] = [_file(path, "index.html", "text/html") for path in paths]
    return routes + [_file(f"/flow/{name}", name, kind) for name, kind in _ASSETS.items()]


def _file(path: str, name: str, kind: str) -> Route:
    content = (FOLDER / name).read_bytes()

    async def answer(_: Request) -> Response:
        return Response(content, headers=HEADERS, media_type=kind)

    return Route(path, answer)

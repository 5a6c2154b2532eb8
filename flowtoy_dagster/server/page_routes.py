"""The routes of flowtoy's own small page, which shows what the status API has."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
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
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def page_routes(
    *paths: str, runs: bool = False, dagster: bool = False, actions: bool = False, log: bool = False
) -> list[BaseRoute]:
    """The page at each of `paths`, which are `/` or `/flow`, and what it loads under `/flow/`.

    Args:
        paths: where the page is.
        runs: whether all runs of a home can be read: `run_routes`.
        dagster: whether Dagster's pages are on the same server.
        actions: whether visitors may start and end runs: `action_routes`.
        log: whether the log and the items of the shown run can be read: `run_routes`.
    """
    features = {"runs": runs, "dagster": dagster, "actions": actions, "log": log}

    async def tell_features(_: Request) -> Response:
        return JSONResponse(features, headers={"Cache-Control": "no-store"})

    routes: list[BaseRoute] = [_file(path, "index.html", "text/html") for path in paths]
    routes.append(Route("/flow/features", tell_features))
    names = sorted(path.name for path in FOLDER.iterdir() if path.suffix in _KINDS)
    return routes + [_file(f"/flow/{name}", name, _KINDS[Path(name).suffix]) for name in names]


def _file(path: str, name: str, kind: str) -> Route:
    content = (FOLDER / name).read_bytes()

    async def answer(_: Request) -> Response:
        return Response(content, headers=HEADERS, media_type=kind)

    return Route(path, answer)

"""Dagster's web server as a part of ours: the one place that knows its private modules."""

from __future__ import annotations

import contextlib
import re
import tempfile
import warnings
from collections.abc import Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from flowtoy_dagster.server.http.private_folder import private_folder

MODULE = "flowtoy_dagster.definitions"
"""The module of our code location, and its name: that of a deployment which names none."""
LONGEST_SILENCE = 20
"""Seconds without a sign of ours after which the process of the code location ends itself."""
GRAPHQL = "/graphql"
_RUN_PAGE = re.compile(r"/runs/([0-9a-f-]{36})\Z")
_NONCE = re.compile(r"'nonce-([0-9a-f]+)'")
_WAY_BACK = """<link rel="stylesheet" href="/flow/back.css">
<script type="module" src="/flow/back.js" nonce="{nonce}"></script>
<a id="flowtoy-back" href="{url}">← flowtoy's page</a>
"""
POLL = 2000
"""Milliseconds after which pages look for what no subscription reports."""


def flow_location() -> ManagedGrpcPythonEnvCodeLocationOrigin:
    """The code location with the flow's job, which a process of its own will load."""
    return ManagedGrpcPythonEnvCodeLocationOrigin(
        LoadableTargetOrigin(module_name=MODULE, attribute="defs"), MODULE
    )


def flow_job(name: str) -> RemoteJobOrigin:
    """Where pages find a job of our code location, to run it again."""
    return RemoteJobOrigin(
        RemoteRepositoryOrigin(flow_location(), SINGLETON_REPOSITORY_NAME), name
    )


def _with_way_back(page: Any, path: str) -> Any:
    """A page of Dagster's with a link to flowtoy's page of the same run.

    Args:
        page: the answer with the page; Dagster's file stays as it is.
        path: what was asked for.
    """
    found = _RUN_PAGE.match(path)
    target = f"/?run={found[1]}" if found else "/"
    nonce = _NONCE.search(page.headers.get("content-security-policy", ""))
    link = _WAY_BACK.format(url=target, nonce=nonce[1] if nonce else "").encode()
    head, body, rest = page.body.rpartition(b"</body>")
    if body:
        page.body = head + link + body + rest
        page.headers["content-length"] = str(len(page.body))
    return page


class DagsterWeb:
    """Dagster's pages and its GraphQL, as an ASGI application.

    At first there is no code location: what is there of a run already is shown without one, and
    loading it takes as long as everything else together.

    Args:
        instance: whose runs are shown.
        read_only: whether nothing can be started, ended or deleted on the pages.
    """

    def __init__(self, instance: dg.DagsterInstance, *, read_only: bool) -> None:
        from dagster._core.remote_representation.grpc_server_registry import GrpcServerRegistry
        from dagster._core.workspace.context import WorkspaceProcessContext
        from dagster._core.workspace.load_target import WorkspaceLoadTarget
        from dagster._grpc.constants import GrpcServerCommand
        from dagster_webserver.version import __version__

        class Target(WorkspaceLoadTarget):
            origins: Sequence[ManagedGrpcPythonEnvCodeLocationOrigin] = ()

            def create_origins(self) -> Sequence[ManagedGrpcPythonEnvCodeLocationOrigin]:
                return self.origins

        # The pages report it, without a traceback.
        warnings.filterwarnings("ignore", message="Error loading repository location")
        # The socket of the code location's process is made where temporary files are made.
        self._stack = contextlib.ExitStack()
        self._stack.callback(setattr, tempfile, "tempdir", tempfile.tempdir)
        tempfile.tempdir = str(self._stack.enter_context(private_folder("webui")))
        self._target = Target()
        registry = GrpcServerRegistry(
            # It would stand on the command line, with what dagster.yaml says of the storage.
            instance_ref=None,
            inject_env_vars_from_instance=False,
            server_command=GrpcServerCommand.API_GRPC,
            heartbeat_ttl=LONGEST_SILENCE,
            startup_timeout=instance.code_server_process_startup_timeout,
            wait_for_processes_on_shutdown=False,
            log_level="WARNING",
        )
        self._registry = registry
        self._context = WorkspaceProcessContext(
            instance,
            self._target,
            version=__version__,
            read_only=read_only,
            grpc_server_registry=registry,
        )
        self.app: Any = _web_server(self._context, read_only=read_only)

    def load_flow(self) -> None:
        """Load the code location, in a process of its own."""
        self._target.origins = [flow_location()]
        self._context.refresh_workspace()

    def close(self) -> None:
        """Ask the process of the code location to end."""
        self._context.__exit__(None, None, None)
        self._registry.__exit__(None, None, None)

    def remove_folder(self) -> None:
        """Remove the folder of that process, when it has ended: one that starts writes there."""
        self._stack.close()


def _web_server(context: Any, *, read_only: bool) -> Any:
    """Dagster's web server with the routes that its pages need, and no others."""
    from dagster_webserver.webserver import DagsterWebserver
    from graphql import ASTValidationRule, GraphQLError, OperationType
    from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

    class ReadOnly(ASTValidationRule):
        """Rejects every mutation; Dagster itself lets some through."""

        def enter_operation_definition(self, node: Any, *_: Any) -> None:
            if node.operation is OperationType.MUTATION:
                self.report_error(GraphQLError("this server is read-only", node))

    class Pages(DagsterWebserver):  # type: ignore[type-arg]
        def build_graphql_validation_rules(self) -> Any:
            rules = super().build_graphql_validation_rules()
            return [*rules, ReadOnly] if read_only else rules

        def index_html_endpoint(self, request: Any) -> Any:
            page = super().index_html_endpoint(request)
            return _with_way_back(page, request.url.path)

        def build_routes(self) -> list[BaseRoute]:
            shown = {self.webserver_info_endpoint, self.download_captured_logs_endpoint,
                     self.download_debug_file_endpoint, self.index_html_endpoint}
            posted = Route(GRAPHQL, self.graphql_http_endpoint, methods=["POST"])
            subscribed = WebSocketRoute(GRAPHQL, self.graphql_ws_endpoint)
            every: list[Any] = super().build_routes()  # type: ignore[no-untyped-call]
            kept = [route for route in every if isinstance(route, Mount)
                    or route.name == "root_static" or route.endpoint in shown]
            return [posted, subscribed, *kept]

    return Pages(context, "", POLL).create_asgi_app()

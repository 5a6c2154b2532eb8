"""What can be done on flowtoy's page: running a run of the home again, and ending one."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from flowtoy_dagster.engine.jobs.dagster_names import dagster_name
from flowtoy_dagster.errors import ConfigError, FlowtoyError, HomeError, UsageError
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.json_text import loads
from flowtoy_dagster.runs.create import Reuse
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.processes.background_run import launch_background
from flowtoy_dagster.runs.processes.dagster_launcher import FlowtoyRunLauncher
from flowtoy_dagster.runs.retry import plan_retry
from flowtoy_dagster.runs.shown.choosing import ChoiceError, choose
from flowtoy_dagster.server.changed_file import flow_now
from flowtoy_dagster.server.dagster_web import flow_job
from flowtoy_dagster.server.status_api import Endpoint, error_response, json_response

ACTIONS = "/flow/actions"
"""Where actions are posted; the guard must know that it is writable."""
_KEYS = {"action", "run", "step", "params", "flow"}


@dataclass(frozen=True)
class Wish:
    """What a page asks for.

    Attributes:
        action: `retry`, `again` or `cancel`.
        run: the id of a run.
        step: with `retry`, the step from which on everything is run.
        params: with `again`, the texts of the parameters that are to be another than in that run.
        flow: with `again`, `then` for the flow that ran, `now` for what its files hold now.
    """

    action: str
    run: str
    step: str | None
    params: Mapping[str, str | None]
    flow: str = "then"

    @classmethod
    def read(cls, body: bytes) -> Wish:
        """The wish in a body.

        Raises:
            ValueError: there is none in it.
        """
        found = loads(body, unique_keys=True)
        if not isinstance(found, dict) or not found.keys() <= _KEYS:
            raise ValueError("an action is a mapping of action, run, step, params and flow")
        step, params = found.get("step"), found.get("params", {})
        if not isinstance(found.get("run"), str) or not isinstance(step, (str, type(None))):
            raise ValueError("run and step are texts")
        if not isinstance(params, dict) or not all(
            isinstance(text, (str, type(None))) for text in params.values()
        ):
            raise ValueError("params is a mapping of texts")
        flow = found.get("flow", "then")
        if flow not in ("then", "now"):
            raise ValueError("flow is 'then' or 'now'")
        return cls(str(found.get("action")), found["run"], step, params, flow)


class RunActions:
    """Starts and ends runs for a page.

    Args:
        history: the home of the runs.
        launcher: carries what is started.
        max_workers: how many steps of a run may run at once.
    """

    def __init__(
        self, history: History, launcher: FlowtoyRunLauncher, max_workers: int | None
    ) -> None:
        self._history = history
        self._launcher = launcher
        self._max_workers = max_workers
        self._lock = threading.Lock()

    def carry_out(self, wish: Wish) -> str:
        """Do it; gives the id of the run that is to be looked at then.

        Raises:
            ChoiceError: parameters are wrong or missing.
            ConfigError: the flow can't run any more.
            UsageError: there is no such run, or it is not possible now.
            ValueError: there is no such action.
        """
        if wish.action == "retry":
            with self._lock:
                return self._retry(wish)
        if wish.action == "again":
            with self._lock:
                return self._launch(choose(self._chosen(wish), wish.params))
        if wish.action == "cancel":
            return self._cancel(wish.run)
        raise ValueError(f"there is no action '{wish.action}'")

    def _chosen(self, wish: Wish) -> Flow:
        """What is run again: what ran, or what its files hold now."""
        run = self._history.find(wish.run)
        if wish.flow == "now":
            return flow_now(self._history.flow(run))
        return self._history.flow(run, to_run=True)

    def _retry(self, wish: Wish) -> str:
        parent = self._history.find(wish.run)
        plan = plan_retry(self._history, parent, from_step=wish.step)
        return self._launch(plan.flow, plan.reuse)

    def _launch(self, flow: Flow, reuse: Reuse | None = None) -> str:
        run = launch_background(
            self._history,
            flow,
            self._max_workers,
            remote_origin=flow_job(dagster_name(flow.name)),
            reuse=reuse,
        )
        self._launcher.add(run)
        return run.run_id

    def _cancel(self, wanted: str) -> str:
        run = self._history.find(wanted)
        if run.is_finished:
            raise UsageError(f"run {run.run_id[:8]} has ended already")
        if not self._launcher.terminate(run.run_id):
            raise UsageError(
                f"run {run.run_id[:8]} can't be ended from here: no process on this machine"
                " carries it"
            )
        return run.run_id


def action_routes(actions: RunActions | None) -> list[BaseRoute]:
    """The route of the actions; without any, visitors may only look."""

    async def act(request: Request) -> Response:
        if actions is None:
            return error_response(403, "this server is read-only")
        try:
            wish = Wish.read(await request.body())
            run = await run_in_threadpool(actions.carry_out, wish)
        except ChoiceError as error:
            return json_response({"error": str(error), "fields": error.fields}, 422)
        except HomeError as error:
            return error_response(500, str(error))
        except ConfigError as error:
            return error_response(422, str(error))
        except (ValueError, RecursionError) as error:
            return error_response(400, str(error))
        except FlowtoyError as error:
            return error_response(409, str(error))
        return json_response({"run": run})

    return [Route(ACTIONS, Endpoint(act, "POST"))]

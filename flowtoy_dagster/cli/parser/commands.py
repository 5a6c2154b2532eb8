"""The commands: where they are, and what help says of them without importing them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

RUN, LOOK, CHECK, HISTORY, OPERATE = "Run", "Look", "Check", "History", "Operate"


class Command(NamedTuple):
    """A command, which is imported when it is called.

    Attributes:
        place: its module in `flowtoy_dagster.cli`, and its function or group of commands there.
        group: under what help lists it.
        summary: what the list says of it, which is how its own help begins.
        shown: calls that its help shows; those of a group stand with its commands.
        members: more commands of the group, from other modules.
    """

    place: str
    group: str
    summary: str
    shown: tuple[str, ...] = ()
    members: Mapping[str, Command] = {}

    def load(self) -> Any:
        """The function, or the group."""
        module, _, name = self.place.partition(":")
        return getattr(importlib.import_module(f"flowtoy_dagster.cli.{module}"), name)


COMMANDS = {
    "init": Command(
        "authoring.init:init", RUN,
        "Write a first flow and settings for editors; existing files stay as they are.",
        ("init", "init shop"),
    ),
    "run": Command(
        "run:run", RUN, "Run a flow and print its outputs.",
        (
            "run flow.yaml",
            "run base.yaml local.yaml -j | jq .fetch_users",
            "run flow.yaml --param day=2026-11-01 --max-workers 10",
            "run flow.yaml --only load --with last",
        ),
    ),
    "retry": Command(
        "retry:retry", RUN,
        "Run again what failed or was skipped, with the outputs that succeeded steps already have.",
        ("retry last", "retry last --from fetch_users", "retry last changed.yaml"),
    ),
    "cancel": Command(
        "retry:cancel", RUN, "End a run, wherever it runs, and wait until it has ended.",
        ("cancel last", "cancel last:shop"),
    ),
    "serve": Command(
        "serve:serve", RUN, "Run a flow once, and serve its status and outputs until Ctrl-C.",
        ("serve flow.yaml --port 8000", "serve flow.yaml --address-file address"),
    ),
    "webui": Command(
        "webui:webui", LOOK,
        "Run a flow and watch it in the browser, or show a run of the history there.",
        ("webui flow.yaml --open", "webui last:shop", "webui --status-url http://127.0.0.1:8000"),
    ),
    "tui": Command(
        "tui:tui", LOOK, "Run a flow, or watch a run elsewhere, on a page in the terminal.",
        ("tui flow.yaml", "tui --status-url http://127.0.0.1:8000"),
    ),
    "graph": Command(
        "authoring.graph:graph", LOOK, "Draw the graph of a flow: which step waits for which.",
        (
            "graph flow.yaml",
            "graph --run last",
            "graph flow.yaml --format mermaid",
            "graph flow.yaml --format svg > flow.svg",
        ),
    ),
    "validate": Command(
        "validate:validate", CHECK,
        "Check flows without running anything, and print all their errors.",
        ("validate flow.yaml", "validate flows/ --watch", "validate flows/ --format github"),
    ),
    "plan": Command(
        "authoring.plan:plan", CHECK, "Show what a run would do, without calling anything.",
        (
            "plan flow.yaml --param day=2026-11-01",
            "plan --retry last",
            "plan base.yaml local.yaml --origin runner.max_workers",
            "plan flow.yaml --format json",
        ),
    ),
    "test": Command(
        "testing.run_tests:run_tests", CHECK, "Run tests of flows, without calling anything.",
        (
            "test flows/shop.test.yaml -k unpaid",
            "test flows/ --junit results.xml",
            "test shop.test.yaml --update",
            "test --record 'a quiet day' shop.yaml",
        ),
    ),
    "step": Command(
        "testing.step:step", CHECK, "Run one step of a flow by itself, or show what it would call.",
        (
            "step fetch flow.yaml",
            "step fetch flow.yaml --dry",
            "step fetch flow.yaml --suggest",
            "step details flow.yaml --with last --item 17",
        ),
    ),
    "providers": Command(
        "authoring.providers:providers", CHECK,
        "List what flows can use: providers, output types and executors, and who brings them.",
        ("providers", "providers rest", "providers --json"),
    ),
    "schema": Command(
        "authoring.schema:schema", CHECK,
        "Print the JSON Schema of flows, with which editors complete and check them.",
        ("schema > .flowtoy/schema.json", "schema --partial"),
    ),
    "eval": Command(
        "testing.step:evaluate", HISTORY,
        "Print what a template or a JMESPath expression gives for the outputs of a run.",
        ('eval "{{ flows.fetch.rows | length }}"', 'eval "fetch.rows[0]" --run last:shop'),
    ),
    "runs": Command(
        "runs:runs", HISTORY, "List, show and prune the runs of the home folder.",
        members={
            "schedules": Command(
                "authoring.schedules:schedules", HISTORY,
                "List when flows with a `schedule` run next, as Dagster reads it.",
                ("runs schedules", "runs schedules flows/ --count 5"),
            ),
        },
    ),
    "pools": Command(
        "pools:pools", HISTORY, "List and set the limits of pools.",
    ),
    "state": Command(
        "state:state", HISTORY, "List, show and change what incremental loads have stored.",
    ),
    "worker": Command(
        "worker:worker", OPERATE, "Run steps of flows that other machines started.",
        ("worker -c 4", "worker --queue large --env-file secrets.env"),
    ),
    "deploy": Command(
        "operations.deploy:deploy", OPERATE, "Write the files of a deployment.",
    ),
    "doctor": Command(
        "operations.doctor:doctor", OPERATE,
        "Check each part of this deployment, and print the fix for each fault and each warning.",
        ("doctor", "doctor --env-file storage.env --format json"),
    ),
}
"""All of flowtoy's own, in the order of help."""

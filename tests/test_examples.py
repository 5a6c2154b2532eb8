"""Every flow in examples/, run as its README says, with the values that come out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import shop_api as shop  # type: ignore[import-not-found]

pytestmark = pytest.mark.usefixtures("made_home")
EXAMPLES = Path(__file__).parent.parent / "examples"
GUIDE = Path(__file__).parent / "data" / "guide"
"""The flows of the guide on parallel steps, as its author wrote them."""


MERGED = [
    {"order": 1001, "user": "Ada Lovelace", "product": "Mechanical keyboard", "quantity": 1,
     "total": 89.9},
    {"order": 1002, "user": "Edsger Dijkstra", "product": "Notebook, dotted", "quantity": 6,
     "total": 43.5},
    {"order": 1003, "user": "Grace Hopper", "product": "Desk lamp", "quantity": 2, "total": 69.0},
    {"order": 1004, "user": "Ada Lovelace", "product": "USB-C cable", "quantity": 3,
     "total": 36.0},
    {"order": 1005, "user": "Sophie Germain", "product": "Notebook, dotted", "quantity": 2,
     "total": 14.5},
]


def run_example(
    name: str, *options: str, shop_options: tuple[str, ...] = (), folder: Path = EXAMPLES
) -> subprocess.CompletedProcess[str]:
    """`python shop_api.py -- flowtoy run NAME`, in the examples' folder."""
    flowtoy = [sys.executable, "-m", "flowtoy_dagster", "run", name, "-j", *options]
    return subprocess.run(
        [sys.executable, str(EXAMPLES / "shop_api.py"), *shop_options, "--", *flowtoy],
        capture_output=True, text=True, cwd=folder, env=os.environ, timeout=500,
    )


def outputs_of(done: subprocess.CompletedProcess[str]) -> Any:
    """What a successful command printed."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_hello_greets() -> None:
    assert outputs_of(run_example("hello.yaml")) == {
        "say_hello": {"greeting": "Hello from flowtoy\n"}
    }


def test_report_takes_its_parameter() -> None:
    # language 15.3
    outputs = outputs_of(run_example("report.yaml", "--param", "region=us"))
    assert outputs == {"write_report": {"report": "Orders in us\n"}}


def test_conditions_choose_a_branch() -> None:
    # language 19.1, 19.2
    outputs = outputs_of(run_example("conditions.yaml", "--param", "full=true"))
    assert outputs == {
        "full load": {"rows": [1, 2, 3]}, "changes": None, "report": {"text": "3 rows\n"}
    }


def test_clean_up_runs_after_the_failure() -> None:
    # language 19.3
    done = run_example("clean_up.yaml", "--param", "works=false")
    assert done.returncode == 1, done.stderr
    outputs = json.loads(done.stdout)
    assert outputs["tell"] == {"text": "these steps failed: load\n"}
    assert outputs["remove the folder"] == {"text": "removed\n"}
    assert outputs["publish"] is None


def test_parallel_fetches_the_three_lists() -> None:
    assert outputs_of(run_example("parallel.yaml", "--max-workers", "3")) == {
        "fetch_users": {"users": shop.USERS},
        "fetch_products": {"products": shop.PRODUCTS},
        "fetch_orders": {"orders": shop.ORDERS},
    }


def test_mixed_fetches_with_a_token_and_merges() -> None:
    # Every list is refused without the token, which shows that it is passed on.
    outputs = outputs_of(run_example("mixed.yaml", shop_options=("--require-token",)))
    assert list(outputs) == ["authenticate", "fetch_users", "fetch_products", "combine_data"]
    assert outputs == {
        "authenticate": {"token": "***"},  # secret by its name
        "fetch_users": {"users": shop.USERS},
        "fetch_products": {"products": shop.PRODUCTS},
        "combine_data": {"combined": MERGED},
    }


def test_explicit_order_makes_the_database_before_its_schema() -> None:
    # The shop answers 404 where there is no such database yet.
    assert outputs_of(run_example("explicit_order.yaml")) == {
        "create_database": {"db_id": "db-1"},
        "create_schema": {"schema_id": {"id": "schema-1", "database": "db-1"}},
    }


def test_without_a_token_a_shop_that_wants_one_fails_the_run() -> None:
    done = run_example("parallel.yaml", shop_options=("--require-token",))
    assert done.returncode == 1
    assert 'HTTP status 401: {"error": "a token is required: see /auth"}' in done.stderr
    assert set(json.loads(done.stdout).values()) == {None}


def test_without_the_shop_the_missing_variable_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flowtoy_dagster", "run", "parallel.yaml"],
        capture_output=True, text=True, cwd=EXAMPLES,
        env={k: v for k, v in os.environ.items() if k != "SHOP_API"}, timeout=500,
    )
    assert done.returncode == 1
    assert "input.url: the environment variable 'SHOP_API' is not set" in done.stderr


def test_only_new_loads_each_change_once() -> None:
    first = outputs_of(run_example("only_new.yaml"))
    assert [row["order"] for row in first["changes"]["rows"]] == [1002, 1001, 1003]
    assert first["load"] == {"text": "loaded 3"}
    assert outputs_of(run_example("only_new.yaml")) == {"changes": {"rows": []}, "load": None}


def test_files_are_written_taken_and_looped_over() -> None:
    found = outputs_of(run_example("files.yaml"))
    assert Path(found["orders"]["table"]["path"]).read_text() == (
        'id,customer,total,note\n1,Ada,12.5,\n2,Grace,,"late, paid"\n'
    )
    assert Path(found["report"]["lines"]["path"]).read_text().strip() == "3"
    assert found["greet"]["text"] == ["Hello Ada\n", "Hello Grace\n"]


def test_every_flow_here_is_tested() -> None:
    flows = {path.name for path in EXAMPLES.glob("*.yaml")}
    assert flows == {"clean_up.yaml", "conditions.yaml", "explicit_order.yaml", "hello.yaml",
                     "files.yaml", "loop.yaml",
                     "mixed.yaml", "only_new.yaml", "parallel.yaml", "report.yaml"}


@pytest.mark.parametrize("name", ["parallel", "mixed", "explicit_order"])
def test_a_flow_of_the_guide_is_the_guides_text_but_for_the_host_and_a_secret(name: str) -> None:
    written = (GUIDE / f"{name}.yaml").read_text(encoding="utf-8")
    here = re.sub(r"https://api\.example\.com(.*)", r'"{{ env.SHOP_API }}\1"', written)
    here = here.replace("value: access_token\n", "value: access_token\n        secret: true\n")
    heading, _, flow = (EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8").partition("\n\n")
    assert here != written
    assert all(line.startswith("#") for line in heading.splitlines())
    assert flow == here

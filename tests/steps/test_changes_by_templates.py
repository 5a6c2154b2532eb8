"""Neither templates nor providers change what others see (language 6.1)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from flowtoy_dagster.errors import ConfigError
from flowtoy_dagster.flow.graph import Source
from flowtoy_dagster.flow.param_values import SeenParams
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.providers.kind import provider_kind_of
from flowtoy_dagster.providers.kinds import PROVIDERS
from flowtoy_dagster.steps.attempts import StepOutcome, run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo

Run = Callable[..., StepOutcome]
DATA = {"rows": [2, {"a": 1}], "row": {"b": [1]}}

CHANGES = [
    "result.rows.append(1)", "result.rows.extend([1])", "result.rows.insert(0, 1)",
    "result.rows.pop()", "result.rows.remove(2)", "result.rows.clear()", "result.rows.sort()",
    "result.rows.reverse()", "result.row.update({'a': 1})", "result.row.update(b=1)",
    "result.row.pop('b')", "result.row.popitem()", "result.row.setdefault('c', 1)",
    "result.row.clear()", "result.row.b.append(1)", "result.data.rows.append(1)",
    "result.data.pop('rows')", "result.rows['append'](1)", "(result.rows | attr('append'))(1)",
    "result.rows[1].update(a=2)", "(result.rows | last).pop('a')",
    "meta.seen.append(1)", "result.meta.seen.pop()",
]  # fmt: skip


def answer(payload: Any) -> dict[str, Any]:
    return {"status": {"code": 0, "notes": []}, "data": payload, "meta": {"seen": [1]}}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "form",
    ["{{{{ {} }}}}", "x{{{{ {} }}}}", "{{% set _ = {} %}}{{{{ 1 }}}}",
     "{{% if {} %}}{{{{ 1 }}}}{{% endif %}}"],
)
def test_an_output_that_would_change_its_siblings_fails_with_a_reason(
    run_call: Run, change: str, form: str
) -> None:
    seen: list[Any] = []

    def call(payload: Any) -> Any:
        seen.append(payload)
        return answer(payload)

    outcome = run_call(
        call, ("before", "rows"), ("changed", form.format(change)), ("after", "rows"), payload=DATA
    )
    assert outcome.error is not None
    reason = r"output 'changed': (\S+: )?a template can't change a "
    assert re.match(reason, outcome.error), outcome.error
    assert seen[0] == DATA
    assert outcome.result is not None
    assert outcome.result.data == DATA
    assert outcome.result.meta == {"seen": [1]}


def test_outputs_that_make_new_values_leave_their_siblings_as_they_are(run_call: Run) -> None:
    outcome = run_call(
        answer,
        ("before", "rows"),
        ("longer", "{{ result.rows + [3] }}"),
        ("sorted", "{{ [3, 1] | sort }}"),
        ("merged", "{{ dict(result.row, c=1) }}"),
        ("reversed", "{{ result.rows | reverse | list }}"),
        ("counted", "{% set ns = namespace(n=[]) %}{% for r in result.rows %}"
                    "{% set ns.n = ns.n + [r] %}{% endfor %}{{ ns.n | length }}"),
        ("after", "rows"),
        payload=DATA,
    )  # fmt: skip
    assert outcome.outputs == {
        "before": DATA["rows"], "longer": [2, {"a": 1}, 3], "sorted": [1, 3],
        "merged": {"b": [1], "c": 1}, "reversed": [{"a": 1}, 2], "counted": "2",
        "after": DATA["rows"],
    }  # fmt: skip


def test_the_tag_do_is_an_error_before_anything_runs() -> None:
    output = {"name": "x", "value": "{% do result.append(1) %}{{ result }}"}
    with pytest.raises(ConfigError, match="no statement 'do'"):
        load_flow({"flow": [{"name": "a", "source": "env", "output": [output]}]})


def test_a_provider_that_changes_what_it_gets_changes_neither_parameters_nor_outputs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Spoiler:
        def __init__(self, configuration: dict[str, Any]) -> None:
            self.rows = configuration["rows"]

        def call(self, input_payload: Any) -> Any:
            self.rows.append("spoiled")
            input_payload["params"].append("spoiled")
            input_payload["output"]["deep"].clear()
            return answer(input_payload)

    params, output = {"rows": [1]}, {"deep": [1]}
    kind = provider_kind_of("other", Spoiler)
    monkeypatch.setattr(PROVIDERS, "_loaded", {**PROVIDERS._loaded, "other": kind})
    flow = load_flow(
        {
            "params": {"rows": {"type": "list"}},
            "flow": [
                {"name": "one", "source": "env", "output": [{"name": "out"}]},
                {"name": "two", "source": {"type": "process", "command": ["true"]},
                 "input": {"params": "{{ params.rows }}", "output": "{{ flows.one.out }}"},
                 "output": [{"name": "x", "type": "raw"}]},
            ],
        }
    )  # fmt: skip
    run = RunInfo("r1", "f", lambda: 0.0, SeenParams(MappingProxyType(params)))
    upstream = type("Done", (), {"state": "succeeded", "error": None, "result": {},
                                 "outputs": {"out": output}})()  # fmt: skip
    source = Source("other", {"rows": "{{ params.rows }}"})
    step = replace(flow.step("two"), source=source)
    for _ in range(2):
        outcome = run_step(StepContext(step, run), flow.sources, {"one": upstream})
        spoiled = {"params": [1, "spoiled", "spoiled"], "output": {"deep": []}}
        assert outcome.outputs == {"x": spoiled}
    assert params == {"rows": [1]}
    assert output == {"deep": [1]}

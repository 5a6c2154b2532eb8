"""What a step learns to be secret, and that nothing it says is cut before it is masked."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from flowtoy_dagster.errors import ConfigError
from flowtoy_dagster.flow.param_values import bind, see_params
from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.steps.attempts import StepOutcome, run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo
from flowtoy_dagster.steps.state.mask import StepMask

TOKEN = "tok-ABCDEFGHIJKLMNOPQRSTUVWXYZ-0123456789-end"
PASSWORD = "correct  horse   battery"
SAYS_BACK = "/services/hooks/workspace-000000000/channel-0000/"


@pytest.fixture
def address(serve: Callable[..., str]) -> str:
    """A server that says the token back behind 150 other characters; 404 elsewhere."""

    def reply(asked: Any) -> tuple[int, dict[str, str], bytes]:
        said = ""
        if asked.path == "/refused":
            said = "y" * 150 + str(asked.headers.get("Authorization"))
        elif asked.path == "/blanks":
            said = " " * 1990 + TOKEN
        return (400 if said else 404), {}, said.encode()

    return serve(reply)


def run(step: dict[str, Any], **top: Any) -> tuple[StepOutcome, StepMask]:
    """The outcome of a step, and its mask."""
    flow = load_flow({"flow": [{"name": "it", **step}], **top})
    outputs = flow.step("it").outputs
    mask = StepMask(
        FlowSecrets(flow).mask(os.environ), holding=any(o.is_secret for o in outputs)
    )
    context = StepContext(flow.step("it"), RunInfo("r1", "f", lambda: 0.0), mask=mask)
    outcome = run_step(context, flow.sources, {})
    mask.release()
    return outcome, mask


def python(code: str, *words: str, **more: Any) -> dict[str, Any]:
    """A step that runs Python code."""
    return {"source": "process", "input": {"command": [sys.executable, "-c", code, *words]}, **more}


def said_by(outcome: StepOutcome) -> str:
    return "\n".join([outcome.error or "", outcome.stderr, outcome.called])


# language 13.2: masked first, cut afterwards


@pytest.mark.parametrize("path", ["/refused", "/blanks", f"{SAYS_BACK}{{{{ env.SHOP_TOKEN }}}}"])
def test_what_a_server_says_is_masked_before_it_is_cut(
    path: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", TOKEN)
    outcome, _ = run({
        "source": {"type": "rest", "url": address + path},
        "input": {"auth": {"bearer": "{{ env.SHOP_TOKEN }}"}},
    })
    assert outcome.error is not None
    assert "tok-A" not in said_by(outcome)


def test_blanks_in_a_secret_do_not_unmask_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", PASSWORD)
    script = 'echo "login failed for $1" >&2; exit 3'
    outcome, _ = run({
        "source": "process",
        "input": {"command": ["sh", "-c", script, "sh", "{{ env.DB_PASSWORD }}"]},
    })
    assert outcome.error == "sh exited with code 3: login failed for ***"
    assert "horse" not in said_by(outcome)


def test_a_long_line_of_stderr_is_masked_before_it_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    code = "import sys; sys.exit('y' * 280 + sys.argv[1])"
    outcome, _ = run(python(code, "{{ env.MY_TOKEN }}"))
    assert "tok-A" not in said_by(outcome)


def test_secrets_in_a_rendered_payload_are_learned() -> None:
    # language 13.1: a template makes the secret, nothing of it is in the configuration
    outcome, mask = run({
        "source": {"type": "process", "pass_to": "stdin",
                   "command": [sys.executable, "-c", "import sys; sys.exit(sys.stdin.read())"]},
        "input": {"type": "value", "value": {"api_key": "{{ 'made' ~ '-in-' ~ 'flight' }}"}},
    })
    assert mask.learned >= {"made-in-flight"}
    assert outcome.error is not None
    assert "flight" not in said_by(outcome)


def test_the_credentials_of_a_rendered_header_are_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    # language 13.1
    monkeypatch.setenv("PAIR", base64.b64encode(b"me:pa55-word").decode())
    _, mask = run({
        "source": {"type": "rest", "url": "http://127.0.0.1:1/"},
        "input": {"headers": {"authorization": "Basic {{ env.PAIR }}"}, "timeout": 5},
    })
    assert "pa55-word" in mask.learned


# language 13.2: secret outputs

PRINTS = "import sys; print('made-in-flight'); print('made-in-flight', file=sys.stderr);"
TOKEN_OUTPUT = {"name": "token", "value": "{{ result.stdout | trim }}"}
OPEN_OUTPUT = {"name": "open", "value": "stdout"}


def test_a_secret_output_is_learned_although_another_fails() -> None:
    broken = {"name": "a", "value": "{{ result.stdout.nothing.at_all }}"}
    outcome, mask = run(python(PRINTS, output=[broken, TOKEN_OUTPUT]))
    assert outcome.error is not None
    assert "made-in-flight" in mask.learned
    assert not mask.is_discarding


def test_a_secret_output_is_learned_although_the_step_fails() -> None:
    outcome, mask = run(python(PRINTS + "sys.exit(3)", output=[OPEN_OUTPUT, TOKEN_OUTPUT]))
    assert "made-in-flight" in mask.learned
    assert outcome.error is not None
    assert outcome.error.endswith("exited with code 3: ***")
    assert outcome.stderr == "***"


@pytest.mark.parametrize("output", [
    {"name": "token", "value": "access_token"},
    {"name": "made", "type": "json", "secret": True, "value": None},
    {"name": "made", "value": "{{ result.nothing }}", "secret": True},
])
def test_nothing_is_kept_of_what_a_step_said_whose_secret_output_is_unknown(
    output: dict[str, Any],
) -> None:
    if output.get("type") == "json":
        outcome, mask = run(python(PRINTS + "import time; time.sleep(60)", timeout=0.5,
                                   output=[output]))
        assert outcome.error == "timed out after 0.5 s"
    else:
        outcome, mask = run(python(PRINTS + "sys.exit(3)", output=[output]))
        assert outcome.error is not None
        assert outcome.error.startswith("the call failed with code 3; what it said is not kept")
    assert mask.is_discarding
    assert "flight" not in said_by(outcome)
    assert outcome.result is None or (outcome.result.data, outcome.result.notes) == (None, ())


def test_an_output_that_can_not_be_taken_is_no_failure_of_the_call() -> None:
    unknown = {"name": "made", "value": "nothing.at.all", "secret": True}
    broken = {"name": "a", "value": "{{ result.code / 0 }}"}
    outcome, mask = run(python(PRINTS, output=[unknown, broken]))
    assert outcome.error == (
        "output 'a' can't be taken; the reason is not kept, as it may hold a secret output: 'made'"
    )
    assert mask.is_discarding
    assert "flight" not in said_by(outcome)


def test_a_name_can_be_switched_off() -> None:
    outcome, mask = run(python(PRINTS + "sys.exit(3)", output=[{**TOKEN_OUTPUT, "secret": False}]))
    assert outcome.error is not None
    assert outcome.error.endswith(": made-in-flight")
    assert not mask.learned


def test_a_source_may_be_named_like_a_secret() -> None:
    # language 13.1
    source = {"type": "process", "command": ["echo", "hello world"]}
    outcome, mask = run(
        {"source": "token_service", "output": [{"name": "o", "value": "stdout"}]},
        sources={"token_service": source},
    )
    assert outcome.mask.data(dict(outcome.outputs)) == {"o": "hello world\n"}
    assert mask.current.text("the process said hello world") == "the process said hello world"


# language 15.4


@pytest.mark.parametrize(
    ("flow", "message"),
    [
        ({"params": {"api_token": {"type": "integer", "default": "hunter9999"}}},
         "expected a whole number"),
        ({"params": {"pin": {"type": "integer", "default": "hunter9999", "secret": True}}},
         "expected a whole number"),
        ({"params": {"api_token": {"type": "string", "default": 99990000}}}, "expected text"),
    ],
)
def test_a_configuration_error_shows_no_secret(flow: dict[str, Any], message: str) -> None:
    step = {"name": "a", "source": {"type": "process", "command": ["true"]}}
    with pytest.raises(ConfigError) as error:
        load_flow({"flow": [step], **flow})
    assert message in str(error.value)
    assert "hunter" not in str(error.value)
    assert "9999" not in str(error.value)


def test_a_value_that_is_no_secret_is_shown_in_a_configuration_error() -> None:
    step = {"name": "a", "source": {"type": "process", "command": ["true"]}}
    with pytest.raises(ConfigError, match="expected a whole number, got 'many'"):
        load_flow({"flow": [step], "params": {"max_tokens": {"type": "integer",
                                                            "default": "many"}}})


def test_a_parameter_switches_off_the_names_of_variables_and_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # language 13.1
    monkeypatch.setenv("PAGE_TOKEN", "page-two-of-seven")
    params = {
        "page": {"type": "string", "env": "PAGE_TOKEN", "secret": False},
        "other": {"type": "string", "secret": True, "default": "word-of-a-secret"},
        "both": {"type": "string", "secret": False, "default": "word-of-a-secret"},
    }
    flow = load_flow({"params": params, "flow": [{
        "name": "it",
        "source": {"type": "process", "env": {"SORT_TOKEN": "{{ params.page }}"},
                   "command": ["echo", "{{ params.page }}", "{{ params.both }}"]},
        "output": [{"name": "said", "value": "stdout"}],
    }]})
    flow = bind(flow)
    known = FlowSecrets(flow).mask(os.environ)
    run = RunInfo("r1", "f", lambda: 0.0, see_params(flow, os.environ))
    outcome = run_step(StepContext(flow.step("it"), run, mask=StepMask(known)), {}, {})
    # What is declared secret stays so, whatever else has the same value.
    said = outcome.shown(outcome.outputs, outcome.mask)["said"]
    assert said == "page-two-of-seven ***\n"

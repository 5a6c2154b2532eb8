"""Steps that run in two threads of one process keep to themselves."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtoy_dagster.flow.graph import Source, Step
from flowtoy_dagster.flow.schema.models import OutputConfig
from flowtoy_dagster.masking.mask import Mask
from flowtoy_dagster.steps.attempts import StepOutcome, run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo
from flowtoy_dagster.steps.state.mask import StepMask

PATIENCE = 60.0
ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
kinds = st.sampled_from(["prints", "learns", "fails", "times out"])
words = st.text("abcdefghijklmnop", min_size=8, max_size=12)


class One:
    """A step of a pair, in a thread of its own."""

    def __init__(self, kind: str, secret: str, other: str) -> None:
        self.kind, self.secret = kind, secret
        self.printed = b""
        self.outcome: StepOutcome | None = None
        self.mask = StepMask(Mask([secret]))
        text = f"own {secret} theirs {other}"
        input_: Any = ["printf", "%s", text]
        if kind == "fails":
            input_ = ["sh", "-c", 'printf %s "$0" >&2; exit 3', text]
        elif kind == "times out":
            input_ = ["echo", ENDLESS]
        configuration: dict[str, Any] = {"command": input_}
        if kind == "learns":
            configuration["env"] = {"API_TOKEN": f"learned-{secret}"}
        output = OutputConfig.model_validate({"name": "x", "value": "stdout"})
        step = Step(0, kind, Source("process", configuration), outputs=(output,))
        deadline = 0.1 if kind == "times out" else PATIENCE
        self.context = StepContext(
            step,
            RunInfo(secret, kind, lambda: 0.0),
            deadline=time.monotonic() + deadline,
            mask=self.mask,
            output=self.take,
        )

    def take(self, stream: str, data: bytes) -> None:
        self.printed += self.mask.octets(data)

    def run(self) -> None:
        self.outcome = run_step(self.context, {}, {})


# The interrupt of a step whose time is up may hit hypothesis's callback for garbage collection.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
# language 10.2, 13.2
@settings(max_examples=200, deadline=None)
@given(kinds=st.tuples(kinds, kinds), secrets=st.lists(words, min_size=2, max_size=2, unique=True))
def test_nothing_of_one_step_reaches_the_other(kinds: tuple[str, str], secrets: list[str]) -> None:
    if secrets[0] in secrets[1] or secrets[1] in secrets[0]:
        return
    pair = [One(kinds[0], *secrets), One(kinds[1], *reversed(secrets))]
    threads = [threading.Thread(target=one.run) for one in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    for one, other in (pair, reversed(pair)):
        outcome = one.outcome
        assert outcome is not None
        shown = f"own *** theirs {other.secret}"
        if one.kind == "times out":
            assert outcome.error == "the run's timeout has passed"
            assert one.printed == b""
            continue
        assert one.kind == "fails" or outcome.error is None, outcome.error
        assert one.printed.decode() == shown
        if one.kind == "fails":
            assert outcome.error == f"sh exited with code 3: {shown}"
        else:
            assert outcome.outputs == {"x": f"own {one.secret} theirs {other.secret}"}
        learned = {f"learned-{one.secret}"} if one.kind == "learns" else set()
        assert outcome.secrets == learned
        assert outcome.mask.values == {one.secret, *learned}

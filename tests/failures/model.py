"""A reference model of what becomes of a flow in which steps fail (language 9), and nothing else.

It is written from the rules alone: it shares no code with the program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Planned:
    """A step as far as the rules see it; `on_error` is None where the step does not say.

    `needs` and `may_use` are those of `depends_on` of which it reads an output, without and with a
    guard.
    """

    name: str
    fails: bool = False
    on_error: str | None = None
    depends_on: tuple[str, ...] = ()
    when: bool | None = None
    needs: tuple[str, ...] = ()
    may_use: tuple[str, ...] = ()
    run_if: str | None = None

    @property
    def closes(self) -> bool:
        """Whether it runs after failures, too (19.3)."""
        return self.run_if in ("failure", "always")

    def as_written(self) -> dict[str, Any]:
        """The step in a flow's configuration."""
        step: dict[str, Any] = {"name": self.name, "depends_on": list(self.depends_on)}
        if self.fails:
            step |= {"source": "process", "input": {"command": ["false"]},
                     "output": [{"name": "value", "value": "stdout"}]}
        else:
            step |= {"source": {"type": "env", "vars": ["A_VARIABLE"]},
                     "output": [{"name": "value", "value": "A_VARIABLE"}]}
        for name in self.needs:
            step["output"].append({"name": f"of {name}", "type": "template",
                                   "value": f"{{{{ flows.{name}.value }}}}"})
        for name in self.may_use:
            step["output"].append({"name": f"of {name}", "type": "template",
                                   "value": f"{{{{ flows.{name}.value | default('-') }}}}"})
        if self.run_if is not None:
            step["run_if"] = self.run_if
        if self.when is not None:
            step["when"] = "1 < 2" if self.when else "1 > 2"
        if self.on_error is not None:
            step["on_error"] = self.on_error
        return step


def as_flow(steps: Sequence[Planned], default: str | None = None, **runner: Any) -> dict[str, Any]:
    """The configuration of some steps."""
    own = {"on_error": default} if default is not None else {}
    return {"runner": {**own, **runner}, "flow": [step.as_written() for step in steps]}


class Model:
    """What the rules say of some steps.

    Args:
        steps: each after those that it depends on.
        default: `runner.on_error`.
    """

    def __init__(self, steps: Sequence[Planned], default: str | None = None) -> None:
        self.steps = {step.name: step for step in steps}
        self._default = default or "fail"

    def policy(self, name: str) -> str:
        """The policy that holds for a step (9.1, 19.3)."""
        said = self.steps[name].on_error or self._default
        return "skip" if said == "fail" and self.steps[name].closes else said

    def between(self, failed: str, dependent: str) -> str:
        """`run`, `skip` or `halt` (9.2)."""
        policies = {self.policy(failed), self.policy(dependent)}
        if "continue" in policies:
            return "run"
        return "skip" if "skip" in policies else "halt"

    def halts(self, failed: str) -> bool:
        """Whether the failure of a step halts the run (9.2, 9.3)."""
        dependents = [
            step.name for step in self.steps.values()
            if failed in step.depends_on and not step.closes
        ]
        if not dependents:
            return self.policy(failed) == "fail"
        return any(self.between(failed, name) == "halt" for name in dependents)

    def unhalted(self) -> dict[str, str]:
        """The state of each step if no failure halted the run."""
        return {
            name: "skipped" if state == "unwanted" else state
            for name, state in self.ends().items()
        }

    def ends(self) -> dict[str, str]:
        """The same, with `unwanted` for what a condition skips."""
        states: dict[str, str] = {}
        left = list(self.steps.values())
        while left:
            for step in left:
                if self.waits_for(step) <= states.keys():
                    states[step.name] = self.end_after(step, states)
            left = [step for step in left if step.name not in states]
        return states

    def waits_for(self, step: Planned) -> set[str]:
        """The steps that must have ended before one starts (8.1, 19.3)."""
        if not step.closes or step.depends_on:
            return set(step.depends_on)
        behind = {other.name for other in self.steps.values()
                  if other.closes and not other.depends_on}
        for other in self.steps.values():  # each after those that it depends on
            if behind & set(other.depends_on):
                behind.add(other.name)
        return self.steps.keys() - behind

    def is_wanted(self, step: Planned, states: Mapping[str, str]) -> bool:
        """Whether a closing step runs (19.3)."""
        if step.run_if == "always":
            return True
        pending, seen = list(self.waits_for(step)), set()
        while pending:
            name = pending.pop()
            if states[name] == "failed":
                return True
            if states[name] == "skipped" and name not in seen:
                seen.add(name)
                pending += self.waits_for(self.steps[name])
        return False

    def end_after(self, step: Planned, states: Mapping[str, str]) -> str:
        """The state of a step after those that it depends on; `unwanted`: a condition skips it."""
        ends = {name: states[name] for name in step.depends_on}
        if step.closes:
            if not self.is_wanted(step, states):
                return "skipped"
        elif any(
            state == "skipped" or (state == "failed" and self.between(name, step.name) != "run")
            for name, state in ends.items()
        ):
            return "skipped"
        needed = {ends[name] for name in step.needs}
        if step.when is False or needed & {"unwanted", "skipped"}:  # 19.1, 19.2
            return "unwanted"
        return "failed" if step.fails or "failed" in needed else "succeeded"

    def check(self, states: Mapping[str, str], succeeded: bool) -> None:
        """Assert that the end of a run is one that the rules allow.

        A run that halts may do so before or after a step that has nothing to do with it.
        """
        unhalted = self.unhalted()
        failed = [name for name, state in states.items() if state == "failed"]
        halting = [name for name in failed if self.halts(name)]
        assert succeeded == (not any(self.policy(name) == "fail" for name in failed))  # 9.5
        if not halting:
            assert dict(states) == unhalted
            return
        assert states.keys() == unhalted.keys()
        for name, step in self.steps.items():
            # 9.4: what tolerates a failure runs, unless it waits for what the halt keeps from it.
            ends = {before: states[before] for before in step.depends_on}
            if step.closes and step.when is not False and not step.needs:
                wanted = "failed" if step.fails else "succeeded"
                if step.run_if == "always" or "failed" in ends.values():
                    assert states[name] == wanted, name
            elif "failed" in ends.values() and "skipped" not in ends.values() and not step.closes:
                expected = self.end_after(step, states)
                assert states[name] == {"unwanted": "skipped"}.get(expected, expected), name
        for name, state in states.items():
            step = self.steps[name]
            if step.closes:
                # What a halt keeps from starting is skipped for it, as by a condition or a failure.
                assert state in ("skipped", "failed" if step.fails else "succeeded", "failed"), name
                continue
            assert state in (unhalted[name], "skipped"), name
            for before in self.steps[name].depends_on if state != "skipped" else ():
                end = self.ends()[before] if states[before] == "skipped" else states[before]
                tolerated = end == "failed" and self.between(before, name) == "run"
                assert tolerated or end in ("succeeded", "unwanted")

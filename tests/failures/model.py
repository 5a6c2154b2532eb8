"""A reference model of what becomes of a flow in which steps fail, are skipped by conditions, are
repeated, or run after failures (language 9, 18, 19), and nothing else.

It is written from the rules alone: it shares no code with the program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GUARDS = {
    "": "flows.{}.value",
    "default": "flows.{}.value | default('-')",
    "or": "flows.{}.value or '-'",
    "if": "flows.{0}.value if flows.{0}.value is defined else '-'",
}
NOT_RUN = ("skipped", "unwanted", "interrupted")
"""What readers see as skipped: by a failure, by a condition, and without a record."""


@dataclass(frozen=True)
class Reads:
    """An output of another step that a step reads.

    Attributes:
        name: the other step, one of `depends_on`.
        place: where: `output`, `vars` (of the source), `in` (of a loop), or `when`.
        guard: how it is guarded; an empty text where it is not.
    """

    name: str
    place: str = "output"
    guard: str = ""

    @property
    def expression(self) -> str:
        """What computes with the output."""
        return f"(({GUARDS[self.guard].format(self.name)}) ~ '')"


@dataclass(frozen=True)
class Items:
    """What a step is repeated for: of each item `ok`, `fails` or `unwanted`, by its condition."""

    ends: tuple[str, ...]
    max_failures: int = 0
    stop_after: int = 20

    @property
    def expression(self) -> str:
        """The list."""
        return str([{"ok": int(end != "fails"), "wanted": end != "unwanted"} for end in self.ends])


@dataclass(frozen=True)
class Planned:
    """A step as far as the rules see it; `on_error` is None where the step does not say.

    Attributes:
        fails: whether it fails where nothing else decides.
        quietly: how, without a process: its output is not `computed`, or `required` and null.
        when: its condition: true, false, or whether a step that it depends on has some state.
        items: of a step that is repeated.
    """

    name: str
    fails: bool = False
    on_error: str | None = None
    depends_on: tuple[str, ...] = ()
    when: bool | tuple[str, str] | None = None
    reads: tuple[Reads, ...] = ()
    run_if: str | None = None
    items: Items | None = None
    quietly: str = ""

    @property
    def closes(self) -> bool:
        """Whether it runs after failures, too (19.3)."""
        return self.run_if in ("failure", "always")

    @property
    def needs(self) -> tuple[Reads, ...]:
        """What it reads without a guard and in any case.

        Its condition joins what it reads by `and`: only the first is read in any case.
        """
        later = self._at("when")[1:]
        return tuple(read for read in self.reads if not read.guard and read not in later)

    @property
    def read_last(self) -> tuple[Reads, ...]:
        """What its condition reads without a guard, in order."""
        return tuple(read for read in self._at("when") if not read.guard)

    def as_written(self) -> dict[str, Any]:
        """The step in a flow's configuration."""
        step: dict[str, Any] = {"name": self.name, "depends_on": list(self.depends_on)}
        if self.fails and not self.quietly and self.items is None:
            step |= {"source": "process", "input": {"command": ["false"]},
                     "output": [{"name": "value", "value": "stdout"}]}
        else:
            texts = [f"{{{{ {read.expression}[:0] }}}}" for read in self._at("vars")]
            step |= {"source": {"type": "env", "vars": ["".join(["A_VARIABLE", *texts])]},
                     "output": [self._value()]}
        for read in self._at("output"):
            step["output"].append({"name": f"of {read.name}", "type": "template",
                                   "value": f"{{{{ {read.expression} }}}}"})
        if self.closes:
            step["output"].append({"name": "facts", "type": "template",
                                   "value": "{{ [run.failed, run.state] }}"})
        if self.items is not None:
            taken = "".join(f" + [{read.expression}][:0]" for read in self._at("in"))
            step["for_each"] = {
                "in": f"{{{{ {self.items.expression}{taken} }}}}", "concurrency": 1,
                "max_failures": self.items.max_failures, "stop_after": self.items.stop_after,
            }
        for key in ("run_if", "on_error"):
            if getattr(self, key) is not None:
                step[key] = getattr(self, key)
        condition = self._condition()
        return {**step, "when": condition} if condition else step

    def _at(self, place: str) -> list[Reads]:
        return [read for read in self.reads if read.place == place]

    def _value(self) -> dict[str, Any]:
        if not self.quietly and self.items is None:
            return {"name": "value", "value": "A_VARIABLE"}
        broken = "item.ok" if self.items is not None else str(int(not self.fails))
        if self.quietly == "required":
            return {"name": "value", "type": "template", "required": True,
                    "value": f"{{{{ {broken} or none }}}}"}
        return {"name": "value", "type": "template", "value": f"{{{{ 1 // {broken} }}}}"}

    def _condition(self) -> str:
        parts = [f"{read.expression} != 'nothing'" for read in self._at("when")]
        if self.items is not None:
            parts.append("item.wanted")
        if isinstance(self.when, tuple):
            parts.append(f"steps.{self.when[0]}.state == '{self.when[1]}'")
        elif self.when is not None:
            parts.append("1 < 2" if self.when else "1 > 2")
        return " and ".join(parts)


def as_flow(steps: Sequence[Planned], default: str | None = None, **runner: Any) -> dict[str, Any]:
    """The configuration of some steps."""
    own = {"on_error": default} if default is not None else {}
    return {"runner": {**own, **runner}, "flow": [step.as_written() for step in steps]}


class Model:
    """What the rules say of some steps.

    States are `succeeded`, `failed`, `skipped` (it never started), `unwanted` (a condition has
    skipped it), and `interrupted`.

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
        """The state of each step if no failure halted the run, as it is shown."""
        return {name: shown(state) for name, state in self.ends().items()}

    def ends(self) -> dict[str, str]:
        """The state of each step if no failure halted the run."""
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
        """The state of a step after those that it depends on."""
        ends = {name: states[name] for name in step.depends_on}
        if step.closes:
            if not self.is_wanted(step, states):
                return "skipped"
        elif any(
            state == "skipped" or (state == "failed" and self.between(name, step.name) != "run")
            for name, state in ends.items()
        ):
            return "skipped"
        ended = self._end_by_reads(step, ends)
        if ended is not None:
            return ended
        lacking = any(ends[read.name] == "failed" for read in step.needs)
        wanted = self._condition(step, ends)  # 19.1
        if step.items is not None:
            return _end_of_items(step.items, wanted, lacking)
        if not wanted:
            return "unwanted"
        return "failed" if step.fails or lacking else "succeeded"

    def _end_by_reads(self, step: Planned, ends: Mapping[str, str]) -> str | None:
        """The state of a step for which something is missing before its call (19.2)."""
        if any(ends[read.name] in NOT_RUN for read in step.needs):
            return "unwanted"
        if any(read.place == "in" and ends[read.name] == "failed" for read in step.needs):
            return "failed"
        for read in step.read_last:  # the first that is missing decides
            if ends[read.name] in ("failed", *NOT_RUN):
                return "failed" if ends[read.name] == "failed" else "unwanted"
        return None

    def _condition(self, step: Planned, ends: Mapping[str, str]) -> bool:
        if isinstance(step.when, tuple):
            return shown(ends[step.when[0]]) == step.when[1]
        return step.when is not False

    def check(self, states: Mapping[str, str], succeeded: bool) -> None:
        """Assert that the end of a run, as it is shown, is one that the rules allow.

        A run that halts may do so before or after a step that has nothing to do with it.
        """
        failed = [name for name, state in states.items() if state == "failed"]
        assert succeeded == (not any(self.policy(name) == "fail" for name in failed))  # 9.5
        if not any(self.halts(name) for name in failed):
            assert dict(states) == self.unhalted()
            return
        assert states.keys() == self.steps.keys()
        if any(isinstance(step.when, tuple) for step in self.steps.values()):
            return  # what is skipped may have one of several reasons; see `check_order`
        unhalted = self.unhalted()
        for name, step in self.steps.items():
            # 9.4: what tolerates a failure runs, unless it waits for what the halt keeps from it.
            ends = {before: states[before] for before in step.depends_on}
            reads = step.needs + step.read_last
            if step.closes and step.when is not False and not reads and not step.items:
                wanted = "failed" if step.fails else "succeeded"
                if step.run_if == "always" or "failed" in ends.values():
                    assert states[name] == wanted, name
            elif "failed" in ends.values() and "skipped" not in ends.values() and not step.closes:
                assert states[name] == shown(self.end_after(step, states)), name
        for name, state in states.items():
            step = self.steps[name]
            if step.closes:
                continue  # what it waits for may be skipped for a halt, or as by a condition
            assert state in (unhalted[name], "skipped"), name
            for before in self.steps[name].depends_on if state != "skipped" else ():
                end = self.ends()[before] if states[before] == "skipped" else states[before]
                tolerated = end == "failed" and self.between(before, name) == "run"
                assert tolerated or end in ("succeeded", "unwanted")

    def check_order(
        self, states: Mapping[str, str], happened: Sequence[tuple[str, str]]
    ) -> None:
        """Assert that each step of a run started and ended, or did not, as the rules say.

        Args:
            states: the state of each step.
            happened: what happened, in order: `starts` and `ends` of a step, `interrupted` once.
        """
        ended: set[str] = set()
        halted = interrupted = False
        for what, name in happened:
            if what == "interrupted":
                interrupted = True
                continue
            step = self.steps[name]
            if what == "starts":
                assert not interrupted or step.run_if == "always", name  # 19.3
                assert halted <= (step.closes or self.tolerates(step, states)), name  # 9.4
            else:
                ended.add(name)
                halted = halted or (states[name] == "failed" and self.halts(name))
                if states[name] != "interrupted":
                    assert states[name] == self.end_after(step, states), name
        for name in self.steps.keys() - ended:
            step = self.steps[name]
            assert states[name] == "skipped", name
            if interrupted:
                assert step.run_if != "always", name
            elif self.end_after(step, states) != "skipped":
                assert halted, name
                assert not step.closes, name
                assert not self.tolerates(step, states), name

    def tolerates(self, step: Planned, states: Mapping[str, str]) -> bool:
        """Whether a halt leaves a step alone: a step before it failed and may (9.4)."""
        return any(
            states[name] == "failed" and self.between(name, step.name) == "run"
            for name in step.depends_on
        )


def shown(state: str) -> str:
    """A state as `steps.<name>.state` and the status of a run have it."""
    return "skipped" if state in NOT_RUN else state


def _end_of_items(items: Items, wanted: bool, lacking: bool) -> str:
    """The state of a repeated step whose list is there (18.7)."""
    failed = in_a_row = 0
    for end in items.ends:
        if not wanted or end == "unwanted":
            in_a_row = 0
        elif lacking or end == "fails":
            failed, in_a_row = failed + 1, in_a_row + 1
            if in_a_row == items.stop_after:
                return "failed"
        else:
            in_a_row = 0
    return "failed" if failed > items.max_failures else "succeeded"

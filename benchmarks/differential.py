"""Run flows that are valid in flowtoy 0.4.0 by it and by this package, and compare the outputs.

    python -m venv old && old/bin/pip install flowtoy==0.4.0
    FLOWTOY_0_4=old/bin/python python benchmarks/differential.py

Every difference must be a row of docs/explanation/differences.md, which the corpus names.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
OLD = """
import json, logging, sys
logging.disable(logging.CRITICAL)
from flowtoy.config import load_yaml_files
from flowtoy.runner import LocalRunner
found = {}
for path in sys.argv[1:]:
    try:
        runner = LocalRunner(load_yaml_files([path]))
        runner.run()
        steps = {name: step.state for name, step in runner.status.steps.items()}
        found[path] = {"states": steps, "outputs": runner.flows}
    except Exception as error:
        found[path] = {"error": f"{type(error).__name__}: {error}"}
print(json.dumps(found, default=str))
"""


class Sample(NamedTuple):
    """A flow, and the row of the page of differences that it must show, if any."""

    name: str
    flow: dict[str, Any]
    differs: str | None = None


def step(name: str, source: Any, value: Any = None, **more: Any) -> dict[str, Any]:
    """A step with everything that its provider gives as the output `out`."""
    own = {"name": name, "source": source, "output": [{"name": "out", **(more.pop("out", {}))}]}
    if value is not None:
        own["input"] = value
    return {**own, **more}


def process(command: Any, **configuration: Any) -> dict[str, Any]:
    """An inline process source."""
    return {"type": "process", "configuration": {"command": command, **configuration}}


CAT = process(["cat"], pass_to="stdin")  # noqa: S106 - a way, no password
STDOUT = {"type": "jmespath", "value": "stdout"}
TEXTS = ["word", "two words", "ünïcödé", "", "a'b", 'a"b', "$HOME", "a;b", "*", "back\\slash",
         "line\nbreak", "{not a template}", "0755", "true", "null"]  # fmt: skip
PAYLOADS = ["text", 5, 1.5, True, ["a", "b"], {"a": 1}, {"a": {"b": [1, 2]}}, "two words"]
EXPRESSIONS = ["[0].name", "[].id", "[?id > `1`].name", "length(@)", "[-1]", "[*].country",
               "sort_by(@, &name)[0].id", "max_by(@, &id).name", "[0].missing", "[0:2].id",
               "join(',', [].country)", "[0].{a: id, b: name}", "reverse(@)[0].id",
               "[?country=='NL'] | [0]", "keys([0])", "map(&id, @)"]  # fmt: skip


def corpus() -> Iterator[Sample]:
    """All flows."""
    yield from commands()
    yield from order()
    yield from requests()
    yield from values()


def commands() -> Iterator[Sample]:
    """Arguments, exit codes, payloads."""
    for number, text in enumerate(TEXTS):
        yield Sample(f"argument {number}", {"flow": [
            step("a", process(["printf", "%s", text]), out=STDOUT)]})
    for code in (0, 1, 3):
        yield Sample(f"exit code {code}", {"flow": [
            step("a", process(["sh", "-c", f"exit {code}"]),
                 out={"type": "jmespath", "value": "returncode"})]})
    for words in ("echo plain words", "printf %s quoted", "echo 'one argument'", "expr 1 + 2"):
        yield Sample(f"text command {words}", {"flow": [step("a", process(words), out=STDOUT)]})
    for number, payload in enumerate(PAYLOADS):
        for mode in ("stdin", "arg"):
            command = ["cat"] if mode == "stdin" else ["printf", "%s"]
            as_json = "JSON in text" if isinstance(payload, (bool, list, dict)) else None
            yield Sample(f"payload {number} by {mode}", {"flow": [
                step("a", process(command, pass_to=mode), payload, out=STDOUT)]}, as_json)
    for number, text in enumerate(("word", "two words", "ünï", "a'b", "5", "line\nbreak")):
        yield Sample(f"chain {number}", {"flow": [
            step("a", process(["printf", "%s", text]), out=STDOUT),
            step("b", CAT, "got {{ flows.a.out }}", out=STDOUT)]})


def order() -> Iterator[Sample]:
    """Failures, and what waits for what."""
    for state in ("skip", "continue", "fail"):
        yield Sample(f"on_error {state} of the dependent", {"flow": [
            step("a", process(["false"]), out=STDOUT, **(
                {"on_error": state} if state != "fail" else {})),
            step("b", process(["echo", "b"]), depends_on=["a"], on_error=state, out=STDOUT)]},
            "states after a halt" if state == "fail" else None)
    for count in (2, 3, 5):
        names = [f"s{number}" for number in range(count)]
        yield Sample(f"a chain of {count} by depends_on", {"flow": [
            step(name, process(["echo", name]), out=STDOUT,
                 **({"depends_on": [names[at - 1]]} if at else {}))
            for at, name in enumerate(names)]})


SHOP = {"shop": {"type": "rest", "configuration": {"url": "@SHOP@/users"}}}


def requests() -> Iterator[Sample]:
    """Requests, and JMESPath on their answers."""
    for number, expression in enumerate(EXPRESSIONS):
        yield Sample(f"jmespath {number}", {"sources": SHOP, "flow": [
            step("a", "shop", out={"type": "jmespath", "value": expression})]})
    for path in ("users", "orders", "products", "changes", "pages/users"):
        yield Sample(f"all of {path}", {"sources": SHOP, "flow": [
            step("a", {"base": "shop", "override": {"configuration": {"url": f"@SHOP@/{path}"}}},
                 out={"type": "raw"})]})
    for number, body in enumerate(({"name": "a"}, {"name": "ü"}, {})):
        yield Sample(f"post {number}", {"flow": [
            step("a", {"type": "rest", "configuration": {
                "url": "@SHOP@/messages", "method": "POST", "input_mode": "body"}},
                body, out={"type": "raw"})]}, "JSON in text")


def values() -> Iterator[Sample]:
    """What templates make of values, and steps at the same time."""
    yield Sample("a native value", {"flow": [
        step("a", process(["echo", "[1, 2]"]), out={"type": "jmespath", "value": "json"}),
        step("b", CAT, "{{ flows.a.out }}", out=STDOUT)]},
        "JSON in text")
    for name in ("users", "orders", "products", "changes"):
        yield Sample(f"a list of {name} by its length", {"sources": SHOP, "flow": [
            step("a", {"base": "shop", "override": {"configuration": {"url": f"@SHOP@/{name}"}}},
                 out={"type": "jmespath", "value": "length(@)"}),
            step("b", CAT, "{{ flows.a.out }} records",
                 out=STDOUT)]})
    for number in (1, 2, 3, 4):
        together = [step(f"s{each}", process(["echo", str(each)]), out=STDOUT)
                    for each in range(number)]
        runner = {"max_workers": number}
        yield Sample(f"{number} steps at the same time", {"runner": runner, "flow": together})
    yield Sample("a mapping in text", {"flow": [
        step("a", process(["echo", '{"a": true}']), out={"type": "jmespath", "value": "json"}),
        step("b", CAT, "it is {{ flows.a.out }}", out=STDOUT)]},
        "JSON in text")
    yield Sample("a failing last step", {"flow": [
        step("a", process(["false"]), out=STDOUT), step("b", process(["echo", "b"]), out=STDOUT)]})


def old_results(paths: list[Path]) -> dict[str, Any]:
    """What flowtoy 0.4.0 gives, by path."""
    command = [os.environ["FLOWTOY_0_4"], "-c", OLD, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def new_result(path: Path) -> dict[str, Any]:
    """What this package gives: all steps are real, in this process."""
    from flowtoy_dagster.errors import ConfigError
    from flowtoy_dagster.testing.cases import run_case
    from flowtoy_dagster.testing.files import CaseReader

    steps = [each["name"] for each in json.loads(path.read_text())["flow"]]
    test = path.with_suffix(".test.yaml")
    environment = {name: os.environ[name] for name in ("PATH", "NO_PROXY", "no_proxy")}
    case = {"name": "it", "real": steps, "env": environment}
    test.write_text(json.dumps({"flow": path.name, "tests": [case]}))
    try:
        (found,) = CaseReader().read(str(test))
    except ConfigError as error:
        return {"error": str(error)}
    run = run_case(found).run
    outputs = {name: dict(each.outputs) for name, each in run.steps.items()}
    return {"states": {name: str(each.state) for name, each in run.steps.items()},
            "outputs": outputs}


def compare(sample: Sample, old: Any, new: Any) -> str | None:
    """How the two differ, or None."""
    if "error" in old or "error" in new:
        return None if "error" in old and "error" in new else f"{old} / {new}"
    for name, state in old["states"].items():
        if state != new["states"].get(name):
            return f"state of {name}: {state} / {new['states'].get(name)}"
        if state == "succeeded":
            mine, theirs = new["outputs"][name], old["outputs"].get(name)
            if mine != theirs:
                return f"outputs of {name}: {theirs} / {mine}"
    return None


def main() -> int:
    """Run all; the exit code is 1 where something differs that should not, or the reverse."""
    spec = importlib.util.spec_from_file_location("shop_api", ROOT / "examples" / "shop_api.py")
    assert spec is not None
    assert spec.loader is not None
    shop_api = importlib.util.module_from_spec(spec)
    sys.modules["shop_api"] = shop_api
    spec.loader.exec_module(shop_api)
    samples = list(corpus())
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = shop_api.HOST
    results: list[tuple[Sample, str | None]] = []
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"f{number}.yaml" for number in range(len(samples))]
        found: list[dict[str, Any]] = []
        for side in ("old", "new"):
            with shop_api.ShopApi() as shop:
                for sample, path in zip(samples, paths, strict=True):
                    path.write_text(json.dumps(sample.flow).replace("@SHOP@", shop.address))
                if side == "old":
                    found.append(old_results(paths))
                else:
                    found.append({str(path): new_result(path) for path in paths})
        old, new = found
        for sample, path in zip(samples, paths, strict=True):
            results.append((sample, compare(sample, old[str(path)], new[str(path)])))
    wrong = [(s, how) for s, how in results if (how is None) != (s.differs is None)]
    for sample, how in wrong:
        print(f"{sample.name}: {how or 'equal, though it should differ'}")
    alike = sum(how is None for _, how in results)
    print(f"{len(results)} flows: {alike} equal, {len(results) - alike} differ, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

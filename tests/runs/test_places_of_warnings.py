"""Where in the flow's files is what a step warns of, for whoever looks at the run."""

from __future__ import annotations

import http.server
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from dagster import DagsterEventType
from shown_runs import run_with_lines

from flowtoy_dagster import load_flow, run_flow
from flowtoy_dagster.cli import runs as commands
from flowtoy_dagster.engine.jobs.events import event_text
from flowtoy_dagster.flow.places import warning_place
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.status.models import MOST_WARNINGS, StepWarning
from flowtoy_dagster.runs.status.status_document import SCHEMA, read_status, status_document
from flowtoy_dagster.testing.run import FlowRun
from flowtoy_dagster.testing.single import Before, try_step
from flowtoy_dagster.tui.texts import state_text

MISTAKES = {
    "jmespath on text that is not JSON": (
        "{name: x, value: 'items[0].id'}", "hello", 5, 26,
        "output 'x': stdout is not JSON, so 'items[0].id' finds nothing",
    ),
    "a word of templates in jmespath": (
        "{name: x, value: result.xy}", '{"xy": 1}', 5, 26,
        "output 'x': 'result.xy' finds nothing: 'result' is a name in templates, and JMESPath "
        "begins in the result: write 'xy'",
    ),
    "a key that is misspelt": (
        "{value: xx, name: x}", '{"xy": 1}', 5, 17,
        "output 'x': 'xx' finds nothing: the data has 'xy'",
    ),
    "json on text": (
        "{name: x, type: json}", "not json {", 5, 9,
        "output 'x': stdout is not JSON: the output is its text",
    ),
}  # fmt: skip
TWO = """\
sources: {api: {type: rest, base_url: "http://127.0.0.1:PORT"}}
flow:
  - name: page
    source: api
    input: {url: /login}
    output:
      - {name: kept, value: code}
      - name: rows
        value: items[0]
  - name: text
    source: {type: process, command: [printf, hello]}
    output: [{name: x, value: a.b}]
"""


def flow_of(tmp_path: Path, output: str, printed: str, runner: str = "in_process") -> Path:
    """A flow with one step and one output."""
    file = tmp_path / "f.yaml"
    file.write_text(
        f"runner: {{executor: {runner}}}\nflow:\n  - name: a\n    output:\n      - {output}\n"
        f"    source: {{type: process, command: [printf, '%s', {json.dumps(printed)}]}}\n"
    )
    return file


@pytest.fixture
def pages() -> Iterator[int]:
    """The port of a server whose answers are HTML pages; to POST it says to look elsewhere."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<h1>Log in</h1>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.send_response(301)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("made_home")
@pytest.mark.parametrize(
    ("output", "printed", "line", "column", "message"), MISTAKES.values(), ids=MISTAKES
)
def test_what_finds_nothing_has_its_place(
    tmp_path: Path, output: str, printed: str, line: int, column: int, message: str
) -> None:
    # language 7.2
    file = flow_of(tmp_path, output, printed)
    done = run_flow(file)
    expected = [StepWarning(message, f"{file}:{line}:{column}")]
    assert done.success
    assert done.status.steps["a"].warnings == expected
    file.unlink()
    with History() as history:
        run = history.find(done.run_id)
        assert history.status(run).steps["a"].warnings == expected


@pytest.mark.usefixtures("made_home")
@pytest.mark.parametrize("executor", ["warm", "in_process", "multiprocess"])
def test_a_warning_has_its_place_wherever_it_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    pages: int, executor: str,
) -> None:  # fmt: skip
    file = tmp_path / "shop.yaml"
    written = f"{TWO}runner: {{executor: {executor}}}\n"
    file.write_text(written.replace("PORT", str(pages)))
    monkeypatch.chdir(tmp_path)
    flow = load_flow("shop.yaml")
    done, told = run_with_lines(flow)
    page = "output 'rows': the answer (text/html) is not JSON, so 'items[0]' finds nothing"
    text = "output 'x': stdout is not JSON, so 'a.b' finds nothing"
    shown = {line[14:]: told[number + 1] for number, line in enumerate(told) if "warning" in line}
    assert shown == {
        f"page  warning: {page}": "    place:  shop.yaml:9:16",
        f"text  warning: {text}": "    place:  shop.yaml:12:31",
    }
    with History() as history:
        run = history.find(done.run_id)
        status = history.status(run)
        stored = [
            str(entry.dagster_event.event_specific_data)
            for entry in history.instance.all_logs(run.run_id, DagsterEventType.ENGINE_EVENT)
            if entry.dagster_event is not None and entry.level == logging.WARNING
        ]
    assert len(stored) == 2
    assert all(str(tmp_path) not in each for each in stored)  # who shows it adds the place
    assert status.steps["page"].warnings == [StepWarning(page, f"{file}:9:16")]
    document: Any = json.loads(json.dumps(status_document(status)))
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert document["steps"]["text"]["warnings"] == [{"message": text, "place": f"{file}:12:31"}]
    assert read_status(document).steps["text"].warnings == status.steps["text"].warnings
    shown_text = state_text(status.steps["page"], status).plain
    assert f"warning   {page}\n          shop.yaml:9:16\n" in shown_text
    commands.show_run(done.run_id)
    assert f"\npage, warning: {page}\n    place: shop.yaml:9:16\n" in capsys.readouterr().out


@pytest.mark.usefixtures("made_home")
def test_attempts_that_warn_of_the_same_do_so_once(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("""\
runner: {executor: in_process}
flow:
  - name: a
    source: {type: process, command: [printf, hello]}
    retry: {max: 2, delay: 0}
    output:
      - {name: y, value: stdout.a, required: true}
      - {name: x, type: json}
""")
    (step,) = run_flow(file).status.steps.values()
    assert step.attempt == 3
    assert [warning.place for warning in step.warnings] == [f"{file}:8:9"]


def test_a_step_that_runs_in_this_process_logs_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    flow = load_flow(flow_of(tmp_path, "{name: x, type: json}", "hello").name)
    wanted = "f.yaml:5:9: step 'a': output 'x': stdout is not JSON: the output is its text"
    with caplog.at_level(logging.WARNING, "flowtoy.step"):
        try_step(flow, flow.step("a"), Before())
        FlowRun(flow).carry_out()
    assert [record.getMessage() for record in caplog.records] == [wanted] * 2


@pytest.mark.usefixtures("made_home")
def test_a_run_that_nobody_watches_logs_its_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    file = flow_of(tmp_path, "{name: x, type: json}", "hello")
    with caplog.at_level(logging.WARNING, "flowtoy"):
        run_flow(file.name)
    told = [record.getMessage() for record in caplog.records if record.name == "flowtoy"]
    assert told == ["f.yaml:5:9: step 'a': output 'x': stdout is not JSON: the output is its text"]


@pytest.mark.usefixtures("made_home")
def test_a_provider_names_a_key_of_the_source_and_hides_secrets(
    tmp_path: Path, pages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "t0ken-of-the-shop")
    file = tmp_path / "f.yaml"
    file.write_text(f"""\
runner: {{executor: in_process}}
sources:
  api: {{type: rest, method: POST, url: "http://127.0.0.1:{pages}/{{{{ env.SHOP_TOKEN }}}}"}}
flow:
  - {{name: a, source: api, input: {{json: [1]}}}}
  - name: b
    source: api
    input: {{json: [1], url: "http://127.0.0.1:{pages}/b"}}
""")
    steps = run_flow(file).status.steps
    places = {name: [w.place for w in step.warnings] for name, step in steps.items()}
    assert places == {"a": [f"{file}:3:40"], "b": [f"{file}:8:29"]}
    (warning,) = steps["a"].warnings
    assert warning.message.endswith("is redirected (301), and called there with GET, without its "
                                    "body")  # fmt: skip
    assert "t0ken" not in warning.message


@pytest.mark.usefixtures("made_home")
def test_an_output_that_is_large_has_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # language 20.6
    monkeypatch.setattr(event_text, "LARGE_OUTPUT", 10)
    file = flow_of(tmp_path, "{name: x, value: stdout}", "12345678901234567890")
    (warning,) = run_flow(file).status.steps["a"].warnings
    assert warning.place == f"{file}:5:9"
    assert warning.message.startswith("output 'x' has 0 MiB of JSON")


@pytest.mark.usefixtures("made_home")
def test_of_many_warnings_the_first_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    outputs = "".join(f"      - {{name: x{n}, type: json}}\n" for n in range(MOST_WARNINGS + 5))
    file.write_text(
        "runner: {executor: in_process}\nflow:\n  - name: a\n"
        f"    source: {{type: process, command: [printf, hello]}}\n    output:\n{outputs}"
    )
    found = run_flow(file).status.steps["a"].warnings
    assert [w.place for w in found] == [f"{file}:{n + 6}:9" for n in range(MOST_WARNINGS)]


def test_a_part_that_is_not_written_has_the_place_around_it(tmp_path: Path) -> None:
    flow = load_flow(flow_of(tmp_path, "{name: x, type: json}", "hello"))
    file = tmp_path / "f.yaml"
    around = {(): "3:5", ("output",): "5:7", ("output", 7): "5:7", ("incremental", "lag"): "3:5"}
    for path, place in around.items():
        assert warning_place(flow, "a", path) == f"{file}:{place}"
    assert warning_place(flow, "b", ()) is None
    assert warning_place(load_flow({"flow": [{"name": "a", "source": "env"}]}), "a", ()) is None

"""Bodies as they are, and files that commands write (language 20.1, 20.2)."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.flow.graph import Source
from flowtoy_dagster.steps.attempts import StepOutcome

Run = Callable[..., StepOutcome]
BODY = b'[{"id": 1},\n {"id": 2}]\n'


def process(script: str) -> Source:
    return Source("process", {"command": script, "shell": True})


def read(outcome: StepOutcome, name: str = "out0") -> bytes:
    assert outcome.error is None, outcome.error
    return Path(outcome.outputs[name]["path"]).read_bytes()


@pytest.fixture
def url(serve: Callable[..., str]) -> str:
    """A server that answers as the path says; `/once` fails the first time."""
    asked: list[str] = []
    json = {"Content-Type": "application/json"}

    def reply(request: Any) -> Any:
        asked.append(request.path)
        if request.path == "/once" and asked.count("/once") == 1:
            return 503, json, b'{"error": "busy"}'
        if request.path == "/moved":
            return 302, {"Location": "/once"}, b"not here"
        if request.path == "/binary":
            return 200, {"Content-Type": "image/png"}, b"\x89PNG\xff\x00"
        if request.path == "/cut":
            return 200, {"Content-Encoding": "gzip"}, gzip.compress(BODY * 99)[:-9]
        if request.path == "/none":
            return 204, {}, b""
        return 200, json, BODY

    return serve(reply)


def rest(url: str, **more: Any) -> Source:
    return Source("rest", {"url": url, "timeout": 20, **more})


def test_a_body_is_written_as_it_is(run_source: Run, url: str) -> None:
    outcome = run_source(rest(f"{url}/binary"), {"format": "raw"})
    assert read(outcome) == b"\x89PNG\xff\x00"
    value = outcome.outputs["out0"]
    assert (value["content_type"], value["records"], value["bytes"]) == ("image/png", None, 6)
    assert outcome.result is not None
    assert not outcome.result.data  # nothing needed it in memory


def test_only_the_body_of_a_success_is_written(run_source: Run, url: str) -> None:
    first, second = (run_source(rest(f"{url}/moved"), {"format": "raw"}) for _ in range(2))
    assert first.error == 'HTTP status 503: {"error": "busy"}'
    assert read(second) == BODY


def test_a_body_goes_to_all_outputs_that_want_it(run_source: Run, url: str) -> None:
    outcome = run_source(
        rest(f"{url}/json"), {"format": "raw"}, {"format": "jsonl"},
        {"type": "jmespath", "value": "[1].id"},
    )  # fmt: skip
    assert read(outcome) == BODY
    assert read(outcome, "out1") == b'{"id":1}\n{"id":2}\n'
    assert outcome.outputs["out2"] == 2


def test_records_are_read_of_a_body_that_is_written_too(run_source: Run, url: str) -> None:
    outcome = run_source(rest(f"{url}/json"), {"format": "raw"}, {"format": "jsonl"})
    assert read(outcome) == BODY
    assert read(outcome, "out1") == b'{"id":1}\n{"id":2}\n'


def test_a_body_is_judged_before_it_is_written(
    run_source: Run, url: str, folder: Path
) -> None:
    source = rest(url, response_actions=[{"content": "id", "action": "fail"}])
    assert "failed by 'response_actions[0]'" in (run_source(source, {"format": "raw"}).error or "")
    assert list(folder.iterdir()) == []
    kept = rest(url, response_actions=[{"content": "other", "action": "fail"}])
    assert read(run_source(kept, {"format": "raw"})) == BODY


def test_a_body_that_is_cut_leaves_no_file(run_source: Run, url: str, folder: Path) -> None:
    outcome = run_source(rest(f"{url}/cut"), {"format": "raw"})
    assert "is cut" in (outcome.error or "")
    assert list(folder.iterdir()) == []


def test_the_size_that_is_asked_for_holds_for_files_too(run_source: Run, url: str) -> None:
    outcome = run_source(rest(url, max_response_bytes=5), {"format": "raw"})
    assert outcome.error == "the answer is larger than max_response_bytes (5)"


def test_no_content_is_no_records(run_source: Run, url: str) -> None:
    none = rest(f"{url}/none")
    outcome = run_source(none, {"format": "raw"}, {"format": "jsonl"}, {"format": "csv"})
    assert [read(outcome, f"out{n}") for n in range(3)] == [b"", b"", b""]


def test_what_a_command_prints(run_source: Run) -> None:
    outcome = run_source(
        process("printf '[{\"a\": \"\\\\u00fc\"}] '"), {"format": "raw"}, {"format": "jsonl"}
    )
    assert read(outcome) == b'[{"a": "\\u00fc"}] '
    assert read(outcome, "out1") == '{"a":"ü"}\n'.encode()
    binary = run_source(process("printf '\\377\\000'"), {"format": "raw"})
    assert read(binary) == b"\xff\x00"


@pytest.mark.parametrize(
    ("printed", "why"),
    [
        ('{"items": []}', "not a list of records; change what the command prints"),
        ("text", "not a list of records; 'format: raw' takes it as it is"),
        ("7", "not a list of records"),
    ],
)
def test_what_is_no_list_of_records_is_an_error(run_source: Run, printed: str, why: str) -> None:
    outcome = run_source(Source("process", {"command": ["echo", printed]}), {"format": "jsonl"})
    assert outcome.error == f"output 'out0': what the step gives is {why}"


def test_a_file_of_a_command_is_taken_under_its_name(run_source: Run, folder: Path) -> None:
    # language 20.2
    script = "cd $FLOWTOY_OUTPUTS && echo a,b > 'a report.csv' && echo x > x && mkdir more"
    outcome = run_source(process(script), {"value": "a report.csv"}, {"value": "x"})
    assert read(outcome) == b"a,b\n"
    value = outcome.outputs["out0"]
    assert Path(value["path"]) == folder / "out0" / "a report.csv"
    assert (value["format"], value["records"], value["bytes"]) == ("csv", None, 4)
    assert outcome.outputs["out1"]["format"] == "raw"
    assert sorted(path.name for path in folder.iterdir()) == ["out0", "out1"]


def test_a_file_of_a_command_goes_to_a_path(run_source: Run, tmp_path: Path) -> None:
    place = tmp_path / "report.bin"
    outcome = run_source(
        process("echo 1 > $FLOWTOY_OUTPUTS/r"), {"value": "r", "path": str(place), "format": "csv"}
    )
    assert (read(outcome), outcome.outputs["out0"]["format"]) == (b"1\n", "csv")


NOT_TAKEN = {
    "a link": ("ln -s /etc/passwd f", "'f' is a link; the file itself is needed"),
    "a folder": ("mkdir f", "'f' is not a regular file"),
    "a FIFO": ("mkfifo f", "'f' is not a regular file"),
}


@pytest.mark.parametrize(("script", "why"), NOT_TAKEN.values(), ids=list(NOT_TAKEN))
def test_what_is_no_file_is_not_taken(
    run_source: Run, folder: Path, script: str, why: str
) -> None:
    outcome = run_source(process(f"cd $FLOWTOY_OUTPUTS && {script}"), {"value": "f"})
    assert outcome.error == f"output 'out0': the file can't be written: {why}"
    assert [path for path in folder.rglob("*") if not path.is_dir()] == []


def test_a_file_that_was_not_written_names_those_that_were(run_source: Run) -> None:
    outcome = run_source(process("touch $FLOWTOY_OUTPUTS/a.csv"), {"value": "b.csv"})
    assert outcome.error == (
        "output 'out0': the command has written no 'b.csv' into $FLOWTOY_OUTPUTS; there is 'a.csv'"
    )


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "..", "x" * 300])
def test_a_name_that_a_template_gives_is_no_path(
    run_source: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("NAME", name)
    outcome = run_source(process("true"), {"value": "{{ env.NAME }}"})
    assert (outcome.error or "").startswith("output 'out0': value: ")


def test_a_step_without_files_has_no_folder_for_them(run_source: Run) -> None:
    outcome = run_source(
        process("echo ${FLOWTOY_OUTPUTS-none}"), {"type": "jmespath", "value": "stdout"}
    )
    assert outcome.outputs["out0"] == "none\n"
    assert "FLOWTOY_OUTPUTS" not in os.environ

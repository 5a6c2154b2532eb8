"""The process provider with real processes (language 11.3)."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.errors import ConfigError, TemplateError
from flowtoy_dagster.flow.graph import Source, Step
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.providers.base import Output, ProviderResult
from flowtoy_dagster.providers.process.kind import ProcessKind
from flowtoy_dagster.providers.process.provider import ProcessProvider
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo

PATIENCE = 60.0


STEP = Step(0, "it", Source("process", {}))


def run(
    payload: Any = None, *, output: Output | None = None, **configuration: Any
) -> ProviderResult:
    rendered = ProcessKind().render(configuration, {}, payload)
    context = StepContext(STEP, RunInfo("r1", "f", lambda: 0.0), output=output)
    return ProviderResult.of(ProcessProvider(rendered).call(payload, context))


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether a condition comes true before our patience ends."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def is_gone(pid: int) -> bool:
    """Whether no process of that id runs; one that nobody has waited for counts as gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except OSError:
        return True


def test_the_result_holds_both_streams_and_the_code() -> None:
    result = run(command=["sh", "-c", "printf out; printf err >&2"])
    assert result.success
    assert result.code == 0
    assert result.data == {"stdout": "out", "stderr": "err", "returncode": 0}
    assert isinstance(result.meta["pid"], int)


@pytest.mark.parametrize(
    ("printed", "expected"),
    [('{"a": 1}', {"a": 1}), ("[1]\\n", [1]), ("12", 12), ("null", None), ('"x"', "x"),
     ("1" * 25, int("1" * 25))],
)  # fmt: skip
def test_stdout_that_is_json_is_parsed(printed: str, expected: Any) -> None:
    data = run(command=["printf", printed]).data
    assert data["json"] == expected
    assert isinstance(data["json"], type(expected))


@pytest.mark.parametrize("printed", ["", "text", "{", "NaN", "{}{}", "nan", '["\\\\ud800"]'])
def test_stdout_that_is_not_json_has_no_json(printed: str) -> None:
    assert "json" not in run(command=["printf", printed]).data


def test_a_failure_tells_the_program_the_code_and_the_last_line_of_stderr() -> None:
    result = run(command=["sh", "-c", "echo first >&2; echo the reason >&2; exit 3"])
    assert not result.success
    assert result.code == 3
    assert result.notes == ("sh exited with code 3: the reason",)
    assert result.data["stderr"] == "first\nthe reason\n"


def test_a_line_of_stderr_in_which_nothing_can_be_read_is_not_the_reason() -> None:
    result = run(command=["sh", "-c", r"printf 'the reason\r\033[K\n \033[0m\n' >&2; exit 3"])
    assert result.notes == ("sh exited with code 3: the reason",)


def test_a_failure_of_a_shell_command_does_not_show_its_values() -> None:
    rendered = ProcessKind().render({"command": "false {{ v }} | false"}, {"v": "hush"}, None)
    result = ProviderResult.of(ProcessProvider(rendered).call())
    assert result.notes == ("the shell command exited with code 1",)


@pytest.mark.parametrize(
    ("codes", "success"), [([0, 3], True), (3, True), ([0], False), ([], False), (["3"], True)]
)
def test_success_codes_decide(codes: Any, success: bool) -> None:
    assert run(command=["sh", "-c", "exit 3"], success_codes=codes).success is success


def test_a_command_killed_by_a_signal_says_which() -> None:
    result = run(command=["sh", "-c", "kill -9 $$"])
    assert result.code == -9
    assert result.notes == ("sh was killed by signal 9 (SIGKILL)",)


def test_a_missing_command_is_named() -> None:
    assert run(command=["no-such-command"]).notes == ("command not found: 'no-such-command'",)


def test_a_command_that_is_no_program_is_named(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("x")
    assert run(command=[str(plain)]).notes == (f"'{plain}' can't be executed: permission denied",)


@pytest.mark.parametrize("kind", ["missing", "a file"])
def test_a_wrong_working_directory_is_named(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    if kind == "a file":
        folder.write_text("")
    (note,) = run(command=["true"], cwd=str(folder)).notes
    assert note.startswith(f"the working directory '{folder}' can't be entered: ")


@pytest.mark.parametrize(
    ("configuration", "part"),
    [
        ({"env": {"A": "x\0y"}}, "the variable 'A' holds a NUL character"),
        ({"env": {"A=B": "x"}}, "'A=B' can't be the name of an environment variable"),
        ({"env": {"": "x"}}, "'' can't be the name of an environment variable"),
        ({"cwd": "a\0b"}, "'cwd' holds a NUL character"),
    ],
    ids=["NUL in a variable", "= in a variable's name", "a variable without a name",
         "NUL in the working directory"],
)
def test_what_can_not_be_passed_is_a_failure(configuration: Any, part: str) -> None:
    (note,) = run(command=["true"], **configuration).notes
    assert note.startswith("true could not be started: ")
    assert part in note


def test_an_argument_that_is_too_long_says_what_to_do() -> None:
    (note,) = run("x" * 300_000, command=["echo"]).notes
    assert "pass large values by 'stdin'" in note


def test_the_working_directory_is_ours_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(command=["pwd", "-P"]).data["stdout"].strip() == str(tmp_path.resolve())


def test_variables_are_added_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INHERITED", "1")
    result = run(command=["printenv", "INHERITED", "A", "N"], env={"A": 2, "N": None})
    assert result.data["stdout"] == "1\n2\n\n"


@pytest.mark.parametrize(
    ("stdin", "expected"),
    [("a\n", "a\n"), ({"a": "é"}, '{"a":"é"}'), (1, "1"), (False, "false"), ("", ""), (None, "")],
)
def test_stdin_is_text_as_it_is_or_json(stdin: Any, expected: str) -> None:
    assert run(command=["cat"], stdin=stdin).data["stdout"] == expected


def test_large_input_and_output_do_not_block_each_other() -> None:
    text = "0123456789" * 200_000
    result = run(text, command=["cat"], pass_to="stdin")
    assert result.data["stdout"] == text


def test_a_command_that_reads_nothing_may_be_given_input() -> None:
    assert run("x" * 1_000_000, command=["true"], pass_to="stdin").success


def test_output_that_is_not_utf8_is_decoded_with_replacement() -> None:
    data = run(command=["printf", "a\\377b\\303"]).data
    assert data["stdout"] == "a\ufffdb\ufffd"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_too_much_output_ends_the_command(stream: str) -> None:
    redirect = ">&2" if stream == "stderr" else ""
    result = run(command=["sh", "-c", f"yes {redirect}"], max_output_bytes=10_000)
    assert not result.success
    assert result.notes[0].startswith(f"sh printed more than 10000 bytes on {stream}")


@pytest.mark.parametrize("redirect", ["", ">&2"], ids=["stdout", "stderr"])
def test_output_up_to_the_limit_is_kept(redirect: str) -> None:
    result = run(command=f"printf 12345 {redirect}", shell=True, max_output_bytes=5)
    assert result.success, result.notes
    assert result.data["stderr" if redirect else "stdout"] == "12345"
    assert not run(command=f"printf 123456 {redirect}", shell=True, max_output_bytes=5).success


SHOW = "show() { printf '<%s>' \"$@\"; }\nshow {{ 1 + 1 }} a"
"""A script that shows its arguments; the first is a value."""


@pytest.mark.parametrize(
    ("script", "shown"),
    [
        (SHOW, "<2><a><x y>"),
        (SHOW + "  # it's the last", "<2><a><x y>"),
        (SHOW + "\n# don't\n\n  # won't", "<2><a><x y>"),
        (SHOW + " b#c '#d' \\#e", "<2><a><b#c><#d><#e><x y>"),
        ("# what's here\n" + SHOW, "<2><a><x y>"),
        (SHOW.replace("{{ 1 + 1 }}", "one"), "<one><a><x y>"),
    ],
    ids=["plain", "a comment", "comments", "no comments", "a comment before", "no value"],
)
@pytest.mark.parametrize("way", ["payload", "args"])
def test_an_argument_that_is_appended_to_a_script_reaches_its_last_command(
    script: str, shown: str, way: str
) -> None:
    payload, args = ("x y", []) if way == "payload" else (None, ["x y"])
    result = run(payload, command=script, shell=True, args=args)
    assert result.data["stdout"] == shown


def test_an_argument_can_not_be_appended_to_a_here_document() -> None:
    script = "cat <<EOF\nit's {{ 1 + 1 }}\nEOF\n"
    assert run(command=script).data["stdout"] == "it's 2\n"
    assert run(command=script + "printf %s", args=["x"]).data["stdout"] == "it's 2\nx"
    with pytest.raises(TemplateError, match="ends with a here-document"):
        run(command=script, args=["x"])


@pytest.mark.parametrize(
    ("command", "printed"),
    [
        ("# don't run this twice\necho hello\n", "hello\n"),
        ("# what's here\necho one\n# that's all", "one\n"),
        ("echo one   # it's the first", "one\n"),
        ("echo a#b '#c' \"#d\" \\#e", "a#b #c #d #e\n"),
        ("echo x#'y z'", "x#y z\n"),
        ("cat <<EOF\nit's # no comment\nEOF", "it's # no comment\n"),
    ],
)
@pytest.mark.parametrize("shell", [False, True])
def test_a_comment_is_what_a_shell_takes_for_one(
    command: str, printed: str, shell: bool
) -> None:
    # language 11.3
    assert run(command=command, shell=shell).data["stdout"] == printed
    source = {"type": "process", "command": command, "shell": shell}
    load_flow({"flow": [{"name": "a", "source": source}]})


@pytest.mark.parametrize("command", ["# only", "  # it's\n"])
def test_a_command_of_comments_alone_is_empty(command: str) -> None:
    with pytest.raises(ConfigError, match="the command is empty"):
        load_flow({"flow": [{"name": "a", "source": {"type": "process", "command": command}}]})


def test_quotes_are_left_to_the_shell_that_is_asked_for() -> None:
    command = "echo it's"
    with pytest.raises(ConfigError, match="can't be split: no closing quotation"):
        load_flow({"flow": [{"name": "a", "source": {"type": "process", "command": command}}]})
    result = run(command=command, shell=True)
    assert not result.success
    assert "nterminated quoted string" in result.notes[0]


@pytest.mark.parametrize("trap", ["", "trap '' TERM;"], ids=["willing", "deaf to TERM"])
def test_a_timeout_ends_the_whole_process_group(
    trap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowtoy_dagster.providers.subprocesses.KILL_AFTER", 0.2)
    script = f"{trap} sleep 600 & echo $! > pids; echo $$ >> pids; wait; sleep 600"
    result = run(command=["sh", "-c", script], cwd=str(tmp_path), timeout=3)
    assert result.notes == ("sh timed out after 3 s",)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    assert all(eventually(lambda pid=pid: is_gone(pid)) for pid in pids)


def test_an_interrupt_ends_the_whole_process_group(tmp_path: Path) -> None:
    script = "sleep 600 & echo $! > pids; echo $$ >> pids; echo ready; wait"

    def interrupt(stream: str, piece: bytes) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(command=["sh", "-c", script], cwd=str(tmp_path), output=interrupt)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert all(eventually(lambda pid=pid: is_gone(pid)) for pid in pids)


def test_a_child_left_behind_does_not_hold_the_step_up(tmp_path: Path) -> None:
    script = "sleep 600 & echo $! > pid; echo done"
    result = run(command=["sh", "-c", script], cwd=str(tmp_path), timeout=60)
    os.kill(int((tmp_path / "pid").read_text()), 9)
    assert result.success
    assert result.data["stdout"] == "done\n"


def test_output_is_shown_while_it_comes() -> None:
    seen: list[tuple[str, bytes]] = []
    run(
        command=["sh", "-c", "printf a; printf b >&2"],
        output=lambda stream, piece: seen.append((stream, piece)),
    )
    assert sorted(seen) == [("stderr", b"b"), ("stdout", b"a")]


@pytest.mark.parametrize(
    ("configuration", "shown"),
    [
        ({}, "printf (3 arguments)"),
        ({"command": ["true"]}, "true (0 arguments)"),
        ({"command": "true | true"}, "the shell command (2 arguments)"),
        ({"log_full_command": True}, "printf %s%s public hush"),
        ({"redact_args": [3]}, "printf %s%s public ***"),
        ({"redact_patterns": ["hus"]}, "printf %s%s public ***"),
        ({"redact_args": []}, "printf %s%s public hush"),
        ({"redact_args": [1], "redact_patterns": ["pub"]}, "printf *** *** hush"),
    ],
    ids=["default", "no argument", "shell", "full", "by index", "by pattern", "none", "both"],
)
def test_the_log_shows_no_more_than_was_asked_for(
    configuration: dict[str, Any], shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "flowtoy.process"):
        run(**{"command": ["printf", "%s%s", "public", "hush"], **configuration})
    assert caplog.records[0].getMessage() == f"running {shown}"
    told = " ".join(record.getMessage() for record in caplog.records)
    assert ("hush" in told) == ("hush" in shown)


@pytest.mark.parametrize("shell", [True, "true", "yes", "on", 1], ids=repr)
def test_shell_may_be_asked_for_in_every_way_yaml_knows(shell: Any) -> None:
    assert run(command="printf $0", shell=shell).data["stdout"].endswith("sh")
    rendered = ProcessKind().render({"command": "printf x", "shell": shell}, {}, None)
    assert rendered["command"].script


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("a b", "a b|a b|false|"),
        ({"n": 1}, '{"n":1}|{"n":1}|true|1'),
        ('{"n": 2}', '{"n": 2}|{"n": 2}|true|2'),
    ],
)
def test_a_payload_is_seen_by_the_commands_templates(payload: Any, expected: str) -> None:
    template = "{{ input }}|{{ raw }}|{{ json is mapping }}|{{ jmespath('n') }}"
    result = run(payload, command=["printf", "%s", template], pass_to="template")
    assert result.data["stdout"] == expected


def test_from_python_the_payloads_names_are_all_there_is() -> None:
    provider = ProcessProvider({"command": ["printf", "{{ input }}"], "pass_to": "template"})
    assert ProviderResult.of(provider.call("x")).data["stdout"] == "x"


def test_a_process_without_a_command_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a 'command'"):
        ProcessProvider({})


def test_python_sees_its_own_arguments() -> None:
    code = "import sys, json; print(json.dumps(sys.argv[1:]))"
    result = run({"a": 1}, command=[sys.executable, "-c", code], args=["x y", 2])
    assert result.data["json"] == ["x y", "2", '{"a":1}']

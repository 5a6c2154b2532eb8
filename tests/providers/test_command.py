"""Command strings: split before they are rendered, quoted for a shell (language 11.3)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.providers.process.command import (
    CommandLine,
    check_command,
    needs_shell,
    prepare,
)

# What a process can be given: UTF-8 text without NUL.
arguments = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
nasty = st.sampled_from(
    ["$(touch hacked)", "`touch hacked`", "'; touch hacked; '", '"; touch hacked; "', "${IFS}",
     "\n touch hacked\n", "&& touch hacked", "| touch hacked", "*", "~", "$HOME", "\\", "'", '"',
     "END\ntouch hacked\n", "# x", "0:0", "{{ 7 * 7 }}", "!!", "-n"]
)  # fmt: skip
hostile = st.lists(nasty | arguments, min_size=1, max_size=4).map("".join)


def line(command: Any, args: Any = (), *, shell: bool = False, **names: Any) -> CommandLine:
    return prepare(command, args, shell=shell, context=names)


def printed(command: CommandLine, folder: Path) -> bytes:
    done = subprocess.run(
        command.argv, capture_output=True, cwd=folder, env={**os.environ, **command.variables},
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@given(arguments)
def test_any_value_is_exactly_one_argument(value: str) -> None:
    template = "cmd --v={{ v }} {{ v }} 'a {{ v }}' \"b {{ v }}\" {{ v }}{{ v }} end"
    assert line(template, [value], v=value).argv == (
        "cmd", f"--v={value}", value, f"a {value}", f"b {value}", f"{value}{value}", "end", value,
    )  # fmt: skip
    assert line(["cmd", "{{ v }}"], [value], v=value).argv == ("cmd", value, value)


# Commands, and what each prints around the value.
QUOTED = {
    "printf %s {{ v }} | cat": ("", ""),
    "printf %s 'x{{ v }}y' | cat > out; cat out": ("x", "y"),
    "printf %s \"\"\"{{ v }}\" | cat": ("", ""),
    "V={{ v }}; printf %s \"$V\"": ("", ""),
    "printf %s {{ v | shquote }} | cat": ("", ""),
    "f() { printf %s \"$1\"; }; f {{ v }}": ("", ""),
    "(printf %s {{ v }})": ("", ""),
    "{ printf %s {{ v }}; }": ("", ""),
    "case {{ v }} in *) printf %s {{ v }};; esac": ("", ""),
    "test -n x{{ v }} && printf %s {{ v }}": ("", ""),
    "for i in {{ v }}; do printf %s \"$i\"; done": ("", ""),
    "echo $(printf a; (printf b)) >/dev/null; printf %s {{ v }}": ("", ""),
    "echo $(( (1 + 2) * (3) )) >/dev/null; printf %s {{ v }}": ("", ""),
    "echo `printf a` >/dev/null; printf %s {{ v }}": ("", ""),
    "echo # it's {{ v }}\nprintf %s {{ v }} | tail -c +1": ("\n", ""),
    "sh -c 'printf %s {{ v | shquote }}' | cat": ("", ""),
    "sh -c \"printf %s {{ v | shquote }}\" | cat": ("", ""),
    "printf %s \\{{ v }} | cat": ("", ""),
}  # fmt: skip


@pytest.mark.parametrize("command", QUOTED)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=hostile)
@example(value="\n\n a\n\n")
def test_any_value_comes_unchanged_out_of_a_shell(
    command: str, value: str, tmp_path: Path
) -> None:
    before, after = QUOTED[command]
    out = printed(line(command, shell=True, v=value), tmp_path)
    assert not (tmp_path / "hacked").exists()
    assert out.decode() == before + value + after


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(
        st.sampled_from(
            ["{{ v }}", "'", '"', "$(", ")", "`", "\\", " ", ";", "echo ", "|", "(", "${x:-", "}",
             "<<END\n", "\nEND\n", "#", "\n", "$((", "))", "{{ v | shquote }}", "&"]
        ),
        min_size=2, max_size=10,
    ),
    value=st.just("$(touch hacked)`touch hacked`;touch hacked;'\";touch hacked\ntouch hacked\n"),
)  # fmt: skip
def test_no_script_however_odd_executes_a_value(
    pieces: list[str], value: str, tmp_path: Path
) -> None:
    try:
        command = line("echo " + "".join(pieces), shell=True, v=value)
    except TemplateError:
        return
    subprocess.run(
        command.argv, capture_output=True, cwd=tmp_path, stdin=subprocess.DEVNULL,
        env={**os.environ, **command.variables}, timeout=120,
    )  # fmt: skip
    assert not (tmp_path / "hacked").exists()


def test_a_value_that_looks_like_a_mark_of_ours_is_refused() -> None:
    for command in ("echo {{ v }} | cat", "echo {{ v }}", ["echo", "{{ v }}"]):
        with pytest.raises(TemplateError, match="NUL"):
            line(command, v="\0" + "0" + "\0")


def test_values_put_together_by_blocks_stay_one_word(tmp_path: Path) -> None:
    command = "{% set x %}a {{ v }}{% endset %}printf '<%s>' {{ x }} | cat"
    assert printed(line(command, v="b;$(id)"), tmp_path) == b"<a b;$(id)>"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("ls -l 'a b'", False), ("echo 'a|b' \"c;d\" \\&", False), ("echo {{ 'a|b' }}", False),
        ('echo "$HOME"', False), ("a=b", True), ("A=b cmd", True), ("echo a=b", False),
        ("a | b", True), ("a && b", True), ("a;b", True), ("a > b", True), ("a < b", True),
        ("echo $HOME", True), ("echo `id`", True), ("ls *.py", True), ("ls a?", True),
        ("(a)", True), ("ls ~", True), ("ls ~/x", True), ("ls a~", False), ("a\nb", True),
        ("echo 'a'|b", True), ("echo it\\'s", False),
    ],
)  # fmt: skip
def test_operators_outside_quotes_need_a_shell(command: str, expected: bool) -> None:
    assert line(command).script == expected
    if "{{" not in command:
        assert needs_shell(command) == expected


@pytest.mark.parametrize(
    ("command", "message"),
    [("", "empty"), ("  \n", "empty"), ("echo 'a", "no closing quotation"), ("a\0b", "NUL"),
     ("echo a\\", "no escaped character")],
)  # fmt: skip
def test_commands_that_can_not_be_split_are_refused(command: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_command(command)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("cat <<'END'\n{{ v }}\nEND", "here-document whose delimiter is quoted"),
        ("cat <<\\END\n{{ v }}\nEND", "here-document whose delimiter is quoted"),
        ("echo $(( {{ v }} + 1 ))", "must be a whole number"),
        ("echo $(( (1 + {{ v }}) ))", "must be a whole number"),
    ],
)
def test_places_that_can_not_take_a_value_are_refused(command: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        line(command, v="a[$(id)]")


def test_numbers_go_into_arithmetic(tmp_path: Path) -> None:
    command = line('echo "$(( {{ v }} * (2 + {{ v }}) ))"', shell=True, v=3)
    assert printed(command, tmp_path) == b"15\n"


def test_here_documents_take_values(tmp_path: Path) -> None:
    value = "$(id)\nEND\n`id` \\ 'x' \"y\""
    command = (
        "cat <<-END\n\t{{ v }}\n\tEND\n"
        "cat <<A; cat <<B\n{{ v }}\nA\n{{ v }}\nB\n"
        "printf %s {{ v }}"
    )
    out = printed(line(command, v=value), tmp_path).decode()
    assert out == f"{value}\n{value}\n{value}\n{value}"


def test_statements_with_a_body_are_one_argument() -> None:
    command = "cmd {% for i in v %}{{ i }} {% endfor %} {% if v %}a b{% endif %} {# c d #}end"
    assert line(command, v=[1, 2]).argv == ("cmd", "1 2 ", "a b", "end")


def test_a_list_is_taken_as_it_is() -> None:
    assert line(["a b", 1, True, "{{ v }}"], shell=True, v={"k": 1}).argv == (
        "a b", "1", "true", '{"k":1}',
    )  # fmt: skip


def test_a_missing_value_is_an_error_or_nothing() -> None:
    for command in ("echo {{ v }}", "echo {{ v }} | cat", ["echo", "{{ v }}"]):
        with pytest.raises(TemplateError, match="'v' is not a name"):
            line(command)
        prepare(command, [], shell=False, context={}, lenient=True)


def test_with_is_a_statement_with_a_body() -> None:
    command = "echo {% with x = 'a b' %}{{ x }} c{% endwith %} d"
    assert line(command).argv == ("echo", "a b c", "d")


# Commands that hand a script to a shell: how a value gets into it, and what is printed around it.
INNER = {
    "printf %s {{ v }}": ("", ""),
    "printf %s '{{ v }}'": ("", ""),
    'printf %s "a{{ v }}b"': ("a", "b"),
    "printf %s {{ v | shquote }}": ("", ""),
    "x={{ v }}; printf %s \"$x\" # it's {{ v }}": ("", ""),
}


@given(value=hostile)
@example(value="$(touch hacked)")
@settings(
    deadline=None,
    max_examples=10,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@pytest.mark.parametrize("script", INNER)
def test_a_value_in_the_script_of_a_shell_is_never_code(
    script: str, value: str, tmp_path: Path
) -> None:
    # language 11.3
    before, after = INNER[script]
    expected = f"{before}{value}{after}".encode()
    shells: list[list[str]] = [
        ["sh", "-c"], ["/bin/bash", "-o", "errexit", "-uc"], ["bash", "--norc", "-ec"],
        ["env", "A=1", "timeout", "-k", "1", "60", "sh", "-c"], ["xargs", "-n", "1", "sh", "-c"],
    ]  # fmt: skip
    for shell in shells:
        assert printed(line([*shell, script], v=value), tmp_path) == expected
    find = ["find", ".", "-maxdepth", "0", "-exec", "sh", "-c", script, ";"]
    assert printed(line(find, v=value), tmp_path) == expected
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("value", ["a b", "$(touch hacked)", "'; touch hacked; '"])
def test_a_value_in_the_quoted_script_of_a_command_string_is_never_code(
    value: str, tmp_path: Path
) -> None:
    found = line("sh -ec 'printf %s {{ v }}' -", ["more"], v=value)
    assert found.argv == ("sh", "-ec", 'printf %s "${FLOWTOY_VALUE_1}"', "-", "more")
    assert printed(found, tmp_path) == value.encode()


@pytest.mark.parametrize(
    "command",
    [
        ["sh", "-c", "{{ v }}"], ["sh", "-c", "echo one", "{{ v }}"], ["sh", "{{ v }} x"],
        ["{{ v }}", "-c", "a {{ v }}"], ["echo", "-c", "a {{ v }}"], ["sh", "-e", "a {{ v }}"],
        ["sh", "-c"], ["bash", "-o", "-c", "a {{ v }}"],
    ],
    ids=str,
)
def test_other_arguments_are_values_as_they_are(command: list[str]) -> None:
    found = line(command, v="1 2")
    assert found.argv == tuple(part.replace("{{ v }}", "1 2") for part in command)
    assert found.variables == {}

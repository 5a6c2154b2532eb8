"""Templates whose values a program reads as code: a warning, with the safe form (language 11.3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtoy_dagster.errors import ConfigError
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.providers.process.code_warnings import code_findings

V = "{{ env.V }}"


def warned(command: Any, **others: Any) -> list[str]:
    """The programs that warnings name."""
    found = code_findings({"command": command, **others})
    assert all(finding.warning and finding.hint for finding in found)
    return [finding.message.split("'")[1] for finding in found]


CODE = [
    (["awk", f"{{print {V}}}"], "awk"),
    (["gawk", "-F", ",", "-v", "a=1", V, "file"], "gawk"),
    (["sed", f"s/a/{V}/", "file"], "sed"),
    (["sed", "-n", "file", "-e", "p", f"--expression=s/a/{V}/"], "sed"),
    (["sed", "-ne", V], "sed"),
    (["/usr/bin/perl", "-lne", f"print {V}"], "perl"),
    (["perl", "-e", "1;", "-e", V], "perl"),
    (["python3", "-c", f"print('{V}')"], "python3"),
    (["python3.12", "-Ic", V], "python3.12"),
    (["python", f"-cprint({V})"], "python"),
    (["node", "-e", f"f('{V}')"], "node"),
    (["node", f"--eval=f('{V}')"], "node"),
    (["node", "-pe", V], "node"),
    (["ruby", "-e", V], "ruby"),
    (["php", "-r", V], "php"),
    (["jq", f".{V}", "file"], "jq"),
    (["sh", "-c", V], "sh"),
    (["psql", "-d", "shop", "-c", f"select '{V}'"], "psql"),
    (["psql", "shop", f"--command=select '{V}'"], "psql"),
    (["psql", "-Atc", f"select '{V}'"], "psql"),
    (["mysql", "-u", "me", "-psecret", "shop", "-e", f"select '{V}'"], "mysql"),
    (["sqlite3", "-json", "shop.db", f"select '{V}'"], "sqlite3"),
    (["duckdb", "-c", f"select '{V}'"], "duckdb"),
    (["fish", "-c", f"echo {V}"], "fish"),
    (["ssh", "-p", "22", "host", f"ls {V}"], "ssh"),
    (["ssh", "host", "ls", V], "ssh"),
    (["su", "user", "-c", f"ls {V}"], "su"),
    (["su", "-", "user", f"--command=ls {V}"], "su"),
    (["sudo", "-u", "user", "sh", "-c", f"ls {V}"], "sh"),
    (["env", "-i", "A=1", "sh", "-c", f"ls {V}"], "sh"),
    (["docker", "exec", "-it", "box", "sh", "-c", f"ls {V}"], "sh"),
    (["xargs", "-n", "1", "awk", V], "awk"),
    (["timeout", "-k", "1", "5", "nice", "-n", "3", "perl", "-e", V], "perl"),
    (["find", ".", "-name", "x", "-exec", "awk", V, "{}", ";"], "awk"),
    (["flock", "lock", "-c", f"ls {V}"], None),
    (["flock", "-c", f"ls {V}"], "flock"),
    (f"awk '{V}' file", "awk"),
    (f"cat file | awk -F, '{{print {V}}}'", "awk"),
    (f"cat file | sed s/a/{V}/ > out", "sed"),
    (f"a && eval \"ls {V}\"", "eval"),
    (f"eval ls {V}; b", "eval"),
    (f"x=$(perl -e {V}); echo $x", "perl"),
    (f'echo "now `sed -e {V}`" | cat', "sed"),
    (f"echo | sh -c 'echo {V}'", "sh"),
    (f"echo | xargs -I% bash -c 'echo % {V}'", "bash"),
    (f"find . | while read f; do A=1 python -c {V} > out; done", "python"),
    (f"if a\nthen 2>err ssh host ls {V}\nfi", "ssh"),
    (f"cat <<END\nit's\nEND\nawk {V}", "awk"),
    (f"echo $((1 << 2))\nawk {V}", "awk"),
    ("ssh host ls {{ env.V | shquote }}", "ssh"),
    ("awk '{{ env.V | shquote }}'", "awk"),
    ("perl -e 'f({{ env.V | tojson }})'", "perl"),
    ("sed 's/{% if env.V %}{{ env.V }}{% endif %}/b/'", "sed"),
]


@pytest.mark.parametrize(("command", "program"), CODE, ids=str)
def test_a_value_in_the_code_of_a_program_is_warned_of(command: Any, program: str | None) -> None:
    assert warned(command) == ([program] if program else [])


SAFE = [
    ["awk", "-v", f"a={V}", "{print a}", V],
    ["awk", "-f", "program", V],
    ["sed", "-e", "s/a/b/", V],
    ["sed", "-f", "program", V],
    ["perl", "-e", "print $ARGV[0]", V],
    ["perl", "script.pl", "-e", V],
    ["python", "script.py", "-c", V],
    ["python", "-m", "module", "-c", V],
    ["python", "-c", "import sys", V],
    ["python", "-c", "import sys", "-c", V],
    ["node", "-r", V, "-e", "f(process.argv[1])", V],
    ["node", "-e", "f({{ env.V | tojson }})"],
    ["jq", "--arg", "name", V, ".a == $name", V],
    ["jq", "-f", "program", V],
    ["psql", "-d", V, "-c", "select 1"],
    ["psql", "-v", f"name={V}", "-f", "query.sql"],
    ["psql", "-c", "select {{ env.V | int }}"],
    ["mysql", "-u", V, "-e", "select 1"],
    ["sqlite3", V, "select 1"],
    ["sh", "-c", 'echo "$1"', "sh", V],
    ["sh", "-c", f"echo {V}"],
    ["env", "A=1", "sh", "-c", f"echo {V}"],
    ["env", f"A={V}", "sh", "-c", "echo $A"],
    ["xargs", "-I", "{}", "sh", "-c", f"echo {{}} {V}"],
    ["find", V, "-exec", "sh", "-c", f"echo {V}", ";"],
    ["timeout", V, "sh", "-c", f"echo {V}"],
    ["ssh", "-p", V, V],
    ["ssh", "host", "ls {{ env.V | shquote }}"],
    ["su", "user", "-c", "ls {{ env.V | shquote }}"],
    ["awk", "$1 > {{ env.V | int }} {print} {# a note #}"],
    ["sed", "s/{% if env.V %}a{% else %}b{% endif %}/c/"],
    ["echo", "awk", V],
    [V, "-c", V],
    f"awk '{{print $1}}' {V}",
    f"awk '{{print $1}}' {V} | sort > {V}",
    f"printf 'eval %s' {V} | cat",
    f"echo eval {V} | cat",
    f"echo | sh -c 'echo \"$1\"' sh {V}",
    "echo | ssh host 'ls {{ env.V | shquote }}'",
    f"env sh -c 'echo {V}'",
    f"echo {V} # awk {V}",
    f"cat <<END\nawk {V}\nEND\n",
    f"echo 'a; awk {V}' | cat",
    f"A={V} cat | awk 1",
]


@pytest.mark.parametrize("command", SAFE, ids=str)
def test_a_value_that_no_program_reads_as_code_is_not_warned_of(command: Any) -> None:
    assert warned(command) == []


PROGRAMS = [
    ["sh", "-c", "x"], ["awk", "x"], ["sed", "x"], ["sed", "-e", "x"], ["perl", "-ne", "x"],
    ["python3", "-c", "x"], ["node", "-e", "x"], ["ruby", "-e", "x"], ["jq", "x"],
    ["xargs", "sh", "-c", "x"], ["env", "-i", "A=1", "sh", "-c", "x"], ["sudo", "sh", "-c", "x"],
    ["timeout", "5", "awk", "x"], ["cp"], ["printf", "%s"],
]  # fmt: skip
plain = st.lists(st.sampled_from([V, f"a {V}", f"{V}{V}", "file", "sh", "eval"]), max_size=4)


FORMS = ["list", "text", "pipe"]


@given(start=st.sampled_from(PROGRAMS), values=plain, form=st.sampled_from(FORMS))
def test_an_argument_of_its_own_is_never_warned_of(
    start: list[str], values: list[str], form: str
) -> None:
    words = [*start, *values]
    if form == "list":
        assert warned(words) == []
        assert warned(start, args=values) == []
    else:
        text = " ".join(word if word == V else f"'{word}'" for word in words)
        assert warned(f"cat | {text} | cat" if form == "pipe" else text) == []


ON_STDIN = [
    (["bash"], "bash"), (["sh", "-s", "value"], "sh"), (["sh", "script.sh"], None),
    (["python3", "-"], "python3"), (["python3", "script.py"], None), (["python3", "-m", "m"], None),
    (["python3", "-c", "x"], None), (["psql", "-d", "shop"], "psql"), (["psql", "-f", "q"], None),
    (["psql", "-c", "select 1"], None), (["mysql", "shop"], "mysql"),
    (["sqlite3", "shop.db"], "sqlite3"), (["sqlite3", "shop.db", "select 1"], None),
    (["cat"], None), ("bash -s", "bash"), ([V], None),
]


@pytest.mark.parametrize(("command", "program"), ON_STDIN, ids=str)
def test_a_value_in_a_program_that_is_read_from_stdin_is_warned_of(
    command: Any, program: str | None
) -> None:
    assert warned(command, stdin=f"one\nselect '{V}'") == ([program] if program else [])
    assert warned(command, stdin="select {{ env.V | int }}") == []
    (found, *_) = code_findings({"command": command, "stdin": f"one\n{V}"}) or [None]
    assert found is None or (found.path, found.line) == (("stdin",), 2)


def test_arguments_of_args_belong_to_the_last_command() -> None:
    assert warned(["sh", "-c"], args=[f"ls {V}"]) == ["sh"]
    assert warned("cat | awk", args=[V]) == ["awk"]
    assert warned("awk 1 | cat", args=[V], shell=True) == []


FLOW = """\
sources:
  filter: {type: process, command: [awk, "/{{ env.V }}/"]}
flow:
  - {name: a, source: filter}
  - {name: b, source: filter, input: {args: ["{{ env.V }}"]}}
  - name: c
    source: process
    input:
      command: |
        echo hello |
          sed 's/{{ env.V }}//'
  - name: d
    source: {base: filter, override: {command: [sed, "{{ env.V }}"]}}
"""


def test_a_warning_is_told_once_at_its_place_in_file_order(tmp_path: Path) -> None:
    file = tmp_path / "flow.yaml"
    file.write_text(FLOW)
    flow = load_flow(file)
    lines = [line for warning in flow.warnings for line in warning.warning_lines()]
    awk = 'give it as a variable in \'env\', and read it in the program: ENVIRON["NAME"]'
    sed = 'sed has no variables: use awk with ENVIRON["NAME"], or a filter of the template'
    assert lines == [
        f"{file}:2:42: warning: 'awk' reads the value of this template as code",
        f"    {awk}",
        f"{file}:11:1: warning: 'sed' reads the value of this template as code",
        f"    {sed}",
        f"{file}:13:54: warning: 'sed' reads the value of this template as code",
        f"    {sed}",
    ]


def test_a_warning_of_a_mapping_names_the_field() -> None:
    flow = load_flow({"flow": [{"name": "a", "source": "process", "input": {
        "command": ["awk", V]}}]})  # fmt: skip
    (warning,) = flow.warnings
    assert warning.location is None
    assert warning.warning_lines()[0] == (
        "warning: flow[0].input.command[1]: 'awk' reads the value of this template as code"
    )


def test_shell_may_be_asked_for_by_the_step_alone() -> None:
    # language 11.3
    source = {"type": "process", "command": "echo it's {{ env.V }}"}
    step = {"name": "a", "source": "odd", "input": {"shell": True}}
    load_flow({"sources": {"odd": source}, "flow": [step]})


def test_quotes_of_a_source_that_no_shell_reads_are_an_error_at_the_source() -> None:
    source = {"type": "process", "command": "echo it's"}
    steps = [
        {"name": "a", "source": "odd", "input": {"shell": True}},
        {"name": "b", "source": "odd"},
        {"name": "c", "source": "odd"},
    ]
    with pytest.raises(ConfigError) as caught:
        load_flow({"sources": {"odd": source}, "flow": steps})
    (problem,) = caught.value.problems
    assert problem.message == (
        "sources.odd.command: the command can't be split: no closing quotation"
    )

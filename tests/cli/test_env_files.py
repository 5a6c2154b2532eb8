"""Values of dotenv files (language 1.7)."""

from __future__ import annotations

import io

import pytest
from dotenv.parser import parse_stream

from flowtoy_dagster.cli.shared.env_files import values_of


def read(text: str, **environment: str) -> tuple[dict[str, str], list[tuple[int, str]]]:
    return values_of(parse_stream(io.StringIO(text)), environment)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("V='a${b}c'", "a${b}c"),
        ("export V = 'a${b}c' # '", "a${b}c"),
        ("\n\n# V='x'\nV='p$b${b:-x}'", "p$b${b:-x}"),
        ("V='two\nlines ${b}'", "two\nlines ${b}"),
        (r"V='it\'s \\ \n ${b}'", "it's \\ \\n ${b}"),
        ("V=a${b}c", "aBc"),
        ('V="a${b}c\\n"', "aBc\n"),
        ("V=a${x:-d}c", "adc"),
        ("V=a$b$", "a$b$"),
        ("V=a'${b}'", "a'B'"),
        ("V=a#b # c", "a#b"),
        ("V=1\nV=2", "2"),
        ("W=1\nV=${W}2", "12"),
        ("b=own\nV=${b}", "B"),
        ("V=", ""),
    ],
)
def test_single_quotes_are_literal_and_others_are_expanded(line: str, value: str) -> None:
    values, warnings = read(line, b="B")
    assert values["V"] == value
    assert warnings == []


@pytest.mark.parametrize(
    ("line", "value", "told"),
    [
        ("V=a${no}c${A}", "ac1", ["${no} gives nothing: the variable is not set"]),
        ("V=a${A:+x}b", "a${A:+x}b", ["${A…} is not expanded: only ${NAME} and ${NAME:-text} are"]),
        ("V=${A:?x}${A:-y}", "${A:?x}1", ["${A…} is not expanded: only"]),
        ("V=${A", "${A", ["${A…} is not expanded: only"]),
        ("V=${no:-${A}}", "${A}", ["the text of ${no:-…} ends at the first }; what is in it is"]),
        ("V=${A:-${no}}", "1}", ["the text of ${A:-…} ends at the first }; what is in it is not"]),
        ("V='${A:+x}${no:-${A}}'", "${A:+x}${no:-${A}}", []),
    ],
)
def test_what_is_not_expanded_as_a_shell_would_is_told(
    line: str, value: str, told: list[str]
) -> None:
    values, warnings = read(f"A=1\n{line}\n")
    assert values["V"] == value
    assert [number for number, _ in warnings] == [2] * len(told)
    assert [text[: len(start)] for (_, text), start in zip(warnings, told, strict=True)] == told
    assert all("in single quotes the value stays as it is" in text for _, text in warnings)


def test_a_name_without_a_value_sets_nothing() -> None:
    assert read("V\n") == ({}, [])

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
    values, unset = read(line, b="B")
    assert values["V"] == value
    assert unset == []


def test_a_variable_that_is_not_set_gives_nothing_and_is_told() -> None:
    assert read("A=1\nV=a${no}c${A}\n") == ({"A": "1", "V": "ac1"}, [(2, "no")])


def test_a_name_without_a_value_sets_nothing() -> None:
    assert read("V\n") == ({}, [])

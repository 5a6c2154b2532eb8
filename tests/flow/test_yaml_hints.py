"""A hint on YAML that can't be read fits what is written there."""

from __future__ import annotations

import pytest

from flowtoy_dagster.errors import ConfigError
from flowtoy_dagster.flow.files.yaml_reader import read_document


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a:\n  - name: x\n    value: [0].id\n", "begins with '[' must be quoted"),
        ("a:\n  - name: x\n    value: {a: 1}.id\n", "begins with '{' must be quoted"),
        ("a:\n  - name: x\n    value: {{ b }}/c\n", "begins with '{{' must be quoted"),
        ("a:\n  - name: x\n    value: 'b'/c\n", 'write "..." around the whole value'),
        ('a:\n  - name: x\n    value: "b"/c\n', "write '...' around the whole value"),
    ],
)
def test_the_hint_names_what_is_there(text: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_document(text, "f")
    (problem,) = caught.value.problems
    assert hint in (problem.hint or "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("flow:\n  -name: a\n    source: p\n", "f:2:3: a space is missing after '-'"),
        ("a:\n  - echo\n  -hi\n", "f:3:3: a space is missing after '-'"),
        ("a:\n  - -H\n  b: c\n", "f:3:3: "),
        ("a: curl\n  -H b: c\n", "f:2:7: not valid YAML: a second ': ' in a line that has one"),
        ("a: |\n  curl\n  -H b\n c: d\n", "f:4:2: "),
        ("flow:\n  \u2013 name: a\n    b: p\n", "'\u2013' (U+2013) is another character than '-'"),
        ("a: [echo, #b]\n", "f:1:11: the '[' is not closed in its line"),
        ("a: {b: [echo, c #d]}\n", "f:1:17: the '[' is not closed in its line"),
        ("a:\n  b: 1\n\u00a0 c: d: 2\n", "f:3:1: a non-breaking space (U+00A0)"),
        ("a: >\n      b\n   c\nd: e\n", "f:3:4: this line of the text of '>' is indented less"),
        ("a:\n\ufeff  - b: c\n    d: e\n", "f:2:1: a character that nobody sees (U+FEFF)"),
        ("- a: b\n  c:\u200b d\n  e: f\n", "f:2:5: a character that nobody sees (U+200B)"),
        ("a:\u00a0b\nc: d\n", "f:1:3: a non-breaking space (U+00A0)"),
        ("a:\u3000b\nc: d\n", "f:1:3: a space of another kind (U+3000)"),
        ("a: '\u00a0'\nb: c: d\n", "f:2:5: not valid YAML: a second ': ' in a line that has one"),
        ("a: &x 1\nb: &x 2\n", "the name of an anchor ('&') is given twice; first in line 1"),
        ('a: "C:\\Users"\n', "write \\\\, or use single quotes"),
        ("when: ! a\n", "f:1:7: a value can't begin with '!'\n    a value that begins with '!'"),
        ("a: [test, !, b]\n", "f:1:11: a value can't begin with '!'"),
        ("a: &x ! b\n", "f:1:4: a value can't begin with '!'"),
        ("a: ! [b]\n", "f:1:4: a value can't begin with '!'"),
        ("a: ! {b: c}\n", "f:1:4: a value can't begin with '!'"),
        ("a: !b.c\n", "the YAML tag '!b.c' is not allowed\n    a value that begins with '!'"),
    ],
)
def test_the_place_and_the_reason_are_those_of_the_mistake(text: str, told: str) -> None:
    # language 1.2, 1.5
    with pytest.raises(ConfigError) as caught:
        read_document(text, "f")
    assert told in str(caught.value)


@pytest.mark.parametrize("text", ["a: '! b'", "a: b ! c", "a: b!", "a: !!str 1", "a: [b!, '!']"])
def test_a_mark_that_is_no_tag_stays(text: str) -> None:
    assert read_document(text, "f").value["a"].plain() in ("! b", "b ! c", "b!", "1", ["b!", "!"])

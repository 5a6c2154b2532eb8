"""Each row of docs/reference/library-defaults.md holds."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.cli.shared.options import UsageError, load_env_files
from flowtoy_dagster.errors import ConfigError, TemplateError
from flowtoy_dagster.flow.files.nodes import Node
from flowtoy_dagster.flow.files.yaml_reader import read_document
from flowtoy_dagster.flow.param_values import bind
from flowtoy_dagster.flow.templates.jinja import search
from flowtoy_dagster.flow.templates.render import render
from flowtoy_dagster.json_text import JsonError, loads
from flowtoy_dagster.loader import load_flow

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "library-defaults.md"


class Wrong(str):
    """Instead of a value: words of the error."""

    __slots__ = ()


TEMPLATES: dict[str, list[tuple[str, Any]]] = {
    "escaping": [("{{ s }}!", "<b>!"), ("{{ s | e }}", "&lt;b&gt;"), ("{{ s | safe }}", "<b>")],
    "missing names": [
        ("{{ m.nope }}", Wrong("there is no key 'nope'")), ("{{ m.nope.x | default(1) }}", 1),
        ("{{ rows[9] is defined }}", False), ("{% if m.nope %}a{% endif %}", ""),
    ],
    "line breaks and blanks": [
        ("a{{ s }}\n\n", "a<b>\n\n"), ("{% if true %}\n  x\n{% endif %}\n", "\n  x\n\n"),
        ("a \n{%- if true -%}\n b{% endif %}", "ab"), ("## x\n# {{ s }}", "## x\n# <b>"),
    ],
    "tags": [
        ("{% with a = 1 %}{% filter upper %}x{% endfilter %}{% endwith %}{% raw %}{{{% endraw %}",
         "X{{"),
        ("{% macro f() %}{{ caller() }}{% endmacro %}{% call f() %}x{% endcall %}", "x"),
        ("{% do rows.append(1) %}", Wrong("no statement 'do'")),
        ("{% for r in rows %}{% break %}{% endfor %}", Wrong("no statement 'break'")),
        ("{% trans %}a{% endtrans %}", Wrong("no statement 'trans'")),
        ("{% debug %}", Wrong("no statement 'debug'")),
    ],
    "attributes": [
        ("{{ m.items }}", 2), ("{{ s.__class__ }}", Wrong("is out of reach of templates")),
        ("{{ ''['__class__'] }}", Wrong("is out of reach of templates")),
        ("{{ s | attr('__class__') }}", Wrong("is out of reach of templates")),
    ],
    "changes": [("{{ rows.append(1) }}", Wrong("a template can't change a list by 'append'"))],
    "values as text": [
        ("{{ rows | string }}", "[1,2]"), ("{{ [m, 1] | join(' ') }}", '{"items":2,"b":"<"} 1'),
        ("{{ m | tojson }}", '{"items":2,"b":"<"}'), ("{{ rows ~ true }}", "[1,2]true"),
        ("{{ true | trim }}", "true"), ("{{ m | replace('b', 'c') }}", '{"items":2,"c":"<"}'),
        ("{{ {'a': true, 'b': none} | urlencode }}", "a=true&b="),
        ("{{ '%s %s' % (true, [none]) }}", "true [null]"), ("{{ '{}'.format(none) }}", ""),
    ],
    "Python's form": [
        ("{{ '%r' % [true] }}", "[True]"), ("{{ '{!r}'.format([none]) }}", "[None]"),
        ("{{ '%r' | format([true]) }}", "[True]"), ("{{ [true] | pprint }}", "[True]"),
        ("{{ '%a' % 'é' }}", "'\\xe9'"), ("{{ '{!a}'.format(true) }}", "True"),
    ],
    "case": [
        ("{{ ['aB', 'ab', 'aB'] | unique }}", ["aB", "ab"]),
        ("{{ ['aB', 'ab'] | unique(case_sensitive=false) }}", ["aB"]),
        ("{{ [{'k': 'a'}, {'k': 'A'}] | groupby('k') | map(attribute='grouper') }}", ["A", "a"]),
        ("{{ [{'k': 'a'}, {'k': 'A'}] | groupby('k', case_sensitive=false) | length }}", 1),
        ("{{ [{'k': 1}, {}] | groupby('k', 0) | map(attribute='grouper') }}", [0, 1]),
        ("{{ ['b', 'A'] | sort }}", ["A", "b"]), ("{{ ['a', 'B'] | min }}", "a"),
        ("{{ ['a', 'B'] | sort(case_sensitive=true) }}", ["B", "a"]),
        ("{{ ['a', 'B'] | max(case_sensitive=true) }}", "a"),
        ("{{ {'b': 1, 'A': 2} | dictsort }}", [["A", 2], ["b", 1]]),
    ],
    "the same": [
        ("{{ [1, true, 1.0, 0, false] | unique }}", [1, True, 0, False]),
        ("{{ [{'a': 1}, {'a': 1.0}, {'a': true}, [1], [true], [1]] | unique }}",
         [{"a": 1}, {"a": True}, [1], [True]]),
        ("{{ [{'a': 1, 'b': 2}, {'b': 2, 'a': 1}] | unique }}", [{"a": 1, "b": 2}]),
        ("{{ [{'a': 'x'}, {'a': 'X'}, {'a': 'x'}] | unique(attribute='a') | length }}", 2),
        ("{{ [none, '', 'null', none] | unique }}", [None, "", "null"]),
    ],
    "no number": [
        ("{{ 'x' | int }}", 0), ("{{ 'x' | int(-1) }}", -1), ("{{ '1.5' | int }}", 1),
        ("{{ 'x' | float }}", 0.0),
    ],
    "numbers": [
        ("{{ 4 / 2 }}", 2.0), ("{{ 4 // 2 }}", 2), ("{{ 2.5 | round }}", 2.0),
        ("{{ 1 == true }}", True), ("{{ 1 | jmespath('@ == `true`') }}", False),
    ],
    "iterators": [
        ("{{ rows | map('string') }}", ["1", "2"]), ("{{ rows | select('odd') }}", [1]),
        ("{{ range(2) }}", [0, 1]), ("{{ {'a': 1}.items() }}", [["a", 1]]),
        ("{{ rows | select('gt', 5) | length }}", 0), ("{{ (rows | map('string'))[1] }}", "2"),
        ("{{ 'some' if rows | select('gt', 5) else 'none' }}", "none"),
        ("{{ (rows | rejectattr('x', 'undefined')) == [] }}", True),
        ("{{ (rows | reverse)[0] }}{{ rows | batch(1) | length }}{{ rows | slice(2) | length }}",
         "222"),
        ("{{ ({'a': 1} | items)[0] }}", ["a", 1]), ("{{ rows | selectattr('x') is true }}", False),
    ],
    "values that are not data": [
        ("{{ s.upper }}", Wrong("is no value")), ("{{ namespace(a=1) }}", Wrong("not data")),
        ("{{ cycler(1) }}", Wrong("not data")),
    ],
    "`range`": [
        ("{{ range(100000) | length }}", 100_000), ("{{ range(100001) | length }}", Wrong("100000"))
    ],
}  # fmt: skip

EXPRESSIONS: dict[str, list[tuple[str, Any]]] = {
    "order of texts": [("'a' < 'b'", True), ("'b' >= 'c'", False), ("'a' < `1`", None)],
    "equality": [
        ("`true` == `1`", False), ("contains(`[1]`, `true`)", False), ("`[1]` == `[true]`", False),
        ("`1` == `1.0`", True),
    ],
    "`to_number`": [
        ("to_number('1_000')", None), ("to_number(' 1')", None), ("to_number('inf')", None),
        ("to_number('-1.5e1')", -15.0),
    ],
    "mistakes": [
        ("nope(@)", Wrong("there is no function 'nope'")), ("length()", Wrong("takes 1 argument")),
        ("length(`1`)", Wrong("was given a number")), ("[::0]", Wrong("step of a slice")),
        ("&a", Wrong("'&' makes an argument")),
    ],
    "literals": [("`'open'`", "'open'"), ("`True`", "True"), ("`true`", True)],
    "keys": [
        ("sort_by(`[{\"k\": 2}, {\"k\": 1}]`, &k)[].k", [1, 2]),
        ("max_by(`[{\"k\": 1}, {\"k\": \"b\"}]`, &k)", Wrong("all numbers or all texts")),
    ],
}  # fmt: skip

FILES: dict[str, list[tuple[str, Any]]] = {
    "words": [
        ("[yes, on, True, no, off, ~, '', y, n, tRue]",
         [True, True, True, False, False, None, "", "y", "n", "tRue"]), ("", None),
    ],
    "numbers": [
        ("[010, 0x1F, 0b11, 1_000, 1:30, 12:30:45, +1, .5, 1.0e+3]",
         [8, 31, 3, 1000, 90, 45045, 1, 0.5, 1000.0]),
        ("[0o10, 089, 1e3, '010', \"1:30\"]", ["0o10", "089", "1e3", "010", "1:30"]),
    ],
    "no numbers of JSON": [
        (number, Wrong("not a number that JSON can hold")) for number in (".inf", "-.INF", ".NaN")
    ],
    "dates": [("[2024-01-31, 2024-01-31T10:00:00Z]", ["2024-01-31", "2024-01-31T10:00:00Z"])],
    "tags": [
        ('[!!str 1, !!int "3", !!float 3, !!bool yes, !!null ""]', ["1", 3, 3.0, True, None]),
        ("!!timestamp 2024-01-31", "2024-01-31"), ("!!binary aGk=", Wrong("'!!binary' is not")),
        ("!!set {a}", Wrong("'!!set'")), ("!x 1", Wrong("tag '!x'")),
        ("!!python/name:os.system", Wrong("is not allowed")),
    ],
    "keys": [
        ("{on: 1, 1: 2, null: 3, 0x1: 4}", {"on": 1, "1": 2, "null": 3, "0x1": 4}),
        ("{a: 1, 'a': 2}", Wrong("the key 'a' is given twice")),
    ],
    "merge keys": [
        ("{a: 2, <<: {a: 1, b: 1}}", {"b": 1, "a": 2}),
        ("{<<: [{a: 1}, {a: 2, b: 3}]}", {"a": 1, "b": 3}), ("{<<: x}", Wrong("takes a mapping")),
    ],
    "aliases": [
        ("[&a [1], *a]", [[1], [1]]), ("&a [*a]", Wrong("refers to itself")),
        ("*a", Wrong("an anchor ('&') that does not exist")),
    ],
}  # fmt: skip

VARIABLES: dict[str, list[tuple[str, Any]]] = {
    "`export`": [("export V=1", "1")],
    "values without quotes": [("V =  a b#c  # d", "a b#c"), (r"V=a\n\\", r"a\n\\")],
    "double quotes": [
        (r'V="a\n\t\"\\"', 'a\n\t"\\'), (r'V="\x41\u0041"', r"\x41\u0041"), ('V="a\nb"', "a\nb")
    ],
    "single quotes": [(r"V='\n\'\\ ${W}'", "\\n'\\ ${W}"), ("V='a\nb'", "a\nb")],
    "`${NAME}`": [
        ("V=a${W}", "aset"), ('V="${N:-d}"', "d"), ("V=$W", "$W"), (r"V=\${W}", r"\set")
    ],
    "given twice": [("V=1\nV=2", "2"), ("W=other\nV=${W}", "set")],
    "no value": [("V=", ""), ("V", None)],
    "wrong lines": [
        (text, Wrong(":2:1: not a line of the form NAME=value"))
        for text in ("\n=a", "\nV: a")
    ] + [
        (text, Wrong(f":2:1: the quote .{quote}. that opens the value is not closed"))
        for text, quote in (("\nV='a", "'"), ('\nV="a\\"\nW=1', '"'), ("\nexport V = '", "'"))
    ] + [
        (text, Wrong(f":2:1: there is text after the closing quote .{quote}."))
        for text, quote in (('\nV="a" b', '"'), ("\nV='it's'", "'"), ("\nV='it'\\''s'", "'"))
    ] + [("\nV=a\0b", Wrong(":2:1: .*null character")), ("\nV\0=b", Wrong(":2:1: .*null char"))],
    "encoding of the file": [
        ("\ufeffV=é", "é"), ("W=a\r\nV=1\r\n", "1"), ("V=\udcff", Wrong("not utf-8")),
    ],
}  # fmt: skip

DATA: dict[str, list[tuple[str, Any]]] = {
    "digits": [
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("0.1000000000000000055511151231257827", 0.1), ("1.0", 1.0), ("-0", 0),
    ],
    "numbers that JSON or a float can't hold": [
        (text, Wrong(".")) for text in ("NaN", "[Infinity]", "1e999", "+1", "01", ".5")
    ],
    "characters": [
        ('\ufeff"é"', "é"), (r'"\ud83d\ude00"', "😀"), (r'"\ud83d"', Wrong("surrogate")),
        ('"\udce9"', Wrong("UTF-8")),
    ],
    "levels": [("[" * 200 + "]" * 200, None), ("[" * 201 + "]" * 201, Wrong("200 levels"))],
    "a key twice in an object": [('{"a": 1, "a": 2}', {"a": 2})],
}  # fmt: skip


def rows(table: dict[str, list[tuple[str, Any]]]) -> Any:
    cases = [
        pytest.param(*case, id=f"{row}-{case[0][:20]!a}") for row in table for case in table[row]
    ]
    return pytest.mark.parametrize(("written", "expected"), cases)


def test_every_row_of_the_page_is_tested() -> None:
    titles = re.findall(r"^\| (.+?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    tested = [*TEMPLATES, *EXPRESSIONS, *FILES, "encoding", *VARIABLES, *DATA]
    assert [title for title in titles if title != "what"] == tested


@rows(TEMPLATES)
def test_templates(written: str, expected: Any) -> None:
    context = {"s": "<b>", "rows": [1, 2], "m": {"items": 2, "b": "<"}}
    if isinstance(expected, Wrong):
        with pytest.raises(TemplateError, match=re.escape(expected)):
            render(written, context)
        return
    given = render(written, context)
    assert given == expected
    assert type(given) is type(expected)


@pytest.mark.filterwarnings("ignore:deprecated string literal syntax")
@rows(EXPRESSIONS)
def test_expressions(written: str, expected: Any) -> None:
    if isinstance(expected, Wrong):
        with pytest.raises(TemplateError, match=re.escape(expected)):
            search(written, {})
    else:
        assert search(written, {}) == expected


def plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: plain(value) for key, value in node.value.items()}
    return [plain(item) for item in node.value] if isinstance(node.value, list) else node.value


@rows(FILES)
def test_yaml(written: str, expected: Any) -> None:
    text = f"key: {written}\n"
    if isinstance(expected, Wrong):
        with pytest.raises(ConfigError, match=re.escape(expected)):
            read_document(text, "f.yaml")
    else:
        assert repr(plain(read_document(text, "f.yaml"))) == repr({"key": expected})


def test_encodings_of_flows(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    written = "name: é\nflow: [{name: a, source: env}]\n"
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_text(written, encoding=encoding)
        assert load_flow(path).name == "é"
    for encoding in ("utf-16", "latin-1"):
        path.write_text(written, encoding=encoding)
        with pytest.raises(ConfigError, match="not UTF-8 text"):
            load_flow(path)


@rows(VARIABLES)
def test_dotenv(
    written: str, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {"W": "set"})
    path = tmp_path / "variables.env"
    path.write_bytes(written.encode("utf-8", "surrogateescape"))
    if isinstance(expected, Wrong):
        with pytest.raises((ConfigError, UsageError), match=expected):
            load_env_files([path])
        assert os.environ == {"W": "set"}
    else:
        load_env_files([path])
        assert os.environ.get("V") == expected


@rows(DATA)
def test_json(written: str, expected: Any) -> None:
    data = written.encode("utf-8", "surrogateescape")
    if isinstance(expected, Wrong):
        with pytest.raises(JsonError, match=expected):
            loads(data)
    elif expected is None:
        assert str(loads(data)) == written
    else:
        assert (loads(data), type(loads(data))) == (expected, type(expected))


def test_a_key_twice_in_parameters_is_an_error() -> None:
    flow = {"params": {"p": {"type": "object"}}, "flow": [{"name": "a", "source": "env"}]}
    with pytest.raises(ConfigError, match="the key 'a' is given twice"):
        bind(load_flow(flow), texts=['p={"a": 1, "a": 2}'])

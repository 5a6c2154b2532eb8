"""Texts of others in a terminal: nothing in them is obeyed, and JSON keeps its values."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_values import json_values

from flowtoy_dagster.terminal import plain, plain_json, plain_lines

PARTS = st.sampled_from([
    "\x1b[2J", "\x1b]0;title\x07", "\x1b]52;c;aGk=\x1b\\", "\x9b31m", "\x9d0;x\x9c",
    "\x1bP1$r\x1b\\", "\x1b", "\x1b[", "\r", "\b", "\u202e", "\u2066", "\u200b", "\ufeff",
    "\U000e0041", "\ud800",
    "\x7f", "\x85", "\u2028", "\n", "\t", "a", "é", "中", "🙂", "[31m", ";", "0m",
])
TEXTS = st.lists(PARTS | st.text(max_size=5), max_size=12).map("".join)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;owned\x07x", "x"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jx\x9d0;t\x9cy", "xy"),
        ("\x1bP+q544e\x1b\\x", "x"),
        ("\x1bcx\x1b(Bz", "xz"),
        ("half a sequence \x1b[", "half a sequence "),
        ("a\rb\bc\x00d", "abcd"),
        ("user\u202egpj.exe", "usergpj.exe"),
        ("ad\u200bmin\ufeff", "admin"),
        ("one\ttwo", "one    two"),
        ("half \ud83d", "half \ufffd"),
        ("été 中文 🙂 – “x”", "été 中文 🙂 – “x”"),
    ],
)
def test_a_terminal_is_told_nothing_but_text(text: str, shown: str) -> None:
    assert plain(text) == shown


def is_harmless(text: str) -> bool:
    """Whether a terminal shows each character, in its place."""
    return all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_whatever_the_text_its_lines_are_harmless(text: str) -> None:
    assert is_harmless(plain(text))
    assert all(map(is_harmless, plain_lines(text).split("\n")))
    plain(text).encode()


@settings(deadline=None)
@given(json_values(TEXTS, TEXTS, max_leaves=20))
def test_json_for_a_terminal_has_the_same_values(value: object) -> None:
    shown = plain_json(json.dumps(value, ensure_ascii=False))
    assert is_harmless(shown)
    assert json.loads(shown) == value

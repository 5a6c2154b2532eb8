"""Texts in events: bounded, and code stays code."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtoy_dagster.engine.event_text import MOST, bounded, code_block, text_of


def test_of_a_long_text_the_first_and_the_last_are_kept() -> None:
    text = "begin " + "x" * 3_000_000 + " end"
    kept = bounded(text)
    assert len(kept) < MOST + 100
    assert kept.startswith("begin ")
    assert kept.endswith(" end")
    assert f"{len(text) - MOST} characters left out" in kept
    assert bounded("x" * MOST) == "x" * MOST


@pytest.mark.parametrize("text", ["a\n```\n# owned", "````", "``", "", "`\n```text\n`````"])
def test_a_text_with_fences_stays_in_its_block(text: str) -> None:
    block = code_block(text)
    fence = block.split("\n")[0]
    assert fence not in text
    assert block.split("\n")[-1] == fence
    assert text_of(block) == text


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("`~ \nab")))
def test_a_block_gives_its_text_back(text: str) -> None:
    assert text_of(code_block(text)) == text

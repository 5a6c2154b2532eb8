"""Hints for unknown names."""

from __future__ import annotations

import random

import pytest

from flowtoy_dagster.flow.files.suggestions import nearest


def test_a_like_name_is_suggested_whatever_its_case() -> None:
    found = nearest("INPTU", ["output", "Input"])
    assert (found.match, found.question, found.hint) == (
        "Input", "did you mean 'Input'?", "did you mean 'Input'?"
    )


def test_where_no_name_is_like_it_the_hint_lists_a_dozen() -> None:
    found = nearest("zzz", [f"name{number}" for number in range(20)])
    assert found.question is None
    assert found.hint.startswith("there are: 'name0', 'name1'")
    assert found.hint.endswith("'name11', …")
    assert nearest("zzz", []).hint == "there are none"


@pytest.mark.parametrize("seed", range(5))
def test_one_typing_error_is_found_among_thousands_of_names(seed: int) -> None:
    chance = random.Random(seed)
    names = [f"load_{chance.choice('abcdefgh')}{number:04}" for number in range(3000)]
    for name in chance.sample(names, 30):
        place = chance.randrange(1, len(name) - 4)
        wrong = name[:place] + chance.choice("xyz") + name[place:]
        found = nearest(wrong, names).match
        assert found is not None
        # Among names so alike, one that is as near will do.
        assert found == name or found[-4:] == name[-4:] or found[:6] == name[:6]


def test_among_thousands_of_names_the_one_with_the_same_number_is_found() -> None:
    names = [f"param_{number}" for number in range(4000)]
    assert nearest("parm_3999", names).match == "param_3999"
    assert nearest("parma_17", names).match == "param_17"


def test_a_short_name_is_found_among_longer_ones_that_begin_with_it() -> None:
    names = ["sample", "sample-status", "sample-raises", "sample-exits", "sample-refuses",
             *(f"other-{number}" for number in range(20))]
    assert nearest("samples", names).match == "sample"

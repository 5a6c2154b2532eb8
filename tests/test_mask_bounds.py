"""Where masking begins and ends: lengths, cuts, users in URLs."""

from __future__ import annotations

import pytest

from flowtoy_dagster.masking.mask import Mask, secrets_within, texts_in


@pytest.mark.parametrize(
    ("text", "shown"),
    [("12345678", "12345678"), ("123456789", "12345678…"), ("tok-0123", "***"),
     ("a tok-0123", "a ***"), ("12345 tok-0123", "12345 **…")],
)
def test_a_text_is_masked_before_it_is_cut(text: str, shown: str) -> None:
    assert Mask(["tok-0123"]).shortened(text, 8) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [("ab tok-0123", "ab "), ("ab cdefghijk", "ab cdef"), ("tok-01", "tok-01"),
     ("a short", "a short")],
)
def test_the_head_of_a_text_ends_before_a_secret_that_the_cut_goes_through(
    text: str, shown: str
) -> None:
    assert Mask(["tok-0123"]).head(text, 7) == shown


def test_a_head_that_is_the_whole_text_is_masked_too() -> None:
    assert Mask(["tok-0123"]).head("a tok-0123", 10) == "a ***"


def test_a_text_as_short_as_the_shortest_secret_is_masked() -> None:
    assert Mask(["x7-q"]).text("x7-q") == "***"
    assert Mask(["x7q"]).text("x7q") == "x7q"


def test_what_is_public_is_no_secret() -> None:
    mask = Mask(["eu-west-1", "tok-0123"], public=["eu-west-1"])
    assert mask.text("eu-west-1 tok-0123") == "eu-west-1 ***"


@pytest.mark.parametrize(
    ("value", "texts"),
    [(True, []), (False, []), (1234, ["1234"]), (12.5, ["12.5"]), (123, []), (None, []),
     ({"a": ["tok-0123", 1234567, 12345678.5, True]}, ["tok-0123"]),
     ({"a": [12345678, {"b": -12345678}]}, ["12345678", "-12345678"])],
)
def test_a_number_is_secret_as_the_whole_value_or_where_it_is_long(
    value: object, texts: list[str]
) -> None:
    assert list(texts_in(value)) == texts


@pytest.mark.parametrize(
    ("text", "found"),
    [("https://0123456789abcdef@example.com", {"0123456789abcdef"}),
     ("https://0123456789abcde@example.com", set()),
     ("ssh://0123456789abcdef@example.com", set()),
     ("https://0123456789abcdef:pass-1@example.com", {"pass-1"}),
     ("https://0123456789abcdef:p%40ss-1@example.com", {"p%40ss-1", "p@ss-1"}),
     ("password = 'pass-1'; host=example.com", {"pass-1"}),
     ("password={{ env.PW }} token=$TOKEN", set())],
)
def test_a_long_user_without_a_password_is_a_token(text: str, found: set[str]) -> None:
    assert set(filter(None, secrets_within(text))) == found

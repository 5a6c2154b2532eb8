"""What a page may ask for: a body that is none says why, and nothing is done."""

from __future__ import annotations

import pytest

from flowtoy_dagster.server.run_actions import Wish

BODIES = {
    b"": "line 1 column 1",
    b"\xff": "UTF-8",
    b"[" * 100_000: "levels deep",
    b'{"action": "cancel", "run": "a", "run": "b"}': "'run'",
    b'{"action": "again", "run": "a", "params": {"x": "\\ud800"}}': "not valid Unicode",
    b'{"action": "retry", "run": "a", "step": "\\ud800"}': "not valid Unicode",
    b'{"run": ' + b"9" * 5000 + b"}": "too many digits",
    b'{"run": NaN}': "NaN is not a JSON value",
    b"[]": "an action is a mapping",
    b'{"action": "cancel"}': "run and step are texts",
}


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_body_that_is_no_wish_says_why(body: bytes) -> None:
    with pytest.raises(ValueError, match=BODIES[body]) as told:
        Wish.read(body)
    assert "set_int_max_str_digits" not in str(told.value)

"""An exception in one line."""

import pytest

from flowtoy_dagster.steps.words import one_line
from flowtoy_dagster.store.record import MissingRecordError


class HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(("error", "line"), [
    (ValueError("not\n  a number"), "ValueError: not a number"),
    (KeyError(), "KeyError"),
    # One of ours is made for people.
    (MissingRecordError("the record of step 'a' of run 1234 is gone"),
     "the record of step 'a' of run 1234 is gone"),
    (MissingRecordError(), "MissingRecordError"),
    (HostileError(), "HostileError"),
])
def test_an_exception_is_its_type_and_its_text(error: BaseException, line: str) -> None:
    assert one_line(error) == line


def test_secrets_are_hidden_before_white_space_is_made_one() -> None:
    assert one_line(ValueError("a  b"), lambda text: text.replace("a  b", "***")) == (
        "ValueError: ***"
    )

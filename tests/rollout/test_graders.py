"""Graders, and that they do not have the faults of the reference's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.graders.text import number, text


@pytest.mark.parametrize(
    ("proposed", "reference", "right"),
    [
        ("42", "42", True),
        ("42.0", "42", True),
        ("It is 1,234.50 euros", "1234.5", True),
        ("-7", "-7", True),  # the reference's tolerance can never accept a negative number
        ("24.33", "24.333333", True),
        ("24.4", "24.33", False),
        ("between 3 and 5", "5", False),
        ("", "5", False),
        ("104", "100", False),  # within 5 %, which the reference accepts
    ],
)
def test_number(proposed: str, reference: str, right: bool) -> None:
    assert number(proposed, reference) is right


@pytest.mark.parametrize(
    ("proposed", "reference", "right"),
    [
        ("Oslo", "oslo", True),
        (' "Oslo." ', "Oslo", True),
        ("Oslo or Rome or Lima", "Rome", False),  # a substring match would accept it
        ("", "Oslo", False),
    ],
)
def test_text(proposed: str, reference: str, right: bool) -> None:
    assert text(proposed, reference) is right


@given(st.integers(-(10**9), 10**9))
def test_every_number_is_itself(value: int) -> None:
    assert number(str(value), str(value)) and number(f"{value:,}", str(value))
    assert not number(str(value + 1), str(value)) or abs(value) >= 10**6

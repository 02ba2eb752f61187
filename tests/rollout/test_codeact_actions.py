"""Model text → action."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.environment import Action
from rollout.protocol import parse_tags


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("I look.\n<execute>\nprint(1)\n</execute>", Action("action", "print(1)")),
        ("<execute>a = 1</execute> and <execute>print(a)</execute>", Action("action", "a = 1\nprint(a)")),
        ("<execute>\n    if x:\n        y()\n</execute>", Action("action", "    if x:\n        y()")),
        ("<execute>print(1)</execute><solution>1</solution>", Action("proposal", "1")),
        ("<solution> 42 </solution>", Action("proposal", "42")),
        ("<solution>42", Action("proposal", "42")),
        ("<execute>print(1)", Action("invalid")),
        ("<execute>  \n </execute>", Action("invalid")),
        ("The answer is 42.", Action("invalid")),
        ("", Action("invalid")),
    ],
)
def test_parse(text: str, action: Action) -> None:
    assert parse_tags(text) == action


@given(st.text())
def test_any_text_has_an_action(text: str) -> None:
    assert parse_tags(text).kind in ("action", "proposal", "invalid")


@given(st.text(alphabet=st.characters(exclude_characters="<>", exclude_categories=["Cs"]), min_size=1))
def test_a_proposal_comes_back_as_it_was_said(answer: str) -> None:
    assert parse_tags(f"So.\n<solution>{answer}</solution>") == Action("proposal", answer.strip())


def test_a_tag_that_is_only_mentioned_opens_no_answer() -> None:
    assert parse_tags("I write <solution> and then <solution>42</solution>") == Action("proposal", "42")
    assert parse_tags("<solution>1</solution> or <solution>2") == Action("proposal", "1\n2")


def test_a_space_after_the_tag_indents_nothing() -> None:
    assert parse_tags("<execute> a = 1\nprint(a) </execute>").body == "a = 1\nprint(a) "
    assert parse_tags("<execute>\n  a = 1\n  print(a)\n</execute>").body == "  a = 1\n  print(a)"


def test_many_open_tags_take_linear_time() -> None:
    assert parse_tags("<solution>" * 100_000 + "1").body == "1"
    assert parse_tags("<execute>" * 1_000_000).kind == "invalid"  # hours when each tag is searched to the end
    assert parse_tags("<execute>1</execute>" + "<execute>" * 1_000_000).body == "1"

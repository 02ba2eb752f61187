"""One player, written as code, JSON and text: each turn is read back by the protocol's own parser."""

import pytest

from rollout.families import Call, CallingExpert, Player, answer_turn
from rollout.protocol.turns import Form, parse_turn


def play(prompt: str) -> Player:
    """Adds one twice."""
    left, right = yield [Call("add_one", (int(prompt),)), Call("add_one", (int(prompt),))]
    return str(left + right)


@pytest.mark.parametrize("form", ["tags", "chat", "fenced", "action_code", "action_json", "action_text"])
def test_a_player_is_written_in_every_form_that_has_actions(form: Form) -> None:
    demonstrate = CallingExpert(play, "3").in_form(form)
    assert demonstrate is not None
    turns = demonstrate(False)
    action = parse_turn(next(turns), form)
    assert action.kind == "action"
    if action.calls:
        assert action.calls[0].name == "add_one" and parse_turn(turns.send("4"), form).calls == action.calls
        last = turns.send("4")
    else:
        assert action.body.count("add_one(3)") == 2
        last = turns.send("[4, 4]")
    assert parse_turn(last, form).kind == "proposal" and parse_turn(last, form).body == "8"


def test_forms_without_actions_have_no_player() -> None:
    assert all(CallingExpert(play, "3").in_form(form) is None for form in ("tools", "answer", "final"))
    assert parse_turn(answer_turn("final", "8"), "final").body == "8"

"""Episodes in the form of CodeActInstruct."""

import json
from pathlib import Path
from typing import Any

import pytest

from rollout.bank.store import TrajectoryStore
from rollout.bank.trajectory import Message
from rollout.select import SelectConfig, select_records, to_record
from tests.helpers.episodes import scripted_episode

FORM = SelectConfig(form="codeactinstruct")
INSTRUCTIONS = (
    "You solve tasks with tools. At each turn, first think inside <thought> </thought> tags. Then run code inside "
    "<execute> tags, e.g. <execute>print(1)</execute>.\nYou have 5 chances."
)


def turns(record: dict[str, Any]) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in record["conversations"]]


def test_id_source_and_group_are_the_papers() -> None:
    record = to_record(scripted_episode(("proposal", "1", None), family="math", kind="algebra", task="7"), FORM)
    assert (record["id"], record["source"], record["group"]) == ("math/algebra/7/m/p", "math/algebra", "math/7")


def test_the_prompt_in_one_message_is_split_and_its_example_dropped() -> None:
    example = "Task:\nAdd 1 and 2.\n\nAssistant:\n<execute>print(3)</execute>"
    whole = f"{INSTRUCTIONS}\n---\n\n{example}\n---\n\nTask:\nWhat is 2 + 3?\n---\na line"
    episode = scripted_episode(("proposal", "<solution>5</solution>", None))
    first = Message(role="user", kind="task", content=whole)
    made = to_record(episode.model_copy(update={"messages": (first, *episode.messages[2:])}), FORM)
    system = (
        "You solve tasks with tools. Then run code inside <execute> tags, e.g. <execute>print(1)</execute>.\n"
        "You have 5 chances."
    )
    assert turns(made) == [
        ("system", system), ("user", "Task:\nWhat is 2 + 3?\n---\na line"), ("assistant", "<solution>5</solution>"),
    ]  # fmt: skip


def test_the_example_in_the_instructions_or_in_turns_of_its_own_is_dropped() -> None:
    episode = scripted_episode(
        ("proposal", "5", None), instructions=f"{INSTRUCTIONS}\n---\nTask:\nexample", prompt="What is 2 + 3?"
    )
    shown = [Message(role=role, kind="instruction", content="example") for role in ("user", "assistant")]
    with_turns = episode.model_copy(update={"messages": (episode.messages[0], *shown, *episode.messages[1:])})
    made = turns(to_record(with_turns, FORM))
    assert [role for role, _ in made] == ["system", "user", "assistant"]
    assert "example" not in str(made) and made[1][1] == "Task:\nWhat is 2 + 3?"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "Assistant:\n <thought> I add. </thought>\n\n<execute>\n1\n</execute>\n",
            "I add.\n\n<execute>\n1\n</execute>",
        ),
        ("<thought>\nI add.\n</thought>\n<execute>1</execute>", "I add.\n<execute>1</execute>"),
        ("Assistant: Assistant：still", "still"),
        ("Assistant: is a word", "is a word"),
        ("stain: it stays", "stain: it stays"),  # a prefix, not a set of characters
        ("The Assistant: stays", "The Assistant: stays"),
        ("<execute>print('<thought>')</execute>", "<execute>print('<thought>')</execute>"),
        ("<thought>open", "open"),
    ],
)
def test_what_the_assistant_says(text: str, said: str) -> None:
    made = to_record(scripted_episode(("action", text, "ok"), ("proposal", "1", None)), FORM)
    assert turns(made)[2] == ("assistant", said) and turns(made)[3] == ("user", "seen 1")


def test_failed_turns_keep_their_weight_and_a_last_reply_is_dropped() -> None:
    episode = scripted_episode(("action", "x", "error"), ("action", "y", "ok"), ("proposal", "1", None))
    cut = episode.model_copy(update={"messages": episode.messages[:-1]})
    assert [turn.get("weight") for turn in to_record(cut, FORM)["conversations"]] == [None, None, 0.0, None, None]
    trained = to_record(cut, FORM.model_copy(update={"failed_cell_weight": 1.0}))["conversations"]
    assert all("weight" not in turn for turn in trained)


def test_ids_differ_and_statistics_count_words_and_successes(tmp_path: Path) -> None:
    turn = ("action", "one two", "ok")
    with TrajectoryStore(tmp_path / "bank") as bank:
        for seed, success in ((0, True), (1, True), (2, False)):
            bank.append(scripted_episode(turn, ("proposal", str(seed), None), seed=seed, success=success))
        again = scripted_episode(turn, ("proposal", "other", None), success=True)
        bank.append(again.model_copy(update={"id": "other"}))
    config = FORM.model_copy(update={"statistics": True, "drop_duplicates": False})
    report = select_records(
        tmp_path / "bank",
        tmp_path / "r.jsonl",
        tmp_path / "s.json",
        config,
        lambda texts: [len(t.split()) for t in texts],
    )
    ids = [json.loads(line)["id"] for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert len(set(ids)) == 3 and {"f/k/1/m/p", "f/k/1/m/p/1"} < set(ids)
    assert report["success"] == {"f": {"m": {"episodes": 4, "successes": 3}}}
    # instructions 1, task 2, turn 2, reply 2, answer 1
    assert report["statistics"]["f"] == {"instances": 3, "turns": 15, "tokens": 24, "average": 8.0}
    assert report["statistics"]["total"] == report["statistics"]["f"]

"""The rules of the selection beyond success and length, each with its count: the paper's filters, tiers, duplicates,
language, balance by family."""

import json
from pathlib import Path

import pytest

from rollout.bank.store import TrajectoryStore
from rollout.bank.trajectory import Trajectory
from rollout.families import TaskSet, load_tasks
from rollout.select import SelectConfig, choose, select_records
from rollout.select.config import TierSettings
from tests.helpers.episodes import scripted_episode

OPEN = SelectConfig(require_clean_cell=False, drop_duplicates=False, balance=None)
"""No rule but success."""
ANSWER = ("proposal", "<solution>1</solution>", None)
GOOD, BAD = ("action", "<execute>1</execute>", "ok"), ("action", "<execute>x</execute>", "error")
WRONG, INVALID = ("proposal", "<solution>2</solution>", None), ("invalid", "hm", None)


def reasons(everything: list[Trajectory], **settings: object) -> dict[str, int]:
    return dict(choose(everything, OPEN.model_validate({**OPEN.model_dump(), **settings}))[1])


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([GOOD, ANSWER], None),
        ([BAD, GOOD, ANSWER], None),
        ([INVALID, INVALID, ANSWER], "never executable"),
        ([INVALID, BAD, ANSWER], None),  # an invalid turn counts as neither, as in the published code
        ([BAD, WRONG, ANSWER], "only errors and wrong answers before the last turn"),
        ([BAD, BAD, GOOD], "only errors and wrong answers before the last turn"),
        ([ANSWER], None),
    ],
)
def test_the_papers_filters(turns: list[tuple[str, str, str | None]], reason: str | None) -> None:
    found = reasons([scripted_episode(*turns)], rules=["executable", "alternating", "useful_turn"])
    assert found == ({reason: 1} if reason else {})


def test_turns_that_do_not_alternate() -> None:
    whole = scripted_episode(GOOD, GOOD, ANSWER)
    assert reasons([whole], rules=["alternating"]) == {}
    cut = whole.model_copy(update={"messages": (*whole.messages[:3], *whole.messages[4:])})
    assert reasons([cut], rules=["alternating"]) == {"turns do not alternate": 1}
    won = whole.model_copy(update={"messages": whole.messages[:-1]})  # a game may be won before the last reply
    assert reasons([won], rules=["alternating"]) == {}


def test_an_episode_without_results_of_cells_is_read_by_its_observations() -> None:
    def seen(text: str) -> Trajectory:
        episode = scripted_episode(BAD, ANSWER)
        silent = episode.messages[3].model_copy(update={"cell": None, "content": text})
        return episode.model_copy(update={"messages": (*episode.messages[:3], silent, episode.messages[4])})

    failed = {"only errors and wrong answers before the last turn": 1}
    assert reasons([seen("Observation:\nCell In[1], line 1\nNameError: x")], rules=["useful_turn"]) == failed
    assert reasons([seen("Observation:\nValueError: no")], rules=["useful_turn"]) == failed
    assert reasons([seen("Observation:\nMean Squared Error 0.1")], rules=["useful_turn"]) == {}


def test_families_are_excluded() -> None:
    episodes = [scripted_episode(GOOD, ANSWER, family=name) for name in ("strategyqa", "math")]
    assert reasons(episodes, exclude_families=["strategyqa"]) == {"family strategyqa is excluded": 1}


def test_repairs_are_required_or_come_first() -> None:
    repair = scripted_episode(BAD, GOOD, ANSWER, model="b")
    plain = scripted_episode(GOOD, ANSWER, model="a")
    broken = scripted_episode(GOOD, BAD, ANSWER, model="c")
    everything = [repair, plain, broken]
    assert reasons(everything, repairs="require") == {"no error that was repaired": 2}
    for order in (everything, everything[::-1]):
        kept, _ = choose(order, OPEN.model_copy(update={"repairs": "prefer", "max_per_task": 1}))
        assert kept == [repair]


def test_tiers_are_the_papers(tmp_path: Path) -> None:
    first, *others = (task.ref for task in load_tasks(TaskSet(count=3)))
    easy = scripted_episode(GOOD, ANSWER).model_copy(update={"task": first})
    medium = scripted_episode(GOOD, GOOD, ANSWER, model="n").model_copy(update={"task": first})
    failed = scripted_episode(GOOD, ANSWER, model="o", success=False).model_copy(update={"task": first})
    hard = [
        scripted_episode(GOOD, WRONG, success=False, task=task.id).model_copy(update={"task": task}) for task in others
    ]
    strong = scripted_episode(GOOD, BAD, ANSWER, model="gpt-4", task="s").model_copy(update={"task": others[0]})
    config = SelectConfig.model_validate({"tiers": {"models": ["?"]}, "successes_only": False, "balance": None})
    with TrajectoryStore(tmp_path / "bank") as bank:
        for episode in (easy, medium, failed, *hard, strong):
            bank.append(episode)
    report = select_records(tmp_path / "bank", tmp_path / "records.jsonl", tmp_path / "selection.json", config)
    assert report["dropped"] == {"tier hard": 2, "tier easy": 1, "failed at a task that others solved": 1}
    assert report["tiers"] == {
        "easy": {"episodes": 1, "tasks": 1},
        "medium": {"episodes": 2, "tasks": 2},
        "hard": {"tasks": 2, "by_family": {"procedural": 2}},
    }
    # the list is what a stronger model's source takes, also after that model has solved some of it
    listed = load_tasks(TaskSet(count=3, only=tmp_path / "hard_tasks.jsonl"))
    assert [task.ref for task in listed] == sorted(others, key=lambda ref: int(ref.id.rpartition("-")[2]))
    everyone = choose([easy, *hard, strong], config.model_copy(update={"tiers": TierSettings()}))
    assert [t.model for t in everyone[0]] == ["gpt-4"]


def test_a_round_that_solves_nothing_still_lists_its_tasks(tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path / "bank") as bank:
        bank.append(scripted_episode(GOOD, WRONG, success=False))
    config = SelectConfig(tiers=TierSettings())
    with pytest.raises(ValueError, match="nothing is left of 1 trajectories"):
        select_records(tmp_path / "bank", tmp_path / "records.jsonl", tmp_path / "selection.json", config)
    assert json.loads((tmp_path / "hard_tasks.jsonl").read_text())["id"] == "1"


def test_near_duplicates_and_where_they_end() -> None:
    words = [f"word{number}" for number in range(200)]

    def says(model: str, changed: int, system: str = "s") -> Trajectory:
        text = " ".join([*words[: len(words) - changed], *(f"other{n}" for n in range(changed))])
        return scripted_episode(("action", text, "ok"), ANSWER, model=model, instructions=system)

    same, near, far = says("a", 0), says("b", 8, system="other " * 300), says("c", 100)
    kept, dropped = choose([same, near, far], OPEN.model_copy(update={"near_duplicates": 0.8}))
    assert dropped == {"near duplicate": 1} and len(kept) == 2 and far in kept
    assert reasons([same, near, far]) == {}


def test_other_languages_are_dropped_and_short_texts_stay() -> None:
    english = "Task:\nFind the largest number in the list and explain how you have found it, step by step, in words."
    german = (
        "Task:\nFinde die größte Zahl in der Liste und erkläre mit eigenen Worten, wie du sie gefunden hast, bitte."
    )
    episodes = [
        scripted_episode(GOOD, ANSWER, prompt=text, task=str(number))
        for number, text in enumerate([english, german, "Task:\nSumme?"])
    ]
    assert reasons(episodes, language="en") == {"language de": 1}
    assert reasons(episodes, language="de") == {"language en": 1}
    with pytest.raises(ValueError, match="'xx': choose from"):
        reasons(episodes, language="xx")


def test_balance_can_count_families() -> None:
    common = [scripted_episode(GOOD, ANSWER, task=str(n), kind=str(n % 2)) for n in range(9)]
    rare = [scripted_episode(GOOD, ANSWER, task=str(n), family="rare") for n in range(2)]
    config = OPEN.model_copy(update={"balance": 2.0, "balance_by": "family"})
    kept, dropped = choose(common + rare, config)
    assert dropped == {"surplus of its family": 5} and len(kept) == 6

"""The procedural family: seeded, disjoint splits, the shares it promises. (That it can be solved: test_expert.py.)"""

import re
from typing import Any

import pytest

from rollout.families import TaskSet, load_tasks
from rollout.families.procedural import KINDS, vocabulary

FILLERS = {*vocabulary.GOODS, *vocabulary.TEAMS}


def test_same_seed_same_tasks_and_more_of_them_begin_the_same() -> None:
    few, many = load_tasks(TaskSet(count=20, seed=3)), load_tasks(TaskSet(count=60, seed=3))
    assert [task.ref for task in few] == [task.ref for task in many[:20]]
    assert [task.ref.digest for task in few] != [task.ref.digest for task in load_tasks(TaskSet(count=20, seed=4))]


def test_splits_share_no_task_with_any_seeds() -> None:
    train = {task.ref.digest for seed in range(3) for task in load_tasks(TaskSet(count=400, seed=seed))}
    heldout = {
        task.ref.digest for seed in range(3) for task in load_tasks(TaskSet(split="heldout", count=200, seed=seed))
    }
    assert not train & heldout


def test_tasks_of_a_set_differ() -> None:
    tasks = load_tasks(TaskSet(count=400))
    assert len({task.ref.digest for task in tasks}) == 400


def test_kinds_are_balanced_and_most_tasks_need_several_cells() -> None:
    for split in ("train", "heldout"):
        tasks = load_tasks(TaskSet(split=split, count=400))
        assert {task.kind for task in tasks} == set(KINDS)
        assert sum(task.min_cells >= 2 for task in tasks) >= len(tasks) / 2
        assert sum(task.fails_first for task in tasks) >= len(tasks) / 5


def test_unseen_wordings_and_tools_occur_only_in_the_held_out_split() -> None:
    train, heldout = load_tasks(TaskSet(count=800)), load_tasks(TaskSet(split="heldout", count=300))
    assert {task.group for task in train} == {"trained"}
    assert {task.group for task in heldout} == {"trained", "unseen_wording", "unseen_tool"}
    shown = {name for task in train if task.toolset for name in task.toolset.functions()}
    unseen = [set(task.toolset.functions()) - shown for task in heldout if task.group == "unseen_tool" and task.toolset]
    assert unseen and all(unseen)
    skeletons = {skeleton(task.prompt) for task in train}
    assert not skeletons & {skeleton(task.prompt) for task in heldout if task.group == "unseen_wording"}


def skeleton(prompt: str) -> str:
    """The wording without what was filled in: numbers, names, codes and every word of the vocabulary."""
    words = re.sub(r"[^a-z ]", " ", re.sub(r"\S*\d\S*|\b[A-Z]\w+", " ", prompt)).split()
    return " ".join(word for word in words if word not in FILLERS)


def test_tools_of_an_episode_share_no_state_with_the_next() -> None:
    busy = next(task for task in load_tasks(TaskSet(count=400)) if getattr(task.toolset, "busy", False))
    assert busy.toolset
    for _ in range(2):
        call = next(iter(busy.toolset.functions().values()))
        with pytest.raises(ConnectionError):
            call("A", "B")
        call("A", "B")


@pytest.mark.parametrize(
    ("chosen", "named"),
    [
        (
            {"family": "nowhere"},
            "'nowhere' is not a registered task family; known: .*procedural.*; .*codeact.task_families",
        ),
        ({"split": "test"}, "tasks.split: 'test'"),
        ({"kinds": ("table", "chess")}, "chess"),
    ],
)
def test_what_does_not_exist_is_named(chosen: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        load_tasks(TaskSet(**chosen))

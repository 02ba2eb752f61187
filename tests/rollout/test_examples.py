"""Worked examples: each does what it says, fits its family and is written in the form of the protocol."""

import pytest

from rollout import EpisodeProtocol, KernelSource
from rollout.checks.example_runs import run_example, toolset_of
from rollout.families import data_families
from rollout.families.alfworld.game_file import KINDS
from rollout.families.alfworld.small_house import SmallHouse
from rollout.protocol import Example, find_example, read_examples

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("example", read_examples(), ids=lambda example: example.name)
async def test_an_example_does_what_it_says(example: Example, pool: KernelSource) -> None:
    assert await run_example(example, pool) == []


async def test_differences_are_found(pool: KernelSource) -> None:
    (example,) = [one for one in read_examples() if one.name == "reasoning"]
    first, *others = example.turns
    changed = first.model_copy(update={"observation": "33 17280"})
    wrong = others[-1].model_copy(update={"answer": "5"})
    found = await run_example(example.model_copy(update={"turns": (changed, *others[:-1], wrong)}), pool)
    assert [difference.split(",")[0] for difference in found] == [
        "reasoning: turn 1 prints '32 17280 2468.5714285714284'",
        "reasoning: turn 3: the answer is right in the example",
    ]
    house = next(one for one in read_examples() if one.house)
    assert await run_example(house.model_copy(update={"turns": house.turns[:1]}), pool) == [
        f"{house.name}: the game is not won"
    ]


async def test_families_of_the_paper_have_an_example_and_offer_its_functions() -> None:
    assert all(find_example("alfworld", kind) for kind in KINDS.values())
    families = data_families()
    for family, kind in [
        ("math", "algebra"), ("gsm8k", "gsm8k"), ("hotpotqa", "bridge"), ("apps", "interview"), ("mbpp", "mbpp"),
        ("humaneval", "humaneval"), ("wikitablequestions", "pandas"), ("wikitablequestions", "sqlite"),
    ]:  # fmt: skip
        example = find_example(family, kind)
        assert example is not None
        toolset = toolset_of(example)
        assert set(toolset.functions() if toolset else ()) <= set(families[family].info.tools)
    pandas, sqlite = find_example("wikitablequestions", "pandas"), find_example("wikitablequestions", "sqlite")
    assert pandas and sqlite and pandas.name != sqlite.name
    assert find_example("procedural", "table") is None


async def test_an_example_is_written_in_the_form_of_the_protocol() -> None:
    example = find_example("mbpp", "mbpp")
    assert example is not None
    mint, fenced, chat = (EpisodeProtocol.model_validate(name) for name in ("mint", "fenced", "chat"))
    tagged = example.render("tags", True, mint)
    assert tagged.startswith("Task:\n") and "<thought>\n" in tagged and tagged.endswith("</solution>")
    assert "Observation:\nbbb aa\nValueError: max() arg is an empty sequence" in tagged
    assert "```python\n" in example.render("fenced", False, fenced)
    assert "<solution>" not in example.render("chat", False, chat)


async def test_the_small_house_refuses_what_the_games_refuse() -> None:
    house = SmallHouse({"shelf 1": ["mug 1"], "fridge 1": []}, ["fridge 1"], {"thing": "mug", "place": "fridge"})
    steps = [
        house.take_from("mug 1", "shelf 1"), house.goto("moon 1"), house.goto("shelf 1"), house.goto("shelf 1"),
        house.take_from("mug 1", "shelf 1"), house.goto("fridge 1"), house.put("mug 1", "fridge 1"),
    ]  # fmt: skip
    assert steps == [
        "Nothing happens.", "Nothing happens.", "On the shelf 1, you see a mug 1.", "Nothing happens.",
        "You pick up the mug 1 from the shelf 1.", "The fridge 1 is closed.", "Nothing happens.",
    ]  # fmt: skip
    assert house.outcome() is None
    assert house.open_receptacle("fridge 1") == "You open the fridge 1. The fridge 1 is open. In it, you see nothing."
    house.put("mug 1", "fridge 1")
    assert house.outcome() is not None

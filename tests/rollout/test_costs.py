"""Costs: prices from a file, the table of a bank, and the plan of a collection."""

from pathlib import Path
from typing import Any

import pytest

from rollout.bank.store import TrajectoryStore
from rollout.bank.trajectory import JudgeUsage, Trajectory
from rollout.config import CollectConfig, Source
from rollout.families import TaskSet, load_tasks
from rollout.postprocess.costs import bank_table, plan_collection, read_prices
from rollout.postprocess.costs.paper import tokens_per_episode
from tests.helpers.episodes import record

PRICES = "big: {input: 10, output: 30, cached: 1}\nsmall: {input: 1, output: 2}\n"


def used(one: Trajectory, prompt: int, completion: int, cached: int = 0, judge: JudgeUsage | None = None) -> Trajectory:
    tokens = {"prompt_tokens": prompt, "completion_tokens": completion, "cached_tokens": cached}
    return one.model_copy(update={"usage": one.usage.model_copy(update=tokens), "judge": judge})


def test_the_table_counts_success_tokens_and_money_and_judges_apart(tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text(PRICES)
    judge = JudgeUsage(model="small", calls=2, prompt_tokens=100_000, completion_tokens=50_000)
    bank = [
        used(record(1, model="big"), 1_000_000, 100_000, 400_000),
        used(record(2, model="big", success=False, kind="sql"), 500_000, 0, judge=judge),
        used(record(3, model="free"), 10, 10),
        record(4, model="expert-0.1"),
    ]
    table = bank_table(bank, read_prices(tmp_path / "prices.yaml"))
    big = table["models"]["big"]
    assert (big["episodes"], big["solved"], big["success"]) == (2, 1, 0.5)
    assert big["money"] == 1.1 * 10 + 0.4 * 1 + 0.1 * 30 and big["tokens_per_episode"] == 800_000
    assert big["families"]["f"]["kinds"]["sql"] == {"tasks": 1, "episodes": 1, "solved": 0, "success": 0.0}
    assert table["judges"] == {
        "small": {"calls": 2, "prompt_tokens": 100_000, "completion_tokens": 50_000, "money": 0.2}
    }
    assert table["models"]["expert-0.1"]["money"] == 0.0 and table["models"]["free"]["money"] is None
    assert table["money"] == 14.6 and table["without_price"] == ["free"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("", "there is no price in it"),
        ("a: [", "write one line a model"),
        ("a: {input: 1}", r"a\.output: Field required"),
        ("a: {input: cheap, output: 1}", r"a\.input: .*number"),
        ("a: {input: 1, output: 1, cash: 1}", r"a\.cash: Extra inputs"),
    ],
)
def test_a_file_of_prices_that_cannot_be_used_is_one_sentence(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "prices.yaml").write_text(text)
    with pytest.raises(ValueError, match=message) as refused:
        read_prices(tmp_path / "prices.yaml")
    assert "\n" not in str(refused.value)


def plan(tmp_path: Path, *sources: dict[str, Any], **prices: Any) -> Any:
    (tmp_path / "prices.yaml").write_text(PRICES)
    config = CollectConfig(sources=tuple(map(Source.model_validate, sources)))
    return plan_collection(config, {"big-engine": "big"}, tmp_path / "bank", read_prices(tmp_path / "prices.yaml"))


def test_the_plan_counts_tasks_that_are_here_and_names_those_that_are_not(tmp_path: Path) -> None:
    tasks = {"family": "gsm8k", "split": "test", "count": None, "data_root": str(tmp_path)}
    made = plan(
        tmp_path,
        {"engines": ["big-engine", "other"], "samples": 2, "tasks": {"count": 5}},
        {"engine": "big-engine", "tasks": tasks},
        {"engine": "big-engine", "tasks": tasks | {"family": "math", "split": "train", "count": 100}},
    )
    here, away, limited = made.sources
    assert (here.tasks, here.basis, here.episodes) == (5, "counted", 20)
    assert (away.tasks, away.basis) == (1319, "known: the original's number") and limited.tasks == 100
    assert [(one.family, one.split) for one in made.missing] == [("gsm8k", "test"), ("math", "train")]
    assert made.missing[0].get.startswith("codeact tasks fetch gsm8k --split test (from https://")
    big, other = made.teachers
    assert (big.episodes, other.episodes) == (10 + 1319 + 100, 10)
    prompt, completion = tokens_per_episode("gsm8k")
    assert big.prompt_tokens == pytest.approx(big.episodes * prompt) and prompt + completion == pytest.approx(
        5165, 1e-3
    )
    assert big.money == round((big.prompt_tokens * 10 + big.completion_tokens * 30) / 1e6, 2) and other.money is None


def test_what_is_in_the_bank_is_done_and_gives_the_tokens_of_the_rest(tmp_path: Path) -> None:
    first, second, *_ = load_tasks(TaskSet(count=5))
    with TrajectoryStore(tmp_path / "bank") as store:
        store.append(used(record(1, model="big").model_copy(update={"task": first.ref}), 1000, 100))
        store.append(used(record(2, model="big").model_copy(update={"task": second.ref}), 3000, 300))
    made = plan(tmp_path, {"engine": "big-engine", "tasks": {"count": 5}})
    (source,), (teacher,) = made.sources, made.teachers
    assert (source.done, teacher.episodes) == (2, 3)
    assert (teacher.prompt_tokens, teacher.completion_tokens) == (3 * 2000, 3 * 200)
    assert teacher.basis == ["measured: 2 episodes of procedural in the bank"]


def test_the_hard_tier_is_estimated_from_the_paper_and_limited(tmp_path: Path) -> None:
    made = plan(tmp_path, {"engine": "expert", "tasks": {"count": 100}, "only_unsolved": True, "most_tasks": 20})
    (source,), (teacher,) = made.sources, made.teachers
    assert source.tasks == 20 and source.basis == "estimated: 35% unsolved in the paper"
    assert teacher.money == 0.0 and teacher.prompt_tokens == 0

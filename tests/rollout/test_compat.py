"""Ids, digests and banks made before the classes were renamed still hold (``tests/data/compat``)."""

import json
from pathlib import Path
from typing import Any

import pytest

from eval.benchmarks import benchmark_digest
from rollout.bank.store import TrajectoryStore, read_trajectories
from rollout.bank.trajectory import Sampling, digest_of, trajectory_id
from rollout.engines.expert import ExpertEngine
from rollout.engines.spec import ExpertSpec
from rollout.families import TaskSet, load_tasks
from rollout.protocol import EpisodeProtocol
from rollout.select import SelectConfig, select_records

COMPAT = Path(__file__).parent.parent / "data" / "compat"
GOLDEN: dict[str, Any] = json.loads((COMPAT / "tasks.json").read_text())


def test_the_digest_of_a_protocol_is_as_before() -> None:
    assert EpisodeProtocol().ref.model_dump() == GOLDEN["protocol"]["default"]
    assert EpisodeProtocol(checkpoint=False).ref.model_dump() == GOLDEN["protocol"]["no checkpoint"]
    assert EpisodeProtocol(name="codeact-short", max_steps=5).ref.model_dump() == GOLDEN["protocol"]["short"]


@pytest.mark.parametrize("row", GOLDEN["tasks"], ids=lambda row: f"{row['ref']['kind']}-{row['ref']['id']}")
def test_digest_trajectory_id_and_mistakes_of_a_task_are_as_before(row: dict[str, Any]) -> None:
    split, seed = row["set"]
    task = load_tasks(TaskSet(split=split, count=row["index"] + 1, seed=seed))[row["index"]]
    assert task.ref.model_dump() == row["ref"]
    model = ExpertSpec(error_share=0.12).name
    assert trajectory_id(task.ref, model, Sampling(), EpisodeProtocol().ref, 0) == row["trajectory"]
    assert ExpertEngine(task, "x", 0.3)._make_mistake == row["mistake"]


def test_four_hundred_tasks_and_the_benchmark_are_as_before() -> None:
    tasks = load_tasks(TaskSet(count=200, seed=5)) + load_tasks(TaskSet(split="heldout", count=200, seed=5))
    assert digest_of([task.ref.model_dump() for task in tasks]) == GOLDEN["all"]
    assert benchmark_digest(load_tasks(TaskSet(split="heldout", count=60))) == GOLDEN["benchmark"]


def test_an_old_store_is_read_written_and_selected_as_before(tmp_path: Path) -> None:
    records = list(read_trajectories(COMPAT / "bank"))
    with TrajectoryStore(tmp_path / "bank") as store:
        for record in records:
            store.append(record)
    (shard,) = (tmp_path / "bank").glob("*.jsonl")
    assert shard.read_bytes() == (COMPAT / "bank" / shard.name).read_bytes()
    select_records(COMPAT / "bank", tmp_path / "records.jsonl", tmp_path / "selection.json", SelectConfig())
    for name in ("records.jsonl", "selection.json"):
        assert (tmp_path / name).read_bytes() == (COMPAT / name).read_bytes()


def test_the_ids_of_an_old_store_are_those_of_the_same_work_today() -> None:
    for record in read_trajectories(COMPAT / "bank"):
        assert trajectory_id(record.task, record.model, record.sampling, record.protocol, record.seed) == record.id

"""The phases of a collection: several teachers, the hard tasks for a stronger one, repairs of what failed."""

import json
from pathlib import Path

import pytest

from rollout.bank.store import TrajectoryStore, read_trajectories
from rollout.bank.trajectory import Sampling
from rollout.collect.planning import Collection
from rollout.collect.run import collect_trajectories, is_complete
from rollout.config import CollectConfig, RepairConfig, Source, WorkerConfig
from rollout.engines.spec import ServerSpec
from rollout.families import TaskSet
from rollout.protocol import EpisodeProtocol
from rollout.workers import EpisodeJob, Job, ray_session
from tests.helpers.episodes import record
from tests.helpers.fake_server import chat_reply, http_server

PROTOCOL = EpisodeProtocol()
TASKS = TaskSet(count=6)
SERVERS = {name: ServerSpec(name=name, base_urls=(), model=name) for name in ("small", "other", "strong")}


def store(bank: Path, jobs: list[Job], solved: set[int]) -> None:
    """Fills a bank with a trajectory for each job; those of the tasks numbered ``solved`` succeed."""
    with TrajectoryStore(bank) as bank_file:
        for number, job in enumerate(jobs):
            assert isinstance(job, EpisodeJob)
            success = number % 6 in solved
            made = record(number, success=success, model=job.engine.name, fails=int(not success))
            bank_file.append(made.model_copy(update={"id": job.id(PROTOCOL), "task": job.task.ref}))


def ids(jobs: list[Job]) -> list[str]:
    return [id for job in jobs for id in job.ids(PROTOCOL)]


def test_several_engines_share_a_task_set_and_a_stronger_one_gets_the_tasks_that_none_solved(tmp_path: Path) -> None:
    teachers = Source(engines=("small", "other"), tasks=TASKS)
    hard = Source(engine="strong", tasks=TASKS, only_unsolved=True, most_tasks=3)
    repaired = Source(
        engine="small", tasks=TaskSet(count=6, seed=1), repair=RepairConfig(samples=2, sampling=Sampling(temperature=1))
    )
    config = CollectConfig(sources=(teachers, hard, repaired))
    phases = Collection(config, PROTOCOL, SERVERS).phases(tmp_path)
    first = next(phases)
    assert [job.engine.name for job in first] == ["small"] * 6 + ["other"] * 6
    store(tmp_path, first, {0, 1})
    second = next(phases)
    unsolved = [job.task.id for job in first[2:6]]
    assert {job.engine.name for job in second} == {"strong"} and len(second) == 3
    assert {job.task.id for job in second} <= set(unsolved)
    store(tmp_path, second, {0, 1, 2})
    third = next(phases)
    store(tmp_path, third, {0, 1, 2, 3})
    repairs = next(phases)
    assert [len(job.ids(PROTOCOL)) for job in repairs] == [2, 2] and next(phases, None) is None
    assert [job.task.id for job in repairs] == [job.task.id for job in third[4:6]]

    again = [ids(jobs) for jobs in Collection(config, PROTOCOL, SERVERS).phases(tmp_path)]
    assert again == [ids(jobs) for jobs in (first, second, third, repairs)], "the same bank gives the same jobs"


def test_a_collection_with_repairs_ends_and_starts_again_where_it_was(tmp_path: Path) -> None:
    prompts: list[str] = []

    def handle(path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Fails in its first cell, then gives up; after an error at temperature 1 it goes on with another cell."""
        asked = json.loads(body)
        said = [turn["content"] for turn in asked["messages"]]
        prompts.append(said[-1])
        if len(said) == 2:
            text = "<execute>\nx = 1\nprint(y)\n</execute>"
        elif asked["temperature"] == 1 and len(said) == 4:
            text = "<execute>\nprint(x)\n</execute>"
        else:
            text = "<solution>none of these</solution>"
        return 200, json.dumps(chat_reply(text)).encode()

    repair = RepairConfig(samples=2, sampling=Sampling(temperature=1))
    config = CollectConfig(
        sources=(Source(engine="here", tasks=TaskSet(count=2), repair=repair),),
        workers=WorkerConfig(warm_kernels=2, kernel_memory_mib=256, episodes_per_worker=2),
    )
    with http_server(handle) as url, ray_session():
        servers = {"here": ServerSpec(name="here", base_urls=(url,), model="m", retries=0)}
        assert not is_complete(config, PROTOCOL, tmp_path, servers)
        assert collect_trajectories(config, PROTOCOL, tmp_path, servers) == {"wrong_answer": 6}
        asked = len(prompts)
        assert collect_trajectories(config, PROTOCOL, tmp_path, servers) == {"wrong_answer": 6}
        assert is_complete(config, PROTOCOL, tmp_path, servers) and len(prompts) == asked
    records = list(read_trajectories(tmp_path))
    branches = [one for one in records if one.branch]
    parents = {one.id for one in records if not one.branch}
    assert len(branches) == 4 and {one.branch.parent for one in branches if one.branch} == parents
    assert prompts.count("Observation:\n1") == 4, "each branch has the variable of the cell that failed"
    assert all([m.cell.status for m in one.messages if m.cell] == ["error", "ok"] for one in branches)


def test_the_new_keys_do_not_change_how_a_source_is_written_out() -> None:
    assert set(Source().model_dump()) == {"engine", "engine_options", "tasks", "samples", "sampling", "error_share"}


@pytest.mark.parametrize("name", ["engine", "engines"])
def test_every_engine_that_a_source_names_is_known(name: str) -> None:
    given = {name: "a" if name == "engine" else ["a", "b"]}
    repair = RepairConfig(engine="c", samples=1)
    source = Source.model_validate(given | {"repair": repair})
    assert CollectConfig(sources=(source, source)).engine_names == [*(given[name] if name == "engines" else "a"), "c"]

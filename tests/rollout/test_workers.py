"""Actors that die are restarted, and a job that kills its actor each time ends the run."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from rollout import EpisodeJob, EpisodeProtocol, Message, Sampling, Task, WorkerConfig, ray_session
from rollout.engines import Completion
from rollout.workers import run_jobs
from rollout.workers.actors import RolloutWorker
from tests.helpers.episodes import Says


@dataclass
class Fatal:
    """Engine that kills its process ``deaths`` times, counted in a file, and then answers."""

    marks: Path
    deaths: int
    name: str = "fatal"
    shared: ClassVar[bool] = False

    def build(self, task: Task) -> "Fatal":
        return self

    async def complete(self, messages: Sequence[Message], sampling: Sampling, *, session: str) -> Completion:
        with self.marks.open("a+") as marks:
            marks.seek(0)
            died = len(marks.read())
            if died < self.deaths:
                marks.write("x")
                marks.flush()
                os._exit(1)
        return Completion("<solution>1</solution>", None, None, 0, 0, "stop")

    async def close(self) -> None: ...


@dataclass
class Saying:
    """The description of an engine that says the given turns."""

    turns: tuple[str, ...]
    name: str = "saying"
    shared: ClassVar[bool] = False

    def build(self, task: Task) -> Says:
        return Says(*self.turns)


async def test_the_reference_systems_verdicts_stand_beside_ours() -> None:
    config = WorkerConfig(legacy_verdicts=True, warm_kernels=1, kernel_memory_mib=256)
    worker = RolloutWorker(config, EpisodeProtocol(max_proposals=2), None)
    engine = Saying(("<solution>7</solution>", "<solution>-150</solution>"))
    try:
        for grader, legacy in (("number", ["wrong", "wrong"]), ("exact", ["wrong", "right"])):
            asked = Task("f", "k", "train", "trained", grader, "?", "-150", grader)
            (done,), _ = await worker.run(EpisodeJob(asked, engine, Sampling()))
            assert done.grading is not None and done.outcome.success
            assert [given.kind for given in done.grading.verdicts] == ["wrong", "right"]
            assert [given.legacy for given in done.grading.verdicts] == legacy
    finally:
        await worker.close()


def job(number: int, engine: Fatal) -> EpisodeJob:
    return EpisodeJob(Task("f", "k", "train", "trained", f"t-{number}", "?", "1", "text"), engine, Sampling())


def test_a_dead_actor_is_restarted_and_a_poisoned_job_ends_the_run(tmp_path: Path) -> None:
    once, always = Fatal(tmp_path / "once", 1), Fatal(tmp_path / "always", 99)
    config = WorkerConfig(warm_kernels=1, kernel_memory_mib=256, episodes_per_worker=2, infra_retries=1)
    with ray_session():
        done = list(run_jobs([job(0, once), job(1, Fatal(tmp_path / "never", 0))], config, EpisodeProtocol()))
        assert sorted((record.task.id, record.outcome.success) for record in done) == [("t-0", True), ("t-1", True)]
        with pytest.raises(RuntimeError, match="died again and again"):
            list(run_jobs([job(2, always)], config, EpisodeProtocol()))
    assert (tmp_path / "once").read_text() == "x"
    assert (tmp_path / "always").read_text() == "xx"

"""The judge: an engine that graders and environments ask, counted apart from the episode."""

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from rollout.bank.trajectory import JudgeUsage, Message, Sampling, Trajectory
from rollout.collect.planning import Collection, judge_for
from rollout.config import CollectConfig, Source
from rollout.engines.base import Completion, Engine, EngineError
from rollout.engines.judge import Judge, JudgeSpec, current_judge
from rollout.engines.spec import ServerSpec
from rollout.episode.loop import run_episode
from rollout.families import Task, TaskSet
from rollout.protocol import EpisodeProtocol
from rollout.registry import GRADERS
from tests.helpers.episodes import Says
from tests.helpers.fake_server import NoKernels, chat_reply, http_server

ASKED = [Message(role="user", kind="task", content="Is 2 right?")]


@dataclass(frozen=True)
class Fixed:
    """Describes an engine that says fixed turns."""

    turns: tuple[str, ...]
    name: ClassVar[str] = "fixed"
    shared: ClassVar[bool] = True

    def build(self, task: Task) -> Engine:
        return Says(*self.turns)


def asks(proposed: str, reference: str) -> bool:
    """A grader that asks the judge twice."""
    judge = current_judge()
    return [judge.ask(ASKED) for _ in range(2)] == ["yes", "yes"]


asks.needs_judge = True  # type: ignore[attr-defined]


@pytest.fixture
def grader() -> Iterator[str]:
    if "asks-the-judge" not in GRADERS.names():
        GRADERS.add("asks-the-judge", asks)
    yield "asks-the-judge"
    del GRADERS._loaded["asks-the-judge"]


def episode(grader: str, judge: Judge | None) -> Trajectory:
    task = Task("f", "k", "train", "trained", "t-1", "Say 1.", "1", grader)
    run = run_episode(task, Says("<solution>1</solution>"), NoKernels(), EpisodeProtocol(), Sampling(), judge=judge)
    return asyncio.run(run)


def test_a_grader_asks_the_judge_and_its_usage_is_counted_apart(grader: str) -> None:
    judge = Judge(JudgeSpec(Fixed(("yes", "yes"))))
    trajectory = episode(grader, judge)
    judge.close()
    assert trajectory.outcome.success
    assert trajectory.judge == JudgeUsage(model="fixed", calls=2, prompt_tokens=20, completion_tokens=10)
    assert (trajectory.usage.prompt_tokens, trajectory.usage.completion_tokens) == (10, 5)
    assert Trajectory.model_validate_json(trajectory.model_dump_json()) == trajectory


def test_the_judge_is_part_of_the_id_and_absent_where_there_is_none() -> None:
    plain, judged = episode("text", None), episode("text", Judge(JudgeSpec(Fixed(()))))
    assert plain.id != judged.id and plain.judge is judged.judge is None
    assert {"judge", "branch"}.isdisjoint(json.loads(plain.model_dump_json()))


def test_without_a_judge_a_task_that_needs_one_is_refused_before_the_start(grader: str, tmp_path: Path) -> None:
    task = Task("f", "k", "train", "trained", "t-1", "Say 1.", "1", grader)
    with pytest.raises(ValueError, match=r"judge\.engine=null: the grader 'asks-the-judge' of t-1 needs a judge"):
        judge_for(task, EpisodeProtocol(), None)
    spec = JudgeSpec(Fixed(()))
    assert judge_for(task, EpisodeProtocol(), spec) is spec
    config = CollectConfig(sources=(Source(tasks=TaskSet(count=2)),))
    (jobs,) = Collection(config, EpisodeProtocol(), judge=spec).phases(tmp_path)
    assert [job.judge for job in jobs] == [None, None], "no built-in task needs one"


def test_a_coroutine_asks_a_server_and_an_error_keeps_its_kind() -> None:
    replies = [(200, chat_reply("The answer is right.")), (400, {"error": {"message": "no"}})]

    def handle(path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        status, reply = replies.pop(0)
        return status, json.dumps(reply).encode()

    with http_server(handle) as url:
        judge = Judge(JudgeSpec(ServerSpec(name="j", base_urls=(url,), model="m", retries=0)))

        async def both() -> str:
            said = await judge.ask_async(ASKED)
            with pytest.raises(EngineError) as refused:
                await judge.ask_async(ASKED)
            assert refused.value.kind == "infra", "the form of a first request is refused"
            return said

        assert asyncio.run(both()) == "The answer is right."
        judge.close()


def test_closing_a_judge_ends_the_threads_that_wait_for_it() -> None:
    asked, ended = threading.Event(), threading.Event()

    class Never(Says):
        async def complete(self, messages: Sequence[Message], sampling: Sampling, *, session: str) -> Completion:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError

    @dataclass(frozen=True)
    class Silent(Fixed):
        def build(self, task: Task) -> Engine:
            return Never()

    judge = Judge(JudgeSpec(Silent(())))

    def ask() -> None:
        with pytest.raises(CancelledError):
            judge.ask(ASKED)
        ended.set()

    threading.Thread(target=ask, daemon=True).start()
    assert asked.wait(10)
    judge.close()
    assert ended.wait(10)

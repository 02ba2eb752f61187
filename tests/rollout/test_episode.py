"""One episode: limits, observations, typed failures; always a trajectory."""

import asyncio
import dataclasses
from typing import Any

import pytest

from rollout.bank.trajectory import Sampling, Trajectory, digest_of
from rollout.engines.base import ContextFull, EngineError
from rollout.episode.loop import run_episode
from rollout.families.base import Task
from rollout.kernel_source import KernelSource
from rollout.protocol import EpisodeProtocol
from rollout.registry import GRADERS
from tests.helpers.episodes import Says

pytestmark = pytest.mark.asyncio(loop_scope="module")
DEAF = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})\nwhile True: pass"
HOG = """import mmap, time
held = [mmap.mmap(-1, 64 << 20, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS) for _ in range(12)]
for each in held:
    for at in range(0, len(each), 4096):
        each[at] = 1
time.sleep(60)"""
ADD = Task("f", "math", "train", "trained", "t-1", "What is x + 1?", "42", "number", setup="x = 41")


async def run(engine: Says, pool: KernelSource, task: Task = ADD, **limits: Any) -> Trajectory:
    return await run_episode(task, engine, pool, EpisodeProtocol(**limits), Sampling())


def cell(code: str) -> str:
    return f"<execute>\n{code}\n</execute>"


async def test_variables_stay_and_the_answer_is_graded(pool: KernelSource) -> None:
    engine = Says(cell("y = x + 1"), cell("print(y)"), "<solution>42</solution>")
    done = await run(engine, pool)
    assert done.outcome.success and done.outcome.reason == "solved" and done.outcome.reward == 1.0
    observations = [message.content for message in done.messages if message.kind == "observation"]
    assert observations == ["Observation:\n[no output]", "Observation:\n42"]
    assert (done.usage.steps, done.usage.cells, done.usage.proposals) == (3, 2, 1)
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (30, 15)
    assert done.isolation == pool.tier


async def test_an_exception_is_one_line_and_state_survives(pool: KernelSource) -> None:
    done = await run(Says(cell("z = 1 / 0"), cell("print(x)"), "<solution>41</solution>"), pool)
    first, second = (message for message in done.messages if message.kind == "observation")
    assert first.content == "Observation:\nZeroDivisionError: division by zero"
    assert first.cell and first.cell.error_name == "ZeroDivisionError"
    assert second.content == "Observation:\n41"
    assert done.outcome.reason == "wrong_answer" and done.usage.error_cells == 1


async def test_an_endless_cell_costs_its_time_and_not_the_episode(pool: KernelSource) -> None:
    done = await run(
        Says(cell("while True: pass"), cell("print(x)"), "<solution>42</solution>"), pool, cell_timeout_s=0.5
    )
    stopped = next(message for message in done.messages if message.kind == "observation")
    assert stopped.cell and stopped.cell.status == "timeout_interrupted"
    assert "Variables are kept" in stopped.content
    assert done.outcome.success


@pytest.mark.parametrize(
    ("fatal", "report"),
    [("import os; os._exit(1)", "died"), (DEAF, "timeout killed"), (HOG, "out of memory")],
    ids=["exit", "deaf loop", "hog"],
)
async def test_a_cell_that_kills_its_kernel_costs_itself_and_not_the_episode(
    pool: KernelSource, fatal: str, report: str
) -> None:
    engine = Says(cell("y = x + 1"), cell(f"y = 0\n{fatal}"), cell("print(y)"), "<solution>42</solution>")
    done = await run(engine, pool, cell_timeout_s=0.5 if fatal == DEAF else 10)
    _, lost, after = (message.content for message in done.messages if message.kind == "observation")
    assert lost == f"Observation:\n[{report}] Variables and files are as before this cell."
    assert after == "Observation:\n42"
    assert done.outcome.success and done.usage.error_cells == 1


async def test_checkpoints_are_part_of_a_protocol_and_without_them_it_is_what_it_was() -> None:
    before_there_were_any = EpisodeProtocol().model_dump(exclude={"checkpoint"})
    assert EpisodeProtocol(checkpoint=False).ref.digest == digest_of(before_there_were_any)
    assert EpisodeProtocol(checkpoint=True).ref.digest != EpisodeProtocol(checkpoint=False).ref.digest


@pytest.mark.parametrize(
    ("turns", "limits", "reason"),
    [
        ([cell("1")] * 9, {"max_steps": 3}, "max_steps"),
        (["hm"] * 9, {"max_invalid": 2}, "max_invalid"),
        (["<solution>1</solution>"] * 9, {"max_proposals": 2}, "wrong_answer"),
        ([cell("import time; time.sleep(60)")], {"deadline_s": 0.5}, "deadline"),
        ([ContextFull("4097 tokens")], {}, "context_full"),
    ],
)
async def test_limits(pool: KernelSource, turns: list[str | Exception], limits: dict[str, Any], reason: str) -> None:
    done = await run(Says(*turns), pool, **limits)
    assert (done.outcome.reason, done.outcome.success, done.outcome.error) == (reason, False, None)
    if reason == "max_steps":
        assert done.messages[-1].role == "assistant"  # nobody is left to read an observation


async def test_a_second_proposal_may_be_right_and_the_countdown_is_shown(pool: KernelSource) -> None:
    engine = Says("<solution>1</solution>", "<solution>42</solution>")
    done = await run(engine, pool, max_proposals=2, max_steps=5, countdown=True)
    assert done.outcome.success
    assert done.messages[3].content == "Your answer is wrong.\nYou have 4 turns and 1 proposals left."


@pytest.mark.parametrize("kind", ["infra", "model"])
async def test_engine_faults_are_typed(pool: KernelSource, kind: str) -> None:
    done = await run(Says(EngineError(kind, "the server is away")), pool)  # type: ignore[arg-type]
    assert done.outcome.reason == "error" and done.outcome.error
    assert (done.outcome.error.kind, done.outcome.error.message) == (kind, "the server is away")


async def test_an_engine_with_a_defect_and_a_silent_one_are_of_the_infrastructure(pool: KernelSource) -> None:
    done = await run(Says(KeyError("choices")), pool)
    assert done.lost and done.outcome.error and "KeyError: 'choices'" in done.outcome.error.message

    class Silent(Says):
        async def complete(self, *args: Any, **named: Any) -> Any:
            await asyncio.sleep(60)

    done = await run(Silent(), pool, deadline_s=0.5)
    assert done.lost and done.outcome.error and "did not answer" in done.outcome.error.message


async def test_reasoning_stays_with_its_turn_and_is_not_sent_back(pool: KernelSource) -> None:
    class Thinks(Says):
        async def complete(self, *args: Any, **named: Any) -> Any:
            return dataclasses.replace(await super().complete(*args, **named), reasoning="hm \ud800")

    engine = Thinks(cell("print(x)"), "<solution>42</solution>")
    done = await run(engine, pool)
    thoughts = [turn.reasoning for turn in done.messages if turn.role == "assistant"]
    assert thoughts == ["hm \N{REPLACEMENT CHARACTER}"] * 2
    assert all("hm" not in message.content for message in engine.seen[-1])
    assert Trajectory.model_validate_json(done.model_dump_json()) == done


async def test_a_reward_that_is_no_number_is_the_tasks_failure(
    pool: KernelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(GRADERS._loaded, "odd", lambda proposed, reference: float("nan"))
    done = await run(Says("<solution>1</solution>"), pool, dataclasses.replace(ADD, grader="odd"))
    assert done.outcome.error and done.outcome.error.kind == "task" and "nan" in done.outcome.error.message


async def test_a_broken_task_is_not_the_models_fault(pool: KernelSource) -> None:
    broken = Task("f", "math", "train", "trained", "t-2", "?", "1", "number", setup="import nothing_of_the_kind")
    done = await run(Says("<solution>1</solution>"), pool, broken)
    assert done.outcome.error and done.outcome.error.kind == "task"
    assert "nothing_of_the_kind" in done.outcome.error.message


async def test_long_output_keeps_both_ends(pool: KernelSource) -> None:
    done = await run(Says(cell("print('a' * 500 + 'b' * 500)"), "<solution>1</solution>"), pool, output_chars=100)
    shown = next(message.content for message in done.messages if message.kind == "observation")
    assert shown.startswith("Observation:\n" + "a" * 50) and shown.endswith("b" * 50) and "900 characters" in shown
